package token_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

func TestConsent(t *testing.T) {
	for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(p), func(t *testing.T) {
			l := newLab(t, p)
			for range 2 { // the second time, Google gives a refresh token only because we ask for it
				c := l.begin()
				q, err := url.Parse(c.URL())
				l.must(err)
				for name, least := range map[string]int{"state": 26, "code_challenge": 43, "nonce": 26} {
					if len(q.Query().Get(name)) < least {
						t.Errorf("%s is short", name)
					}
				}
				if q.Query().Get("login_hint") != "alice@example.com" || q.Query().Get("code_challenge_method") != "S256" {
					t.Errorf("%v", q.Query())
				}
				g, err := l.finish(c, l.browse(c.URL()))
				l.must(err)
				if p == sim.Exchange && g.Account != "alice@example.com" {
					t.Errorf("account %q", g.Account)
				}
				l.opens(g)
			}
		})
	}
}

// wants is the error of a sign-in that was refused.
func wants(t *testing.T, err error, code, says string) {
	t.Helper()
	var p interface {
		Advice() (string, string)
	}
	if !errors.As(err, &p) {
		t.Fatalf("got %T %v", err, err)
	}
	sentence, hint := p.Advice()
	if !strings.Contains(err.Error(), "["+code+"]") || !strings.Contains(sentence+" "+hint, says) || sentence == "" || hint == "" {
		t.Errorf("%v: %s / %s; want code %s and %q", err, sentence, hint, code, says)
	}
}

