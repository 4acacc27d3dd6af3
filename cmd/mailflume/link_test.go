package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

const publicURL = "https://mail.example.test/flume"

// outsider is the browser of somebody on another machine, who comes through a proxy that ends TLS.
type outsider struct {
	t       *testing.T
	handler http.Handler
	cookies map[string]*http.Cookie
}

func (s *served) outsider(t *testing.T) *outsider {
	return &outsider{t: t, cookies: map[string]*http.Cookie{}, handler: web.Handler(web.Sources{
		Mailboxes: s.statuses, Ready: s.ready, Broker: s.broker,
		Connect: web.Connect{Desk: frontDesk{s.service}, Doctor: frontDesk{s.service}, Door: frontDesk{s.service}, Keys: func() *token.Keyring { return s.keys }, Public: publicURL},
	})}
}

// at goes on at another replica.
func (o *outsider) at(s *served) *outsider {
	next := s.outsider(o.t)
	next.cookies = o.cookies
	return next
}

// visit asks for an address of ours, as the proxy hands it on.
func (o *outsider) visit(method, address string) (*http.Response, string) {
	o.t.Helper()
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, publicURL+"/") {
		o.t.Fatalf("%q is no address of ours: %v", address, err)
	}
	r := httptest.NewRequest(method, "https://mail.example.test"+strings.TrimPrefix(u.EscapedPath(), "/flume")+"?"+u.RawQuery, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range o.cookies {
		if strings.HasPrefix(u.EscapedPath(), c.Path) {
			r.AddCookie(c)
		}
	}
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		o.cookies[c.Name] = c
		if c.MaxAge < 0 {
			delete(o.cookies, c.Name)
		}
	}
	return w.Result(), plainText(w.Body.String())
}

// accept presses the button of a link's page, signs in at the provider, and returns the address that the provider sends
// the browser back to.
func (o *outsider) accept(v *visitor, link string) string {
	o.t.Helper()
	resp, text := o.visit(http.MethodPost, link)
	_, target, _ := strings.Cut(resp.Header.Get("Refresh"), "url=")
	if target == "" {
		o.t.Fatalf("%s %s", resp.Status, text)
	}
	return v.consent(target).String()
}

// follow comes back to us, and returns what the page says that follows.
func (o *outsider) follow(back string) string {
	o.t.Helper()
	resp, text := o.visit(http.MethodGet, back)
	if next := resp.Header.Get("Location"); next != "" {
		_, text = o.visit(http.MethodGet, next)
	}
	return text
}

var madeLink = regexp.MustCompile(`(?m)^  (https://\S+/link/\S+)$`)

// invite makes a link with the command.
func invite(t *testing.T, path string, args ...string) string {
	t.Helper()
	code, out, errs := command(t.Context(), append([]string{"connect", "-c", path, "--link"}, args...)...)
	link := madeLink.FindStringSubmatch(out)
	if code != 0 || link == nil || !strings.Contains(out, "It is good once, until ") || !strings.Contains(out, publicURL+"/oauth/") {
		t.Fatalf("exit code %d\n%s\n%s", code, out, errs)
	}
	return link[1]
}

// linkBench is two replicas behind one address, and a mailbox that nobody has signed in for.
func linkBench(t *testing.T) (r *rig, first, second *served, box *sim.Account) {
	t.Helper()
	r = newRig(t)
	gmail := r.listen(sim.Gmail)
	box = r.unconnected(sim.Gmail, "box", gmail, "google", "")
	r.unconnected(sim.Exchange, "cloud", r.listen(sim.Exchange), "microsoft", "")
	first, second = r.pair(publicURL + "/")
	return r, first, second, box
}

