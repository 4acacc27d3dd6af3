package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// What does not come from the browser that was sent away is refused and changes nothing; then the right answer goes through.
func TestLoopbackRefuses(t *testing.T) {
	r := newRig(t)
	r.unconnected(sim.Gmail, "box", "127.0.0.1:1", "google", "")
	config, err := configs.Load(r.write())
	r.must(err)
	d, err := openDesk(t.Context(), config)
	r.must(err)
	defer func() { r.must(d.close(t.Context())) }()
	_, account, err := d.account("box")
	r.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	home := "http://" + l.Addr().String()
	consent, err := d.tokens.Begin(account, home, "box@mail.test")
	r.must(err)
	type result struct {
		granted *token.Granted
		err     error
	}
	ended := make(chan result, 1)
	go func() {
		granted, err := awaitBrowser(t.Context(), l, home, consent)
		ended <- result{granted, err}
	}()
	link, err := url.Parse(consent.URL())
	r.must(err)
	state := link.Query().Get("state")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path, host string) (int, string, http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), method, home+path, nil)
		r.must(err)
		if host != "" {
			req.Host = host
		}
		resp, err := client.Do(req)
		r.must(err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		r.must(err)
		return resp.StatusCode, string(text), resp.Header
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	for name, tt := range map[string]struct {
		method, path, host string
		status             int
	}{
		"another host":           {"GET", "/?code=x&state=" + state, "evil.example", 421},
		"another host, our port": {"GET", "/?code=x&state=" + state, net.JoinHostPort("evil.example", strconv.Itoa(int(port))), 421},
		"our host, another port": {"GET", "/?code=x&state=" + state, "127.0.0.1:1", 421},
		"POST":                   {"POST", "/?code=x&state=" + state, "", 405},
		"another path":           {"GET", "/favicon.ico", "", 404},
		"a path below":           {"GET", "/x/?code=x&state=" + state, "", 404},
		"no state":               {"GET", "/?code=x", "", 400},
		"forged state":           {"GET", "/?code=x&state=forged", "", 400},
		"state twice":            {"GET", "/?code=x&state=" + state + "&state=" + state, "", 400},
		"code twice":             {"GET", "/?code=x&code=y&state=" + state, "", 400},
		"the page, too early":    {"GET", "/signed-in", "", 404},
		"markup":                 {"GET", "/?error=<script>alert(1)</script>&state=x", "", 400},
	} {
		status, text, header := ask(tt.method, tt.path, tt.host)
		if status != tt.status || strings.Contains(text, "<script>") || header.Get("Location") != "" ||
			header.Get("Cache-Control") != "no-store" || header.Get("Referrer-Policy") != "no-referrer" || !strings.HasPrefix(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v\n%s", name, status, header, text)
		}
	}
	back, _ := browser(t, consent.URL(), false)
	status, _, header := ask("GET", back.RequestURI()+"&next=https://evil.example/", "")
	if status != http.StatusSeeOther || header.Get("Location") != "/signed-in" {
		t.Errorf("%d, to %q", status, header.Get("Location"))
	}
	if status, text, _ := ask("GET", "/signed-in", ""); status != 200 || !strings.Contains(text, "Signed in.") {
		t.Errorf("%d %s", status, text)
	}
	if got := <-ended; got.err != nil || got.granted == nil {
		t.Errorf("%v", got.err)
	}
}

// A browser that never comes back is not waited for longer than the command is.
func TestLoopbackEndsWithTheCommand(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	stop(cause)
	if _, err := awaitBrowser(ctx, l, "http://"+l.Addr().String(), nil); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}
