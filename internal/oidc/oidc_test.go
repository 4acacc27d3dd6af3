// Package oidc runs the whole code flow against a certified OpenID provider, the npm package oidc-provider, which insists on
// PKCE, rotates each refresh token and revokes a grant when an old one is used again.
package oidc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/vault"
	"github.com/mailflume/mailflume/token"
)

// start runs the provider and returns its issuer.
func start(t *testing.T) string {
	t.Helper()
	if os.Getenv("OIDC") == "" {
		t.Skip("needs node, and npm ci: make oidc")
	}
	ctx, stop := context.WithCancel(context.Background())
	node := exec.CommandContext(ctx, "node", "server.mjs")
	node.Stderr = os.Stderr
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = node.Wait() }) // it ends by being killed
	lines := make(chan string, 100)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	for {
		select {
		case line, ok := <-lines:
			if strings.HasPrefix(line, "http://127.0.0.1:") {
				return line
			}
			if !ok { // why, it has said on standard error
				t.Fatal("the provider ended")
			}
		case <-time.After(time.Minute):
			t.Fatal("the provider does not start")
		}
	}
}

const redirect = "http://127.0.0.1:53682/"

// browse signs in as a browser does, up to the redirect to us.
func browse(t *testing.T, link string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	arrived := errors.New("arrived")
	var answer url.Values
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) {
			answer = r.URL.Query()
			return arrived
		}
		if len(via) > 10 {
			return errors.New("too many redirects")
		}
		return nil
	}}
	resp, err := browser.Get(link)
	if !errors.Is(err, arrived) {
		status := ""
		if resp != nil {
			status = resp.Status
		}
		t.Fatalf("the sign-in ends with %s, %v", status, err)
	}
	if resp != nil {
		resp.Body.Close() //nolint:errcheck // of a redirect
	}
	return answer
}

func account(issuer string) token.Account {
	return token.Account{Mailbox: "alice", Client: token.Client{
		Name: "certified", ID: "mailflume", Secret: func() (string, error) { return "the-client-secret", nil },
		AuthorizeURL: issuer + "/auth", TokenURL: issuer + "/token", RevokeURL: issuer + "/token/revocation",
		Scopes: []string{"mail", "offline_access"}, Identity: []string{"openid", "email"},
		SignIn: map[string]string{"prompt": "consent"}, Rotates: true,
	}}
}

func connect(t *testing.T, m *token.Manager, a token.Account) error {
	t.Helper()
	consent, err := m.Begin(a, redirect, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	answer := browse(t, consent.URL())
	if answer.Get("iss") == "" {
		t.Error("the provider does not name itself")
	}
	got, err := consent.Finish(t.Context(), answer)
	if err != nil {
		return err
	}
	if got.Account != "alice@example.com" {
		t.Errorf("account %q", got.Account)
	}
	return m.Save(t.Context(), a, got)
}

func TestCodeFlow(t *testing.T) {
	issuer := start(t)
	a, all := account(issuer), vault.Managers(t, 3, nil)
	if err := connect(t, all[0], a); err != nil {
		t.Fatal(err)
	}
	rejected := ""
	for round := range 20 { // three replicas, all at once: a second exchange would be a reuse, and the end of the grant
		var wg sync.WaitGroup
		got := make([]string, 6)
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = all[i%3].Token(t.Context(), a, rejected); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, tok := range got {
			if tok == "" || tok == rejected || tok != got[0] {
				t.Fatalf("round %d: the replicas got different tokens, or the old one", round)
			}
		}
		rejected = got[0]
	}
	r, err := all[0].Revoke(t.Context(), a)
	if err != nil || !r.AtProvider {
		t.Errorf("%+v, %v", r, err)
	}
	var person *token.GrantError
	if _, err := all[1].Token(t.Context(), a, ""); !errors.As(err, &person) {
		t.Errorf("after it was revoked: %v", err)
	}
	if err := connect(t, all[2], a); err != nil {
		t.Error(err)
	}
	if _, err := all[1].Token(t.Context(), a, ""); err != nil {
		t.Errorf("connected again: %v", err)
	}
}

// wire remembers what was sent to the token endpoint.
type wire struct {
	mu    sync.Mutex
	forms []url.Values
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.forms = append(w.forms, form)
	w.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(r)
}

// A refresh token that somebody else uses once more costs the grant. That is said, and the provider is not asked again.
func TestReuse(t *testing.T) {
	issuer := start(t)
	w := &wire{}
	a, m := account(issuer), vault.Managers(t, 1, w)[0]
	if err := connect(t, m, a); err != nil {
		t.Fatal(err)
	}
	rejected := ""
	for range 3 {
		var err error
		if rejected, err = m.Token(t.Context(), a, rejected); err != nil {
			t.Fatal(err)
		}
	}
	old := w.forms[1] // the first refresh, after the code
	if old.Get("grant_type") != "refresh_token" {
		t.Fatalf("it is a %s", old.Get("grant_type"))
	}
	resp, err := http.PostForm(a.Client.TokenURL, old)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("the old refresh token: %v, %v", resp, err)
	}
	resp.Body.Close() //nolint:errcheck // only its status counts
	for range 3 {
		var person *token.GrantError
		if _, err := m.Token(t.Context(), a, rejected); !errors.As(err, &person) || person.Hint == "" {
			t.Errorf("%v", err)
		}
	}
	if n := len(w.forms); n != 4 {
		t.Errorf("%d requests: code, two refreshes, one that was refused", n)
	}
	if err := connect(t, m, a); err != nil {
		t.Error(err)
	}
}

