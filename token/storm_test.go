package token

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// farm is a strict provider of many mailboxes: each refresh token is good once, and the use of an old one revokes the
// mailbox's grant.
type farm struct {
	latency time.Duration

	mu        sync.Mutex
	holdings  map[string]*holding
	exchanges int
	rotations int
	reuses    int
	overlaps  int
	at        []time.Time // of each exchange
}

// peak is the most exchanges that began within one second, from the n-th on.
func (f *farm) peak(n int) (most int) {
	times := f.at[n:]
	for i, first := range times {
		within := 0
		for _, at := range times[i:] {
			if at.Sub(first) < time.Second {
				within++
			}
		}
		most = max(most, within)
	}
	return most
}

type holding struct {
	generation, n int // the refresh token that is good now
	revoked       bool
	running       bool
}

func newFarm(mailboxes int) *farm {
	f := &farm{latency: 200 * time.Millisecond, holdings: map[string]*holding{}}
	for i := range mailboxes {
		f.holdings[fmt.Sprintf("box%d", i)] = &holding{}
	}
	return f
}

func refreshOf(mailbox string, generation, n int) string {
	return fmt.Sprintf("%s.%d.%d", mailbox, generation, n)
}

// consent makes a mailbox good again.
func (f *farm) consent(mailbox string) (refresh string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.holdings[mailbox]
	*h = holding{generation: h.generation + 1}
	return refreshOf(mailbox, h.generation, 0)
}

// account is the account of a mailbox; its configured refresh token can change.
func (f *farm) account(mailbox string) Account {
	a := account(mailbox, "")
	a.RefreshToken = func() (string, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return refreshOf(mailbox, f.holdings[mailbox].generation, 0), nil
	}
	return a
}

func (f *farm) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	refresh := form.Get("refresh_token")
	mailbox, _, _ := strings.Cut(refresh, ".")
	f.mu.Lock()
	f.exchanges++
	f.at = append(f.at, time.Now())
	h := f.holdings[mailbox]
	if h.running {
		f.overlaps++
	}
	h.running = true
	f.mu.Unlock()
	if err := pause(req.Context(), f.latency); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	h.running = false
	switch {
	case refresh != refreshOf(mailbox, h.generation, h.n):
		f.reuses++
		h.revoked = true
		fallthrough
	case h.revoked:
		return reply(400, `{"error":"invalid_grant"}`), nil
	}
	h.n++
	f.rotations++
	next := refreshOf(mailbox, h.generation, h.n)
	return reply(200, fmt.Sprintf(`{"token_type":"Bearer","access_token":"at-%s","expires_in":3600,"refresh_token":%q}`, next, next)), nil
}

// 1,000 mailboxes, 3 replicas, all tokens expired at once, and everybody asks at the same moment.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mailboxes = 1000
		f, store, all := newFarm(mailboxes), newMemory(), &sessions{dead: map[string]bool{}}
		f.latency = 30 * time.Millisecond // those who wait look less often
		key := NewKey()
		ask := func(replicas []*Manager) {
			var wg sync.WaitGroup
			for i := range mailboxes {
				a := f.account(fmt.Sprintf("box%d", i))
				for _, m := range replicas {
					wg.Go(func() {
						if _, err := m.Token(t.Context(), a, ""); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
		}
		var replicas []*Manager
		for i := range 3 {
			replicas = append(replicas, storming(t, key, store, member{all: all, id: fmt.Sprintf("s%d", i), left: 10 * time.Second}, f))
		}
		ask(replicas[:1])
		before := f.exchanges
		time.Sleep(61 * time.Minute)
		start := time.Now()
		ask(replicas)
		n, peak := f.exchanges-before, f.peak(before)
		t.Logf("%d exchanges, %d reuses, %d overlaps, %d in the fullest second, in %v", n, f.reuses, f.overlaps, peak, time.Since(start))
		if n != mailboxes || f.reuses != 0 || f.overlaps != 0 || peak > 50 {
			t.Error("see above")
		}
	})
}

// Left to themselves, 1,000 grants that were obtained at one moment are renewed minutes apart.
func TestRenewalsAreSpread(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	perSecond, most := map[time.Duration]int{}, 0
	for i := range 1000 {
		g := &grant{ObtainedAt: at, Expiry: at.Add(time.Hour)}
		second := g.earliness(fmt.Sprintf("box%d", i)).Truncate(time.Second)
		perSecond[second]++
		most = max(most, perSecond[second])
	}
	if most > 50 {
		t.Errorf("%d in one second", most)
	}
}

func storming(t *testing.T, key string, store Store, s Session, transport http.RoundTripper) *Manager {
	t.Helper()
	keys, err := NewKeyring(func() (string, error) { return key, nil })
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Store: store, Session: s, Keys: keys, Transport: transport, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
