package sim_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

const verifier = "a-verifier-of-at-least-forty-three-characters-0"

func pkce() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// post sends a form and decodes the answer.
func post(t *testing.T, o *sim.OAuthServer, path string, pairs ...string) (int, map[string]any) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := o.HTTPClient().PostForm("https://login.test"+path, form)
	if err != nil {
		t.Fatal(err)
	}
	body := make(map[string]any)
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// authorize asks for a code and returns what the browser brings back.
func authorize(t *testing.T, o *sim.OAuthServer, path string, pairs ...string) url.Values {
	t.Helper()
	q := url.Values{"redirect_uri": {"http://127.0.0.1:5555/cb"}, "response_type": {"code"}, "state": {"s1"}, "client_id": {"app"}, "code_challenge": {pkce()}, "code_challenge_method": {"S256"}}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	resp, err := o.HTTPClient().Get("https://login.test" + path + "?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusFound {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("authorize: %d %s", resp.StatusCode, body)
	}
	u, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	if u.Query().Get("state") != "s1" {
		t.Errorf("state %q", u.Query().Get("state"))
	}
	return u.Query()
}

func TestGoogleOAuth(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "alice@gmail.test")
	o := w.OAuth(sim.Gmail)
	o.AddClient(sim.Client{ID: "app", Secret: "s"})
	const path = "/o/oauth2/v2/auth"
	back := authorize(t, o, path, "login_hint", a.Address(), "scope", sim.ScopeGmail, "access_type", "offline", "prompt", "consent")
	exchange := []string{"grant_type", "authorization_code", "client_id", "app", "client_secret", "s", "code", back.Get("code"), "redirect_uri", "http://127.0.0.1:5555/cb"}
	if status, body := post(t, o, "/token", append(exchange, "code_verifier", "wrong")...); status != 400 || body["error"] != "invalid_grant" {
		t.Errorf("wrong verifier: %d %v", status, body)
	}
	status, body := post(t, o, "/token", append(exchange, "code_verifier", verifier)...)
	refresh, _ := body["refresh_token"].(string)
	if status != 200 || !strings.HasPrefix(refresh, "1//0g") || !strings.HasPrefix(body["access_token"].(string), "ya29.a0") || body["expires_in"] != 3599.0 {
		t.Fatalf("code exchange: %d %v", status, body)
	}
	if status, body := post(t, o, "/token", append(exchange, "code_verifier", verifier)...); status != 400 || body["error_description"] != "Bad Request" {
		t.Errorf("code used twice: %d %v", status, body)
	}
	status, body = post(t, o, "/token", "grant_type", "refresh_token", "client_id", "app", "client_secret", "s", "refresh_token", refresh)
	if _, again := body["refresh_token"]; status != 200 || again {
		t.Errorf("refresh: %d %v", status, body)
	}
	c := dial(t, w.IMAP(sim.Gmail))
	c.line()
	c.send("a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), body["access_token"].(string)))
	if lines := c.until("a"); !strings.HasSuffix(lines[len(lines)-1], "authenticated (Success)") {
		t.Errorf("login with the refreshed token: %q", lines)
	}

	for name, v := range map[string]struct {
		pairs       []string
		status      int
		code, descr string
	}{
		"wrong secret":   {[]string{"client_id", "app", "client_secret", "x", "refresh_token", refresh}, 401, "invalid_client", "Unauthorized"},
		"no such client": {[]string{"client_id", "none", "refresh_token", refresh}, 401, "invalid_client", "The OAuth client was not found."},
		"foreign token":  {[]string{"client_id", "app", "client_secret", "s", "refresh_token", a.RefreshToken("other")}, 401, "unauthorized_client", "Unauthorized"},
		"garbage":        {[]string{"client_id", "app", "client_secret", "s", "refresh_token", "x"}, 400, "invalid_grant", "Bad Request"},
	} {
		status, body := post(t, o, "/token", append(v.pairs, "grant_type", "refresh_token")...)
		if status != v.status || body["error"] != v.code || body["error_description"] != v.descr {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
	if status, _ := post(t, o, "/revoke", "token", refresh); status != 200 {
		t.Errorf("revoke: %d", status)
	}
	status, body = post(t, o, "/token", "grant_type", "refresh_token", "client_id", "app", "client_secret", "s", "refresh_token", refresh)
	if status != 400 || body["error_description"] != "Token has been expired or revoked." {
		t.Errorf("after revoke: %d %v", status, body)
	}
	// A second consent without prompt=consent gives no refresh token.
	back = authorize(t, o, path, "login_hint", a.Address(), "scope", sim.ScopeGmail, "access_type", "offline")
	_, body = post(t, o, "/token", "grant_type", "authorization_code", "client_id", "app", "client_secret", "s", "code", back.Get("code"), "redirect_uri", "http://127.0.0.1:5555/cb", "code_verifier", verifier)
	if _, has := body["refresh_token"]; has {
		t.Error("a refresh token without prompt=consent")
	}
	a.Set(func(q *sim.Quirks) { q.DenyConsent = true })
	if back := authorize(t, o, path, "login_hint", a.Address()); back.Get("error") != "access_denied" {
		t.Errorf("denied consent: %v", back)
	}
	if status, body := post(t, o, "/device/code", "client_id", "app", "scope", sim.ScopeGmail); status != 400 || body["error"] != "invalid_scope" {
		t.Errorf("device flow: %d %v", status, body)
	}
}

func TestGoogleTestingApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Gmail, "alice@gmail.test")
		o := w.OAuth(sim.Gmail)
		o.AddClient(sim.Client{ID: "app", Testing: true})
		rt := a.RefreshToken("app")
		try := func() int {
			status, _ := post(t, o, "/token", "grant_type", "refresh_token", "client_id", "app", "refresh_token", rt)
			return status
		}
		time.Sleep(6 * 24 * time.Hour)
		if s := try(); s != 200 {
			t.Errorf("after 6 days: %d", s)
		}
		time.Sleep(25 * time.Hour)
		if s := try(); s != 400 {
			t.Errorf("after 7 days: %d", s)
		}
		rt = a.RefreshToken("app")
		for range 100 {
			a.RefreshToken("app")
		}
		if s := try(); s != 400 {
			t.Errorf("with 100 newer ones: %d", s)
		}
	})
}

