package fetcher

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// ProxyError says that a proxy of the environment does not let a connection through.
type ProxyError struct {
	Proxy  string // host:port
	Status string // what it answers
	Hint   string
}

func (e *ProxyError) Error() string { return "the proxy " + e.Proxy + " answers: " + e.Status }

// Proxy returns the proxy through which the environment wants a URL to be reached, nil if none. HTTPS_PROXY says which, or
// ALL_PROXY where it is not set; NO_PROXY says for which hosts none. Both may be lower-case. It is http://, https:// (for
// CONNECT) or socks5://, with a user and a password if need be. What is on this machine is never reached through a proxy.
func Proxy(target *url.URL) (*url.URL, error) {
	env := httpproxy.FromEnvironment()
	env.HTTPSProxy = cmp.Or(env.HTTPSProxy, os.Getenv("ALL_PROXY"), os.Getenv("all_proxy"))
	if target.Scheme == "http" {
		env.HTTPProxy = cmp.Or(env.HTTPProxy, os.Getenv("ALL_PROXY"), os.Getenv("all_proxy"))
	}
	return env.ProxyFunc()(target)
}

// ProxyOf is Proxy for a mail server. Its error says what is wrong with the environment.
func ProxyOf(addr string) (*url.URL, error) {
	through, err := Proxy(&url.URL{Scheme: "https", Host: addr})
	if err != nil {
		return nil, &ProxyError{Proxy: "of HTTPS_PROXY or ALL_PROXY", Status: "nothing, since it is not a URL", Hint: "write http://host:port or socks5://host:port"}
	}
	return through, nil
}

// dialTimeout bounds the connection to a server, and to a proxy with what has to be said to it.
const dialTimeout = 30 * time.Second

// Dial connects to a mail server, through the proxy of the environment if there is one for it. Where a name has addresses of
// IPv6 and IPv4 it tries both, the second a moment after the first.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	direct := &net.Dialer{Timeout: dialTimeout, KeepAlive: 60 * time.Second}
	through, err := ProxyOf(addr)
	if err != nil {
		return nil, err
	}
	if through == nil {
		return direct.DialContext(ctx, network, addr)
	}
	silent := &ProxyError{Proxy: through.Host, Status: fmt.Sprintf("nothing for %v", dialTimeout)}
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, silent)
	defer cancel()
	switch through.Scheme {
	case "socks5", "socks5h":
		return dialSOCKS(ctx, direct, through, network, addr)
	case "http", "https":
		return dialCONNECT(ctx, direct, through, network, addr)
	}
	return nil, &ProxyError{Proxy: through.Host, Status: "nothing, since " + through.Scheme + " is not a kind of proxy we know", Hint: "use http, https or socks5"}
}

// hostPort returns where a proxy is, at the usual port if it names none.
func hostPort(u *url.URL, port string) string {
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
}

const hintProxy = "let it connect to this host and port, or keep the mail server out of it: add its name to NO_PROXY"

// dialSOCKS lets the proxy look the name up (RFC 1928).
func dialSOCKS(ctx context.Context, direct *net.Dialer, through *url.URL, network, addr string) (net.Conn, error) {
	var auth *proxy.Auth
	if u := through.User; u != nil {
		password, _ := u.Password()
		auth = &proxy.Auth{User: u.Username(), Password: password}
	}
	at := hostPort(through, "1080")
	dialer, err := proxy.SOCKS5(network, at, auth, direct)
	if err != nil {
		return nil, err
	}
	return dialer.(proxy.ContextDialer).DialContext(ctx, network, addr) //nolint:forcetypeassert // what SOCKS5 returns is one
}

// dialCONNECT asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6).
func dialCONNECT(ctx context.Context, direct *net.Dialer, through *url.URL, network, addr string) (net.Conn, error) {
	at := hostPort(through, map[string]string{"http": "80", "https": "443"}[through.Scheme])
	conn, err := direct.DialContext(ctx, network, at)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	tunnel, err := connect(ctx, conn, through, addr)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return tunnel, nil
}

func connect(ctx context.Context, conn net.Conn, through *url.URL, addr string) (net.Conn, error) {
	if through.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: through.Hostname()})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		conn = secure
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if u := through.User; u != nil {
		password, _ := u.Password()
		plain := http.Request{Header: http.Header{}}
		plain.SetBasicAuth(u.Username(), password)
		request.Header.Set("Proxy-Authorization", plain.Header.Get("Authorization"))
	}
	if err := request.Write(conn); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	br := bufio.NewReaderSize(conn, 4096)
	answer, err := http.ReadResponse(br, request)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", notEOF(err))
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		e := &ProxyError{Proxy: through.Host, Status: clip(answer.Status)}
		if answer.StatusCode < http.StatusInternalServerError && answer.StatusCode != http.StatusTooManyRequests {
			e.Hint = hintProxy
		}
		if answer.StatusCode == http.StatusProxyAuthRequired {
			e.Hint = "give it the user and password that it wants: http://user:password@host:port"
		}
		return nil, e
	}
	return &tunnelled{Conn: conn, br: br}, nil
}

// tunnelled is a connection of which some may have been read with the proxy's answer.
type tunnelled struct {
	net.Conn
	br *bufio.Reader
}

func (t *tunnelled) Read(p []byte) (int, error) { return t.br.Read(p) }
