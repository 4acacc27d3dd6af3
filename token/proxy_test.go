package token_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/internal/vault"
	"github.com/mailflume/mailflume/token"
)

// tunnel is a proxy that answers every CONNECT with a status, and if that is 200 joins the client to the target.
func tunnel(t *testing.T, status, target string) (addr string, count *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) //nolint:errcheck // a test
	count = new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close() //nolint:errcheck // a test
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err != nil || r.Method != http.MethodConnect || r.Host != "oauth2.googleapis.com:443" {
					return
				}
				count.Add(1)
				io.WriteString(conn, "HTTP/1.1 "+status+"\r\n\r\n") //nolint:errcheck // the client tells
				if server, err := net.Dial("tcp", target); err == nil && strings.HasPrefix(status, "200") {
					go func() { io.Copy(server, conn); server.Close() }() //nolint:errcheck // either end may close
					io.Copy(conn, server)                                 //nolint:errcheck // either end may close
				}
			}()
		}
	}()
	return l.Addr().String(), count
}

// A token endpoint is reached through a proxy, whose refusal is told apart from an answer that was lost: the refresh token did
// not leave this machine.
func TestProxy(t *testing.T) {
	for _, tt := range []struct{ status, code string }{
		{"200 Connection established", ""},
		{"407 Proxy Authentication Required", "unreachable"},
		{"403 Forbidden", "unreachable"},
		{"502 Bad Gateway", "unreachable"},
		{"away", "unreachable"},
	} {
		t.Run(tt.status, func(t *testing.T) {
			l := newLab(t, sim.Gmail)
			endpoint, err := l.oauth.ListenTLS()
			l.must(err)
			addr, count := tunnel(t, tt.status, strings.TrimPrefix(endpoint, "https://"))
			if tt.status == "away" {
				addr = "127.0.0.1:1"
			}
			trust, err := l.world.ClientTLS()
			l.must(err)
			trust.ServerName = ""
			transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr, User: url.UserPassword("user", "pr0xy-pass")}), TLSClientConfig: trust}
			defer transport.CloseIdleConnections()
			m := vault.Managers(t, 1, transport)[0]
			refresh := l.user.RefreshToken(simClient)
			l.account.Client.TokenURL, l.account.RefreshToken = "https://oauth2.googleapis.com/token", func() (string, error) { return refresh, nil }
			_, err = m.Token(t.Context(), l.account, "")
			if tt.code == "" {
				l.must(err)
				if count.Load() != 1 {
					t.Errorf("the proxy was asked %d times", count.Load())
				}
				return
			}
			var passes *token.UnavailableError
			if !errors.As(err, &passes) || passes.Code != tt.code || !strings.Contains(passes.Hint, "proxy") || strings.Contains(err.Error(), "pr0xy-pass") {
				t.Fatalf("%v", err)
			}
			s, err := m.Status(t.Context(), "alice")
			l.must(err)
			if s.Interrupted {
				t.Error("an answer is said to be lost to a request that was not sent")
			}
		})
	}
}