func TestMicrosoftOAuth(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	o := w.OAuth(sim.Exchange)
	o.AddClient(sim.Client{ID: "app"})
	o.SignIn(a.Address())
	scope := sim.ScopeOutlook + " offline_access"
	back := authorize(t, o, "/organizations/oauth2/v2.0/authorize", "scope", scope)
	const path = "/organizations/oauth2/v2.0/token"
	status, body := post(t, o, path, "grant_type", "authorization_code", "client_id", "app", "code", back.Get("code"), "redirect_uri", "http://127.0.0.1:5555/cb", "code_verifier", verifier)
	if status != 200 || body["scope"] != sim.ScopeOutlook {
		t.Fatalf("code exchange: %d %v", status, body)
	}
	if s := body["expires_in"].(float64); s < 3600 || s > 5400 {
		t.Errorf("expires_in %v", s)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(body["access_token"].(string), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Aud, Scp, Upn, Tid string }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Aud != "https://outlook.office.com" || claims.Scp != "IMAP.AccessAsUser.All" || claims.Upn != a.Address() || claims.Tid != a.Tenant() {
		t.Errorf("claims %+v, %v", claims, err)
	}
	first := body["refresh_token"].(string)
	refresh := func(token string) (int, map[string]any) {
		return post(t, o, path, "grant_type", "refresh_token", "client_id", "app", "refresh_token", token, "scope", scope)
	}
	for range 2 { // lenient: the old one stays good
		if status, body := refresh(first); status != 200 || body["refresh_token"] == first {
			t.Errorf("refresh: %d %v", status, body)
		}
	}
	if n := o.Refreshes(a.Address()); n.Requests != 2 || n.Succeeded != 2 || n.Reused != 1 || n.MaxConcurrent != 1 {
		t.Errorf("counts %+v", n)
	}
	for code, pairs := range map[float64][]string{
		900144: {"client_id", "app", "grant_type", "refresh_token", "refresh_token", first},
		700025: {"client_id", "app", "grant_type", "refresh_token", "refresh_token", first, "client_secret", "x"},
		700016: {"client_id", "none", "grant_type", "refresh_token", "refresh_token", first},
		70000:  {"client_id", "app", "grant_type", "refresh_token", "refresh_token", "x", "scope", scope},
	} {
		_, body := post(t, o, path, pairs...)
		if got := body["error_codes"].([]any)[0]; got != code {
			t.Errorf("got AADSTS%v, want %v: %v", got, code, body)
		}
	}
	for range 16 {
		status, body = refresh(first)
	}
	if status != 400 || !strings.HasPrefix(body["error_description"].(string), "AADSTS50196: ") {
		t.Errorf("loop: %d %v", status, body)
	}
	if _, body := post(t, o, "/nowhere.test/oauth2/v2.0/token", "client_id", "app", "grant_type", "refresh_token"); body["error_codes"].([]any)[0] != 90002.0 {
		t.Errorf("tenant: %v", body)
	}
}

func TestStrictRotation(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	o := w.OAuth(sim.Exchange)
	o.AddClient(sim.Client{ID: "app", Secret: "s"})
	o.SetRotation(sim.RotateStrict)
	refresh := func(token string) (int, map[string]any) {
		return post(t, o, "/common/oauth2/v2.0/token", "grant_type", "refresh_token", "client_id", "app", "client_secret", "s", "refresh_token", token, "scope", sim.ScopeOutlook)
	}
	first := a.RefreshToken("app")
	status, body := refresh(first)
	if status != 200 {
		t.Fatalf("first: %d %v", status, body)
	}
	second := body["refresh_token"].(string)
	access := body["access_token"].(string)
	if status, body := refresh(first); status != 400 || body["error"] != "invalid_grant" {
		t.Errorf("reuse: %d %v", status, body)
	}
	if status, _ := refresh(second); status != 400 {
		t.Errorf("the family lives on: %d", status)
	}
	c := dial(t, w.IMAP(sim.Exchange))
	c.line()
	c.play("C: a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), access) + "\nS: a NO AUTHENTICATE failed.")

	// The answer is lost: the client still has the old token, which is spent.
	lost := a.RefreshToken("app")
	o.Inject(sim.LostAnswer())
	if _, err := o.HTTPClient().PostForm("https://x.test/common/oauth2/v2.0/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "client_secret": {"s"}, "refresh_token": {lost}, "scope": {sim.ScopeOutlook}}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("lost answer: %v", err)
	}
	if status, _ := refresh(lost); status != 400 {
		t.Errorf("after a lost answer: %d", status)
	}
	if n := o.Refreshes(a.Address()); n.Reused != 2 {
		t.Errorf("%d reuses, want 2", n.Reused)
	}
}

func TestMicrosoftAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Exchange, "anna@contoso.test")
		o := w.OAuth(sim.Exchange)
		o.AddClient(sim.Client{ID: "app", Secret: "s"})
		rt := a.RefreshToken("app")
		issued := time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")
		time.Sleep(91 * 24 * time.Hour)
		_, body := post(t, o, "/common/oauth2/v2.0/token", "grant_type", "refresh_token", "client_id", "app", "client_secret", "s", "refresh_token", rt, "scope", "x")
		want := "AADSTS700082: The refresh token has expired due to inactivity. The token was issued on " + issued + " and was inactive for 90.00:00:00. Trace ID: "
		if got := body["error_description"].(string); !strings.HasPrefix(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	})
}

