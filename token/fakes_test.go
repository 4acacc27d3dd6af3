package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// memory is a Store in memory. A call takes a moment, as one over the network does.
type memory struct {
	mu      sync.Mutex
	seq     uint64
	entries map[string]entry
	writes  []entry // every value ever written
	sets    int
	fail    func(op string, n int) (before, after error) // before: not done; after: done, and the answer is lost
}

type entry struct {
	key      string
	value    []byte
	revision uint64
	over     uint64
}

var errStore = errors.New("no leader")

func newMemory() *memory { return &memory{entries: map[string]entry{}} }

func (s *memory) Get(ctx context.Context, key string) (value []byte, revision, over uint64, err error) {
	if err := pause(ctx, time.Millisecond); err != nil {
		return nil, 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if before, _ := s.fail("get", s.sets); before != nil {
			return nil, 0, 0, before
		}
	}
	e, ok := s.entries[key]
	if !ok {
		return nil, 0, 0, fmt.Errorf("grant %q: %w", key, fs.ErrNotExist)
	}
	return append([]byte(nil), e.value...), e.revision, e.over, nil
}

func (s *memory) Set(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := pause(ctx, time.Millisecond); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sets++
	var after error
	if s.fail != nil {
		var before error
		if before, after = s.fail("set", s.sets); before != nil {
			return 0, before
		}
	}
	if s.entries[key].revision != revision {
		return 0, fmt.Errorf("wrong last sequence: %w", fs.ErrExist)
	}
	s.put(key, value)
	return s.seq, after
}

func (s *memory) put(key string, value []byte) {
	s.seq++
	e := entry{key: key, value: append([]byte(nil), value...), revision: s.seq, over: s.entries[key].revision}
	s.entries[key] = e
	s.writes = append(s.writes, e)
}

func (s *memory) setFail(f func(op string, n int) (before, after error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// sessions are the replicas of a test.
type sessions struct {
	mu   sync.Mutex
	dead map[string]bool
}

func (s *sessions) kill(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead[id] = true
}

type member struct {
	all  *sessions
	id   string
	left time.Duration
}

func (m member) ID() string { return m.id }
func (m member) Alive(id string) bool {
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	return !m.all.dead[id]
}

func (m member) Remaining() time.Duration {
	if !m.Alive(m.id) {
		return 0
	}
	return m.left
}

// rotation says what a provider does with refresh tokens.
type rotation int

const (
	none    rotation = iota // as Google: the refresh token stays
	lenient                 // as Microsoft: a new one each time, the old one goes on
	strict                  // a new one each time; reuse of an old one revokes the family
)

// provider is a token endpoint.
type provider struct {
	mode    rotation
	latency time.Duration
	life    int

	mu        sync.Mutex
	n         int
	refresh   map[string]bool // accepted ones
	used      map[string]bool
	revoked   bool
	exchanges int
	heads     int
	reuses    int
	running   int
	overlaps  int
	forms     []string
	answer    func(n int) *http.Response // overrides, if not nil and its result is not nil
	err       func(n int) error
}

func newProvider(mode rotation) *provider {
	return &provider{mode: mode, latency: 300 * time.Millisecond, life: 3599, refresh: map[string]bool{"rt-canary-0": true}, used: map[string]bool{}}
}

func (p *provider) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodHead {
		return p.head()
	}
	body, _ := io.ReadAll(req.Body)
	if err := req.ParseForm(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.exchanges++
	n := p.exchanges
	p.running++
	if p.running > 1 {
		p.overlaps++
	}
	p.forms = append(p.forms, string(body))
	p.mu.Unlock()
	err := pause(req.Context(), p.latency)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if err != nil {
		return nil, err
	}
	if p.err != nil {
		if err := p.err(n); err != nil {
			return nil, err
		}
	}
	if p.answer != nil {
		if r := p.answer(n); r != nil {
			return r, nil
		}
	}
	return p.grant(string(body)), nil
}

// head answers whoever looks whether anybody is there.
func (p *provider) head() (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads++
	if p.err != nil {
		if err := p.err(p.exchanges); err != nil {
			return nil, err
		}
	}
	if p.answer != nil {
		if r := p.answer(p.exchanges); r != nil {
			return r, nil
		}
	}
	return reply(405, ""), nil
}

func (p *provider) grant(form string) *http.Response {
	var refresh string
	for pair := range strings.SplitSeq(form, "&") {
		if k, v, _ := strings.Cut(pair, "="); k == "refresh_token" {
			refresh = v
		}
	}
	if p.used[refresh] && p.mode == strict {
		p.reuses++
		p.revoked = true
	}
	if p.revoked || !p.refresh[refresh] {
		return reply(400, `{"error":"invalid_grant","error_description":"The refresh token is not valid."}`)
	}
	p.used[refresh] = true
	p.n++
	rotated := ""
	if p.mode != none {
		rt := fmt.Sprintf("rt-canary-%d", p.n)
		p.refresh[rt] = true
		rotated = `,"refresh_token":"` + rt + `"`
	}
	return reply(200, fmt.Sprintf(`{"token_type":"Bearer","access_token":"at-canary-%d","expires_in":%d%s}`, p.n, p.life, rotated))
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exchanges
}

func (p *provider) with(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func reply(status int, body string, header ...string) *http.Response {
	r := &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// house is a test's world: one store, one provider, some replicas.
type house struct {
	t        testing.TB
	store    *memory
	provider *provider
	sessions *sessions
	keys     string
	log      *slog.Logger
}

func newHouse(t testing.TB, mode rotation) *house {
	return &house{t: t, store: newMemory(), provider: newProvider(mode), sessions: &sessions{dead: map[string]bool{}}, keys: NewKey(), log: slog.New(slog.DiscardHandler)}
}

func (h *house) replica(id string) *Manager {
	h.t.Helper()
	keys, err := NewKeyring(func() (string, error) { return h.keys, nil })
	if err != nil {
		h.t.Fatal(err)
	}
	m, err := New(Config{Store: h.store, Session: member{all: h.sessions, id: id, left: 10 * time.Second}, Keys: keys, Transport: h.provider, Log: h.log})
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func account(mailbox, refresh string) Account {
	return Account{
		Mailbox: mailbox,
		Client: Client{
			Name: "main", ID: "client-1", TokenURL: "https://login.example.com/tenant-1/oauth2/v2.0/token",
			Scopes: []string{"https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"},
			Secret: func() (string, error) { return "secret-canary", nil },
		},
		RefreshToken: func() (string, error) { return refresh, nil },
	}
}

func (h *house) must(m *Manager, a Account, rejected string) string {
	h.t.Helper()
	tok, err := m.Token(h.t.Context(), a, rejected)
	if err != nil {
		h.t.Fatalf("Token: %v", err)
	}
	return tok
}

func (h *house) stored(mailbox string) *grant {
	h.t.Helper()
	g, err := h.replica("reader").read(h.t.Context(), mailbox)
	if err != nil {
		h.t.Fatal(err)
	}
	return g
}

func wantError[E error](t testing.TB, err error) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want %T", err, err, e)
	}
	return e
}
