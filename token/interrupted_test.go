package token

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeathBetweenAnswerAndSave(t *testing.T) {
	t.Run("lenient", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, lenient)
			a := account("alice", "rt-canary-0")
			dieAfterAnswer(t, h, a)
			if tok := h.must(h.replica("s2"), a, ""); tok != "at-canary-2" {
				t.Errorf("got %q", tok)
			}
			if g := h.stored("alice"); g.Interrupted || g.State != Idle {
				t.Errorf("stored %+v", g)
			}
		})
	})
	t.Run("strict", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, strict)
			a := account("alice", "rt-canary-0")
			dieAfterAnswer(t, h, a)
			m2, m3 := h.replica("s2"), h.replica("s3")
			for i, m := range []*Manager{m2, m3, m2, m3} {
				_, err := m.Token(t.Context(), a, "")
				e := wantError[*GrantError](t, err)
				if !e.Interrupted || !strings.Contains(e.Sentence, "answer to an earlier renewal was lost") || e.Hint == "" || !e.RetryAt.IsZero() {
					t.Errorf("%d: %+v", i, e)
				}
				time.Sleep(24 * time.Hour)
			}
			if h.provider.count() != 2 {
				t.Errorf("%d exchanges, want 2: the lost one and one try", h.provider.count())
			}
			if s, err := m2.Status(t.Context(), "alice"); err != nil || s.State != NeedsPerson {
				t.Errorf("status %+v, %v", s, err)
			}
		})
	})
}

// The store is away while the answer arrives: nothing is used, and nothing is lost.
func TestStoreAwayAtSave(t *testing.T) {
	for _, away := range []time.Duration{5 * time.Second, 5 * time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, strict)
				m, a := h.replica("s1"), account("alice", "rt-canary-0")
				back := time.Now().Add(away)
				h.store.setFail(func(_ string, n int) (error, error) {
					if n >= 1 && h.provider.n > 0 && time.Now().Before(back) {
						return errStore, nil
					}
					return nil, nil
				})
				tok, err := m.Token(t.Context(), a, "")
				if away > saveTimeout {
					wantError[*UnavailableError](t, err)
					time.Sleep(away)
					tok = h.must(m, a, "")
				} else if err != nil {
					t.Fatal(err)
				}
				if tok != "at-canary-1" || h.provider.count() != 1 {
					t.Errorf("got %q after %d exchanges", tok, h.provider.count())
				}
			})
		})
	}
}

// Every write lands and its answer is lost.
func TestLostAcksOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		h.store.fail = func(string, int) (error, error) { return nil, errStore }
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		for range 5 {
			h.must(m, a, "")
			time.Sleep(2 * time.Hour)
		}
		if h.provider.count() != 5 || h.provider.reuses != 0 {
			t.Errorf("%d exchanges, %d reuses", h.provider.count(), h.provider.reuses)
		}
	})
}

// An intent whose session lives is left alone, and one that stands for too long is taken over.
func TestIntentOfALivingSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		a := account("alice", "rt-canary-0")
		h.store.setFail(func(op string, n int) (error, error) {
			if op == "set" && n > 1 || op == "get" && n == 1 {
				return errStore, nil
			}
			return nil, nil
		})
		m1 := h.replica("s1")
		_, err := m1.Token(t.Context(), a, "")
		wantError[*UnavailableError](t, err)
		h.store.setFail(nil) // s1 lives, and nobody asks it again
		m2 := h.replica("s2")
		start := time.Now()
		_, err = m2.Token(t.Context(), a, "")
		if e := wantError[*UnavailableError](t, err); e.Code != "busy" || time.Since(start) > othersWait+time.Second {
			t.Errorf("%+v after %v", e, time.Since(start))
		}
		if h.provider.count() != 1 {
			t.Errorf("%d exchanges", h.provider.count())
		}
		time.Sleep(stuckAfter)
		h.must(m2, a, "")
		// The first one's answer came to nothing, and it takes what is stored.
		if tok := h.must(m1, a, ""); tok != "at-canary-2" || h.provider.count() != 2 {
			t.Errorf("got %q after %d exchanges", tok, h.provider.count())
		}
	})
}

// A session that lapses ends the exchange; one that is renewed meanwhile does not.
func TestExchangeEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		h.provider.latency = 14 * time.Second
		m := h.replica("s1")
		m.session = member{all: h.sessions, id: "s1", left: 2 * time.Second}
		h.must(m, account("alice", "rt-canary-0"), "")
		start := time.Now()
		time.AfterFunc(5*time.Second, func() { h.sessions.kill("s1") })
		_, err := m.Token(t.Context(), account("bob", "rt-canary-0"), "")
		wantError[*UnavailableError](t, err)
		if d := time.Since(start); d > 8*time.Second {
			t.Errorf("after %v", d)
		}
		n := h.provider.count()
		_, err = m.Token(t.Context(), account("carol", "rt-canary-0"), "")
		if e := wantError[*UnavailableError](t, err); e.Code != "session_lapsed" || h.provider.count() != n {
			t.Errorf("%+v", e)
		}
	})
}

// A session that dies and comes back under another id keeps what it was granted and could not save.
func TestNewSessionSavesWhatTheOldOneWasGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		h.store.setFail(func(op string, n int) (error, error) {
			if op == "set" && n > 1 || op == "get" && n == 1 {
				return errStore, nil
			}
			return nil, nil
		})
		_, err := m.Token(t.Context(), a, "")
		wantError[*UnavailableError](t, err)
		h.store.setFail(nil)
		h.sessions.kill("s1")
		m.session = member{all: h.sessions, id: "s1-again", left: 10 * time.Second}
		if tok := h.must(m, a, ""); tok != "at-canary-1" || h.provider.count() != 1 {
			t.Errorf("got %q after %d exchanges", tok, h.provider.count())
		}
	})
}

// The exchange of a session that died meanwhile is not continued under its successor.
func TestExchangeEndsWithTheSessionsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		h.provider.latency = 14 * time.Second
		m := h.replica("s1")
		s := &changing{member: member{all: h.sessions, id: "s1", left: 2 * time.Second}}
		m.session = s
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { s.mu.Lock(); s.id = "s2"; s.mu.Unlock() })
		_, err := m.Token(t.Context(), account("alice", "rt-canary-0"), "")
		wantError[*UnavailableError](t, err)
		if d := time.Since(start); d > 6*time.Second {
			t.Errorf("after %v", d)
		}
	})
}