func TestDeviceCode(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	o := w.OAuth(sim.Exchange)
	o.AddClient(sim.Client{ID: "app"})
	start := func() map[string]any {
		_, body := post(t, o, "/common/oauth2/v2.0/devicecode", "client_id", "app", "scope", sim.ScopeOutlook+" offline_access")
		return body
	}
	poll := func(d map[string]any) (int, map[string]any) {
		return post(t, o, "/common/oauth2/v2.0/token", "grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", "app", "device_code", d["device_code"].(string))
	}
	d := start()
	if _, body := poll(d); body["error"] != "authorization_pending" {
		t.Errorf("pending: %v", body)
	}
	o.ApproveDevice(d["user_code"].(string), a.Address())
	if status, body := poll(d); status != 200 || body["refresh_token"] == nil {
		t.Errorf("approved: %d %v", status, body)
	}
	if _, body := poll(d); body["error"] != "bad_verification_code" {
		t.Errorf("used: %v", body)
	}
	d = start()
	o.DeclineDevice(d["user_code"].(string))
	if _, body := poll(d); body["error"] != "authorization_declined" {
		t.Errorf("declined: %v", body)
	}
	o.AutoApproveDevices(a.Address(), 1)
	d = start()
	poll(d)
	if status, _ := poll(d); status != 200 {
		t.Errorf("approved by itself: %d", status)
	}
}

