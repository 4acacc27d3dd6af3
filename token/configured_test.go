package token

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sent counts the exchanges with a refresh token.
func (p *provider) sent(refresh string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, form := range p.forms {
		if strings.Contains(form+"&", "refresh_token="+refresh+"&") {
			n++
		}
	}
	return n
}

// pastedHouse is a house of a strict provider with a mailbox that is connected, the first token of which was just handed out
// by the replica s1, and what its account is before and after somebody has configured another refresh token, a good one.
func pastedHouse(t *testing.T) (h *house, m *Manager, old, pasted Account, first string) {
	t.Helper()
	h = newHouse(t, strict)
	h.provider.refresh["rt-canary-new"] = true
	m, old, pasted = h.replica("s1"), account("alice", "rt-canary-0"), account("alice", "rt-canary-new")
	return h, m, old, pasted, h.must(m, old, "")
}

// A configured refresh token that the provider refuses costs nothing: it is tried once by one replica, the grant from before
// goes on at a provider that takes each refresh token once, and it is said what is wrong.
func TestConfiguredTokenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		var log bytes.Buffer
		h.log = slog.New(slog.NewTextHandler(&log, nil))
		good, typo := account("alice", "rt-canary-0"), account("alice", "rt-canary-typo")
		replicas := []*Manager{h.replica("s1"), h.replica("s2"), h.replica("s3")}
		h.must(replicas[0], good, "")
		for round := range 30 {
			var wg sync.WaitGroup
			for i, m := range replicas {
				a := good
				if round > 3*i { // they see the new configuration one after the other
					a = typo
				}
				wg.Go(func() { h.must(m, a, "") })
			}
			wg.Wait()
			time.Sleep(20 * time.Minute)
		}
		if n := h.provider.sent("rt-canary-typo"); n != 1 || h.provider.reuses != 0 || h.provider.overlaps != 0 {
			t.Errorf("tried %d times, want once; %d reuses, %d overlaps", n, h.provider.reuses, h.provider.overlaps)
		}
		if n := h.provider.count(); n < 8 || n > 14 {
			t.Errorf("%d exchanges in ten hours: the grant from before is not renewed as ever", n)
		}
		s, err := replicas[1].Status(t.Context(), "alice")
		if err != nil || s.Broken() || s.Problem != nil {
			t.Errorf("%+v, %v", s, err)
		}
		warnings := typo.Forecast(s, time.Now())
		if len(warnings) != 1 || warnings[0].Code != CodeConfiguredRefused || warnings[0].Ahead() {
			t.Fatalf("%+v", warnings)
		}
		for _, want := range []string{"alice was refused", "before is still used", "does not accept", "login.refresh_token", "not tried again", "mailflume token import alice", "invalid_grant"} {
			if text := warnings[0].Sentence + warnings[0].Hint + warnings[0].Detail; !strings.Contains(text, want) {
				t.Errorf("no %q in %q", want, text)
			}
		}
		if got := good.Forecast(s, time.Now()); len(got) != 0 {
			t.Errorf("with the old configuration: %+v", got)
		}
		if n := strings.Count(log.String(), "the configured refresh token was refused"); n != 1 {
			t.Errorf("said %d times in the log", n)
		}
		for _, w := range h.store.writes {
			if strings.Contains(string(w.value), "typo") {
				t.Fatalf("in clear: %s", w.value)
			}
		}
		if strings.Contains(log.String(), "typo") {
			t.Error("in the log")
		}
	})
}

