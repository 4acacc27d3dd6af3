package fetcher

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/accept"
)

// pipeline joins two connections until one ends.
func pipeline(a, b net.Conn) {
	go func() { io.Copy(a, b); a.Close() }() //nolint:errcheck // either end may close
	io.Copy(b, a)                            //nolint:errcheck
	b.Close()
}

// httpProxy is a proxy for CONNECT that knows one host; credentials may be wanted. It sends the server's first words along
// with its own answer if early.
func httpProxy(host, credentials, target string, early bool, count *atomic.Int32) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		count.Add(1)
		request, err := http.ReadRequest(bufio.NewReader(conn))
		switch {
		case err != nil || request.Method != http.MethodConnect:
			io.WriteString(conn, "HTTP/1.1 405 Method Not Allowed\r\n\r\n") //nolint:errcheck
		case credentials != "" && request.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)):
			io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\nnope") //nolint:errcheck
		case request.Host != host:
			io.WriteString(conn, "HTTP/1.1 403 Forbidden by policy\r\n\r\n") //nolint:errcheck
		default:
			server, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			answer := "HTTP/1.1 200 Connection established\r\n\r\n"
			if early {
				greeting := make([]byte, 10)
				n, _ := server.Read(greeting)
				answer += string(greeting[:n])
			}
			io.WriteString(conn, answer) //nolint:errcheck
			pipeline(conn, server)
		}
	}
}

