package token_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/internal/vault"
	"github.com/mailflume/mailflume/token"
)

const simClient = "00000000-1111-2222-3333-444444444444"

// simReplicas returns n replicas of one account of the provider.
func simReplicas(t *testing.T, n int, w *sim.World, p sim.Provider, transport http.RoundTripper, base string) []*token.Source {
	t.Helper()
	const address = "alice@example.com"
	user := w.AddAccount(p, address)
	w.OAuth(p).AddClient(sim.Client{ID: simClient, Secret: "s3cret"})
	path, scopes := "/token", []string{sim.ScopeGmail}
	if p == sim.Exchange {
		path, scopes = "/common/oauth2/v2.0/token", []string{sim.ScopeOutlook, "offline_access"}
	}
	refresh := user.RefreshToken(simClient)
	var list []*token.Source
	for _, m := range vault.Managers(t, n, transport) {
		s, err := m.Source(token.Account{
			Mailbox: "alice", RefreshToken: func() (string, error) { return refresh, nil },
			Client: token.Client{
				Name: "main", ID: simClient, Secret: func() (string, error) { return "s3cret", nil }, TokenURL: base + path, Scopes: scopes,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// Three replicas over real connections, and a token that the server refuses again and again.
func TestSimulators(t *testing.T) {
	for _, tt := range []struct {
		provider sim.Provider
		rotation sim.Rotation
	}{{sim.Gmail, sim.RotateNone}, {sim.Exchange, sim.RotateLenient}, {sim.Exchange, sim.RotateStrict}} {
		t.Run(string(tt.provider)+"/"+string(tt.rotation), func(t *testing.T) {
			w := sim.New(sim.Options{})
			defer w.Close()
			w.OAuth(tt.provider).SetRotation(tt.rotation)
			server := httptest.NewServer(w.OAuth(tt.provider))
			defer server.Close()
			replicas := simReplicas(t, 3, w, tt.provider, server.Client().Transport, server.URL)
			const rounds = 10
			rejected := ""
			for range rounds {
				var wg sync.WaitGroup
				got := make([]string, 6)
				for i := range got {
					wg.Go(func() {
						var err error
						if got[i], err = replicas[i%3].Token(t.Context(), rejected); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				for _, tok := range got {
					if tok == "" || tok == rejected || tok != got[0] {
						t.Fatalf("the replicas got different tokens, or the old one")
					}
				}
				rejected = got[0]
			}
			want := sim.RefreshCount{Requests: rounds, Succeeded: rounds, MaxConcurrent: 1}
			if n := w.OAuth(tt.provider).Refreshes("alice@example.com"); n != want {
				t.Errorf("%+v, want %+v", n, want)
			}
		})
	}
}

// The simulators' own texts, each in its class.
func TestSimulatedErrors(t *testing.T) {
	person, operator, passes := new(token.GrantError), new(token.ClientError), new(token.UnavailableError)
	google := func(e sim.OAuthError) sim.OAuthFault { return sim.OAuthFault{Error: &e} }
	microsoft := func(n int) sim.OAuthFault { e := sim.MicrosoftError(n); return sim.OAuthFault{Error: &e} }
	tests := []struct {
		provider sim.Provider
		fault    sim.OAuthFault
		want     error
	}{
		{sim.Gmail, google(sim.GoogleRevoked), person},
		{sim.Gmail, google(sim.GoogleBadRequest), person},
		{sim.Gmail, google(sim.GoogleDeletedAccount), person},
		{sim.Gmail, google(sim.GoogleRapt), person},
		{sim.Gmail, google(sim.GoogleForeignToken), person},
		{sim.Gmail, google(sim.GoogleAdminPolicy), person},
		{sim.Gmail, google(sim.GoogleClockSkew), passes},
		{sim.Gmail, google(sim.GoogleNoClient), operator},
		{sim.Gmail, google(sim.GoogleWrongSecret), operator},
		{sim.Gmail, google(sim.GoogleDeletedClient), operator},
		{sim.Gmail, google(sim.GoogleNotDelegated), operator},
		{sim.Exchange, microsoft(700082), person},
		{sim.Exchange, microsoft(50173), person},
		{sim.Exchange, microsoft(65001), person},
		{sim.Exchange, microsoft(50076), person},
		{sim.Exchange, microsoft(53003), person},
		{sim.Exchange, microsoft(700084), person},
		{sim.Exchange, microsoft(7000222), operator},
		{sim.Exchange, microsoft(7000215), operator},
		{sim.Exchange, microsoft(700016), operator},
		{sim.Exchange, microsoft(90002), operator},
		{sim.Exchange, microsoft(50196), passes},
		{sim.Exchange, microsoft(90055), passes},
		{sim.Exchange, sim.OAuthFault{Status: 503, Body: "<html>busy</html>"}, passes},
		{sim.Exchange, sim.OAuthFault{Status: 200, Body: "<html>log in</html>"}, passes},
		{sim.Exchange, sim.OAuthFault{Lost: true}, passes},
	}
	for _, tt := range tests {
		name := fmt.Sprint(tt.fault.Status, tt.fault.Lost)
		if e := tt.fault.Error; e != nil {
			name = fmt.Sprint(e.Code, e.AADSTS, e.Description)
		}
		t.Run(string(tt.provider)+"/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := sim.New(sim.Options{})
				defer w.Close()
				o := w.OAuth(tt.provider)
				s := simReplicas(t, 1, w, tt.provider, o.HTTPClient().Transport, "https://login.example.com")[0]
				tt.fault.When.Times = 1
				o.Inject(tt.fault)
				_, err := s.Token(t.Context(), "")
				if got, want := fmt.Sprintf("%T", root(err)), fmt.Sprintf("%T", tt.want); got != want {
					t.Errorf("%s %v, want %s", got, err, want)
				}
				if strings.Contains(fmt.Sprintf("%v %+v", err, root(err)), "s3cret") {
					t.Error("shows the secret")
				}
			})
		})
	}
}

// root finds our error.
func root(err error) error {
	var g *token.GrantError
	var c *token.ClientError
	var u *token.UnavailableError
	switch {
	case errors.As(err, &g):
		return g
	case errors.As(err, &c):
		return c
	case errors.As(err, &u):
		return u
	}
	return err
}

// The answer is lost on the way: a forgiving provider never notices, and a strict one costs a person, once.
func TestSimulatedLostAnswer(t *testing.T) {
	for _, rotation := range []sim.Rotation{sim.RotateLenient, sim.RotateStrict} {
		t.Run(string(rotation), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := sim.New(sim.Options{})
				defer w.Close()
				o := w.OAuth(sim.Exchange)
				o.SetRotation(rotation)
				s := simReplicas(t, 3, w, sim.Exchange, o.HTTPClient().Transport, "https://login.example.com")
				o.Inject(sim.OAuthFault{Lost: true, When: sim.When{Times: 1}})
				var passes *token.UnavailableError
				if _, err := s[0].Token(t.Context(), ""); !errors.As(err, &passes) {
					t.Fatalf("got %v", err)
				}
				for i := range 30 {
					time.Sleep(10 * time.Minute)
					_, err := s[i%3].Token(t.Context(), "")
					var person *token.GrantError
					if strict := rotation == sim.RotateStrict; errors.As(err, &person) != strict || !strict && err != nil {
						t.Fatalf("got %v", err)
					} else if strict && (!person.Interrupted || !strings.Contains(person.Sentence, "was lost")) {
						t.Fatalf("%+v", person)
					}
				}
				if n := o.Refreshes("alice@example.com"); rotation == sim.RotateStrict && n.Requests != 2 {
					t.Errorf("%+v", n)
				}
			})
		})
	}
}