// Whatever is wrong with the answer that the browser brings, nothing is granted, and it is said why.
func TestConsentRefused(t *testing.T) {
	idToken := func(l *lab, claims map[string]any) {
		l.filter = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/token") {
				return false
			}
			body, _ := json.Marshal(claims)
			id := "e30." + base64.RawURLEncoding.EncodeToString(body) + ".x"
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(rw, `{"access_token":"at","refresh_token":"rt","expires_in":3600,"id_token":%q}`, id)
			return true
		}
	}
	tests := []struct {
		name     string
		provider sim.Provider
		before   func(l *lab)
		change   func(l *lab, answer url.Values) url.Values
		code     string
		says     string
	}{
		{name: "no state", change: func(_ *lab, v url.Values) url.Values { v.Del("state"); return v }, code: "wrong_state", says: "does not belong"},
		{name: "empty state", change: func(_ *lab, v url.Values) url.Values { v.Set("state", ""); return v }, code: "wrong_state"},
		{name: "foreign state", change: func(_ *lab, v url.Values) url.Values {
			v.Set("state", strings.Repeat("A", len(v.Get("state"))))
			return v
		}, code: "wrong_state"},
		{name: "state of another sign-in", change: func(l *lab, v url.Values) url.Values {
			other, _ := url.Parse(l.begin().URL())
			v.Set("state", other.Query().Get("state"))
			return v
		}, code: "wrong_state"},
		{name: "shortened state", change: func(_ *lab, v url.Values) url.Values {
			v.Set("state", v.Get("state")[1:])
			return v
		}, code: "wrong_state"},
		{name: "state twice", change: func(_ *lab, v url.Values) url.Values { v.Add("state", v.Get("state")); return v }, code: "malformed_answer"},
		{name: "code twice", change: func(_ *lab, v url.Values) url.Values { v.Add("code", "x"); return v }, code: "malformed_answer"},
		{name: "issuer twice", change: func(l *lab, v url.Values) url.Values {
			v["iss"] = []string{l.server.URL, "https://evil.example"}
			return v
		}, code: "malformed_answer"},
		{name: "error twice", change: func(_ *lab, v url.Values) url.Values { v["error"] = []string{"a", "b"}; return v }, code: "malformed_answer"},
		{name: "another issuer", change: func(_ *lab, v url.Values) url.Values {
			v.Set("iss", "https://evil.example")
			return v
		}, code: "wrong_issuer", says: "another provider"},
		{name: "issuer over plain HTTP", change: func(l *lab, v url.Values) url.Values {
			v.Set("iss", strings.Replace(l.server.URL, "http:", "ftp:", 1))
			return v
		}, code: "wrong_issuer"},
		{name: "issuer that is none", change: func(_ *lab, v url.Values) url.Values { v.Set("iss", "::"); return v }, code: "wrong_issuer"},
		{name: "issuer with another host in the path", change: func(l *lab, v url.Values) url.Values {
			v.Set("iss", "https://evil.example/"+l.server.URL)
			return v
		}, code: "wrong_issuer"},
		{name: "no code", change: func(_ *lab, v url.Values) url.Values { v.Del("code"); return v }, code: "no_code"},
		{name: "endless code", change: func(_ *lab, v url.Values) url.Values {
			v.Set("code", strings.Repeat("x", 5000))
			return v
		}, code: "no_code"},
		{name: "forged code", change: func(_ *lab, v url.Values) url.Values { v.Set("code", "4/0Aforged"); return v }, code: "invalid_grant"},
		{name: "forged code at Microsoft", provider: sim.Exchange, change: func(_ *lab, v url.Values) url.Values {
			v.Set("code", "0.forged")
			return v
		}, code: "AADSTS70000"},
		{name: "code of another sign-in (PKCE)", change: func(l *lab, v url.Values) url.Values {
			v.Set("code", l.browse(l.begin().URL()).Get("code"))
			return v
		}, code: "invalid_grant"},
		{name: "code of another sign-in at Microsoft (PKCE)", provider: sim.Exchange, change: func(l *lab, v url.Values) url.Values {
			v.Set("code", l.browse(l.begin().URL()).Get("code"))
			return v
		}, code: "AADSTS501481", says: "again"},
		{name: "declined", before: func(l *lab) { l.user.Set(func(q *sim.Quirks) { q.DenyConsent = true }) }, code: "access_denied", says: "denied"},
		{name: "declined at Microsoft", provider: sim.Exchange, before: func(l *lab) { l.user.Set(func(q *sim.Quirks) { q.DenyConsent = true }) }, code: "AADSTS65004", says: "declined"},
		{name: "policy of the Workspace", change: func(_ *lab, v url.Values) url.Values {
			v.Set("error", "admin_policy_enforced")
			return v
		}, code: "admin_policy_enforced", says: "trust client id"},
		{name: "outside the organisation", change: func(_ *lab, v url.Values) url.Values { v.Set("error", "org_internal"); return v }, code: "org_internal", says: "External"},
		{name: "markup in an error", change: func(_ *lab, v url.Values) url.Values {
			v.Set("error", "<script>")
			v.Set("error_description", "a\r\nb\x1b[2J")
			return v
		}, code: "<script>"},
		{name: "box unticked", before: func(l *lab) { l.user.Set(func(q *sim.Quirks) { q.GrantScope = "openid email" }) }, code: "scope_missing", says: "ticked"},
		{name: "scope of Graph", provider: sim.Exchange, before: func(l *lab) {
			l.user.Set(func(q *sim.Quirks) { q.GrantScope = "https://graph.microsoft.com/User.Read offline_access" })
		}, code: "scope_missing", says: "IMAP"},
		{name: "no refresh token from Google", before: func(l *lab) { l.account.Client.SignIn = nil }, code: "no_refresh_token", says: "myaccount.google.com"},
		{name: "no offline_access", provider: sim.Exchange, before: func(l *lab) { l.account.Client.Scopes = l.account.Client.Scopes[:1] }, code: "no_refresh_token", says: "offline_access"},
		{name: "another account at Microsoft", provider: sim.Exchange, before: func(l *lab) {
			l.world.AddAccount(sim.Exchange, "admin@example.com")
		}, change: func(l *lab, v url.Values) url.Values { return v }, code: "wrong_account", says: "--as"},
		{name: "another account by id_token", before: func(l *lab) {
			idToken(l, map[string]any{"email": "mallory@example.com", "email_verified": true})
		}, code: "wrong_account", says: "nothing was stored"},
		{name: "unverified address", before: func(l *lab) {
			idToken(l, map[string]any{"preferred_username": "mallory@example.com", "email": "alice@example.com", "email_verified": false})
		}, code: "wrong_account"},
		{name: "another nonce", before: func(l *lab) { idToken(l, map[string]any{"email": "alice@example.com", "nonce": "old"}) }, code: "wrong_id_token"},
		{name: "audiences of others", before: func(l *lab) {
			idToken(l, map[string]any{"email": "alice@example.com", "aud": []string{"other", "another"}})
		}, code: "wrong_id_token"},
		{name: "another audience", before: func(l *lab) { idToken(l, map[string]any{"email": "alice@example.com", "aud": "other"}) }, code: "wrong_id_token"},
		{name: "redirect of the token endpoint", before: func(l *lab) {
			l.filter = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/evil" {
					l.Error("the redirect was followed")
				}
				if strings.HasSuffix(r.URL.Path, "/token") {
					http.Redirect(rw, r, "/evil", http.StatusTemporaryRedirect)
					return true
				}
				return false
			}
		}, code: "garbage", says: "proxy"},
		{name: "page of a proxy", before: func(l *lab) { l.oauth.Inject(sim.HTMLGarbage(200)) }, code: "not_json", says: "proxy"},
		{name: "wrong secret", before: func(l *lab) { l.oauth.AddClient(sim.Client{ID: simClient, Secret: "other"}) }, code: "invalid_client", says: "secret"},
		{name: "throttled", before: func(l *lab) { l.oauth.Inject(sim.TooManyRequests(time.Minute)) }, code: "temporarily_unavailable", says: "again"},
	}
	if len(tests) < 36 {
		t.Errorf("%d cases", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.provider == "" {
				tt.provider = sim.Gmail
			}
			l := newLab(t, tt.provider)
			if tt.before != nil {
				tt.before(l)
			}
			c := l.begin()
			link := c.URL()
			if tt.name == "another account at Microsoft" {
				link = strings.Replace(link, "alice%40", "admin%40", 1)
			}
			answer := l.browse(link)
			if tt.change != nil {
				answer = tt.change(l, answer)
			}
			_, err := l.finish(c, answer)
			wants(t, err, tt.code, tt.says)
			for _, secret := range []string{"s3cret", answer.Get("code"), "mallory@", "admin@"} {
				if len(secret) > 3 && strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
					t.Errorf("%v shows %q", err, secret)
				}
			}
			status, err := l.manager.Status(t.Context(), "alice")
			if err != nil || status.State != token.Absent {
				t.Errorf("something was stored: %+v, %v", status, err)
			}
		})
	}
}