// A configured refresh token that the provider accepts takes the stored one's place, once, whoever sees it first.
func TestConfiguredTokenAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m, old, pasted, _ := pastedHouse(t)
		replicas := []*Manager{m, h.replica("s2"), h.replica("s3")}
		var wg sync.WaitGroup
		for _, m := range replicas {
			for range 5 {
				wg.Go(func() { h.must(m, pasted, "") })
			}
		}
		wg.Wait()
		for range 10 {
			time.Sleep(2 * time.Hour)
			h.must(replicas[1], pasted, "")
			h.must(replicas[2], old, "")
		}
		if n := h.provider.sent("rt-canary-new"); n != 1 || h.provider.reuses != 0 || h.provider.overlaps != 0 {
			t.Errorf("exchanged %d times, want once; %d reuses, %d overlaps", n, h.provider.reuses, h.provider.overlaps)
		}
		// What it was granted goes on, and not what there was before.
		if n := h.provider.sent("rt-canary-1"); n != 0 {
			t.Errorf("the old grant was renewed %d times", n)
		}
		s, err := replicas[0].Status(t.Context(), "alice")
		if err != nil || len(pasted.Forecast(s, time.Now())) != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// Where the provider gives no answer, or the client is refused, the grant from before is used meanwhile and the configured
// one is tried again.
func TestConfiguredTokenUntried(t *testing.T) {
	for name, answer := range map[string]func() *http.Response{
		"away":           func() *http.Response { return reply(503, "") },
		"client refused": func() *http.Response { return reply(401, `{"error":"invalid_client"}`) },
		"throttled":      func() *http.Response { return reply(429, "", "Retry-After", "30") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, m, _, pasted, first := pastedHouse(t)
				h.provider.with(func() {
					h.provider.refresh["rt-canary-bob"] = true
					h.provider.answer = func(int) *http.Response { return answer() }
				})
				for range 60 {
					if tok := h.must(m, pasted, ""); tok != first {
						t.Fatalf("got %q", tok)
					}
					time.Sleep(30 * time.Second)
				}
				if n := h.provider.count(); n < 2 || n > 12 {
					t.Errorf("%d exchanges in half an hour", n)
				}
				s, err := m.Status(t.Context(), "alice")
				if w := pasted.Forecast(s, time.Now()); err != nil || len(w) != 1 || w[0].Code != CodeConfiguredUntried || !strings.Contains(w[0].Hint, "tried again by itself") {
					t.Errorf("%+v, %v", w, err)
				}
				h.provider.with(func() { h.provider.answer = nil })
				h.must(m, account("bob", "rt-canary-bob"), "") // the client itself was not given up
				time.Sleep(time.Hour)
				if tok := h.must(m, pasted, ""); tok == first || h.stored("alice").refresh.Reveal() == "rt-canary-1" {
					t.Errorf("got %q", tok)
				}
				if s, err = m.Status(t.Context(), "alice"); err != nil || len(pasted.Forecast(s, time.Now())) != 0 {
					t.Errorf("%+v, %v", s, err)
				}
			})
		})
	}
}

// A grant that is dead has nothing to lose, and one that an administrator may yet heal is kept.
func TestConfiguredTokenBesideAGrantThatNeedsAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		old, typo := account("alice", "rt-canary-0"), account("alice", "rt-canary-typo")
		m := h.replica("s1")
		h.must(m, old, "")
		time.Sleep(2 * time.Hour)
		h.provider.with(func() {
			h.provider.answer = func(int) *http.Response {
				return reply(400, `{"error":"interaction_required","error_description":"AADSTS53003: blocked","error_codes":[53003]}`)
			}
		})
		_, err := m.Token(t.Context(), old, "")
		wantError[*GrantError](t, err)
		h.provider.with(func() { h.provider.answer = nil })
		_, err = m.Token(t.Context(), typo, "")
		if e := wantError[*GrantError](t, err); e.Code != "AADSTS53003" {
			t.Errorf("%+v", e)
		}
		if n := h.provider.sent("rt-canary-typo"); n != 1 {
			t.Errorf("tried %d times", n)
		}
		time.Sleep(2 * adminRetry)
		h.must(m, typo, "")
	})
}