// From another machine, with a link: the owner signs in, on whichever replica, and the mailbox is read.
func TestConnectByLink(t *testing.T) {
	r, first, second, box := linkBench(t)
	link := invite(t, r.dir+"/second.yaml", "box")
	o, v := first.outsider(t), first.visitor()
	for range 2 { // a messenger looks at what it delivers
		if resp, text := o.visit(http.MethodGet, link); resp.StatusCode != http.StatusOK || !strings.Contains(text, "Connect your Gmail account") || strings.Contains(text, "All mailboxes") {
			t.Fatalf("%s %s", resp.Status, text)
		}
	}
	back := o.accept(v, link)
	if !strings.HasPrefix(back, publicURL+"/oauth/google/callback?") {
		t.Errorf("back to %s", back)
	}
	if text := o.at(second).follow(back); !strings.Contains(text, "Connected.") {
		t.Fatal(text)
	}
	eventually(t, "the mailbox is watched", func() bool { return box.Stats().Commands["IDLE"] > 0 })
	for _, s := range []*served{first, second} { // used twice
		other := s.outsider(t)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if resp, text := other.visit(method, link); resp.StatusCode != http.StatusForbidden || !strings.Contains(text, "signed in with this link already") {
				t.Errorf("%s: %s %s", method, resp.Status, text)
			}
		}
	}
	if text := first.log.String() + second.log.String(); strings.Contains(text, strings.TrimPrefix(link, publicURL)) {
		t.Error("the link is in the log")
	}
}

// Two who press the button of one link: one of them connects the mailbox.
func TestLinkPressedTwice(t *testing.T) {
	r, first, second, _ := linkBench(t)
	link := invite(t, r.dir+"/mailflume.yaml", "box")
	one, two, v := first.outsider(t), second.outsider(t), first.visitor()
	backOne, backTwo := one.accept(v, link), two.accept(v, link)
	if text := one.follow(backOne); !strings.Contains(text, "Connected.") {
		t.Error(text)
	}
	before, err := first.core.Load().tokens.Status(t.Context(), "box")
	r.must(err)
	if text := two.follow(backTwo); !strings.Contains(text, "signed in with this link already") {
		t.Error(text)
	}
	if after, err := first.core.Load().tokens.Status(t.Context(), "box"); err != nil || !after.ConnectedAt.Equal(before.ConnectedAt) {
		t.Errorf("stored twice: %+v, %v", after, err)
	}
}

// Whoever has the link cannot connect another account with it, nor another mailbox; and may try again.
func TestLinkIsForOneMailbox(t *testing.T) {
	r, first, _, _ := linkBench(t)
	r.world.AddAccount(sim.Gmail, "mallory@mail.test")
	link := invite(t, r.dir+"/mailflume.yaml", "box")
	o, v := first.outsider(t), first.visitor()
	resp, _ := o.visit(http.MethodPost, link)
	_, target, _ := strings.Cut(resp.Header.Get("Refresh"), "url=")
	if text := o.follow(v.consent(as("mallory@mail.test")(target)).String()); !strings.Contains(text, "Nothing was stored") || !strings.Contains(text, "Connect your Gmail account") {
		t.Errorf("another account: %s", text)
	}
	for _, id := range []string{"box", "cloud"} {
		if s, err := first.core.Load().tokens.Status(t.Context(), id); err != nil || s.State != token.Absent {
			t.Errorf("%s: %+v, %v", id, s, err)
		}
	}
	for _, path := range []string{"/mailboxes/cloud/connect", "/mailboxes/box/connect", "/mailboxes/box/test"} {
		if resp, text := o.visit(http.MethodPost, publicURL+path); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s %s", path, resp.Status, text)
		}
	}
	if text := o.follow(o.accept(v, link)); !strings.Contains(text, "Connected.") {
		t.Errorf("the second try: %s", text)
	}
}

// For a shared mailbox the link is for the member who signs in.
func TestLinkForAMember(t *testing.T) {
	r, first, _, _ := linkBench(t)
	resp, text := first.outsider(t).visit(http.MethodPost, invite(t, r.dir+"/mailflume.yaml", "--as", "anna@mail.test", "box"))
	_, target, _ := strings.Cut(resp.Header.Get("Refresh"), "url=")
	if u, err := url.Parse(target); err != nil || u.Query().Get("login_hint") != "anna@mail.test" {
		t.Errorf("%s %q %s", resp.Status, target, text)
	}
}

