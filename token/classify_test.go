package token

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// The answers of a token endpoint, and who must act.
func TestAnswers(t *testing.T) {
	microsoft := func(code, description string, number int) *http.Response {
		return reply(400, fmt.Sprintf(`{"error":%q,"error_description":%q,"error_codes":[%d],"trace_id":"t","correlation_id":"c"}`, code, description, number))
	}
	google := func(status int, code, description string) *http.Response {
		return reply(status, fmt.Sprintf(`{"error":%q,"error_description":%q}`, code, description))
	}
	tests := []struct {
		name   string
		answer *http.Response
		err    error
		want   string // ok, grant, client, unavailable
		code   string
		says   string // in the sentence or the hint
	}{
		{name: "google/revoked", answer: google(400, "invalid_grant", "Token has been expired or revoked."), want: "grant", code: "invalid_grant", says: "revoked the refresh token of alice"},
		{name: "google/foreign", answer: google(400, "invalid_grant", "Bad Request"), want: "grant", says: "client id client-1"},
		{name: "google/deleted account", answer: google(400, "invalid_grant", "Account has been deleted"), want: "grant", says: "deleted"},
		{name: "google/rapt", answer: reply(400, `{"error":"invalid_grant","error_description":"reauth related error (invalid_rapt)","error_subtype":"invalid_rapt"}`), want: "grant", says: "session control"},
		{name: "google/rapt in the subtype", answer: reply(400, `{"error":"invalid_grant","error_description":"Bad","error_subtype":"rapt_required"}`), want: "grant", says: "session control"},
		{name: "google/clock", answer: reply(400, `{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}`, "Date", "Sat, 01 Jan 2000 00:10:00 GMT"), want: "unavailable", says: "behind of the endpoint"},
		{name: "google/jwt signature", answer: google(400, "invalid_grant", "Invalid JWT Signature."), want: "client", says: "service account"},
		{name: "google/no such client", answer: google(401, "invalid_client", "The OAuth client was not found."), want: "client", says: "client id"},
		{name: "google/wrong secret", answer: google(401, "invalid_client", "Unauthorized"), want: "client", says: "secret"},
		{name: "google/delegation", answer: google(401, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."), want: "client", says: "Domain-wide delegation"},
		{name: "google/another client's", answer: google(401, "unauthorized_client", "Unauthorized"), want: "grant", says: "another OAuth client"},
		{name: "google/deleted client", answer: google(401, "deleted_client", "The OAuth client was deleted."), want: "client", code: "deleted_client"},
		{name: "google/admin policy", answer: google(400, "admin_policy_enforced", ""), want: "grant", says: "administrator"},
		{name: "google/scope", answer: google(400, "invalid_scope", ""), want: "client", says: "scopes"},
		{name: "google/error object", answer: reply(403, `{"error":{"code":403,"message":"x"}}`), want: "unavailable"},

		{name: "microsoft/90 days", answer: microsoft("invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity.\r\nTrace ID: 6a1d", 700082), want: "grant", code: "AADSTS700082", says: "stored one is of 2000-01-01"},
		{name: "microsoft/number in the text only", answer: google(400, "invalid_grant", "AADSTS50173: The provided grant has expired due to it being revoked"), want: "grant", code: "AADSTS50173", says: "password"},
		{name: "microsoft/spa", answer: microsoft("invalid_grant", "AADSTS700084", 700084), want: "grant", says: "Single-page"},
		{name: "microsoft/mfa", answer: microsoft("interaction_required", "AADSTS50076", 50076), want: "grant", says: "second factor"},
		{name: "microsoft/consent", answer: microsoft("invalid_grant", "AADSTS65001", 65001), want: "grant", says: "https://login.example.com/tenant-1/adminconsent?client_id=client-1"},
		{name: "microsoft/abuse", answer: microsoft("invalid_grant", "AADSTS70000: User account is found to be in service abuse mode.", 70000), want: "grant", says: "account.live.com"},
		{name: "microsoft/secret expired", answer: microsoft("invalid_client", "AADSTS7000222", 7000222), want: "client", says: "NewClientSecret"},
		{name: "microsoft/secret id", answer: microsoft("invalid_client", "AADSTS7000215", 7000215), want: "client", says: "Use the Value"},
		{name: "microsoft/unknown app", answer: microsoft("unauthorized_client", "AADSTS700016", 700016), want: "client", says: "tenant-1"},
		{name: "microsoft/tenant", answer: microsoft("invalid_request", "AADSTS90002", 90002), want: "client", says: "tenant"},
		{name: "microsoft/loop", answer: microsoft("invalid_grant", "AADSTS50196", 50196), want: "unavailable", says: "refreshes the same token"},
		{name: "microsoft/throttled", answer: reply(429, `{"error":"temporarily_unavailable","error_codes":[90055]}`, "Retry-After", "30"), want: "unavailable", code: "AADSTS90055"},
		{name: "microsoft/unknown number", answer: microsoft("invalid_grant", "AADSTS999999", 999999), want: "grant", code: "AADSTS999999"},

		{name: "interaction_required", answer: google(400, "interaction_required", ""), want: "grant"},
		{name: "consent_required", answer: google(400, "consent_required", ""), want: "grant"},
		{name: "unknown error", answer: google(400, "strange", ""), want: "client", says: "main"},
		{name: "error with 200", answer: google(200, "invalid_grant", ""), want: "grant"},
		{name: "429", answer: reply(429, ``), want: "unavailable", code: "http_429"},
		{name: "429 that says invalid_grant", answer: google(429, "invalid_grant", ""), want: "unavailable"},
		{name: "500", answer: reply(500, `oops`), want: "unavailable", code: "http_500"},
		{name: "503 that says invalid_client", answer: google(503, "invalid_client", ""), want: "unavailable"},
		{name: "HTML with 200", answer: reply(200, `<html>log in to the hotel</html>`, "Content-Type", "text/html"), want: "unavailable", code: "not_json", says: "proxy"},
		{name: "HTML with 403", answer: reply(403, `<html>blocked</html>`, "Content-Type", "text/html"), want: "unavailable", code: "not_json"},
		{name: "truncated JSON", answer: reply(200, `{"access_token":"at","expires_`), want: "unavailable", code: "garbage"},
		{name: "no access_token", answer: reply(200, `{"token_type":"Bearer"}`), want: "unavailable", code: "garbage"},
		{name: "null", answer: reply(200, `null`), want: "unavailable"},
		{name: "empty", answer: reply(200, ``), want: "unavailable"},
		{name: "too large", answer: reply(200, `{"access_token":"at","x":"`+strings.Repeat("x", maxAnswer)+`"}`), want: "unavailable"},
		{name: "cut off", answer: &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"acc`), failing{}))}, want: "unavailable"},
		{name: "redirect", answer: reply(307, ``, "Location", "https://evil.example.com/token"), want: "unavailable"},
		{name: "DNS", err: &net.DNSError{Err: "no such host", Name: "login.example.com"}, want: "unavailable", code: "unreachable", says: "HTTPS_PROXY"},
		{name: "refused", err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}, want: "unavailable", code: "unreachable"},
		{name: "reset", err: &net.OpError{Op: "read", Err: errors.New("connection reset")}, want: "unavailable", code: "no_answer"},

		{name: "ok", answer: reply(200, `{"access_token":"at","expires_in":3600}`), want: "ok"},
		{name: "expires_in string", answer: reply(200, `{"access_token":"at","expires_in":"3600"}`), want: "ok"},
		{name: "expires_in zero", answer: reply(200, `{"access_token":"at","expires_in":0}`), want: "ok"},
		{name: "expires_in negative", answer: reply(200, `{"access_token":"at","expires_in":-5}`), want: "ok"},
		{name: "expires_in words", answer: reply(200, `{"access_token":"at","expires_in":"soon"}`), want: "ok"},
		{name: "expires_in fraction", answer: reply(200, `{"access_token":"at","expires_in":3599.5}`), want: "ok"},
		{name: "expires_in missing", answer: reply(200, `{"access_token":"at"}`), want: "ok"},
		{name: "JSON as text", answer: reply(200, `{"access_token":"at","expires_in":3600}`, "Content-Type", "text/plain"), want: "ok"},
		{name: "scope as asked", answer: reply(200, `{"access_token":"at","scope":"https://outlook.office365.com/IMAP.AccessAsUser.All"}`), want: "ok"},
		{name: "scope of Graph", answer: reply(200, `{"access_token":"at","scope":"https://graph.microsoft.com/User.Read"}`), want: "grant", code: "scope_missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, lenient)
				h.provider.answer = func(int) *http.Response { return tt.answer }
				h.provider.err = func(int) error { return tt.err }
				m, a := h.replica("s1"), account("alice", "rt-canary-0")
				tok, err := m.Token(t.Context(), a, "")
				var p Problem
				switch tt.want {
				case "ok":
					if err != nil || tok != "at" {
						t.Fatalf("got %q, %v", tok, err)
					}
					if g := h.stored("alice"); g.life() != time.Hour {
						t.Errorf("lives %v", g.life())
					}
				case "grant":
					p = wantError[*GrantError](t, err).Problem
				case "client":
					p = wantError[*ClientError](t, err).Problem
				case "unavailable":
					e := wantError[*UnavailableError](t, err)
					if e.Wait <= 0 {
						t.Error("no wait")
					}
					p = e.Problem
				}
				if tt.want != "ok" && (p.Sentence == "" || p.Hint == "" || p.Code == "" || p.At.IsZero()) {
					t.Errorf("%+v", p)
				}
				if text := p.Sentence + p.Hint + p.Detail; strings.ContainsAny(text, "{}\r\n") && !strings.Contains(text, "Graph") {
					t.Errorf("raw text: %q", text)
				}
				if tt.code != "" && p.Code != tt.code || !strings.Contains(p.Sentence+" "+p.Hint, tt.says) {
					t.Errorf("%+v, want code %q and %q", p, tt.code, tt.says)
				}
				// Asked again at once, the answer is the same, without a request.
				tok2, err2 := m.Token(t.Context(), a, "")
				if tok2 != tok || fmt.Sprintf("%T", err2) != fmt.Sprintf("%T", err) {
					t.Errorf("then %q, %v", tok2, err2)
				}
				if n := h.provider.count(); n != 1 {
					t.Errorf("%d exchanges", n)
				}
				if g := h.stored("alice"); g.State == Refreshing {
					t.Error("left refreshing")
				}
			})
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestGoogleTestingApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, none)
		m, a := h.replica("s1"), account("alice", "rt-canary-0")
		h.must(m, a, "")
		time.Sleep(7 * day)
		h.provider.answer = func(int) *http.Response {
			return reply(400, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`)
		}
		_, err := m.Token(t.Context(), a, "")
		if e := wantError[*GrantError](t, err); !strings.Contains(e.Hint, "In production") {
			t.Errorf("%+v", e)
		}
	})
}

func TestFacts(t *testing.T) {
	fill := filler(account("alice", "rt"), &grant{}, nil)
	seen := map[string]bool{}
	for _, table := range [][]fact{googleFacts, microsoftFacts, standardFacts} {
		if len(table) < 10 {
			t.Errorf("only %d facts", len(table))
		}
		for _, k := range table {
			id := fmt.Sprint(k.aadsts, k.code, k.says)
			if seen[id] || k.who == unknown || k.problem == "" || k.hint == "" || k.aadsts == 0 && k.code == "" {
				t.Errorf("%+v", k)
			}
			seen[id] = true
			if text := fill(k.problem + k.hint); strings.ContainsAny(text, "{}") {
				t.Errorf("placeholder left in %q", text)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, " 5 ": 5 * time.Second, "-3": 0, "soon": 0, "999999999": day,
		"Sat, 21 Nov 2026 12:01:30 GMT": 90 * time.Second, "Sat, 21 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// Over a real connection: no redirect is followed, and no more than the limit is read.
func TestHTTPBounds(t *testing.T) {
	var followed atomic.Bool
	var written atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/evil", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/evil", func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	mux.HandleFunc("/flood", func(w http.ResponseWriter, _ *http.Request) {
		for {
			n, err := w.Write(make([]byte, 64<<10))
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	h := newHouse(t, lenient)
	for i, path := range []string{"/redirect", "/flood"} {
		m, err := New(Config{Store: h.store, Session: member{all: h.sessions, id: "s1", left: time.Minute}, Keys: h.replica("x").keys, Transport: server.Client().Transport})
		if err != nil {
			t.Fatal(err)
		}
		a := account(fmt.Sprintf("box%d", i), "rt-canary-0")
		a.Client.TokenURL = server.URL + path
		_, err = m.Token(t.Context(), a, "")
		wantError[*UnavailableError](t, err)
	}
	if followed.Load() {
		t.Error("the redirect was followed")
	}
	if n := written.Load(); n > 32<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

// Whatever an endpoint answers, somebody is told something that can be shown.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"access_token":"at","expires_in":3600,"refresh_token":"rt","scope":"x"}`))
	f.Add(400, "application/json", []byte(`{"error":"invalid_grant","error_description":"AADSTS50173: x\r\nTrace ID: y","error_codes":[50173]}`))
	f.Add(200, "text/plain", []byte(`access_token=at&expires_in=3600`))
	f.Add(302, "", []byte(nil))
	a := account("alice", "rt-canary-0")
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		base := newHTTPClient(roundTripper(func(*http.Request) (*http.Response, error) {
			return reply(status, string(body), "Content-Type", kind), nil
		}))
		got, failed := post(t.Context(), base, a.Client, NewSecret("secret-canary"), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"rt-canary-0"}})
		if failed == nil {
			if got.access.IsZero() || got.life <= 0 {
				t.Errorf("%+v", got)
			}
			return
		}
		v := classify(a, &grant{}, failed, time.Now())
		text := v.problem.Sentence + v.problem.Hint + v.problem.Detail + v.problem.Code + v.problem.TraceID
		if v.who == unknown || v.problem.Sentence == "" || v.problem.Hint == "" || !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00") || len(text) > 3000 ||
			strings.Contains(text, "-canary") {
			t.Errorf("%+v", v)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