// socksProxy is a SOCKS5 proxy (RFC 1928) that knows one host; with credentials it wants them (RFC 1929).
func socksProxy(host, credentials, target string, count *atomic.Int32) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		count.Add(1)
		r := bufio.NewReader(conn)
		some := func(n int) []byte { b := make([]byte, n); io.ReadFull(r, b); return b } //nolint:errcheck
		some(int(some(2)[1]))
		if credentials == "" {
			conn.Write([]byte{5, 0})
		} else {
			conn.Write([]byte{5, 2})
			user := some(int(some(2)[1]))
			password := some(int(some(1)[0]))
			if string(user)+":"+string(password) != credentials {
				conn.Write([]byte{1, 1})
				return
			}
			conn.Write([]byte{1, 0})
		}
		head := some(4)
		if head[3] != 3 { // a name, not an address: the proxy is to look it up
			conn.Write([]byte{5, 8, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		name := string(some(int(some(1)[0])))
		port := some(2)
		if net.JoinHostPort(name, strconv.Itoa(int(port[0])<<8|int(port[1]))) != host {
			conn.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		pipeline(conn, server)
	}
}

// noProxies clears what the environment of the test may have.
func noProxies(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"} {
		t.Setenv(name, "")
		t.Setenv(strings.ToLower(name), "")
	}
}

// TestProxy: a mail server is reached through the proxy of the environment, which looks its name up, and its certificate is
// checked all the same; what NO_PROXY names is not, and what a proxy refuses is said without its password.
func TestProxy(t *testing.T) {
	const host = "imap.mail.test:993"
	secure, pool := certificate(t, "imap.mail.test", time.Now().Add(time.Hour), 0)
	f := newFake(t, 1)
	target := accept.Each(t, func(conn net.Conn) { f.serve(tls.Server(conn, secure)) })
	var count atomic.Int32
	open := accept.Each(t, httpProxy(host, "", target, false, &count))
	locked := accept.Each(t, httpProxy(host, "user:s3cret", target, false, &count))
	socks := accept.Each(t, socksProxy(host, "", target, &count))
	lockedSOCKS := accept.Each(t, socksProxy(host, "user:s3cret", target, &count))
	for _, tt := range []struct{ name, variable, value, says string }{
		{"CONNECT", "HTTPS_PROXY", "http://" + open, ""},
		{"without a scheme", "https_proxy", open, ""},
		{"with a password", "HTTPS_PROXY", "http://user:s3cret@" + locked, ""},
		{"with the wrong password", "HTTPS_PROXY", "http://user:wr0ng@" + locked, "407 Proxy Authentication Required"},
		{"SOCKS", "ALL_PROXY", "socks5://" + socks, ""},
		{"SOCKS, as https proxy", "HTTPS_PROXY", "socks5://" + socks, ""},
		{"SOCKS with a password", "all_proxy", "socks5://user:s3cret@" + lockedSOCKS, ""},
		{"SOCKS with the wrong password", "ALL_PROXY", "socks5://user:wr0ng@" + lockedSOCKS, "authentication failed"},
		{"another kind", "HTTPS_PROXY", "ftp://" + open, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noProxies(t)
			t.Setenv(tt.variable, tt.value)
			before := count.Load()
			s, err := Open(t.Context(), Config{Addr: host, User: "u@example.com", RootCAs: pool, Start: Start{All: true}}, secret{"x"})
			if tt.name == "another kind" {
				if err == nil || count.Load() != before {
					t.Error(err)
				}
				return
			}
			if count.Load() == before {
				t.Fatalf("nobody asked the proxy: %v", err)
			}
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "wr0ng") {
					t.Errorf("%v, want %s", err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantUIDs(t, readAll(t.Context(), s, nil), 1)
			s.Close()
		})
	}
	t.Run("refused", func(t *testing.T) {
		noProxies(t)
		t.Setenv("HTTPS_PROXY", "http://"+open)
		var e *ProxyError
		if _, err := Dial(t.Context(), "tcp", "other.mail.test:993"); !errors.As(err, &e) || e.Status != "403 Forbidden by policy" || !strings.Contains(e.Hint, "NO_PROXY") {
			t.Error(err)
		}
	})
	t.Run("another certificate", func(t *testing.T) {
		noProxies(t)
		t.Setenv("HTTPS_PROXY", "http://"+open)
		var e *TLSError
		if _, err := Open(t.Context(), Config{Addr: host, User: "u@example.com"}, secret{"x"}); !errors.As(err, &e) {
			t.Error(err)
		}
	})
}

// TestProxyFirstWords: what a server says before it is asked is not lost if it comes along with the proxy's answer.
func TestProxyFirstWords(t *testing.T) {
	noProxies(t)
	f := newFake(t, 1)
	target := accept.Each(t, f.serve)
	var count atomic.Int32
	t.Setenv("HTTPS_PROXY", "http://"+accept.Each(t, httpProxy("imap.mail.test:143", "", target, true, &count)))
	conn, err := Dial(t.Context(), "tcp", "imap.mail.test:143")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "* OK ready\r\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestProxyEnvironment(t *testing.T) {
	for _, tt := range []struct{ https, all, no, url, want string }{
		{"", "", "", "https://imap.mail.test:993", ""},
		{"http://p:1", "", "", "https://imap.mail.test:993", "http://p:1"},
		{"http://p:1", "socks5://q:2", "", "https://imap.mail.test:993", "http://p:1"},
		{"", "socks5://q:2", "", "https://imap.mail.test:993", "socks5://q:2"},
		{"", "socks5://q:2", "", "http://login.test/token", "socks5://q:2"},
		{"http://p:1", "", "imap.mail.test", "https://imap.mail.test:993", ""},
		{"http://p:1", "", ".mail.test", "https://imap.mail.test:993", ""},
		{"http://p:1", "", "imap.mail.test:143", "https://imap.mail.test:993", "http://p:1"},
		{"http://p:1", "", "10.0.0.0/8", "https://10.1.2.3:993", ""},
		{"http://p:1", "", "*", "https://imap.mail.test:993", ""},
		{"http://p:1", "", "", "https://localhost:993", ""},
		{"http://p:1", "", "", "https://127.0.0.1:993", ""},
		{"http://p:1", "", "", "https://[::1]:993", ""},
	} {
		noProxies(t)
		t.Setenv("HTTPS_PROXY", tt.https)
		t.Setenv("ALL_PROXY", tt.all)
		t.Setenv("NO_PROXY", tt.no)
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if p, err := Proxy(u); err != nil {
			t.Error(err)
		} else if p != nil {
			got = p.String()
		}
		if got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
