package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// served is a running service with its page.
type served struct {
	*service
	t    testing.TB
	base string // as the page calls itself
	log  *output
}

// serve runs the service of a configuration until the test ends. The replacements are made in the configuration's text.
func (r *rig) serve(replace ...string) *served {
	r.t.Helper()
	path := r.write()
	text, err := os.ReadFile(path)
	r.must(err)
	pairs := append(replace, "http: {listen: none}", `http: {listen: "127.0.0.1:0"}`)
	r.file("mailflume.yaml", strings.NewReplacer(pairs...).Replace(string(text)))
	return start(r.t, path)
}

func start(t testing.TB, path string) *served {
	t.Helper()
	config, err := configs.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log := &output{}
	s, err := newService(config, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, started := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.run(ctx, func(*service) { close(started) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-started:
	case <-time.After(within):
		t.Fatalf("it does not start:\n%s", log)
	}
	port := ""
	if s.web != nil {
		_, port, _ = net.SplitHostPort(s.web.Addr())
	}
	return &served{service: s, t: t, base: "http://localhost:" + port, log: log}
}

// visitor is somebody's browser: it keeps cookies, and follows what the page tells it step by step.
type visitor struct {
	t      testing.TB
	client *http.Client
	header http.Header // sent along with everything
	host   string      // in place of the URL's
}

func (s *served) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	// The page listens on 127.0.0.1, whatever localhost is here.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, strings.Replace(addr, "localhost", "127.0.0.1", 1))
	}
	return &visitor{t: s.t, header: http.Header{}, client: &http.Client{
		Jar: jar, Timeout: within, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// visit asks for a page and returns its answer with the words on it.
func (v *visitor) visit(method, address string) (*http.Response, string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, address, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, values := range v.header {
		req.Header[name] = values
	}
	if v.host != "" {
		req.Host = v.host
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp, string(text)
}

// read follows redirects and returns where it ends and what is written there.
func (v *visitor) read(address string) (*url.URL, string) {
	v.t.Helper()
	for range 5 {
		resp, text := v.visit(http.MethodGet, address)
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			return resp.Request.URL, plainText(text)
		}
		next, err := resp.Location()
		if err != nil {
			v.t.Fatal(err)
		}
		address = next.String()
	}
	v.t.Fatalf("it goes on and on: %s", address)
	return nil, ""
}

// plainText is what a reader sees of a page.
func plainText(page string) string {
	var words []string
	for z := html.NewTokenizer(strings.NewReader(page)); z.Next() != html.ErrorToken; {
		if tok := z.Token(); tok.Type == html.TextToken {
			words = append(words, strings.Fields(tok.Data)...)
		}
	}
	return strings.Join(words, " ")
}

// press presses Connect on a mailbox's page and returns the link to the provider.
func (v *visitor) press(base, id string) string {
	v.t.Helper()
	resp, text := v.visit(http.MethodPost, base+"/mailboxes/"+id+"/connect")
	_, link, _ := strings.Cut(resp.Header.Get("Refresh"), "url=")
	if resp.StatusCode != http.StatusOK || link == "" || !strings.Contains(text, "Continue to sign in") {
		v.t.Fatalf("%s\n%s", resp.Status, text)
	}
	return link
}

// consent signs in at the provider, and returns the address that it sends the browser back to.
func (v *visitor) consent(link string) *url.URL {
	v.t.Helper()
	resp, text := v.visit(http.MethodGet, link)
	back, err := resp.Location()
	if err != nil {
		v.t.Fatalf("%s\n%s", resp.Status, text)
	}
	return back
}

// On the page: not connected, the button, the provider, and back; then the mailbox is read at once, whoever parked it.
func TestConnectFromThePage(t *testing.T) {
	for p, words := range map[sim.Provider]string{sim.Gmail: "Connect your Gmail account", sim.Exchange: "Connect your Outlook account"} {
		t.Run(string(p), func(t *testing.T) {
			r := newRig(t)
			client := map[sim.Provider]string{sim.Gmail: "google", sim.Exchange: "microsoft"}[p]
			box := r.unconnected(p, "box", r.listen(p), client, "")
			s := r.serve()
			eventually(t, "the mailbox is parked", func() bool { return s.statuses()[0].State == mailbox.StateParked })
			v := s.visitor()
			if _, text := v.read(s.base + "/"); !strings.Contains(text, "was never connected") || !strings.Contains(text, "Connect or test") {
				t.Errorf("the list: %s", text)
			}
			if _, text := v.read(strings.Replace(s.base, "localhost", "127.0.0.1", 1) + "/mailboxes/box"); !strings.Contains(text, "not connected") || !strings.Contains(text, words) {
				t.Errorf("before: %s", text)
			}
			back := v.consent(v.press(s.base, "box"))
			if want := map[sim.Provider]string{sim.Gmail: "google", sim.Exchange: "microsoft"}[p]; back.Host != strings.TrimPrefix(s.base, "http://") || back.Path != "/oauth/"+want+"/callback" {
				t.Errorf("it comes back to %s", back)
			}
			at, text := v.read(back.String())
			connected := time.Now()
			if at.String() != s.base+"/mailboxes/box" || !strings.Contains(text, "Connected.") || !strings.Contains(text, "token valid") || !strings.Contains(text, "Valid until") {
				t.Errorf("%s: %s", at, text)
			}
			eventually(t, "the mailbox is watched", func() bool { return box.Stats().Commands["IDLE"] > 0 })
			t.Logf("watched %v after it was connected", time.Since(connected).Round(time.Millisecond))
			if _, text := v.read(s.base + "/mailboxes/box"); strings.Contains(text, "Connected.") || !strings.Contains(text, "watching") {
				t.Errorf("the answer is shown again: %s", text)
			}
			resp, page := v.visit(http.MethodPost, s.base+"/mailboxes/box/test")
			if text := plainText(page); resp.StatusCode != http.StatusOK || !strings.Contains(text, "The mailbox can be read.") || !strings.Contains(text, "folders INBOX opened for reading") {
				t.Errorf("the test: %s %s", resp.Status, text)
			}
			for _, secret := range []string{back.Query().Get("code"), back.Query().Get("state"), "the-client-secret"} {
				if strings.Contains(s.log.String(), secret) {
					t.Errorf("the log has %q", secret)
				}
			}
		})
	}
}

// A grant that a command brings wakes the mailbox too, and what is revoked shows on the page and in the metrics.
func TestRevokedAndConnectedAgain(t *testing.T) {
	r := newRig(t)
	gmail := r.listen(sim.Gmail)
	box := r.box(sim.Gmail, "box", gmail, "google", "")
	other := r.box(sim.Gmail, "other", gmail, "google", "")
	s := r.serve()
	v := s.visitor()
	both := func(n int) func() bool {
		return func() bool { return box.Stats().Commands["IDLE"] >= n && other.Stats().Commands["IDLE"] >= 1 }
	}
	eventually(t, "both are watched", both(1))
	before := r.world.OAuth(sim.Gmail).Refreshes("box@mail.test").Requests
	revoked := time.Now()
	box.Revoke()
	box.ExpireTokens()
	box.DropConnections()
	eventually(t, "the page, the metric and the status say so", func() bool {
		_, page := v.read(s.base + "/mailboxes/box")
		_, metrics := v.visit(http.MethodGet, s.base+"/metrics")
		status, err := s.core.Load().tokens.Status(t.Context(), "box")
		return err == nil && status.State == token.NeedsPerson && strings.Contains(page, "reconnect needed") &&
			strings.Contains(metrics, `mailflume_grant_needs_person{mailbox="box"} 1`) && strings.Contains(metrics, `mailflume_mailbox_state{mailbox="box",state="parked"} 1`)
	})
	said := time.Since(revoked)
	if n := r.world.OAuth(sim.Gmail).Refreshes("box@mail.test").Requests - before; n < 1 || n > 2 {
		t.Errorf("the provider was asked %d times", n)
	}
	if other.Stats().Connections != 1 {
		t.Error("the other mailbox is not read any more")
	}
	idles := box.Stats().Commands["IDLE"]
	at := time.Now()
	if _, text := v.read(v.consent(v.press(s.base, "box")).String()); !strings.Contains(text, "Connected.") {
		t.Error(text)
	}
	eventually(t, "it is watched again", func() bool { return box.Stats().Commands["IDLE"] > idles })
	t.Logf("said after %v, watched again %v after the sign-in began", said.Round(time.Millisecond), time.Since(at).Round(time.Millisecond))
}

// A grant that is given up is not used any more from then on: the session that it opened ends, and all is said of why.
func TestRevokeEndsTheSession(t *testing.T) {
	r := newRig(t)
	port, err := process.FreePort()
	r.must(err)
	r.more = fmt.Sprintf("nats: {embedded: {listen: \"127.0.0.1:%s\"}}\n", port)
	gmail := r.listen(sim.Gmail)
	box, other := r.box(sim.Gmail, "box", gmail, "google", ""), r.box(sim.Gmail, "other", gmail, "google", "")
	s := r.serve()
	watched := func(i int) bool {
		st := s.statuses()
		return len(st) == 2 && st[i].State == mailbox.StateWatching
	}
	eventually(t, "both are watched", func() bool { return watched(0) && watched(1) })
	config := r.dir + "/mailflume.yaml"
	if code, out, errs := command(t.Context(), "token", "revoke", "box", "-c", config); code != 0 {
		t.Fatalf("exit code %d, %s, %s", code, out, errs)
	}
	eventually(t, "its connection is closed", func() bool { return box.Stats().Connections == 0 })
	eventually(t, "status says why", func() bool {
		code, out, _ := command(t.Context(), "status", "-c", config)
		return code == exitFailed && strings.Contains(out, "was given up with mailflume token revoke") && strings.Contains(out, "mailflume connect box")
	})
	if !watched(1) || other.Stats().Logins != 1 {
		t.Error("the other mailbox was disturbed")
	}
}

// pair starts two replicas behind one address: of mailflume.yaml, with the NATS server in it, and of second.yaml.
func (r *rig) pair(public string) (first, second *served) {
	r.t.Helper()
	port, err := process.FreePort()
	r.must(err)
	nats := "127.0.0.1:" + port
	r.file("key", token.NewKey())
	r.more = fmt.Sprintf("nats: {embedded: {listen: %q}}\nsealing_key: file:key\nreplica: {lease: 2s}\n", nats)
	first = r.serve("http: {listen: none}", fmt.Sprintf(`http: {listen: "127.0.0.1:0", public_url: %q}`, public))
	text, err := os.ReadFile(r.dir + "/mailflume.yaml")
	r.must(err)
	r.file("second.yaml", strings.Replace(string(text), fmt.Sprintf("{embedded: {listen: %q}}", nats), fmt.Sprintf("{url: \"nats://%s\"}", nats), 1))
	return first, start(r.t, r.dir+"/second.yaml")
}

// Of two replicas behind one address, one begins the sign-in and the other finishes it; the mailbox goes on wherever it is.
func TestConnectAcrossReplicas(t *testing.T) {
	r := newRig(t)
	box := r.unconnected(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	first, second := r.pair("https://mail.example.test/flume/")
	v := first.visitor()
	v.host = "mail.example.test"
	link, err := url.Parse(v.press(first.base, "box"))
	r.must(err)
	if got := link.Query().Get("redirect_uri"); got != "https://mail.example.test/flume/oauth/google/callback" {
		t.Errorf("redirect %q", got)
	}
	cookies := v.sealed(t, first.base, "box")
	v.host = ""
	r.world.OAuth(sim.Gmail).AddClient(sim.Client{ID: "the-client", Secret: "the-client-secret"})
	back := v.consent(cookies.link)
	v.host, v.header["Cookie"] = "mail.example.test", []string{cookies.cookie}
	resp, answer := v.visit(http.MethodGet, second.base+"/oauth/google/callback?"+back.RawQuery)
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != "https://mail.example.test/flume/mailboxes/box" {
		t.Fatalf("%s to %q\n%s", resp.Status, got, answer)
	}
	for _, c := range resp.Cookies() {
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Path, "/flume/") {
			t.Errorf("cookie %s", c)
		}
		if c.Name == "mailflume-answer" {
			v.header["Cookie"] = []string{c.Name + "=" + c.Value}
		}
	}
	if _, page := v.visit(http.MethodGet, first.base+"/mailboxes/box"); !strings.Contains(page, "Connected.") {
		t.Errorf("the answer is not shown by the other replica: %s", plainText(page))
	}
	eventually(t, "the mailbox is watched", func() bool { return box.Stats().Commands["IDLE"] > 0 })
}

// begun is a sign-in under way: the provider's link and the cookie that belongs to it.
type begun struct{ link, cookie string }

// sealed begins a sign-in on a page that calls itself https, whose cookies a jar would not give back here.
func (v *visitor) sealed(t testing.TB, base, id string) begun {
	t.Helper()
	resp, _ := v.visit(http.MethodPost, base+"/mailboxes/"+id+"/connect")
	_, link, _ := strings.Cut(resp.Header.Get("Refresh"), "url=")
	cookies := resp.Cookies()
	if link == "" || len(cookies) != 1 || !cookies[0].HttpOnly || !cookies[0].Secure || cookies[0].MaxAge != 600 || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("%s %v", resp.Status, cookies)
	}
	return begun{link, cookies[0].Name + "=" + cookies[0].Value}
}
