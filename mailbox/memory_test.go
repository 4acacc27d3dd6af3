package mailbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// memory is a stream with what lies beside it, in memory: with it whole days of a worker fit into a testing/synctest bubble.
// It keeps the promises of a chain; the worker_test.go family runs on a real server.
type memory struct {
	mu      sync.Mutex
	seq     uint64
	sent    int                        // events that are marked so
	chains  map[string][]publish.Entry // by mailbox token
	at      map[string][]time.Time     // of the same entries
	uids    map[string][]string        // folder/UID of the same entries, by mailbox token
	notices map[string][]string        // by mailbox token
	floors  map[string]map[string]string
	revs    map[string]uint64
}

func newMemory() *memory {
	return &memory{
		chains: map[string][]publish.Entry{}, at: map[string][]time.Time{}, uids: map[string][]string{},
		notices: map[string][]string{}, floors: map[string]map[string]string{}, revs: map[string]uint64{},
	}
}

func (m *memory) Recover(_ context.Context, mailbox string, _ []string) (publish.Chain, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := publish.Chain{Folders: map[string]publish.Last{}}
	for _, e := range m.chains[mailbox] {
		c.Seq = e.Seq
		c.Folders[e.Folder] = publish.Last{Seq: e.Seq, ID: e.ID, Position: e.Position, Time: e.Time}
	}
	return c, nil
}

func (m *memory) Commit(_ context.Context, b publish.Batch) (publish.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	chain := m.chains[b.Mailbox]
	if n := len(chain); n > 0 && chain[n-1].Seq != b.After || n == 0 && b.After != 0 {
		return publish.Receipt{}, publish.ErrConflict
	}
	for _, e := range b.Events {
		var stored event.MessageEvent
		if err := json.Unmarshal(e.Data, &stored); err != nil {
			return publish.Receipt{}, err
		}
		if stored.Data.Direction == event.Sent {
			m.sent++
		}
		m.seq++
		chain = append(chain, publish.Entry{
			Seq: m.seq, Folder: e.Folder, Route: e.Route, ID: e.ID, Position: e.Position, Fingerprint: e.Fingerprint,
			EmailID: e.EmailID, Received: e.Received, Time: time.Now(),
		})
		m.at[b.Mailbox] = append(m.at[b.Mailbox], time.Now())
		m.uids[b.Mailbox] = append(m.uids[b.Mailbox], fmt.Sprintf("%s/%d", stored.Data.IMAP.Folder, stored.Data.IMAP.UID))
	}
	m.chains[b.Mailbox] = chain
	return publish.Receipt{Seq: m.seq}, nil
}

func (m *memory) Ledger(_ context.Context, mailbox string, tail uint64) iter.Seq2[publish.Entry, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	chain := m.chains[mailbox]
	return func(yield func(publish.Entry, error) bool) {
		for _, e := range chain {
			if e.Seq <= tail && !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memory) Put(_ context.Context, mailbox, sum string, size int64, r io.Reader) (event.Ref, error) {
	_, err := io.Copy(io.Discard, r)
	return event.Ref{Bucket: "mail", Name: mailbox + "/" + sum, Size: size, SHA256: sum}, err
}

func (m *memory) MaxPayload() int64 { return 1 << 20 }

func (m *memory) Announce(_ context.Context, n publish.Notice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notices[n.Mailbox] = append(m.notices[n.Mailbox], n.What)
	return nil
}

func (m *memory) Positions(_ context.Context, mailbox string) (map[string]string, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.floors[mailbox]), m.revs[mailbox], nil
}

func (m *memory) SavePositions(_ context.Context, mailbox string, p map[string]string, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.revs[mailbox] != revision {
		return 0, fmt.Errorf("revision %d: %w", revision, fs.ErrExist)
	}
	m.floors[mailbox] = maps.Clone(p)
	m.revs[mailbox]++
	return m.revs[mailbox], nil
}

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
	memory *memory
	fetch  fetcher.Config
	sent   bool // include: sent
	id     string
}

// lab runs a test of subjects that share a world and a stream, in a bubble.
type lab struct {
	t      *testing.T
	world  *sim.World
	memory *memory
}

func inLab(t *testing.T, o func() sim.Options, do func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, world: sim.New(o()), memory: newMemory()}
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
	s := &subject{t: l.t, a: l.world.AddAccount(provider, address), memory: l.memory, id: id}
	s.grant = &grant{a: s.a}
	s.fetch = fetcher.Config{
		Addr: "localhost:143", Security: fetcher.Plain, User: address, Folders: folders, Start: fetcher.Start{All: true},
		Dial: func(context.Context, string, string) (net.Conn, error) { return l.world.IMAP(provider).Pipe(), nil },
	}
	return s
}

// run starts the worker; the returned function stops it.
func (s *subject) run() (stop func()) {
	s.w = mailbox.NewWorker(mailbox.Config{
		Mailbox: event.Mailbox{ID: s.id, Name: s.id, Address: s.fetch.User}, Raw: mailbox.RawNever, Sent: s.sent,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			session, err := fetcher.Open(ctx, s.fetch, s.grant)
			if err != nil {
				return nil, nil, err
			}
			return session, session.Folders(), nil
		},
		Stream: s.memory, Bytes: s.memory, Announcer: s.memory, Floor: s.memory,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.w.Run(ctx) }()
	return func() { cancel(); <-ended }
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

// routes counts what is on the stream, by route.
func (s *subject) routes() map[string]int {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	n := map[string]int{}
	for _, e := range s.memory.chains[event.Token(s.id)] {
		n[e.Route]++
	}
	return n
}

func (s *subject) received() int { return s.routes()["received"] }

// once fails unless each folder/UID is on the stream once, and each event id too.
func (s *subject) once() {
	s.t.Helper()
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	ids, uids := map[string]int{}, map[string]int{}
	for i, e := range s.memory.chains[event.Token(s.id)] {
		ids[e.ID]++
		uids[s.memory.uids[event.Token(s.id)][i]]++
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
