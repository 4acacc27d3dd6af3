package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

// What will stop before long is said in the log, once a day for a client or a mailbox, on the stream, and in the metrics.
func TestForesight(t *testing.T) {
	r := newRig(t)
	r.world.OAuth(sim.Gmail).AddClient(sim.Client{ID: "the-client", Secret: "the-client-secret", Testing: true})
	gmail := r.listen(sim.Gmail)
	r.clients = "  - {name: ends, provider: microsoft, id: the-client, secret: file:right-secret, authority: MICROSOFT, secret_expires: " +
		time.Now().Add(10*24*time.Hour).Format(time.DateOnly) + "}\n"
	outlook := r.listen(sim.Exchange)
	r.box(sim.Exchange, "a", outlook, "ends", "")
	r.box(sim.Exchange, "b", outlook, "ends", "")
	r.unconnected(sim.Gmail, "testing", gmail, "google", "")
	config, err := configs.Load(r.write())
	r.must(err)
	var log output
	s, err := newService(config, slog.New(slog.NewTextHandler(&log, nil)))
	r.must(err)
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	started := make(chan struct{})
	go func() { done <- s.run(ctx, func(*service) { close(started) }) }()
	<-started
	c := s.core.Load()
	_, account, err := (&desk{config: config, ids: c.fleet.Load().ids}).account("testing")
	r.must(err)
	consent, err := c.tokens.Begin(account, "http://127.0.0.1:1/", "testing@mail.test")
	r.must(err)
	back, _ := browser(t, consent.URL(), false)
	granted, err := consent.Finish(ctx, back.Query())
	r.must(err)
	r.must(c.tokens.Save(ctx, account, granted))
	eventually(t, "all are carried and have grants", func() bool {
		for _, w := range c.fleet.Load().workers {
			if st := w.Status(); st.State == mailbox.StateElsewhere || st.Mailbox.ID != "testing" && st.State != mailbox.StateWatching {
				return false
			}
		}
		return true
	})
	for range 2 {
		c.foresight.look(ctx, c.tokens, time.Now().Add(6*24*time.Hour))
	}
	page := httptest.NewRecorder()
	web.Handler(web.Sources{Mailboxes: s.statuses, Grants: s.grants, Ready: s.ready, Broker: s.broker}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`mailflume_client_secret_ends_timestamp_seconds{client="ends"}`, `mailflume_grant_warning{code="secret_expires",mailbox="b"} 1`,
		`mailflume_grant_warning{code="refresh_token_ends",mailbox="testing"} 1`, `mailflume_grant_needs_person{mailbox="a"} 0`,
		`mailflume_grant_refresh_token_ends_timestamp_seconds{mailbox="testing"}`,
	} {
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	for code, want := range map[string]int{"secret_expires": 1, "refresh_token_ends": 1} {
		if n := strings.Count(log.String(), "code="+code); n != want {
			t.Errorf("%s is said %d times:\n%s", code, n, log.String())
		}
	}
	info, err := c.publisher.JetStream().Stream(ctx, "MAIL")
	r.must(err)
	if m, err := info.GetLastMsgForSubject(ctx, "mailbox.testing.auth_expiring"); err != nil || !strings.Contains(string(m.Data), "In production") {
		t.Errorf("the event: %v", err)
	}
	stop()
	r.must(<-done)
}

// newsflash is a store of grants in which one changes just after it was read.
type newsflash struct {
	token.Store
	flash func(id string)
}

func (n newsflash) Get(ctx context.Context, id string) (value []byte, revision, over uint64, err error) {
	value, revision, over, err = n.Store.Get(ctx, id)
	n.flash(id)
	return value, revision, over, err
}

// What was heard of a grant while all of them were looked at is newer than what was seen.
func TestForesightKeepsTheNews(t *testing.T) {
	r := newRig(t)
	r.box(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	r.box(sim.Gmail, "other", r.listen(sim.Gmail), "google", "")
	s := r.serve()
	eventually(t, "both are watched", func() bool {
		st := s.statuses()
		return len(st) == 2 && st[0].State == mailbox.StateWatching && st[1].State == mailbox.StateWatching
	})
	c := s.core.Load()
	f := &foresight{service: s.service, core: c, said: map[string]time.Time{}} // one that hears of nothing else
	tokens, err := token.New(token.Config{Session: loneSession{}, Keys: s.keys, Store: newsflash{c.store, func(id string) {
		if id == "box" {
			f.heard(token.Status{Mailbox: id, State: token.NeedsPerson})
		}
	}}})
	r.must(err)
	for range 2 {
		f.look(t.Context(), tokens, time.Now())
		states := map[string]token.State{}
		for _, g := range f.shown().List {
			states[g.Mailbox] = g.State
		}
		if len(states) != 2 || states["box"] != token.NeedsPerson || states["other"] != token.Idle {
			t.Errorf("%v", states)
		}
	}
}
