package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// What belongs to the owner of a mailbox is never in the log, not at debug level and not when things go wrong: no token, no
// secret, no subject, no address.
func TestLogHoldsNoSecretAndNoMail(t *testing.T) {
	r := newRig(t)
	r.more += "log: {level: debug}\n"
	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	good := []*sim.Account{
		r.box(sim.Gmail, "canary-gmail", gmail, "google", ""),
		r.box(sim.Exchange, "canary-outlook", outlook, "microsoft", ""),
	}
	off := sim.RefuseLogin(sim.GmailDisabledUser)
	off.When.Times = -1
	r.box(sim.Gmail, "canary-off", gmail, "google", "").Inject(off)
	r.box(sim.Exchange, "canary-revoked", outlook, "microsoft", "").Revoke()
	r.box(sim.Gmail, "canary-secret", gmail, "google2", "")
	r.box(sim.Exchange, "canary-folder", outlook, "microsoft", ", folders: [INBOX, canary-folder-name]")
	r.box(sim.Gmail, "canary-unreachable", "127.0.0.1:1", "google", "")
	log := background(t, "run", "--config", r.write())
	deliver := func(n int) {
		for _, a := range good {
			a.Deliver("INBOX", canary(n), time.Now())
		}
	}
	fetched := func(n int) func() bool {
		return func() bool { return good[0].Stats().BodyOctets >= int64(n) && good[1].Stats().BodyOctets >= int64(n) }
	}
	size := len(canary(0))
	deliver(0)
	eventually(t, "the first mail is read", fetched(size))
	good[0].ExpireTokens()
	good[1].DropConnections()
	good[1].BumpUIDValidity("INBOX")
	deliver(1)
	eventually(t, "the second mail is read", fetched(2*size))
	for _, name := range []string{"canary-off", "canary-revoked", "canary-secret", "canary-folder", "canary-unreachable"} {
		eventually(t, name+" is in trouble", func() bool {
			return strings.Contains(log.String(), "mailbox="+name+" error=") || strings.Contains(log.String(), "mailbox="+name+" who=")
		})
	}
	text := log.String()
	secrets := []string{
		"the-client-secret", "another-secret", "ya29.", "eyJ", "Bearer", "1//", // how tokens of both providers begin
		"@mail.test", "@sender.test", "Canary-Name", "canary-subject", "canary-id", "canary-body", "canary-file",
	}
	for name := range strings.FieldsSeq("canary-gmail canary-outlook canary-revoked") {
		grant, err := os.ReadFile(filepath.Join(r.dir, "refresh-"+name))
		r.must(err)
		secrets = append(secrets, string(grant))
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %q:\n%s", secret, around(text, secret))
		}
	}
}

// canary is a mail whose every word can be told from what the program says of itself.
func canary(n int) []byte {
	return fmt.Appendf(nil, "From: Canary-Name <canary-from@sender.test>\r\nTo: canary-to@sender.test\r\nSubject: canary-subject %d\r\n"+
		"Message-ID: <canary-id-%d@sender.test>\r\nContent-Type: text/plain; name=canary-file\r\n\r\ncanary-body\r\n", n, n)
}

// around returns the lines of a text that hold a word.
func around(text, word string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			b.WriteString(line)
		}
	}
	return b.String()
}