// A code is good for whoever began the sign-in alone.
func TestCodeIsBound(t *testing.T) {
	issuer := start(t)
	a, m := account(issuer), vault.Managers(t, 1, nil)[0]
	mine, err := m.Begin(a, redirect, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	other, err := m.Begin(a, redirect, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	answer, foreign := browse(t, mine.URL()), browse(t, other.URL())
	answer.Set("code", foreign.Get("code"))
	var refused *token.ConsentError
	if _, err := mine.Finish(t.Context(), answer); !errors.As(err, &refused) || refused.Code != "invalid_grant" {
		t.Errorf("%v", err)
	}
}

// What the provider refuses at its door comes back in words.
func TestDenied(t *testing.T) {
	issuer := start(t)
	a, all := account(issuer), vault.Managers(t, 1, nil)
	a.Client.SignIn = map[string]string{"prompt": "none"}
	consent, err := all[0].Begin(a, redirect, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	_, err = consent.Finish(t.Context(), browse(t, consent.URL()))
	var refused *token.ConsentError
	if !errors.As(err, &refused) || refused.Code != "login_required" || refused.Hint == "" {
		t.Errorf("%v", err)
	}
	a = account(issuer)
	a.Client.Scopes = []string{"mail"} // no offline_access
	consent, err = all[0].Begin(a, redirect, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	_, err = consent.Finish(t.Context(), browse(t, consent.URL()))
	if !errors.As(err, &refused) || refused.Code != "no_refresh_token" || !strings.Contains(refused.Hint, "offline_access") {
		t.Errorf("%v", err)
	}
	a = account(issuer)
	consent, err = all[0].Begin(a, redirect, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	_, err = consent.Finish(t.Context(), browse(t, strings.Replace(consent.URL(), "alice%40", "mallory%40", 1)))
	if !errors.As(err, &refused) || refused.Code != "wrong_account" {
		t.Errorf("%v", err)
	}
}

// shelf is a Pending in memory.
type shelf map[string][]byte

func (s shelf) Keep(_ context.Context, key string, value []byte, _ time.Duration) error {
	s[key] = value
	return nil
}

func (s shelf) Kept(_ context.Context, key string) (bool, error) { return s[key] != nil, nil }

func (s shelf) Take(_ context.Context, key string) ([]byte, error) {
	value, ok := s[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	delete(s, key)
	return value, nil
}

// The sign-in of the status page: one replica begins it, another finishes it, and a third renews what came of it.
func TestFlowOfThePage(t *testing.T) {
	issuer := start(t)
	a, all, kept := account(issuer), vault.Managers(t, 3, nil), shelf{}
	consent, err := all[0].Begin(a, redirect, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := consent.Keep(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	answer := browse(t, consent.URL())
	lookUp := func(string) (token.Account, error) { return a, nil }
	resumed, err := all[1].Resume(t.Context(), kept, token.NewSecret(answer.Get("state")), redirect, lookUp)
	if err != nil {
		t.Fatal(err)
	}
	got, err := resumed.Finish(t.Context(), answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := all[1].Save(t.Context(), a, got); err != nil {
		t.Fatal(err)
	}
	rejected := ""
	for i := range 10 { // each rotates the refresh token
		if rejected, err = all[i%3].Token(t.Context(), a, rejected); err != nil {
			t.Fatal(err)
		}
	}
	var refused *token.ConsentError
	if _, err := all[2].Resume(t.Context(), kept, token.NewSecret(answer.Get("state")), redirect, lookUp); !errors.As(err, &refused) || refused.Code != "state_used" {
		t.Errorf("used again: %v", err)
	}
}
