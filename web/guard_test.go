package web_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/html"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/web"
)

// routes are all that there are, and what somebody gets there who comes from another machine, with nothing to show: what may
// be looked at, and a link's own button.
var routes = map[string]struct {
	path   string
	status int
	button bool
}{
	"GET /{$}":                           {"/", 200, false},
	"GET /style.css":                     {"/style.css", 200, false},
	"GET /healthz":                       {"/healthz", 200, false},
	"GET /readyz":                        {"/readyz", 200, false},
	"GET /metrics":                       {"/metrics", 200, false},
	"GET /mailboxes/{id}":                {"/mailboxes/sales", 200, false},
	"POST /mailboxes/{id}/connect":       {"/mailboxes/sales/connect", 403, false},
	"POST /mailboxes/{id}/test":          {"/mailboxes/sales/test", 403, false},
	"GET /oauth/{provider}/callback":     {"/oauth/google/callback?code=x&state=the-state", 303, false},
	"GET /oauth/other/{client}/callback": {"/oauth/other/idp/callback?code=x&state=the-state", 303, false},
	"GET /oauth/answer":                  {"/oauth/answer", 200, false},
	"GET /link/{link}":                   {"/link/good", 200, true},
	"POST /link/{link}":                  {"/link/forged", 403, false},
}

// Each route, as somebody meets it who has no business here: what it lets them do, and what it lets a browser do with it.
func TestEveryRouteFromElsewhere(t *testing.T) {
	found := map[string]bool{}
	for _, file := range []string{"web.go", "connect.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`mux\.Handle(?:Func)?\("([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
			if found[m[1]] = true; routes[m[1]].path == "" {
				t.Errorf("%s is not looked at here", m[1])
			}
		}
	}
	d := desk{}
	h := web.Handler(connected(t, d, status("sales", mailbox.StateParked)))
	for pattern, want := range routes {
		if !found[pattern] {
			t.Errorf("there is no %s any more", pattern)
		}
		method, _, _ := strings.Cut(pattern, " ")
		resp := browse(h, method, want.path, nil, elsewhere)
		if resp.StatusCode != want.status || resp.Header.Get("Refresh") != "" {
			t.Errorf("%s: %s %v", pattern, resp.Status, resp.Header)
		}
		if next := resp.Header.Get("Location"); want.status == 303 && next != home+"/oauth/answer" {
			t.Errorf("%s: on to %q", pattern, next)
		}
		for _, c := range resp.Cookies() {
			if c.Name != "mailflume-answer" { // what is said to be wrong
				t.Errorf("%s: cookie %s", pattern, c)
			}
		}
		inert(t, pattern, resp, want.button)
		if method == http.MethodPost {
			resp := browse(h, method, want.path, nil, func(r *http.Request) { // from here, by another site's page
				r.Header.Set("Sec-Fetch-Site", "cross-site")
				r.Header.Set("Origin", "https://evil.example")
			})
			if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Refresh") != "" || len(resp.Cookies()) > 0 {
				t.Errorf("%s by another site: %s %v", pattern, resp.Status, resp.Header)
			}
			inert(t, pattern, resp, false)
		}
	}
}

// inert fails if an answer could be framed, runs a script, needs one, or takes more into a page than the stylesheet.
func inert(t *testing.T, what string, resp *http.Response, button bool) {
	t.Helper()
	policy := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !slices.Contains(strings.Split(policy, "; "), want) {
			t.Errorf("%s: no %q in %q", what, want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") || strings.Contains(policy, "*") ||
		resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: %v", what, resp.Header)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || resp.StatusCode == http.StatusSeeOther {
		return
	}
	forms := 0
	for z := html.NewTokenizer(strings.NewReader(string(body))); z.Next() != html.ErrorToken; {
		e := z.Token()
		if e.Type != html.StartTagToken && e.Type != html.SelfClosingTagToken {
			continue
		}
		if slices.Contains([]string{"script", "style", "iframe", "frame", "object", "embed", "img", "svg", "base"}, e.Data) {
			t.Errorf("%s: there is %s", what, e)
		}
		if e.Data == "form" {
			forms++
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "formaction" || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
				t.Errorf("%s: %s", what, e)
			}
		}
	}
	if (forms > 0) != button {
		t.Errorf("%s: %d forms", what, forms)
	}
}

// from is a request of a reader at an address, or of one behind a proxy on this machine that says so.
func from(address string, passed ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.RemoteAddr = address
		for _, p := range passed {
			r.Header.Add("X-Forwarded-For", p)
		}
	}
}

