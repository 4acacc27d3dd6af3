package token

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// refuses makes the provider answer whoever comes with a refresh token like that with body, and everybody else as always.
func (p *provider) refuses(refresh, body string) {
	p.with(func() {
		p.answer = func(n int) *http.Response {
			if strings.Contains(p.forms[n-1], refresh) {
				return reply(400, body)
			}
			return nil
		}
	})
}

// What the operator must mend for one mailbox, its tenant or its domain holds up no other mailbox of the client; and what is
// wrong with the client is asked once for all of them.
func TestOneMailboxHoldsUpNoOther(t *testing.T) {
	const microsoft, many = "https://login.example.com/tenant-1/oauth2/v2.0/token", "https://login.example.com/common/oauth2/v2.0/token"
	for _, tt := range []struct {
		name, url, body string
		others          int // exchanges for another mailbox meanwhile
	}{
		{"a refresh token that is none", microsoft, `{"error":"invalid_request","error_description":"AADSTS9002313: Invalid request. Request is malformed or invalid.","error_codes":[9002313]}`, 1},
		{"an answer that nobody knows", microsoft, `{"error":"strange"}`, 1},
		{"the app is not in the mailbox's tenant", many, `{"error":"unauthorized_client","error_description":"AADSTS700016","error_codes":[700016]}`, 1},
		{"the app is disabled in the mailbox's tenant", many, `{"error":"unauthorized_client","error_description":"AADSTS7000112","error_codes":[7000112]}`, 1},
		{"the domain has not delegated", microsoft, `{"error":"unauthorized_client","error_description":"Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."}`, 1},
		{"the app is not in the client's tenant", microsoft, `{"error":"unauthorized_client","error_description":"AADSTS700016","error_codes":[700016]}`, 0},
		{"the secret has expired", many, `{"error":"invalid_client","error_description":"AADSTS7000222","error_codes":[7000222]}`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, lenient)
				h.provider.refuses("rt-bad", tt.body)
				m := h.replica("s1")
				bad, good := account("bad", "rt-bad"), account("good", "rt-canary-0")
				bad.Client.TokenURL, good.Client.TokenURL = tt.url, tt.url
				for range 3 { // it is asked once, whoever waits for it
					_, err := m.Token(t.Context(), bad, "")
					wantError[*ClientError](t, err)
				}
				if n := h.provider.count(); n != 1 {
					t.Fatalf("%d exchanges", n)
				}
				_, err := m.Token(t.Context(), good, "")
				if n := h.provider.count() - 1; n != tt.others || (err == nil) != (tt.others == 1) {
					t.Errorf("the other mailbox: %d exchanges, want %d; %v", n, tt.others, err)
				}
				s, err := m.Status(t.Context(), "bad")
				if err != nil || s.ProblemOf != OfOperator || !s.Broken() {
					t.Errorf("%+v, %v", s, err)
				}
				// Another replica knows it from the record, and all try again in time.
				other := h.replica("s2")
				before := h.provider.count()
				if tt.others == 1 {
					_, err = other.Token(t.Context(), bad, "")
					wantError[*ClientError](t, err)
					if n := h.provider.count(); n != before {
						t.Errorf("another replica asked again")
					}
				}
				h.provider.with(func() { h.provider.answer, h.provider.refresh["rt-bad"] = nil, true })
				time.Sleep(clientRetry + time.Second)
				h.must(other, bad, "")
				if s, err := m.Status(t.Context(), "bad"); err != nil || s.Broken() {
					t.Errorf("mended: %+v, %v", s, err)
				}
			})
		})
	}
}

// A refresh token that was replaced while the old one was being revoked is revoked too.
func TestRevokeFollowsARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		a := account("alice", "rt-canary-0")
		a.Client.RevokeURL = "https://login.example.com/revoke"
		replica := h.replica("s1")
		first := h.must(replica, a, "")
		var revoked []string
		desk, err := New(Config{Store: h.store, Session: member{all: h.sessions, id: "desk", left: time.Minute}, Keys: replica.keys, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if err := r.ParseForm(); err != nil {
				return nil, err
			}
			revoked = append(revoked, r.PostForm.Get("token"))
			if len(revoked) == 1 {
				h.must(replica, a, first)
			}
			return reply(200, ""), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := desk.Revoke(t.Context(), a); err != nil || !r.AtProvider {
			t.Errorf("%+v, %v", r, err)
		}
		if len(revoked) != 2 || revoked[0] != "rt-canary-1" || revoked[1] != "rt-canary-2" {
			t.Errorf("revoked %q", revoked)
		}
		_, err = replica.Token(t.Context(), a, "")
		if e := wantError[*GrantError](t, err); e.Code != "revoked_here" {
			t.Errorf("%+v", e)
		}
	})
}

