package token_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// lab is a provider with one account, over real connections, and a Manager.
type lab struct {
	*testing.T
	world   *sim.World
	oauth   *sim.OAuthServer
	user    *sim.Account
	server  *httptest.Server
	manager *token.Manager
	account token.Account
	filter  func(http.ResponseWriter, *http.Request) bool // true: it has answered
}

func newLab(t *testing.T, p sim.Provider) *lab {
	t.Helper()
	l := &lab{T: t, world: sim.New(sim.Options{})}
	t.Cleanup(l.world.Close)
	l.oauth, l.user = l.world.OAuth(p), l.world.AddAccount(p, "alice@example.com")
	l.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if l.filter == nil || !l.filter(rw, r) {
			l.oauth.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(l.server.Close)
	c := sim.Client{ID: simClient, Secret: "s3cret"}
	l.account = token.Account{Mailbox: "alice", Subject: "alice@example.com", Client: token.Client{
		Name: "main", ID: simClient, Secret: func() (string, error) { return "s3cret", nil }, Identity: []string{"openid", "email"},
	}}
	if p == sim.Gmail {
		l.account.Client.AuthorizeURL, l.account.Client.TokenURL = l.server.URL+"/o/oauth2/v2/auth", l.server.URL+"/token"
		l.account.Client.RevokeURL, l.account.Client.DeviceURL = l.server.URL+"/revoke", l.server.URL+"/device/code"
		l.account.Client.Scopes = []string{sim.ScopeGmail}
		l.account.Client.SignIn = map[string]string{"access_type": "offline", "prompt": "consent"}
	} else {
		base := l.server.URL + "/" + l.user.Tenant() + "/oauth2/v2.0/"
		l.account.Client.AuthorizeURL, l.account.Client.TokenURL, l.account.Client.DeviceURL = base+"authorize", base+"token", base+"devicecode"
		l.account.Client.Scopes = []string{sim.ScopeOutlook, "offline_access"}
	}
	l.oauth.AddClient(c)
	l.manager = l.replica("s1", &simStore{values: map[string][]byte{}, at: map[string]uint64{}})
	return l
}

func (l *lab) replica(id string, store token.Store) *token.Manager {
	l.Helper()
	key := token.NewKey()
	keys, err := token.NewKeyring(func() (string, error) { return key, nil })
	l.must(err)
	m, err := token.New(token.Config{Store: store, Session: simSession(id), Keys: keys, Transport: l.server.Client().Transport})
	l.must(err)
	return m
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) begin() *token.Consent {
	l.Helper()
	c, err := l.manager.Begin(l.account, "http://127.0.0.1:7777/callback", "alice@example.com")
	l.must(err)
	return c
}

// browse is the browser: it opens the link, and returns what it is sent back with.
func (l *lab) browse(link string) url.Values {
	l.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(link)
	l.must(err)
	l.must(resp.Body.Close())
	back, err := resp.Location()
	if err != nil {
		l.Fatalf("the authorization endpoint answers %s", resp.Status)
	}
	return back.Query()
}

func (l *lab) finish(c *token.Consent, answer url.Values) (*token.Granted, error) {
	l.Helper()
	return c.Finish(l.Context(), answer)
}

// opens saves what was granted, and sees whether a token comes of it, and another one when that is refused.
func (l *lab) opens(g *token.Granted) {
	l.Helper()
	l.must(l.manager.Save(l.Context(), l.account, g))
	l.renews()
}

func (l *lab) renews() {
	l.Helper()
	first, err := l.manager.Token(l.Context(), l.account, "")
	l.must(err)
	second, err := l.manager.Token(l.Context(), l.account, first)
	l.must(err)
	if first == "" || second == first {
		l.Error("no second token")
	}
}

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

func TestDevice(t *testing.T) {
	l := newLab(t, sim.Exchange)
	l.oauth.AddClient(sim.Client{ID: simClient})
	l.account.Client.Secret = nil
	d, err := l.manager.BeginDevice(t.Context(), l.account, "alice@example.com")
	l.must(err)
	if d.UserCode == "" || d.URL != "https://microsoft.com/devicelogin" {
		t.Errorf("%+v", d)
	}
	d.SetInterval(10 * time.Millisecond)
	time.AfterFunc(50*time.Millisecond, func() { l.oauth.ApproveDevice(d.UserCode, "alice@example.com") })
	g, err := d.Wait(t.Context())
	l.must(err)
	l.opens(g)

	d, err = l.manager.BeginDevice(t.Context(), l.account, "alice@example.com")
	l.must(err)
	d.SetInterval(10 * time.Millisecond)
	l.oauth.DeclineDevice(d.UserCode)
	_, err = d.Wait(t.Context())
	wants(t, err, "AADSTS65004", "declined")
	d.SetInterval(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := d.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	l.oauth.AddClient(sim.Client{ID: simClient, Secret: "s3cret"})
	_, err = l.manager.BeginDevice(t.Context(), l.account, "")
	wants(t, err, "AADSTS7000218", "public client")
	l.account.Client.DeviceURL = ""
	_, err = l.manager.BeginDevice(t.Context(), l.account, "")
	wants(t, err, "no_device_endpoint", "--no-browser")

	google := newLab(t, sim.Gmail)
	_, err = google.manager.BeginDevice(t.Context(), google.account, "")
	wants(t, err, "invalid_scope", "scopes")
}

// keyPair is a key and its certificate, in PEM.
func keyPair(t *testing.T) (*rsa.PrivateKey, *x509.Certificate, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mailflume"}, NotAfter: time.Now().Add(240 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return key, cert, string(text) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// claimsOf checks the signature of an assertion as the provider does, and returns header and claims.
func claimsOf(t *testing.T, jwt string, key *rsa.PublicKey, pss bool) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	if pss {
		err = rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, to) != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	return header, claims
}

// short reports whether an assertion's times are those of one made just now.
func short(claims map[string]any) bool {
	from, _ := claims["iat"].(float64)
	to, _ := claims["exp"].(float64)
	now := float64(time.Now().Unix())
	return from <= now && from > now-60 && to > from && to-from <= 600
}

// An application that signs in as itself, with a secret and with a certificate: no refresh token, and yet one exchange for
// all, and another when the server refuses the token.
func TestApp(t *testing.T) {
	l := newLab(t, sim.Exchange)
	l.account.Client.App, l.account.Client.Scopes = true, []string{sim.ScopeOutlookApp}
	l.renews()
	for _, r := range l.oauth.Requests() {
		if r.Grant != "client_credentials" || r.Scope != sim.ScopeOutlookApp {
			t.Errorf("%+v", r)
		}
	}

	key, cert, text := keyPair(t)
	seen := map[any]bool{}
	l.filter = func(_ http.ResponseWriter, r *http.Request) bool {
		if err := r.ParseForm(); err != nil || r.PostForm.Has("client_secret") {
			t.Errorf("a secret was sent, or %v", err)
		}
		header, claims := claimsOf(t, r.PostForm.Get("client_assertion"), &key.PublicKey, true)
		thumb := sha256.Sum256(cert.Raw)
		if header["alg"] != "PS256" || header["x5t#S256"] != base64.RawURLEncoding.EncodeToString(thumb[:]) ||
			claims["aud"] != l.account.Client.TokenURL || claims["iss"] != simClient || claims["sub"] != simClient || !short(claims) || seen[claims["jti"]] ||
			r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			t.Errorf("header %v, claims %v", header, claims)
		}
		seen[claims["jti"]] = true
		r.PostForm.Set("client_secret", "s3cret") // what the simulator knows
		return false
	}
	l.account.Mailbox, l.account.Client.Credential = "bob", token.Certificate
	l.account.Client.Secret = func() (string, error) { return text, nil }
	l.renews()
	if len(seen) != 2 {
		t.Errorf("%d assertions", len(seen))
	}
	_, err := l.manager.Begin(l.account, "http://127.0.0.1/", "")
	wants(t, err, "no_consent_needed", "mailflume check")
	_, _, other := keyPair(t)
	for name, bad := range map[string]string{
		"empty": "x", "no key": text[strings.Index(text, "-----BEGIN CERT"):], "no certificate": text[:strings.Index(text, "-----BEGIN CERT")],
		"another's key": other[:strings.Index(other, "-----BEGIN CERT")] + text[strings.Index(text, "-----BEGIN CERT"):],
	} {
		l.account.Mailbox = name
		l.account.Client.Secret = func() (string, error) { return bad, nil }
		_, err := l.manager.Token(t.Context(), l.account, "")
		wants(t, err, "secret_unreadable", "certificate")
		if strings.Contains(err.Error(), "BEGIN") {
			t.Error("shows the text")
		}
	}
}

// A permission that is missing is looked for again each hour: nobody can bring another refresh token.
func TestServiceAccount(t *testing.T) {
	l := newLab(t, sim.Gmail)
	key, _, text := keyPair(t)
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "robot@project.iam.gserviceaccount.com", "client_id": "104", "private_key_id": "k1",
		"private_key": text[:strings.Index(text, "-----BEGIN CERT")],
	})
	l.must(err)
	l.account.Client.ID, l.account.Client.Credential = "", token.ServiceKey
	l.account.Client.Secret = func() (string, error) { return string(file), nil }
	delegated := false
	n := 0
	l.filter = func(rw http.ResponseWriter, r *http.Request) bool {
		n++
		l.must(r.ParseForm())
		header, claims := claimsOf(t, r.PostForm.Get("assertion"), &key.PublicKey, false)
		if header["alg"] != "RS256" || header["kid"] != "k1" || claims["iss"] != "robot@project.iam.gserviceaccount.com" || claims["sub"] != "alice@example.com" ||
			claims["scope"] != sim.ScopeGmail || claims["aud"] != l.account.Client.TokenURL || !short(claims) ||
			r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || r.PostForm.Has("client_secret") {
			t.Errorf("header %v, claims %v, form %v", header, claims, r.PostForm)
		}
		rw.Header().Set("Content-Type", "application/json")
		if !delegated {
			rw.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(rw, `{"error":"unauthorized_client","error_description":%q}`, sim.GoogleNotDelegated.Description)
			return true
		}
		fmt.Fprintf(rw, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, l.user.AccessToken(time.Hour))
		return true
	}
	_, err = l.manager.Token(t.Context(), l.account, "")
	wants(t, err, "unauthorized_client", "Domain-wide delegation")
	delegated = true
	l.account.Mailbox, l.account.Client.Name, l.account.Client.TokenURL = "later", "later", l.server.URL+"/token?later"
	l.renews()
	if n != 3 {
		t.Errorf("%d exchanges", n)
	}
	l.account.Client.Secret = func() (string, error) { return `{"type":"authorized_user","private_key":"canary"}`, nil }
	l.account.Mailbox = "bad"
	_, err = l.manager.Token(t.Context(), l.account, "")
	wants(t, err, "secret_unreadable", "service account's key")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

