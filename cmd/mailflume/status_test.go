package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

// Status says who reads which mailbox, how far, what is wrong and what to do: for people in 80 columns, and for scripts.
func TestStatus(t *testing.T) {
	r := newRig(t)
	port, err := process.FreePort()
	r.must(err)
	r.more = "nats: {embedded: {listen: \"127.0.0.1:" + port + "\"}}\nreplica: {name: worker-1}\n"
	good := r.box(sim.Gmail, "sales", r.listen(sim.Gmail), "google", "")
	r.box(sim.Gmail, "refused", r.listen(sim.Gmail), "google2", "")
	good.Deliver("INBOX", []byte("From: a@b.example\r\n\r\nx\r\n"), time.Now().Add(-time.Hour))
	s := r.serve()
	eventually(t, "one is watched, the other refused", func() bool {
		st := s.statuses()
		return len(st) == 2 && st[0].State == mailbox.StateWatching && st[1].State == mailbox.StateParked
	})
	good.Deliver("INBOX", []byte("From: c@b.example\r\n\r\nx\r\n"), time.Now())
	config := r.dir + "/mailflume.yaml"
	var found situation
	eventually(t, "it is known to all", func() bool {
		code, out, errs := command(t.Context(), "status", "--json", "-c", config)
		found = situation{}
		r.must(json.Unmarshal([]byte(out), &found))
		known := found.Mailboxes[0].State == "watching" && found.Mailboxes[0].Lag != nil && found.Mailboxes[1].State == "parked"
		if known && (code != 1 || !strings.Contains(errs, "1 of 2 mailboxes need attention")) {
			t.Fatalf("exit %d: %s", code, errs)
		}
		return known
	})
	sales, refused := found.Mailboxes[0], found.Mailboxes[1]
	if sales.Owner != "worker-1" || sales.LastMessage.IsZero() || len(sales.Folders) != 1 || sales.Folders[0].Name != "INBOX" || sales.Folders[0].UID == 0 {
		t.Errorf("%+v", sales)
	}
	if refused.Lag != nil || *sales.Lag < 0 || *sales.Lag > within {
		t.Errorf("lags %v and %v", sales.Lag, refused.Lag)
	}
	if refused.Who != "operator" || refused.Sentence == "" || refused.Hint == "" || refused.Since.IsZero() {
		t.Errorf("%+v", refused)
	}
	if len(found.Replicas) != 1 || found.Replicas[0].Mailboxes != 2 || found.Replicas[0].Lost || found.NATS.Events < 2 || len(found.Weaknesses) != 1 {
		t.Errorf("%+v", found)
	}
	_, out, _ := command(t.Context(), "status", "-c", config)
	for _, want := range []string{" LAG\n", " " + web.Short(*sales.Lag) + "\n", "sales ", "watching", "worker-1", "INBOX: up to UID ", "needs attention, ", "to do: ", "WHAT THE BROKER"} {
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
	t.Run("first run", func(t *testing.T) {
		s := start(t, r.dir+"/mailflume.yaml")
		eventually(t, "the mailbox is watched", func() bool { // who ends before that may leave a session to its lease
			st := s.statuses()
			return len(st) == 1 && st[0].State == mailbox.StateWatching
		})
	})
	code, out, errs := command(t.Context(), "status", "-c", r.dir+"/mailflume.yaml")
	if code != 1 || !strings.Contains(out, "read by nobody") || !strings.Contains(out, "no mailflume is running") || !strings.Contains(errs, "1 of 1") {
		t.Errorf("exit %d: %s\n%s", code, out, errs)
	}
}

// Status makes nothing at the broker, is not kept from its answer by a mailbox of which events are stored all the while, and
// does not say when a record was damaged, which it cannot know.
func TestStatusAtABroker(t *testing.T) {
	r := newRig(t)
	url := broker(t)
	r.more = fmt.Sprintf("nats: {url: %q}\nsealing_key: file:key\n", url)
	r.file("key", token.NewKey())
	box := r.box(sim.Exchange, "sales", r.listen(sim.Exchange), "microsoft", ", folders: [INBOX, '\\Junk']")
	config := r.write()
	nc, err := nats.Connect(url)
	r.must(err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	r.must(err)

	if code, _, errs := command(t.Context(), "status", "-c", config); code != exitFailed || !strings.Contains(errs, "has not run") {
		t.Errorf("before the first run: exit %d: %s", code, errs)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		t.Errorf("status has made the stream %s", name)
	}

	box.Deliver("INBOX", []byte("From: a@b.example\r\n\r\nx\r\n"), time.Now())
	t.Run("run", func(t *testing.T) {
		s := start(t, config)
		eventually(t, "the mail is published", func() bool {
			st := s.statuses()
			return len(st) == 1 && st[0].State == mailbox.StateWatching && st[0].Published["received"] == 1
		})
	})
	stream, err := js.Stream(t.Context(), "MAIL")
	r.must(err)
	last, err := stream.GetLastMsgForSubject(t.Context(), "mail.sales.INBOX.received")
	r.must(err)
	flooding, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	flood.Go(func() {
		for n := 0; n < 20_000 && flooding.Err() == nil; n++ {
			_ = nc.PublishMsg(&nats.Msg{Subject: last.Subject, Header: nats.Header{"Mailflume-Position": last.Header["Mailflume-Position"]}})
			if n%100 == 0 {
				_ = nc.FlushWithContext(flooding)
			}
		}
	})
	code, out, errs := command(t.Context(), "status", "-c", config)
	stop()
	flood.Wait()
	if code != exitFailed || !strings.Contains(out, "INBOX: up to UID 1\n") || !strings.Contains(errs, "1 of 1 mailboxes") {
		t.Errorf("while events are stored: exit %d: %s\n%s", code, errs, out)
	}

	kv, err := js.KeyValue(t.Context(), "mailflume")
	r.must(err)
	_, err = kv.PutString(t.Context(), "p.sales", "{")
	r.must(err)
	code, out, errs = command(t.Context(), "status", "-c", config)
	if code != exitFailed || !strings.Contains(out, "\n  the record of ") || strings.Contains(out, "ago:") {
		t.Errorf("of a damaged record: exit %d: %s\n%s", code, errs, out)
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

// How far a mailbox is behind: by its last new message while it is read, else by its last complete pass.
func TestLagOfAMailbox(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, tt := range map[string]struct {
		h       health
		want    time.Duration // -1: not known
		checked bool
	}{
		"nothing new came":          {health{State: mailbox.StateWatching, Checked: ago(time.Hour)}, -1, false},
		"all is well":               {health{State: mailbox.StateWatching, Checked: ago(time.Hour), Arrived: true, Delay: 2 * time.Second}, 2 * time.Second, false},
		"it catches up":             {health{State: mailbox.StateReading, Checked: ago(time.Minute), Arrived: true, Delay: time.Hour}, time.Hour, false},
		"a pass does not end":       {health{State: mailbox.StateReading, Late: true, Checked: ago(time.Hour), Arrived: true, Delay: time.Second}, time.Hour, true},
		"it waits":                  {health{State: mailbox.StateWaiting, Sentence: "x", Checked: ago(3 * time.Hour), Arrived: true}, 3 * time.Hour, true},
		"it was slow and is parked": {health{State: mailbox.StateParked, Sentence: "x", Checked: ago(time.Minute), Arrived: true, Delay: time.Hour}, time.Hour, true},
		"it never was read":         {health{State: mailbox.StateParked, Sentence: "x"}, -1, false},
		"the clock was set back":    {health{State: mailbox.StateParked, Sentence: "x", Checked: ago(-time.Hour)}, 0, true},
	} {
		lag, checked := tt.h.lag(now)
		if (lag == nil) != (tt.want < 0) || lag != nil && *lag != tt.want || checked.IsZero() == tt.checked {
			t.Errorf("%s: %v, %v", name, lag, checked)
		}
	}
}

// What is saved for status is not written anew for each message, and is when it matters.
func TestHealthIsSavedWhenItMatters(t *testing.T) {
	now := time.Now()
	base := health{State: mailbox.StateWatching, Since: now, Checked: now, Arrived: true, Delay: time.Second}
	with := func(f func(h *health)) health { h := base; f(&h); return h }
	for name, tt := range map[string]struct {
		was, is health
		news    bool
	}{
		"another message":       {base, with(func(h *health) { h.Delay = 40 * time.Second }), false},
		"another pass":          {base, with(func(h *health) { h.Checked = now.Add(time.Hour) }), false},
		"it reads":              {base, with(func(h *health) { h.State, h.Since = mailbox.StateReading, now.Add(time.Second) }), false},
		"it falls behind":       {base, with(func(h *health) { h.Delay = time.Hour }), true},
		"it is as far behind":   {with(func(h *health) { h.Delay = time.Hour }), with(func(h *health) { h.Delay = 61 * time.Minute }), false},
		"it has caught up":      {with(func(h *health) { h.Delay = time.Hour }), base, true},
		"the first new message": {with(func(h *health) { h.Arrived, h.Delay = false, 0 }), base, true},
		"passes end no more":    {base, with(func(h *health) { h.Late = true }), true},
		"older mail is read":    {base, with(func(h *health) { h.Backfill = true }), true},
		"a warning":             {base, with(func(h *health) { h.Warnings = []warning{{Label: "soon"}} }), true},
		"it waits":              {base, with(func(h *health) { h.State, h.Sentence = mailbox.StateWaiting, "x" }), true},
		"the same warning anew": {with(func(h *health) { h.Warnings = []warning{{Label: "soon"}} }), with(func(h *health) { h.Warnings = []warning{{Label: "soon"}} }), false},
	} {
		if news := !tt.is.like(tt.was); news != tt.news {
			t.Errorf("%s: news %v", name, news)
		}
	}
}
