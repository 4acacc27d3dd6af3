package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneExchangeForAllCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if tok := h.must(m, a, ""); tok != "at-canary-1" {
					t.Errorf("got %q", tok)
				}
			})
		}
		wg.Wait()
		if n := h.provider.count(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		form, err := url.ParseQuery(h.provider.forms[0])
		if err != nil {
			t.Fatal(err)
		}
		want := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {"rt-canary-0"}, "client_id": {"client-1"}, "client_secret": {"secret-canary"},
			"scope": {"https://outlook.office.com/IMAP.AccessAsUser.All offline_access"},
		}
		if got := form.Encode(); got != want.Encode() {
			t.Errorf("form %s, want %s", got, want.Encode())
		}
	})
}

func TestPublicClientSendsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		a := account("alice", "rt-canary-0")
		a.Client.Secret = nil
		h.must(h.replica("s1"), a, "")
		if strings.Contains(h.provider.forms[0], "client_secret") {
			t.Errorf("form %s", h.provider.forms[0])
		}
	})
}

// Three replicas, one account that expires for all of them at once, 200 times.
func TestReplicasRenewOnce(t *testing.T) {
	for _, forced := range []bool{false, true} {
		t.Run(fmt.Sprintf("forced=%v", forced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, strict)
				a := account("alice", "rt-canary-0")
				replicas := []*Manager{h.replica("s1"), h.replica("s2"), h.replica("s3")}
				const rounds = 200
				rejected := ""
				for round := range rounds {
					var wg sync.WaitGroup
					var got [6]string
					for i := range got {
						wg.Go(func() { got[i] = h.must(replicas[i%3], a, rejected) })
					}
					wg.Wait()
					for _, tok := range got {
						if tok != fmt.Sprintf("at-canary-%d", round+1) {
							t.Fatalf("round %d: got %v", round, got)
						}
					}
					if forced {
						rejected = got[0]
					} else {
						time.Sleep(2 * time.Hour)
					}
				}
				if n := h.provider.count(); n != rounds || h.provider.reuses != 0 || h.provider.overlaps != 0 {
					t.Errorf("%d exchanges, %d reuses, %d overlaps, want %d, 0, 0", n, h.provider.reuses, h.provider.overlaps, rounds)
				}
			})
		})
	}
}

func TestRejectedTokenIsRenewedOnceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		first := h.must(m, a, "")
		// One asks without knowing that the token is bad, and the others must not get it back from that flight.
		var wg sync.WaitGroup
		for i := range 20 {
			rejected := first
			if i == 0 {
				rejected = ""
			}
			if i == 1 {
				time.Sleep(500 * time.Microsecond) // the first one is under way
			}
			wg.Go(func() {
				tok, err := m.Token(t.Context(), a, rejected)
				if err != nil || rejected != "" && tok != "at-canary-2" {
					t.Errorf("rejected %q: got %q, %v", rejected, tok, err)
				}
			})
		}
		wg.Wait()
		// A straggler that was refused with the first one.
		if tok := h.must(m, a, first); tok != "at-canary-2" {
			t.Errorf("got %q", tok)
		}
		if n := h.provider.count(); n != 2 {
			t.Errorf("%d exchanges, want 2", n)
		}
	})
}

// A token that a server refused is given to nobody, even if no better one can be had.
func TestRefusedTokenIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		first := h.must(m, a, "")
		h.provider.answer = func(int) *http.Response { return reply(503, "") }
		for _, rejected := range []string{first, "", "another"} {
			_, err := m.Token(t.Context(), a, rejected)
			wantError[*UnavailableError](t, err)
		}
		h.provider.answer = nil
		time.Sleep(time.Minute)
		if tok := h.must(h.replica("s2"), a, ""); tok != "at-canary-2" {
			t.Errorf("got %q", tok)
		}
	})
}

func TestCancelledCallerDoesNotLoseTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		cause := errors.New("rebalanced")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
		if _, err := m.Token(ctx, a, ""); !errors.Is(err, cause) {
			t.Fatalf("got %v", err)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		g := h.stored("alice")
		if g.State != Idle || g.refresh.Reveal() != "rt-canary-1" || g.access.Reveal() != "at-canary-1" {
			t.Errorf("stored %s, refresh %q", g.State, g.refresh.Reveal())
		}
		if _, err := m.Token(t.Context(), a, ""); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if tok := h.must(h.replica("s2"), a, ""); tok != "at-canary-1" || h.provider.count() != 1 {
			t.Errorf("got %q after %d exchanges", tok, h.provider.count())
		}
	})
}

func TestWaitingObeysTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		h.provider.latency = 14 * time.Second
		a := account("alice", "rt-canary-0")
		m1, m2 := h.replica("s1"), h.replica("s2")
		go m1.Token(t.Context(), a, "") //nolint:errcheck // the other caller's business
		time.Sleep(time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := m2.Token(ctx, a, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := errors.Join(m1.Close(t.Context()), m2.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		if h.provider.count() != 1 {
			t.Errorf("%d exchanges", h.provider.count())
		}
	})
}

// dieAfterAnswer makes replica id die between the provider's answer and the save.
func dieAfterAnswer(t *testing.T, h *house, a Account) {
	t.Helper()
	m := h.replica("victim")
	h.store.setFail(func(op string, n int) (error, error) {
		if op == "set" && n > 1 || op == "get" && n >= 1 {
			return errStore, nil
		}
		return nil, nil
	})
	if _, err := m.Token(t.Context(), a, ""); err == nil {
		t.Fatal("the victim got a token that was not saved")
	} else {
		wantError[*UnavailableError](t, err)
	}
	h.store.setFail(nil)
	h.sessions.kill("victim")
	if h.provider.count() != 1 {
		t.Fatalf("%d exchanges", h.provider.count())
	}
}

func TestRefreshEarlyWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, none)
		m := h.replica("s1")
		seen := map[time.Duration]bool{}
		for i := range 20 {
			name := fmt.Sprintf("box%d", i)
			a := account(name, "rt-canary-0")
			h.must(m, a, "")
			g := h.stored(name)
			e := g.earliness(name)
			seen[e] = true
			if e < 8*time.Minute || e > 12*time.Minute {
				t.Errorf("%s: renewed %v early", name, e)
			}
			n := h.provider.count()
			time.Sleep(time.Until(g.Expiry.Add(-e - time.Second)))
			h.must(m, a, "")
			if h.provider.count() != n {
				t.Errorf("%s: renewed too early", name)
			}
			time.Sleep(2 * time.Second)
			h.must(m, a, "")
			if h.provider.count() != n+1 {
				t.Errorf("%s: not renewed", name)
			}
		}
		if len(seen) < 15 {
			t.Errorf("%d different times of 20", len(seen))
		}
	})
}

func TestRefreshTokenKeptOrRotated(t *testing.T) {
	for mode, want := range map[rotation]string{none: "rt-canary-0", lenient: "rt-canary-3", strict: "rt-canary-3"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, mode)
			m, a := h.replica("s1"), account("alice", "rt-canary-0")
			tok := ""
			for range 3 {
				tok = h.must(m, a, tok)
			}
			if got := h.stored("alice").refresh.Reveal(); got != want {
				t.Errorf("mode %d: refresh token %q, want %q", mode, got, want)
			}
		})
	}
}

func TestConfiguredTokenReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		h.must(m, a, "")
		h.provider.with(func() { h.provider.revoked = true })
		time.Sleep(2 * time.Hour)
		for range 3 {
			_, err := m.Token(t.Context(), a, "")
			wantError[*GrantError](t, err)
		}
		if h.provider.count() != 2 {
			t.Fatalf("%d exchanges, want 2", h.provider.count())
		}
		h.provider.with(func() { h.provider.revoked = false; h.provider.refresh["rt-canary-new"] = true })
		pasted := account("alice", "rt-canary-new")
		if tok := h.must(m, pasted, ""); tok != "at-canary-2" {
			t.Errorf("got %q", tok)
		}
		// A replica that still has the old configuration does not bring the old token back.
		time.Sleep(2 * time.Hour)
		h.must(h.replica("s2"), a, "")
		h.must(m, pasted, "")
		if h.provider.reuses != 0 || h.provider.count() != 4 {
			t.Errorf("%d exchanges, %d reuses", h.provider.count(), h.provider.reuses)
		}
	})
}

func TestNeverConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, none)
		m, a := h.replica("s1"), account("alice", "")
		for _, read := range []func() (string, error){nil, a.RefreshToken} {
			a.RefreshToken = read
			_, err := m.Token(t.Context(), a, "")
			if e := wantError[*GrantError](t, err); e.Code != "no_grant" {
				t.Errorf("%+v", e)
			}
		}
		a.RefreshToken = func() (string, error) { return "", errors.New("no such file") }
		_, err := m.Token(t.Context(), a, "")
		wantError[*ClientError](t, err)
		if s, err := m.Status(t.Context(), "alice"); err != nil || s.State != Absent {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

type changing struct {
	mu sync.Mutex
	member
}

func (c *changing) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

func (c *changing) Remaining() time.Duration { return c.left }

func TestClientErrorIsOneForAllMailboxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		m := h.replica("s1")
		h.provider.answer = func(int) *http.Response {
			return reply(401, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app 'x' are expired. Trace ID: 6a1d Correlation ID: 1f0c Timestamp: 2026-08-21 10:00:00Z","error_codes":[7000222],"trace_id":"6a1d","correlation_id":"1f0c"}`)
		}
		var first *ClientError
		for i := range 50 {
			_, err := m.Token(t.Context(), account(fmt.Sprintf("box%d", i), "rt-canary-0"), "")
			e := wantError[*ClientError](t, err)
			if first == nil {
				first = e
			}
			if e != first || e.Code != "AADSTS7000222" || e.Client != "main" || !strings.Contains(e.Hint, "NewClientSecret") {
				t.Errorf("%d: %+v", i, e)
			}
		}
		if h.provider.count() != 1 {
			t.Errorf("%d exchanges, want 1", h.provider.count())
		}
		// Another secret is tried at once.
		h.provider.answer = nil
		a := account("box0", "rt-canary-0")
		a.Client.Secret = func() (string, error) { return "secret-canary-2", nil }
		h.must(m, a, "")
		a = account("box1", "rt-canary-0")
		a.Client.Secret = func() (string, error) { return "", errors.New("no such file") }
		_, err := m.Token(t.Context(), a, "")
		if e := wantError[*ClientError](t, err); e.Code != "secret_unreadable" {
			t.Errorf("%+v", e)
		}
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		h.must(m, a, "")
		issued := time.Now()
		time.Sleep(time.Hour)
		s, err := m.Status(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if s.State != Idle || s.RefreshAge(time.Now()).Round(time.Second) != time.Since(issued).Round(time.Second) || s.Expiry.Sub(s.RenewedAt) != 3599*time.Second || s.Problem != nil {
			t.Errorf("%+v", s)
		}
		h.provider.answer = func(int) *http.Response { return reply(429, `{}`, "Retry-After", "120") }
		_, err = m.Token(t.Context(), a, "")
		if e := wantError[*UnavailableError](t, err); e.Wait != 2*time.Minute {
			t.Errorf("wait %v", e.Wait)
		}
		s, err = m.Status(t.Context(), "alice")
		if err != nil || s.Problem == nil || s.Problem.Code != "http_429" || time.Until(s.RetryAt).Round(time.Second) != 2*time.Minute {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

func TestStatic(t *testing.T) {
	n := 0
	s := Static(func() (string, error) { n++; return fmt.Sprintf("password-%d", n), nil })
	var source interface {
		Token(ctx context.Context, rejected string) (string, error)
	} = s
	for want := 1; want < 3; want++ {
		if got, err := source.Token(t.Context(), ""); err != nil || got != fmt.Sprintf("password-%d", want) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Token(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSourceChecksTheAccount(t *testing.T) {
	m := newHouse(t, none).replica("s1")
	for _, a := range []Account{{}, {Mailbox: "a", Client: Client{ID: "x", TokenURL: "nonsense"}}, {Mailbox: "a", Client: Client{TokenURL: "https://x/token"}}} {
		if _, err := m.Source(a); err == nil {
			t.Errorf("%+v: no error", a)
		}
	}
	if _, err := m.Source(account("alice", "rt")); err != nil {
		t.Error(err)
	}
}