// An address that nobody has verified is no proof of whose account it is: the grant must open the mailbox first.
func TestConsentOfAnUnverifiedAddress(t *testing.T) {
	const lettersID = "0a1b2c3d-aaaa-bbbb-cccc-ddddeeeeffff"
	for name, tt := range map[string]struct {
		claims map[string]any
		known  bool
	}{
		"verified":               {map[string]any{"email": "alice@example.com", "email_verified": true}, true},
		"verified, in words":     {map[string]any{"email": "alice@example.com", "email_verified": "true"}, true},
		"nobody says":            {map[string]any{"email": "alice@example.com", "preferred_username": "mallory@evil.example"}, false},
		"the sign-in name":       {map[string]any{"email": "info@example.com", "preferred_username": "Alice@example.com"}, true},
		"no claims":              {nil, false},
		"id written in capitals": {map[string]any{"email": "alice@example.com", "email_verified": true, "aud": strings.ToUpper(lettersID)}, true},
	} {
		l := newLab(t, sim.Gmail)
		l.account.Client.ID = lettersID
		l.oauth.AddClient(sim.Client{ID: lettersID, Secret: "s3cret"})
		l.filter = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/token") {
				return false
			}
			body, _ := json.Marshal(tt.claims)
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(rw, `{"access_token":"at","refresh_token":"rt","expires_in":3600,"id_token":%q}`, "e30."+base64.RawURLEncoding.EncodeToString(body)+".x")
			return true
		}
		c := l.begin()
		g, err := l.finish(c, l.browse(c.URL()))
		l.must(err)
		if g.Known() != tt.known {
			t.Errorf("%s: known %v", name, g.Known())
		}
	}
}

// A sign-in is good once, and for ten minutes; an answer that was not meant for it does not use it up.
func TestConsentIsUsedOnce(t *testing.T) {
	l := newLab(t, sim.Gmail)
	c := l.begin()
	answer := l.browse(c.URL())
	_, err := l.finish(c, url.Values{"state": {"forged"}, "code": {"x"}})
	wants(t, err, "wrong_state", "")
	if _, err := l.finish(c, answer); err != nil {
		t.Fatal(err)
	}
	_, err = l.finish(c, answer)
	wants(t, err, "state_used", "Begin again")
	late := l.begin()
	answer = l.browse(late.URL())
	late.Age(11 * time.Minute)
	_, err = l.finish(late, answer)
	wants(t, err, "expired", "Begin again")
	if n := len(l.oauth.Requests()); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// Two providers at once: the code of one never goes to the other.
func TestConsentMixUp(t *testing.T) {
	google, microsoft := newLab(t, sim.Gmail), newLab(t, sim.Exchange)
	at, honest := google.begin(), microsoft.begin()
	answer := microsoft.browse(honest.URL())
	answer.Set("iss", microsoft.server.URL+"/common/v2.0")
	own, err := url.Parse(at.URL())
	google.must(err)
	answer.Set("state", own.Query().Get("state"))
	_, err = google.finish(at, answer)
	wants(t, err, "wrong_issuer", "mix up two providers")
	if n := len(google.oauth.Requests()); n != 0 {
		t.Errorf("the code went to the other provider: %d requests", n)
	}
}

// A shared mailbox is connected by a member, and by nobody else.
func TestConsentOfAMember(t *testing.T) {
	l := newLab(t, sim.Exchange)
	l.world.AddAccount(sim.Exchange, "anna@example.com")
	c, err := l.manager.Begin(l.account, "http://127.0.0.1:7777/callback", "anna@example.com")
	l.must(err)
	g, err := l.finish(c, l.browse(c.URL()))
	l.must(err)
	if g.Account != "anna@example.com" {
		t.Errorf("account %q", g.Account)
	}
	l.opens(g)
}