// A sign-in that was begun on this machine is not finished on another, whatever the other has got hold of.
func TestSignInStaysOnItsMachine(t *testing.T) {
	_, first, _, _ := linkBench(t)
	link, state, err := frontDesk{first.service}.Begin(t.Context(), "box", publicURL+"/oauth/google/callback", "")
	if err != nil {
		t.Fatal(err)
	}
	v, o := first.visitor(), first.outsider(t)
	back := v.consent(link).String()
	shown, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	resp := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "https://mail.example.test/oauth/google/callback?"+shown.RawQuery, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	r.AddCookie(&http.Cookie{Name: cookieOf(state), Value: state.Reveal()})
	o.handler.ServeHTTP(resp, r)
	if s, err := first.core.Load().tokens.Status(t.Context(), "box"); err != nil || s.State != token.Absent {
		t.Errorf("%+v, %v; %s", s, err, resp.Body)
	}
}

// What the command says when it makes no link, and of links that are none.
func TestNoLink(t *testing.T) {
	r, first, _, _ := linkBench(t)
	path := r.dir + "/mailflume.yaml"
	o := first.outsider(t)
	text := strings.TrimPrefix(invite(t, path, "box"), publicURL+"/link/")
	for name, forged := range map[string]string{"cut off": text[:len(text)-6], "changed": "AAAA" + text[4:], "nonsense": "x"} {
		o := first.outsider(t) // whoever tries them all has to wait
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if resp, said := o.visit(method, publicURL+"/link/"+forged); resp.StatusCode != http.StatusForbidden || !strings.Contains(said, "was not made by us") {
				t.Errorf("%s: %s %s", name, resp.Status, said)
			}
		}
	}
	_, over := first.keys.Invite("box", "box@mail.test", -time.Minute)
	if resp, said := o.visit(http.MethodPost, publicURL+"/link/"+over); resp.StatusCode != http.StatusForbidden || !strings.Contains(said, "time of this link is over") {
		t.Errorf("expired: %s %s", resp.Status, said)
	}
	_, gone := first.keys.Invite("no-such-mailbox", "", time.Hour)
	if resp, said := o.visit(http.MethodPost, publicURL+"/link/"+gone); resp.StatusCode != http.StatusNotFound {
		t.Errorf("another mailbox: %s %s", resp.Status, said)
	}
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"--valid", "10s"}, "1m to 168h"},
		{[]string{"--valid", "200h"}, "1m to 168h"},
		{[]string{"--device"}, "--link goes without"},
		{[]string{"--no-browser"}, "--link goes without"},
		{[]string{"--redirect", "http://127.0.0.1:1"}, "--link goes without"},
	} {
		if code, _, errs := command(t.Context(), append([]string{"connect", "-c", path, "--link", "box"}, tt.args...)...); code != exitUsage || !strings.Contains(errs, tt.says) {
			t.Errorf("%v: exit code %d, %s", tt.args, code, errs)
		}
	}
	config, err := os.ReadFile(path)
	r.must(err)
	r.file("bare.yaml", strings.Replace(string(config), ", public_url: \""+publicURL+"/\"", "", 1))
	if code, _, errs := command(t.Context(), "connect", "-c", r.dir+"/bare.yaml", "--link", "box"); code != exitUsage || !strings.Contains(errs, "set http.public_url") {
		t.Errorf("without http.public_url: exit code %d, %s", code, errs)
	}
	if s, err := first.core.Load().tokens.Status(t.Context(), "box"); err != nil || s.State != token.Absent {
		t.Errorf("%+v, %v", s, err)
	}
}

// cookieOf is the name of the cookie of a sign-in.
func cookieOf(state token.Secret) string {
	sum := sha256.Sum256([]byte(state.Reveal()))
	return "mailflume-sign-in-" + hex.EncodeToString(sum[:8])
}