func TestRedeem(t *testing.T) {
	l := newLab(t, sim.Exchange)
	l.oauth.SetRotation(sim.RotateStrict)
	g, err := l.manager.Redeem(t.Context(), l.account, l.user.RefreshToken(simClient), "alice@example.com")
	l.must(err)
	l.opens(g)
	_, err = l.manager.Redeem(t.Context(), l.account, l.user.RefreshToken("another"), "alice@example.com")
	wants(t, err, "AADSTS70000", "was issued to client id")
	_, err = l.manager.Redeem(t.Context(), l.account, l.world.AddAccount(sim.Exchange, "bob@example.com").RefreshToken(simClient), "alice@example.com")
	wants(t, err, "wrong_account", "nothing was stored")
	l.renews()
	if n := l.oauth.Refreshes("alice@example.com"); n.Reused != 0 {
		t.Errorf("%+v", n)
	}
}

// What is imported wins over what the configuration has had all along, and loses to what is configured later.
func TestSaveAndTheConfiguredToken(t *testing.T) {
	l := newLab(t, sim.Exchange)
	configured := l.user.RefreshToken(simClient)
	l.account.RefreshToken = func() (string, error) { return configured, nil }
	g, err := l.manager.Redeem(t.Context(), l.account, l.user.RefreshToken(simClient), "alice@example.com")
	l.must(err)
	l.must(l.manager.Save(t.Context(), l.account, g))
	first, err := l.manager.Token(t.Context(), l.account, "")
	l.must(err)
	if again, _ := g.Token(t.Context(), ""); again != first {
		t.Error("the configured token was taken over")
	}
	n := l.oauth.Refreshes("alice@example.com").Requests
	configured = l.user.RefreshToken(simClient)
	if later, err := l.manager.Token(t.Context(), l.account, ""); err != nil || later == first || l.oauth.Refreshes("alice@example.com").Requests != n+1 {
		t.Errorf("the newly configured token was not taken over: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(p), func(t *testing.T) {
			l := newLab(t, p)
			configured := l.user.RefreshToken(simClient)
			l.account.RefreshToken = func() (string, error) { return configured, nil }
			first, err := l.manager.Token(t.Context(), l.account, "")
			l.must(err)
			if p == sim.Gmail { // an outage changes nothing
				l.oauth.Inject(sim.OAuthFault{Endpoint: "revoke", Status: 503, When: sim.When{Times: 1}})
				_, err = l.manager.Revoke(t.Context(), l.account)
				wants(t, err, "http_503", "again")
				if again, err := l.manager.Token(t.Context(), l.account, ""); err != nil || again != first {
					t.Errorf("%v", err)
				}
			}
			r, err := l.manager.Revoke(t.Context(), l.account)
			l.must(err)
			if r.AtProvider != (p == sim.Gmail) || r.AtProvider == (r.Hint != "") {
				t.Errorf("%+v", r)
			}
			_, err = l.manager.Token(t.Context(), l.account, "")
			wants(t, err, "revoked_here", "mailflume connect alice")
			if r.AtProvider {
				_, err = l.manager.Redeem(t.Context(), l.account, configured, "")
				wants(t, err, "invalid_grant", "")
			}
			if _, err := l.manager.Revoke(t.Context(), l.account); err != nil {
				t.Errorf("a second time: %v", err)
			}
			g, err := l.connect(l.begin())
			l.must(err)
			l.opens(g)
		})
	}
}

func (l *lab) connect(c *token.Consent) (*token.Granted, error) {
	return l.finish(c, l.browse(c.URL()))
}

// Tokens of somebody else's program.
func TestForeign(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	source := token.Command("/bin/cat", file)
	_, err := source.Token(t.Context(), "")
	wants(t, err, "broker_failed", "token_command")
	for _, bad := range []string{"", "\n", "two words", "two\nlines\n"} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = source.Token(t.Context(), "")
		wants(t, err, "broker_garbage", "nothing else")
	}
	if err := os.WriteFile(file, []byte("first-canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := source.Token(t.Context(), "")
	if err != nil || first != "first-canary" {
		t.Fatalf("%q, %v", first, err)
	}
	_, err = source.Token(t.Context(), first)
	wants(t, err, "broker_stale", "renew")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(file, []byte("second-canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if second, err := source.Token(t.Context(), first); err != nil || second != "second-canary" {
		t.Errorf("%q, %v", second, err)
	}
	_, err = token.Command("/bin/sh", "-c", "yes | head -c 100000").Token(t.Context(), "")
	wants(t, err, "broker_failed", "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := token.Command("/bin/sleep", "20").Token(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
