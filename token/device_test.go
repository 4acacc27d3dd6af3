package token_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/internal/vault"
	"github.com/mailflume/mailflume/token"
)

// Who is told to slow down asks less often from then on (RFC 8628, section 3.5).
func TestDeviceSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		user, o := w.AddAccount(sim.Exchange, "alice@example.com"), w.OAuth(sim.Exchange)
		o.AddClient(sim.Client{ID: simClient})
		o.PaceDevices(10 * time.Second)
		m := vault.Managers(t, 1, o.HTTPClient().Transport)[0]
		const base = "https://login.example.com/common/oauth2/v2.0/"
		d, err := m.BeginDevice(t.Context(), token.Account{Mailbox: "alice", Subject: user.Address(), Client: token.Client{
			Name: "main", ID: simClient, TokenURL: base + "token", DeviceURL: base + "devicecode", Scopes: []string{sim.ScopeOutlook, "offline_access"},
			Identity: []string{"openid", "email"},
		}}, user.Address())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(25*time.Second, func() { o.ApproveDevice(d.UserCode, user.Address()) })
		start := time.Now()
		if _, err := d.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		// At 5 s, 10 s (too soon: 10 s apart from then on), 20 s and 30 s.
		if took, n := time.Since(start), len(o.Requests()); took != 30*time.Second || n != 4 {
			t.Errorf("%d polls in %v", n, took)
		}
	})
}

// However long the address is where the code is entered, it is shown whole.
func TestDeviceURL(t *testing.T) {
	const address = "https://accounts.mail.some-subsidiary.example.com/realms/people-and-partners/protocol/openid-connect/device"
	l := newLab(t, sim.Exchange)
	l.filter = func(rw http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprintf(rw, `{"device_code":"d","user_code":"ABCD\u001b[2J","verification_uri":%q,"expires_in":900}`, address)
		return true
	}
	d, err := l.manager.BeginDevice(t.Context(), l.account, "")
	l.must(err)
	if d.URL != address || d.UserCode != "ABCD [2J" {
		t.Errorf("%q, %q", d.URL, d.UserCode)
	}
}
