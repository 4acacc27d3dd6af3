package token

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The provider refuses, and meanwhile another token was configured: read again once, then go on with that.
func TestInvalidGrantReadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		h.provider.refresh = map[string]bool{"rt-canary-new": true}
		a := account("alice", "")
		reads := 0
		a.RefreshToken = func() (string, error) {
			reads++
			if reads == 1 {
				return "rt-canary-old", nil
			}
			return "rt-canary-new", nil
		}
		if tok := h.must(h.replica("s1"), a, ""); tok != "at-canary-1" || h.provider.count() != 2 {
			t.Errorf("got %q after %d exchanges", tok, h.provider.count())
		}
	})
}

func TestEndpointAway(t *testing.T) {
	for name, away := range map[string]func(p *provider){
		"a page that says 503": func(p *provider) {
			p.answer = func(int) *http.Response { return reply(503, "<html>down</html>", "Content-Type", "text/html") }
		},
		"no connection": func(p *provider) {
			p.err = func(int) error { return &net.OpError{Op: "dial", Err: errors.New("connection refused")} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			longest := time.Duration(0)
			for _, seconds := range []int{0, 26, 52} { // wherever in the backoff the endpoint comes back
				synctest.Test(t, func(t *testing.T) {
					longest = max(longest, outageOf(t, time.Hour+time.Duration(seconds)*time.Second, away))
				})
			}
			t.Logf("recovered after %v at the latest", longest)
			if longest > time.Minute {
				t.Error("see above")
			}
		})
	}
}

// outageOf lets a mailbox through a time without the token endpoint, while a caller asks every second. Then it asks as a
// worker does, when it was told to and a little later, and returns how long it takes until there is a token.
func outageOf(t *testing.T, outage time.Duration, away func(p *provider)) time.Duration {
	h := newHouse(t, strict)
	m, a := h.replica("s1"), account("alice", "rt-canary-0")
	first := h.must(m, a, "")
	time.Sleep(45 * time.Minute)
	n := h.provider.count()
	h.provider.with(func() { away(h.provider) })
	start := time.Now()
	tokens, failures := 0, 0
	for time.Since(start) < outage {
		tok, err := m.Token(t.Context(), a, "")
		if err == nil {
			tokens++
			if tok != first {
				t.Fatalf("got %q", tok)
			}
		} else {
			failures++
			if e := wantError[*UnavailableError](t, err); e.Wait <= 0 || e.Wait > longestWait {
				t.Fatalf("wait %v", e.Wait)
			}
		}
		time.Sleep(time.Second)
	}
	tries, looks := float64(h.provider.count()-n)/outage.Hours(), float64(h.provider.heads)/outage.Hours()
	if tokens < 800 || failures < 2500 {
		t.Errorf("%d tokens and %d failures", tokens, failures)
	}
	h.provider.with(func() { h.provider.answer, h.provider.err = nil, nil })
	back := time.Now()
	for {
		_, err := m.Token(t.Context(), a, "")
		if err == nil {
			break
		}
		wait := wantError[*UnavailableError](t, err).Wait
		time.Sleep(wait + wait/10)
	}
	t.Logf("%.1f tries and %.1f looks an hour, the old token handed out %d times, recovered %v after the return", tries, looks, tokens, time.Since(back))
	if tries > 40 || looks > 360 {
		t.Error("see above")
	}
	return time.Since(back)
}

func TestSlowEndpointIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		h.provider.latency = time.Hour
		start := time.Now()
		_, err := h.replica("s1").Token(t.Context(), account("alice", "rt-canary-0"), "")
		if e := wantError[*UnavailableError](t, err); e.Code != "no_answer" {
			t.Errorf("%+v", e)
		}
		if d := time.Since(start); d > 16*time.Second {
			t.Errorf("after %v", d)
		}
		if g := h.stored("alice"); !g.Interrupted || g.State != Idle {
			t.Errorf("stored %+v", g)
		}
	})
}

func TestNeedsPersonRetriesWhereAnAdministratorCanHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		h.provider.answer = func(int) *http.Response {
			return reply(400, `{"error":"interaction_required","error_description":"AADSTS53003: Access has been blocked by Conditional Access policies.","error_codes":[53003]}`)
		}
		for range 60 { // minutes
			_, err := m.Token(t.Context(), a, "")
			if e := wantError[*GrantError](t, err); e.Code != "AADSTS53003" || e.RetryAt.IsZero() {
				t.Fatalf("%+v", e)
			}
			time.Sleep(time.Minute)
		}
		if h.provider.count() != 1 {
			t.Errorf("%d exchanges, want 1", h.provider.count())
		}
		h.provider.answer = nil
		h.must(m, a, "")
	})
}

// What another endpoint than the token endpoint does not answer is said of that one, with its own port.
func TestTheEndpointThatWasAskedIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, none)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		h.must(m, a, "")
		h.provider.err = func(int) error { return &net.OpError{Op: "dial", Err: errors.New("connection refused")} }
		for endpoint, address := range map[string]string{
			"https://revoke.example.com/r": "revoke.example.com:443", "https://revoke.example.com:8443/r": "revoke.example.com:8443", "http://localhost/r": "localhost:80",
		} {
			a.Client.RevokeURL, a.Client.DeviceURL, a.Client.InfoURL = endpoint, endpoint, endpoint
			_, err := m.Revoke(t.Context(), a)
			_, deviceErr := m.BeginDevice(t.Context(), a, "")
			_, _, infoErr := m.Inspect(t.Context(), a, "at-canary-1")
			for _, err := range []error{err, deviceErr, infoErr} {
				if e := wantError[*UnavailableError](t, err); !strings.Contains(e.Sentence, strings.TrimSuffix(strings.TrimSuffix(address, ":443"), ":80")) || !strings.Contains(e.Hint, "Allow "+address+" in") {
					t.Errorf("%s: %s %s", endpoint, e.Sentence, e.Hint)
				}
			}
		}
	})
}
