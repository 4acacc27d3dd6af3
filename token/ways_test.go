package token_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/internal/vault"
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
	l.manager = l.replica("s1", vault.New())
	return l
}

func (l *lab) replica(id string, store token.Store) *token.Manager {
	l.Helper()
	key := token.NewKey()
	keys, err := token.NewKeyring(func() (string, error) { return key, nil })
	l.must(err)
	m, err := token.New(token.Config{Store: store, Session: vault.Session(id), Keys: keys, Transport: l.server.Client().Transport})
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

// However often somebody signs in, what the configuration has had all along stays older than that: a client that Google keeps
// in testing wants a sign-in each week.
func TestSignInsAndTheConfiguredToken(t *testing.T) {
	l := newLab(t, sim.Gmail)
	configured := l.user.RefreshToken(simClient)
	l.account.RefreshToken = func() (string, error) { return configured, nil }
	for i := range 50 {
		g, err := l.manager.Redeem(t.Context(), l.account, l.user.RefreshToken(simClient), "alice@example.com")
		l.must(err)
		l.must(l.manager.Save(t.Context(), l.account, g))
		got, err := l.manager.Token(t.Context(), l.account, "")
		l.must(err)
		if granted, _ := g.Token(t.Context(), ""); got != granted {
			t.Fatalf("after %d sign-ins the configured token was taken over in place of what was granted", i+1)
		}
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
