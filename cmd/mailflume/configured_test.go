package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// Somebody mistypes the refresh token of a mailbox that works: it goes on, and the log, the page, status, check and token
// status say that the configured one was refused and why. The right one is taken over as soon as it is there.
func TestMistypedRefreshToken(t *testing.T) {
	r := newRig(t)
	port, err := process.FreePort()
	r.must(err)
	r.more = "nats: {embedded: {listen: \"127.0.0.1:" + port + "\"}}\n"
	account := r.box(sim.Gmail, "sales", r.listen(sim.Gmail), "google", "")
	s := r.serve()
	watched := func() bool {
		st := s.statuses()
		return len(st) == 1 && st[0].State == mailbox.StateWatching
	}
	eventually(t, "the mailbox is watched", watched)
	renewed := func() int { return r.world.OAuth(sim.Gmail).Refreshes(account.Address()).Requests }
	before := renewed()

	r.file("refresh-sales", "1//a-typing-error")
	const says = "The refresh token that is now configured for sales was refused"
	config := r.dir + "/mailflume.yaml"
	status := func() (text string) {
		_, out, _ := command(t.Context(), "status", "-c", config)
		return strings.Join(strings.Fields(out), " ")
	}
	eventually(t, "status says it", func() bool { return strings.Contains(status(), "not used: "+says) })
	if _, page := s.visitor().read(s.base + "/"); !strings.Contains(page, "Not used : "+says) {
		t.Errorf("the page: %s", page)
	}
	if n := strings.Count(s.log.String(), "the configured refresh token was refused; the stored grant is used"); n != 1 {
		t.Errorf("said %d times in the log:\n%s", n, s.log)
	}
	code, out, errs := command(t.Context(), "check", "-c", config)
	if code != 0 || !strings.Contains(out, "not used: "+says) {
		t.Errorf("check: exit code %d, %s, %s", code, out, errs)
	}
	code, out, errs = command(t.Context(), "token", "status", "--json", "-c", config)
	var grants []token.Status
	r.must(json.Unmarshal([]byte(out), &grants))
	if code != 0 || len(grants) != 1 || len(grants[0].Warnings) != 1 || grants[0].Warnings[0].Code != token.CodeConfiguredRefused {
		t.Errorf("token status: exit code %d, %s, %s", code, out, errs)
	}
	if !watched() || renewed() != before {
		t.Error("the mailbox was disturbed")
	}

	r.file("refresh-sales", account.RefreshToken("the-client"))
	eventually(t, "status is quiet", func() bool {
		text := status()
		return strings.Contains(text, "sales") && !strings.Contains(text, "not used")
	})
	if !watched() || renewed() != before+1 {
		t.Errorf("%d renewals, want one more", renewed()-before)
	}
	if strings.Contains(s.log.String(), "typing-error") {
		t.Error("it is in the log")
	}
}