// Whoever tries a configured refresh token dies: others, with another configuration, go on with the grant from before, which
// was not sent, and the trial is made again by who has that configuration.
func TestDeathDuringTheTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m1, old, pasted, _ := pastedHouse(t)
		m2 := h.replica("s2")
		h.provider.with(func() { h.provider.latency = time.Hour })
		go m1.Token(t.Context(), pasted, "") //nolint:errcheck // it dies
		time.Sleep(time.Second)
		if s := h.stored("alice"); s.State != Refreshing || s.Trying == "" {
			t.Fatalf("%+v", s)
		}
		h.store.setFail(func(string, int) (error, error) { return errStore, nil })
		h.sessions.kill("s1")
		time.Sleep(3 * time.Minute)
		h.store.setFail(nil)
		h.provider.with(func() { h.provider.latency = 0 })
		h.must(m2, old, "")
		time.Sleep(2 * time.Hour)
		h.provider.with(func() { h.provider.answer = func(int) *http.Response { return reply(429, "") } })
		_, err := m2.Token(t.Context(), old, "")
		wantError[*UnavailableError](t, err)
		if g := h.stored("alice"); g.Interrupted || g.Trying != "" {
			t.Errorf("the grant from before is taken for interrupted: %+v", g)
		}
		h.provider.with(func() { h.provider.answer = nil })
		time.Sleep(time.Minute)
		if tok := h.must(m2, old, ""); tok != "at-canary-2" {
			t.Errorf("got %q", tok)
		}
		if tok := h.must(h.replica("s3"), pasted, ""); tok != "at-canary-3" || h.provider.reuses != 0 {
			t.Errorf("got %q, %d reuses", tok, h.provider.reuses)
		}
	})
}

// The trial took so long that another replica took it over: what was granted is not lost.
func TestTrialTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m1, old, pasted, first := pastedHouse(t)
		m2 := h.replica("s2")
		h.provider.with(func() { h.provider.latency = 5 * time.Second })
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { h.must(m1, pasted, "") })
		time.Sleep(time.Second)
		others := &sessions{dead: map[string]bool{"s1": true}} // as the others see it
		m2.session = member{all: others, id: "s2", left: 10 * time.Second}
		wg.Go(func() { h.must(m2, old, first) })
		wg.Wait()
		if g := h.stored("alice"); h.provider.reuses != 0 || h.provider.sent("rt-canary-new") != 1 || g.ImportedAt.Before(stamp(began)) {
			t.Errorf("%d reuses, %d exchanges, %+v", h.provider.reuses, h.provider.sent("rt-canary-new"), g)
		}
		time.Sleep(2 * time.Hour)
		h.must(m2, old, "")
	})
}

// The store is away when the provider has accepted it.
func TestStoreAwayAtTheEndOfTheTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m, _, pasted, first := pastedHouse(t)
		back := time.Now().Add(5 * time.Minute)
		h.store.setFail(func(string, int) (error, error) {
			if h.provider.sent("rt-canary-new") > 0 && time.Now().Before(back) {
				return errStore, nil
			}
			return nil, nil
		})
		if tok := h.must(m, pasted, ""); tok != first {
			t.Errorf("got %q: it was not saved", tok)
		}
		time.Sleep(5 * time.Minute)
		if tok := h.must(m, pasted, ""); tok != "at-canary-2" || h.provider.sent("rt-canary-new") != 1 || h.provider.reuses != 0 {
			t.Errorf("got %q after %d exchanges", tok, h.provider.sent("rt-canary-new"))
		}
	})
}

// What is remembered of a refused token survives the renewals and other tokens. It is sealed: somebody may have configured a
// password by mistake, of which a hash would tell too much.
func TestRefusedTokenIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		m := h.replica("s1")
		h.must(m, account("alice", "rt-canary-0"), "")
		for range 3 {
			for _, typo := range []string{"rt-typo-1", "rt-typo-2", "rt-typo-3", "rt-canary-0"} {
				h.must(m, account("alice", typo), "")
				time.Sleep(time.Hour)
			}
		}
		for _, typo := range []string{"rt-typo-1", "rt-typo-2", "rt-typo-3"} {
			if n := h.provider.sent(typo); n != 1 {
				t.Errorf("%s was tried %d times", typo, n)
			}
		}
		for _, w := range h.store.writes {
			for _, typo := range []string{"rt-typo-1", "rt-typo-2", "rt-typo-3", "rt-canary-0"} {
				if bytes.Contains(w.value, []byte(fingerprintOf("alice", NewSecret(typo)))) {
					t.Fatalf("the hash of %s is readable in %s", typo, w.value)
				}
			}
		}
	})
}
