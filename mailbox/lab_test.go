package mailbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// grant is the token of an account, as package token hands it out: the same one until it runs out soon or was rejected.
type grant struct {
	a *sim.Account

	mu        sync.Mutex
	text      string
	until     time.Time
	refreshes int
}

func (g *grant) Token(_ context.Context, rejected string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.text == "" || g.text == rejected || time.Until(g.until) < 10*time.Minute {
		g.text, g.until = g.a.AccessToken(time.Hour), time.Now().Add(time.Hour)
		g.refreshes++
	}
	return g.text, nil
}

// ending is a grant that tells when its token ends.
type ending struct{ *grant }

func (g ending) Ends(context.Context) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until
}

func (g *grant) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refreshes
}

// subject is one mailbox under test: a simulated account, its worker, and what both left behind.
type subject struct {
	t      *testing.T
	a      *sim.Account
	w      *mailbox.Worker
	grant  *grant
	broker *broker.Broker
	fetch  fetcher.Config
	sent   bool // include: sent
	after  fetcher.Action
	log    *slog.Logger
	ends   bool // it is known when tokens end
	id     string
	open   func(ctx context.Context) (mailbox.Session, []string, error) // nil: with the grant
}

// lab runs a test of subjects that share a world and a stream, in a bubble.
type lab struct {
	t      *testing.T
	world  *sim.World
	broker *broker.Broker
}

func inLab(t *testing.T, o func() sim.Options, do func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, world: sim.New(o()), broker: broker.New()}
		defer l.world.Close()
		do(l)
		if v := l.world.Violations(); len(v) > 0 {
			t.Errorf("against the rules of the house: %q", v)
		}
	})
}

func plainWorld() sim.Options { return sim.Options{} }

// add makes a mailbox. Its worker does not run yet.
func (l *lab) add(provider sim.Provider, id string, folders ...string) *subject {
	address := id + "@example.test"
	s := &subject{t: l.t, a: l.world.AddAccount(provider, address), broker: l.broker, id: id}
	s.grant = &grant{a: s.a}
	s.fetch = fetcher.Config{
		Addr: "localhost:143", Security: fetcher.Plain, User: address, Folders: folders, Start: fetcher.Start{All: true},
		Dial: func(context.Context, string, string) (net.Conn, error) { return l.world.IMAP(provider).Pipe(), nil },
	}
	return s
}

// config returns what the worker works with.
func (s *subject) config() mailbox.Config {
	return mailbox.Config{
		Mailbox: event.Mailbox{ID: s.id, Name: s.id, Address: s.fetch.User}, Raw: mailbox.RawNever, Sent: s.sent,
		After: s.after, Journal: s.broker, Deeds: s.broker, Log: s.log,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			if s.open != nil {
				return s.open(ctx)
			}
			var source fetcher.TokenSource = s.grant
			if s.ends {
				source = ending{s.grant}
			}
			session, err := fetcher.Open(ctx, s.fetch, source)
			if err != nil {
				return nil, nil, err
			}
			return session, session.Folders(), nil
		},
		Stream: s.broker, Allowance: s.fetch.Allowance, Bytes: s.broker, Announcer: s.broker, Floor: s.broker,
	}
}

// run starts the worker; the returned function stops it.
func (s *subject) run() (stop func()) {
	s.w = mailbox.NewWorker(s.config())
	return runs(s.t, s.w)
}

// within waits, in the bubble's time, until ok, and returns how long that took.
func (s *subject) within(d time.Duration, what string, ok func() bool) time.Duration {
	s.t.Helper()
	start := time.Now()
	for {
		synctest.Wait()
		if ok() {
			return time.Since(start)
		}
		if time.Since(start) > d {
			s.t.Fatalf("not within %v: %s; the worker is %+v", d, what, s.w.Status())
		}
		time.Sleep(min(d/100, 10*time.Second))
	}
}

func (s *subject) watching() bool { return s.w.Status().State == mailbox.StateWatching }

// events returns what is on the stream.
func (s *subject) events() []broker.Stored { return s.broker.Events(event.Token(s.id)) }

// decoded returns what the events say.
func (s *subject) decoded() (all []event.MessageEvent) {
	s.t.Helper()
	for _, e := range s.events() {
		all = append(all, decode(s.t, e))
	}
	return all
}

// notices returns what was announced.
func (s *subject) notices() []string { return s.broker.Notices(event.Token(s.id)) }

// routes counts what is on the stream, by route.
func (s *subject) routes() map[string]int {
	n := map[string]int{}
	for _, e := range s.events() {
		n[e.Route]++
	}
	return n
}

func (s *subject) received() int { return s.routes()["received"] }

// marked counts the events of mail that the mailbox's owner sent.
func (s *subject) marked() (n int) {
	for _, e := range s.events() {
		if decode(s.t, e).Data.Direction == event.Sent {
			n++
		}
	}
	return n
}

func decode(t testing.TB, e broker.Stored) (m event.MessageEvent) {
	t.Helper()
	must(t, json.Unmarshal(e.Data, &m))
	return m
}

// once fails unless each folder/UID is on the stream once, and each event id too.
func (s *subject) once() {
	s.t.Helper()
	ids, uids := map[string]int{}, map[string]int{}
	for _, e := range s.events() {
		imap := decode(s.t, e).Data.IMAP
		ids[e.ID]++
		uids[fmt.Sprintf("%s/%d", imap.Folder, imap.UID)]++
	}
	for _, seen := range []map[string]int{ids, uids} {
		for what, n := range seen {
			if n > 1 {
				s.t.Errorf("%s is on the stream %d times", what, n)
			}
		}
	}
}

func (s *subject) deliver(from, n int) {
	for i := from; i < from+n; i++ {
		s.a.Deliver("INBOX", bytes.Clone(message(i)), time.Time{})
	}
}
