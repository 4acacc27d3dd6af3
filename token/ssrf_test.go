package token_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/internal/vault"
	"github.com/mailflume/mailflume/token"
)

// addresses that a server might want us to ask: ours, the cloud's, and other ways to write them. PORT is a listener's.
var addresses = strings.Fields(`
	http://127.0.0.1:PORT/ http://localhost:PORT/ http://127.1:PORT/ http://2130706433:PORT/ http://0x7f000001:PORT/ http://0177.0.0.1:PORT/
	http://0x7f.1:PORT/ http://127.0.0.2:PORT/ http://127.255.255.254:PORT/ http://[::1]:PORT/ http://[0:0:0:0:0:0:0:1]:PORT/
	http://[::ffff:127.0.0.1]:PORT/ http://[::ffff:7f00:1]:PORT/ http://[::127.0.0.1]:PORT/ http://0.0.0.0:PORT/ http://0:PORT/ http://[::]:PORT/
	http://169.254.169.254/latest/meta-data/ http://2852039166/ http://0xA9FEA9FE/ http://0251.0376.0251.0376/ http://[::ffff:169.254.169.254]/
	http://[fd00:ec2::254]/ http://metadata.google.internal/computeMetadata/v1/ http://[64:ff9b::7f00:1]:PORT/ http://[64:ff9b::a9fe:a9fe]/
	http://[2002:7f00:1::]:PORT/ http://[2002:a9fe:a9fe::]/ http://10.0.0.1/ http://172.16.0.1/ http://192.168.0.1/ http://100.64.0.1/
	http://rebound.example:PORT/ https://login.example@127.0.0.1:PORT/ http://127.0.0.1:PORT#@login.example/ //127.0.0.1:PORT/
	file:///etc/passwd gopher://127.0.0.1:PORT/_x http://login.example.@[::1]:PORT/ http://127。0。0。1:PORT/`)

// Hosts come from the configuration alone. Whatever a provider's answer names, by a redirect of any endpoint, as the page
// of a device code, as issuer, key set or error page, nothing connects to it.
func TestNothingIsFetchedThatAServerNames(t *testing.T) {
	if len(addresses) < 30 {
		t.Fatalf("%d addresses", len(addresses))
	}
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var caught, dialled, asked atomic.Int32
	defer trap.Close() //nolint:errcheck // a test
	go func() {
		for {
			conn, err := trap.Accept()
			if err != nil {
				return
			}
			caught.Add(1)
			conn.Close() //nolint:errcheck // a test
		}
	}()
	_, port, err := net.SplitHostPort(trap.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, sim.Exchange)
	named := ""
	l.filter = func(rw http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		switch {
		case strings.HasSuffix(r.URL.Path, "/redirects"):
			status := []int{301, 302, 303, 307, 308}[asked.Load()%5]
			rw.Header().Set("Location", named)
			rw.WriteHeader(status)
		case strings.HasSuffix(r.URL.Path, "/devicecode"):
			fmt.Fprintf(rw, `{"device_code":"d","user_code":"U","verification_uri":%q,"verification_uri_complete":%q,"expires_in":1}`, named, named)
		default:
			header, _ := json.Marshal(map[string]string{"alg": "RS256", "jku": named, "x5u": named})
			claims, _ := json.Marshal(map[string]string{"iss": named, "aud": simClient, "email": "alice@example.com"})
			id := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims) + ".x"
			rw.Header().Set("Link", "<"+named+">; rel=next")
			rw.Header().Set("Content-Type", "application/json")
			if asked.Load()%2 == 0 {
				rw.WriteHeader(400)
			}
			fmt.Fprintf(rw, `{"access_token":"at","refresh_token":"rt","expires_in":60,"id_token":%q,"error":"x","error_uri":%q,"issuer":%[2]q,"jwks_uri":%[2]q,"userinfo_endpoint":%[2]q,"instance_url":%[2]q}`, id, named)
		}
		return true
	}
	home := l.server.Listener.Addr().String()
	key := token.NewKey()
	keys, err := token.NewKeyring(func() (string, error) { return key, nil })
	l.must(err)
	for _, address := range addresses {
		named = strings.ReplaceAll(address, "PORT", port)
		m, err := token.New(token.Config{
			Store: vault.New(), Session: vault.Session("s"), Keys: keys,
			Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr != home {
					dialled.Add(1)
					t.Errorf("%s: a connection to %s", address, addr)
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}},
		})
		l.must(err)
		for _, end := range []string{"", "/redirects"} {
			a := l.account
			for _, endpoint := range []*string{&a.Client.TokenURL, &a.Client.DeviceURL, &a.Client.RevokeURL, &a.Client.InfoURL} {
				if *endpoint = l.server.URL + "/token"; end != "" {
					*endpoint = l.server.URL + end
				}
			}
			if end == "" {
				a.Client.DeviceURL = l.server.URL + "/devicecode"
			}
			attempts(t, m, a, named)
		}
	}
	t.Logf("%d addresses, %d requests answered, %d other dials, %d connections", len(addresses), asked.Load(), dialled.Load(), caught.Load())
	if caught.Load() != 0 || asked.Load() < int32(len(addresses))*10 {
		t.Error("see above")
	}
}

// attempts does everything that asks a provider. What comes of it does not matter here.
func attempts(t *testing.T, m *token.Manager, a token.Account, named string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for range 2 {
		if g, err := m.Redeem(ctx, a, "refresh", "alice@example.com"); err == nil {
			_ = m.Save(ctx, a, g) // it may fail
		}
	}
	_, _ = m.Token(ctx, a, "")
	_, _ = m.Token(ctx, a, "at")
	_, _, _ = m.Inspect(ctx, a, "at")
	if d, err := m.BeginDevice(ctx, a, "alice@example.com"); err == nil {
		d.SetInterval(time.Millisecond)
		_, _ = d.Wait(ctx)
	}
	for _, iss := range []string{named, origin(a.Client.AuthorizeURL)} {
		c, err := m.Begin(a, "http://127.0.0.1:7777/callback", "alice@example.com")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Finish(ctx, url.Values{"state": {c.State().Reveal()}, "code": {"x"}, "iss": {iss}, "error_uri": {named}, "session_state": {named}})
	}
	_, _ = m.Revoke(ctx, a)
}

// origin is scheme and host of a URL.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
