package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// Status says who reads which mailbox, how far, what is wrong and what to do: for people in 80 columns, and for scripts.
func TestStatus(t *testing.T) {
	r := newRig(t)
	port, err := process.FreePort()
	r.must(err)
	r.more = "nats: {embedded: {listen: \"127.0.0.1:" + port + "\"}}\nreplica: {name: worker-1}\n"
	good := r.box(sim.Gmail, "sales", r.listen(sim.Gmail), "google", "")
	r.box(sim.Gmail, "refused", r.listen(sim.Gmail), "google2", "")
	good.Deliver("INBOX", []byte("From: a@b.example\r\n\r\nx\r\n"), time.Now())
	s := r.serve()
	eventually(t, "one is watched, the other refused", func() bool {
		st := s.statuses()
		return len(st) == 2 && st[0].State == mailbox.StateWatching && st[1].State == mailbox.StateParked
	})
	config := r.dir + "/mailflume.yaml"
	var found situation
	eventually(t, "it is known to all", func() bool {
		code, out, errs := command(t.Context(), "status", "--json", "-c", config)
		found = situation{}
		r.must(json.Unmarshal([]byte(out), &found))
		known := found.Mailboxes[0].State == "watching" && found.Mailboxes[1].State == "parked"
		if known && (code != 1 || !strings.Contains(errs, "1 of 2 mailboxes need attention")) {
			t.Fatalf("exit %d: %s", code, errs)
		}
		return known
	})
	sales, refused := found.Mailboxes[0], found.Mailboxes[1]
	if sales.Owner != "worker-1" || sales.LastMessage.IsZero() || len(sales.Folders) != 1 || sales.Folders[0].Name != "INBOX" || sales.Folders[0].UID == 0 {
		t.Errorf("%+v", sales)
	}
	if refused.Who != "operator" || refused.Sentence == "" || refused.Hint == "" || refused.Since.IsZero() {
		t.Errorf("%+v", refused)
	}
	if len(found.Replicas) != 1 || found.Replicas[0].Mailboxes != 2 || found.Replicas[0].Lost || found.NATS.Events < 2 || len(found.Weaknesses) != 1 {
		t.Errorf("%+v", found)
	}
	_, out, _ := command(t.Context(), "status", "-c", config)
	for _, want := range []string{"sales ", "watching", "worker-1", "INBOX: up to UID ", "needs attention, ", "to do: ", "WHAT THE BROKER"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	t.Logf("\n%s", out)
}

// Where no mailflume runs, nobody reads the mailboxes, and status says so.
func TestStatusOfNothing(t *testing.T) {
	r := newRig(t)
	r.box(sim.Gmail, "sales", r.listen(sim.Gmail), "google", "")
	code, _, errs := command(t.Context(), "status", "-c", r.write())
	if code != 1 || !strings.Contains(errs, "has not run with this configuration yet") {
		t.Errorf("before the first run: exit %d: %s", code, errs)
	}
	t.Run("first run", func(t *testing.T) { start(t, r.dir+"/mailflume.yaml") })
	code, out, errs := command(t.Context(), "status", "-c", r.dir+"/mailflume.yaml")
	if code != 1 || !strings.Contains(out, "read by nobody") || !strings.Contains(out, "no mailflume is running") || !strings.Contains(errs, "1 of 1") {
		t.Errorf("exit %d: %s\n%s", code, out, errs)
	}
}

// What a server wrote does not move the cursor.
func TestParagraphIsPlain(t *testing.T) {
	var b strings.Builder
	paragraph(&b, "  \x1b[31mINBOX: ", "one\x1b]0;x\x07 two\u202e three\n\nfour")
	if got := b.String(); got != "  [31mINBOX: one]0;x two three four\n" {
		t.Errorf("%q", got)
	}
}