// A refresh token that is configured and was never used is a grant, too.
func TestRevokeOfAConfiguredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		a := account("alice", "rt-canary-0")
		a.Client.RevokeURL = "https://login.example.com/revoke"
		var revoked []string
		m, err := New(Config{Store: h.store, Session: member{all: h.sessions, id: "desk", left: time.Minute}, Keys: h.replica("x").keys, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			err := r.ParseForm()
			revoked = append(revoked, r.PostForm.Get("token"))
			return reply(200, ""), err
		})})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := m.Revoke(t.Context(), a); err != nil || !r.AtProvider || r.None || len(revoked) != 1 || revoked[0] != "rt-canary-0" {
			t.Errorf("%+v, %v; revoked %q", r, err, revoked)
		}
		if r, err := m.Revoke(t.Context(), a); err != nil || r.AtProvider || !r.None || len(revoked) != 1 {
			t.Errorf("again: %+v, %v; revoked %q", r, err, revoked)
		}
	})
}

// A renewal under way is waited for, so that what it brings is revoked and not lost.
func TestRevokeWaitsForARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		a := account("alice", "rt-canary-0")
		a.Client.RevokeURL = "https://login.example.com/revoke"
		replica := h.replica("s1")
		first := h.must(replica, a, "")
		var revoked string
		desk, err := New(Config{Store: h.store, Session: member{all: h.sessions, id: "desk", left: time.Minute}, Keys: replica.keys, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			err := r.ParseForm()
			revoked = r.PostForm.Get("token")
			return reply(200, ""), err
		})})
		if err != nil {
			t.Fatal(err)
		}
		renewed := make(chan error, 1)
		go func() {
			_, err := replica.Token(t.Context(), a, first)
			renewed <- err
		}()
		time.Sleep(100 * time.Millisecond) // the endpoint takes 300
		if _, err := desk.Revoke(t.Context(), a); err != nil {
			t.Error(err)
		}
		if err := <-renewed; err != nil && !errors.As(err, new(*GrantError)) {
			t.Error(err)
		}
		if revoked != "rt-canary-2" {
			t.Errorf("revoked %q", revoked)
		}
	})
}

// A replica whose clock was far ahead has written until when to leave the endpoint alone: that holds nobody for years.
func TestWaitsEndAlthoughAClockWasAhead(t *testing.T) {
	for name, was := range map[string]grant{
		"endpoint away":   {State: Idle, Kind: OfNobody},
		"client refused":  {State: Idle, Kind: OfOperator},
		"asks each hour":  {State: NeedsPerson, Kind: OfOwner},
		"24 hours, as it": {State: Idle, Kind: OfNobody},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, lenient)
				m, a := h.replica("s1"), account("alice", "rt-canary-0")
				h.must(m, a, "")
				time.Sleep(2 * time.Hour)
				ahead := h.stored("alice").next(time.Now())
				ahead.State, ahead.Kind, ahead.Problem = was.State, was.Kind, &Problem{Code: "x", Sentence: "X.", Hint: "Y."}
				ahead.NotBefore = time.Now().AddDate(30, 0, 0)
				if name == "24 hours, as it" { // may be what the endpoint asked for
					ahead.NotBefore = time.Now().Add(longestHold)
				}
				if err := m.put(t.Context(), "alice", ahead); err != nil {
					t.Fatal(err)
				}
				before := h.provider.count()
				_, err := m.Token(t.Context(), a, "")
				asked := h.provider.count() - before
				if held := name == "24 hours, as it"; held != (err != nil) || held != (asked == 0) {
					t.Errorf("%v; asked %d times", err, asked)
				}
			})
		})
	}
}
