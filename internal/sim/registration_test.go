package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// How an application is registered decides where, and with what, it may ask.
func TestRegistrations(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	o := w.OAuth(sim.Exchange)
	for _, c := range []sim.Client{
		{ID: "any"},
		{ID: "single", Tenant: a.Tenant()},
		{ID: "personal", Personal: true},
		{ID: "work", Work: true},
		{ID: "web", Secret: "s"},
	} {
		o.AddClient(c)
	}
	for _, v := range []struct {
		client, tenant, secret string
		code                   float64 // 0: granted
	}{
		{"any", "common", "", 0},
		{"any", "consumers", "", 0},
		{"any", "contoso.test", "", 0},
		{"any", "common", "s", 700025},
		{"single", a.Tenant(), "", 0},
		{"single", "common", "", 50194},
		{"single", "organizations", "", 50194},
		{"personal", "consumers", "", 0},
		{"personal", "common", "", 9002331},
		{"personal", a.Tenant(), "", 9002331},
		{"work", "organizations", "", 0},
		{"work", "consumers", "", 9002332},
		{"web", "common", "s", 0},
		{"web", "common", "", 7000218},
		{"web", "common", "another", 7000215},
		{"any", "nowhere.test", "", 90002},
	} {
		form := []string{"grant_type", "refresh_token", "client_id", v.client, "refresh_token", a.RefreshToken(v.client), "scope", sim.ScopeOutlook}
		if v.secret != "" {
			form = append(form, "client_secret", v.secret)
		}
		status, body := post(t, o, "/"+v.tenant+"/oauth2/v2.0/token", form...)
		codes, _ := body["error_codes"].([]any)
		if v.code == 0 && status != 200 || v.code != 0 && (len(codes) != 1 || codes[0] != v.code) {
			t.Errorf("%s at %s with %q: %d %v", v.client, v.tenant, v.secret, status, body)
		}
	}
	a.Set(func(q *sim.Quirks) { q.Personal = true })
	_, body := post(t, o, "/consumers/oauth2/v2.0/token", "grant_type", "refresh_token", "client_id", "any", "refresh_token", a.RefreshToken("any"), "scope", sim.ScopeOutlook)
	if token, _ := body["access_token"].(string); !strings.HasPrefix(token, "EwB") {
		t.Errorf("a personal account's token: %v", body)
	}
}

// Refresh tokens end with time, and with a new password.
func TestRefreshTokensEnd(t *testing.T) {
	const day = 24 * time.Hour
	for _, v := range []struct {
		name     string
		provider sim.Provider
		client   sim.Client
		wait     time.Duration
		before   func(*sim.Account)
		says     string // "": it lives
	}{
		{"Google's, used within six months", sim.Gmail, sim.Client{}, 179 * day, nil, ""},
		{"Google's, not used for six months", sim.Gmail, sim.Client{}, 181 * day, nil, "Token has been expired or revoked."},
		{"Google's, after a new password", sim.Gmail, sim.Client{Secret: "s"}, 0, (*sim.Account).ChangePassword, "Token has been expired or revoked."},
		{"Microsoft's, within 90 days", sim.Exchange, sim.Client{}, 89 * day, nil, ""},
		{"Microsoft's, of a single-page application", sim.Exchange, sim.Client{SPA: true}, 25 * time.Hour, nil, "AADSTS700084: "},
		{"Microsoft's of a public client, after a new password", sim.Exchange, sim.Client{}, 0, (*sim.Account).ChangePassword, "AADSTS50173: "},
		{"Microsoft's of a confidential client, after a new password", sim.Exchange, sim.Client{Secret: "s"}, 0, (*sim.Account).ChangePassword, ""},
		{"Microsoft's, revoked", sim.Exchange, sim.Client{Secret: "s"}, 0, (*sim.Account).Revoke, "AADSTS50173: "},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := sim.New(sim.Options{})
				defer w.Close()
				a, o := w.AddAccount(v.provider, "alice@mail.test"), w.OAuth(v.provider)
				v.client.ID = "app"
				o.AddClient(v.client)
				form := []string{"grant_type", "refresh_token", "client_id", "app", "refresh_token", a.RefreshToken("app"), "scope", sim.ScopeOutlook}
				if v.client.Secret != "" {
					form = append(form, "client_secret", v.client.Secret)
				}
				if v.before != nil {
					v.before(a)
				}
				time.Sleep(v.wait)
				path := map[sim.Provider]string{sim.Gmail: "/token", sim.Exchange: "/common/oauth2/v2.0/token"}[v.provider]
				status, body := post(t, o, path, form...)
				if text := fmt.Sprint(body["error_description"]); (status == 200) != (v.says == "") || v.says != "" && !strings.HasPrefix(text, v.says) {
					t.Errorf("%d %v", status, body)
				}
			})
		})
	}
}

// A device code is polled at the pace that the endpoint wants, and while it lasts.
func TestDeviceCodePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a, o := w.AddAccount(sim.Exchange, "anna@contoso.test"), w.OAuth(sim.Exchange)
		o.AddClient(sim.Client{ID: "app"})
		o.PaceDevices(5 * time.Second)
		start := func() map[string]any {
			_, body := post(t, o, "/common/oauth2/v2.0/devicecode", "client_id", "app", "scope", sim.ScopeOutlook+" offline_access")
			return body
		}
		poll := func(d map[string]any) any {
			_, body := post(t, o, "/common/oauth2/v2.0/token", "grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", "app", "device_code", d["device_code"].(string))
			return body["error"]
		}
		d := start()
		for _, v := range []struct {
			wait time.Duration
			want any
		}{
			{0, "authorization_pending"},
			{time.Second, "slow_down"},
			{5 * time.Second, "authorization_pending"},
		} {
			time.Sleep(v.wait)
			if got := poll(d); got != v.want {
				t.Errorf("after %v: %v, want %v", v.wait, got, v.want)
			}
		}
		o.ApproveDevice(d["user_code"].(string), a.Address())
		if got := poll(d); got != "slow_down" {
			t.Errorf("approved, too soon: %v", got)
		}
		time.Sleep(5 * time.Second)
		if got := poll(d); got != nil {
			t.Errorf("approved: %v", got)
		}
		d = start()
		time.Sleep(16 * time.Minute)
		if got := poll(d); got != "expired_token" {
			t.Errorf("after 16 minutes: %v", got)
		}
	})
}

// Microsoft's errors come in two forms, and with what support asks for.
func TestMicrosoftErrorForms(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	o := w.OAuth(sim.Exchange)
	o.AddClient(sim.Client{ID: "app"})
	for _, lines := range []bool{false, true} {
		e := sim.MicrosoftError(65001)
		e.CRLF = lines
		o.Inject(sim.FailWith(e))
		_, body := post(t, o, "/common/oauth2/v2.0/token", "grant_type", "refresh_token", "client_id", "app", "refresh_token", a.RefreshToken("app"), "scope", sim.ScopeOutlook)
		text, _ := body["error_description"].(string)
		if strings.Contains(text, "\r\nTrace ID: ") != lines || body["suberror"] != "consent_required" || body["trace_id"] == "" || body["correlation_id"] == "" {
			t.Errorf("%v", body)
		}
	}
}
