package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/accept"
)

// credentials may be nowhere but on the wire to whom they are meant for, and in the files that hold them.
var credentials = []string{
	"google client secret", "microsoft client secret", "wrong client secret", "google refresh token", "microsoft refresh token",
	"configured refresh token", "imported refresh token", "revoked refresh token", "refresh token in a server's text",
	"google access token", "microsoft access token", "google code", "microsoft code", "google verifier", "microsoft verifier",
	"state of the page", "state of the command", "cookie", "device code", "sealing key", "old sealing key", "NATS password",
	"IMAP password", "certificate key", "client assertion", "service account key", "service account assertion",
	"token of a command", "token of a file",
}

// content may be in the payload of the mailbox's events and objects, and nowhere else.
var content = []string{
	"subject", "text", "html", "sender's name", "sender's address", "recipient's address", "message id", "header value", "attachment name",
	"attachment", "calendar entry", "dead mail", "mailbox's address", "address in a server's text",
}

// forms returns how a text looks in plain, in a URL, in hexadecimal and in base64 at any offset.
func forms(text string) (all []string) {
	raw := []byte(text)
	all = append(all, text, url.QueryEscape(text), url.PathEscape(text), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)))
	for shift := range 3 {
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			coded := e.EncodeToString(append(make([]byte, shift), raw...))
			// The characters at both ends depend on what is beside it.
			all = append(all, coded[(shift*8+5)/6:len(coded)-2])
		}
	}
	return all
}

// aviary is canaries, and the places that they may not be heard from.
type aviary struct {
	t        *testing.T
	canaries map[string][]string // by what they are
	scanned  int
	places   int
}

func (a *aviary) plant(what string, texts ...string) {
	for _, text := range texts {
		if len(text) < 8 {
			a.t.Errorf("the %s %q is too short to be told from anything else", what, text)
			continue
		}
		a.canaries[what] = append(a.canaries[what], text)
	}
}

// scan looks for all canaries of these kinds in a text.
func (a *aviary) scan(place string, text []byte, kinds ...[]string) {
	a.t.Helper()
	a.scanned, a.places = a.scanned+len(text), a.places+1
	for _, what := range slices.Concat(kinds...) {
		for _, canary := range a.canaries[what] {
			for _, form := range forms(canary) {
				if i := bytes.Index(text, []byte(form)); i >= 0 {
					a.t.Errorf("%s has the %s: ...%s...", place, what, text[max(0, i-60):min(len(text), i+len(form)+20)])
					return
				}
			}
		}
	}
}

// keyAndCertificate is a new key with its certificate, in PEM.
func keyAndCertificate(t *testing.T) (key, certificate string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mailflume"}, NotAfter: time.Now().Add(240 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// inside is a line from the middle of a PEM block.
func inside(block string) string { return strings.Split(block, "\n")[5] }

// guarded runs a NATS server with a login.
func guarded(t *testing.T, password string) *nats.Conn {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "mailflume", Password: password,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(within) {
		t.Fatal("NATS does not start")
	}
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("mailflume", password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// parrot is a mail server that says who wanted to log in with what.
func parrot(t *testing.T, refusal string) (addr string) {
	t.Helper()
	return accept.Each(t, func(conn net.Conn) {
		defer conn.Close()
		fmt.Fprint(conn, "* OK ready\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			switch tag, command, _ := strings.Cut(lines.Text(), " "); {
			case strings.HasPrefix(command, "CAPABILITY"):
				fmt.Fprintf(conn, "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n%s OK done\r\n", tag)
			default:
				fmt.Fprintf(conn, "%s %s\r\n", tag, refusal)
			}
		}
	})
}

// canaryMails are a whole mail and one that cannot be parsed, each word of which can be told.
func canaryMails(a *aviary) [][]byte {
	fixed := func(what, text string) string { a.plant(what, text); return text }
	whole := "From: " + fixed("sender's name", "Canary-Of-A-Name") + " <" + fixed("sender's address", "canary-from@sender.test") + ">\r\n" +
		"To: " + fixed("recipient's address", "canary-to@recipient.test") + "\r\nSubject: " + fixed("subject", "canary-of-a-subject") + "\r\n" +
		"Message-ID: <" + fixed("message id", "canary-id@sender.test") + ">\r\nX-Custom: " + fixed("header value", "canary-of-a-header") + "\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\n" + fixed("text", "canary-of-a-text") + "\r\n" +
		"--b\r\nContent-Type: text/html\r\n\r\n<p>" + fixed("html", "canary-of-some-html") + "</p>\r\n" +
		"--b\r\nContent-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:" + fixed("calendar entry", "canary-of-a-meeting") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n" +
		"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"" + fixed("attachment name", "canary-of-a-file.pdf") + "\"\r\n\r\n" +
		fixed("attachment", "canary-of-an-attachment") + "\r\n--b--\r\n"
	dead := "\x00\x01" + fixed("dead mail", "canary-of-dead-mail") + "\xff\xfe"
	return [][]byte{[]byte(whole), []byte(dead)}
}

// scanStreams looks at everything in NATS: subjects, headers, values.
func (a *aviary) scanStreams(nc *nats.Conn) {
	a.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		a.t.Fatal(err)
	}
	messages := 0
	for name := range js.StreamNames(a.t.Context()).Name() {
		stream, err := js.Stream(a.t.Context(), name)
		if err != nil {
			a.t.Fatal(err)
		}
		info := stream.CachedInfo()
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			m, err := stream.GetMsg(a.t.Context(), seq)
			if err != nil {
				continue // one that was replaced
			}
			messages++
			outside := fmt.Appendf(nil, "%s %v", m.Subject, m.Header)
			switch {
			case strings.HasPrefix(m.Subject, "$KV.") && strings.Contains(m.Subject, ".m."): // names and addresses, as configured
				a.scan("the subject and headers of "+m.Subject, outside, credentials, content)
				a.scan("the value of "+m.Subject, m.Data, credentials, content[:len(content)-2])
			case strings.HasPrefix(m.Subject, "$KV."), strings.HasPrefix(m.Subject, "$O.mail.M."):
				a.scan(m.Subject, append(outside, m.Data...), credentials, content)
			default: // events, and the chunks of objects
				a.scan("the subject and headers of "+m.Subject, outside, credentials, content)
				a.scan("the payload of "+m.Subject, m.Data, credentials)
			}
		}
	}
	if messages < 10 {
		a.t.Errorf("only %d messages", messages)
	}
}