func TestClientCredentials(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	a.Set(func(q *sim.Quirks) { q.AppAccess = []string{"app"} })
	o := w.OAuth(sim.Exchange)
	o.AddClient(sim.Client{ID: "app", Secret: "s"})
	form := []string{"grant_type", "client_credentials", "client_id", "app", "client_secret", "s", "scope", sim.ScopeOutlookApp}
	if _, body := post(t, o, "/common/oauth2/v2.0/token", form...); body["error_codes"].([]any)[0] != 9001023.0 {
		t.Errorf("/common: %v", body)
	}
	_, body := post(t, o, "/"+a.Tenant()+"/oauth2/v2.0/token", form...)
	c := dial(t, w.IMAP(sim.Exchange))
	c.line()
	c.play("C: a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), body["access_token"].(string)) + "\nS: a OK AUTHENTICATE completed.")
}

func TestOAuthFaults(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	o := w.OAuth(sim.Exchange)
	o.AddClient(sim.Client{ID: "app", Secret: "s"})
	rt := a.RefreshToken("app")
	ask := func() *http.Response {
		t.Helper()
		resp, err := o.HTTPClient().PostForm("https://x.test/common/oauth2/v2.0/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "client_secret": {"s"}, "refresh_token": {rt}, "scope": {sim.ScopeOutlook}})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	o.Inject(sim.TooManyRequests(7 * time.Second))
	if r := ask(); r.StatusCode != 429 || r.Header.Get("Retry-After") != "7" {
		t.Errorf("429: %v", r)
	}
	o.Inject(sim.HTMLGarbage(502))
	if r := ask(); r.StatusCode != 502 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
		t.Errorf("garbage: %v", r)
	}
	f := sim.FailWith(sim.MicrosoftError(7000222))
	f.Client, f.When = "app", sim.When{Times: 2}
	o.Inject(f)
	for range 2 {
		if r := ask(); r.StatusCode != 401 {
			t.Errorf("expired secret: %v", r)
		}
	}
	if r := ask(); r.StatusCode != 200 {
		t.Errorf("after the faults: %v", r)
	}
	if n := len(o.Requests()); n != 5 || o.Requests()[2].AADSTS != 7000222 {
		t.Errorf("log: %+v", o.Requests())
	}
}

func TestConcurrentRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Gmail, "alice@gmail.test")
		o := w.OAuth(sim.Gmail)
		o.AddClient(sim.Client{ID: "app"})
		f := sim.SlowToken(time.Second)
		f.When.Times = -1
		o.Inject(f)
		rt := a.RefreshToken("app")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				post(t, o, "/token", "grant_type", "refresh_token", "client_id", "app", "refresh_token", rt)
			})
		}
		wg.Wait()
		if n := o.Refreshes(a.Address()); n.MaxConcurrent != 3 {
			t.Errorf("counts %+v", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "POST", "https://x.test/token", strings.NewReader(""))
		if _, err := o.HTTPClient().Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
	})
}