// Whoever guesses links, or answers to sign-ins, has to wait after five wrong ones in a minute; nobody else has.
func TestGuessing(t *testing.T) {
	const proxy = "127.0.0.1:4711"
	for name, tt := range map[string]struct{ guesser, same, other func(*http.Request) }{
		"from another machine":  {from("192.0.2.7:1"), from("192.0.2.7:2"), from("192.0.2.8:1")},
		"over IPv6":             {from("[2001:db8:0:7::1]:1"), from("[2001:db8:0:7:ffff::2]:2"), from("[2001:db8:0:8::1]:1")},
		"through a proxy":       {from(proxy, "192.0.2.7"), from(proxy, "10.0.0.1", "8.8.8.8, 192.0.2.7"), from(proxy, "192.0.2.8")},
		"through a vague proxy": {from(proxy, "unknown"), from(proxy, "-"), from(proxy, "192.0.2.8")},
		"not at this machine":   {from("192.0.2.7:1"), from("192.0.2.7:2"), from(proxy)},
	} {
		for _, guess := range []struct {
			method, path string
			status       int
		}{{"GET", "/link/forged", 403}, {"POST", "/link/forged", 403}, {"GET", "/oauth/google/callback?code=x&state=forged", 303}} {
			t.Run(name+" "+guess.method+guess.path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := web.Handler(connected(t, desk{}))
					for i := range 20 {
						want := guess.status
						if i >= 5 {
							want = http.StatusTooManyRequests
						}
						resp := browse(h, guess.method, guess.path, nil, tt.guesser)
						if resp.StatusCode != want {
							t.Fatalf("guess %d: %s", i+1, resp.Status)
						}
						if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); want == http.StatusTooManyRequests && (err != nil || wait < 40 || wait > 60) {
							t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
						}
						time.Sleep(time.Second)
					}
					good := func(who func(*http.Request)) int { return browse(h, "GET", "/link/good", nil, who).StatusCode }
					if now, other := good(tt.same), good(tt.other); now != http.StatusTooManyRequests || other != http.StatusOK {
						t.Errorf("the guesser: %d; somebody else: %d", now, other)
					}
					time.Sleep(time.Minute)
					if later := good(tt.same); later != http.StatusOK {
						t.Errorf("a minute later: %d", later)
					}
				})
			})
		}
	}
}

// Browsers leave the port out that a scheme stands for, and some proxies add it.
func TestDefaultPort(t *testing.T) {
	for _, public := range []string{"https://mail.example.com:443", "https://mail.example.com", "https://mail.example.com:8443"} {
		s := connected(t, desk{}, status("sales", mailbox.StateWatching))
		s.Connect.Public = public
		h := web.Handler(s)
		for _, host := range []string{"mail.example.com", "Mail.Example.com:443", "mail.example.com:8443", "mail.example.com:80"} {
			want := http.StatusMisdirectedRequest
			if ports := strings.Contains(public, "8443"); ports == strings.HasSuffix(host, ":8443") && !strings.HasSuffix(host, ":80") {
				want = http.StatusOK
			}
			resp := browse(h, http.MethodPost, "/mailboxes/sales/connect", nil, func(r *http.Request) { r.Host = host })
			if resp.StatusCode != want {
				t.Errorf("%s asked for as %s: %s, want %d", public, host, resp.Status, want)
			}
		}
	}
}

// A page of somebody else's whose name resolves to this machine (DNS rebinding) is a page like any other to a browser, and reads
// what is under that name.
func TestRebinding(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s := connected(t, desk{}, status("sales", mailbox.StateWatching))
	s.Connect.Public = "https://mail.example.com/flume"
	h := web.Handler(s)
	ask := func(path, host string, who func(*http.Request)) (int, string) {
		resp := browse(h, http.MethodGet, path, nil, who, func(r *http.Request) { r.Host = host })
		words, _ := text(t, resp)
		return resp.StatusCode, words
	}
	here := from("127.0.0.1:4711")
	for _, path := range []string{"/", "/metrics"} {
		for _, host := range []string{"rebound.example:8080", "rebound.example", "localhost.rebound.example", "127.0.0.1.rebound.example:8080", "example.com", "notlocalhost"} {
			for _, who := range []func(*http.Request){here, from("[::1]:4711"), from("127.0.0.1:4711", "192.0.2.7")} {
				if status, words := ask(path, host, who); status != http.StatusMisdirectedRequest || strings.Contains(words, "sales") || !strings.Contains(words, "http.public_url") {
					t.Errorf("%s of %s: %d %s", path, host, status, words)
				}
			}
			if status, words := ask(path, host, elsewhere); status != http.StatusOK {
				t.Errorf("%s of %s from elsewhere: %d %s", path, host, status, words)
			}
		}
		for _, host := range []string{"localhost:8080", "LOCALHOST", "flume.localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.0.2.1", "mail.example.com", "mail.example.com:443", own + ":8080", ""} {
			if status, words := ask(path, host, here); status != http.StatusOK {
				t.Errorf("%s of %q: %d %s", path, host, status, words)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} { // somebody who asks for it may use any name
		if status, words := ask(path, "balancer.example", here); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, words)
		}
	}
}
