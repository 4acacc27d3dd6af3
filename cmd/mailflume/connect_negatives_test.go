package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

// bench is where sign-ins go wrong: a running service with one mailbox at each provider that nobody has signed in for.
type bench struct {
	*rig
	*served
	config string
}

func newBench(t *testing.T) *bench {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	r.more = "nats: {embedded: {listen: \"" + l.Addr().String() + "\"}}\n" // so that commands can be used beside it
	r.must(l.Close())
	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	r.unconnected(sim.Gmail, "box", gmail, "google", "")
	r.unconnected(sim.Exchange, "cloud", outlook, "microsoft", "")
	r.clients = "  - {name: hourly, provider: microsoft, id: the-client, secret: file:right-secret, authority: MICROSOFT, scopes: [\"https://outlook.office.com/IMAP.AccessAsUser.All\"]}\n" +
		"  - {name: stranger, provider: microsoft, id: the-client, secret: file:wrong-secret, authority: MICROSOFT}\n"
	r.unconnected(sim.Exchange, "hourly", outlook, "hourly", "")
	r.unconnected(sim.Exchange, "stranger", outlook, "stranger", "")
	r.unconnected(sim.Gmail, "well", gmail, "google", "")
	r.world.AddAccount(sim.Exchange, "mallory@mail.test")
	r.world.AddAccount(sim.Gmail, "eve@mail.test")
	return &bench{rig: r, served: r.serve(), config: r.dir + "/mailflume.yaml"}
}

// quirk changes what a mailbox's owner does at the provider, until undo.
func (b *bench) quirk(id string, change func(*sim.Quirks)) (undo func()) {
	account := b.world.Account(id + "@mail.test")
	account.Set(change)
	return func() { account.Set(func(q *sim.Quirks) { *q = sim.Quirks{} }) }
}

// negative is a sign-in that must come to nothing: what is changed on the way, and what is said about it.
type negative struct {
	name   string
	id     string                                 // the mailbox; box unless said otherwise
	before func(b *bench) (undo func())           // at the provider
	link   func(link string) string               // the way there
	change func(b *bench, answer url.Values)      // the answer
	back   func(b *bench, v *visitor, u *url.URL) // anything else on the way back
	says   string
	cli    string // what mailflume connect says, if it is the answer alone that is wrong; empty: there is no such case
}

// state returns the state of another sign-in of the same mailbox.
func (b *bench) otherAnswer(id string) url.Values {
	v := b.visitor()
	return v.consent(v.press(b.base, id)).Query()
}

const (
	noSuchSignIn = "no such sign-in under way"
	notThisOne   = "does not belong to this sign-in"
	whichSignIn  = "does not say which sign-in it belongs to"
)

func set(name, value string) func(*bench, url.Values) {
	return func(_ *bench, answer url.Values) { answer.Set(name, value) }
}

func twice(name string) func(*bench, url.Values) {
	return func(_ *bench, answer url.Values) { answer.Add(name, "another") }
}

func fault(p sim.Provider, f sim.OAuthFault) func(*bench) func() {
	return func(b *bench) func() {
		b.world.OAuth(p).Inject(f)
		return b.world.OAuth(p).ClearFaults
	}
}

func owner(id string, change func(*sim.Quirks)) func(*bench) func() {
	return func(b *bench) func() { return b.quirk(id, change) }
}

// as signs in another account than the one that is asked for.
func as(address string) func(string) string {
	return func(link string) string {
		return regexp.MustCompile(`login_hint=[^&]*`).ReplaceAllString(link, "login_hint="+url.QueryEscape(address))
	}
}

var negatives = []negative{
	// The answer does not belong to a sign-in of this browser.
	{name: "no state", change: func(_ *bench, v url.Values) { v.Del("state") }, says: whichSignIn, cli: notThisOne},
	{name: "empty state", change: set("state", ""), says: whichSignIn, cli: notThisOne},
	{name: "state twice", change: twice("state"), says: whichSignIn, cli: "state twice"},
	{name: "forged state", change: set("state", "AAAAAAAAAAAAAAAAAAAAAAAAAA"), says: noSuchSignIn, cli: notThisOne},
	{name: "shortened state", change: func(_ *bench, v url.Values) { v.Set("state", v.Get("state")[1:]) }, says: noSuchSignIn, cli: notThisOne},
	{name: "state of somebody else's sign-in", change: func(b *bench, v url.Values) { v.Set("state", b.otherAnswer("box").Get("state")) }, says: noSuchSignIn, cli: notThisOne},
	{name: "somebody else's whole answer", change: func(b *bench, v url.Values) {
		for name, values := range b.otherAnswer("box") {
			v[name] = values
		}
	}, says: noSuchSignIn, cli: notThisOne},
	{name: "another browser", back: func(b *bench, v *visitor, _ *url.URL) { v.client.Jar = nil }, says: noSuchSignIn},
	{name: "cookie changed", back: func(b *bench, v *visitor, u *url.URL) {
		cookies := v.client.Jar.Cookies(u)
		v.client.Jar, v.header["Cookie"] = nil, []string{cookies[0].Name + "=x"}
	}, says: noSuchSignIn},
	{name: "answer used before", back: func(b *bench, v *visitor, u *url.URL) {
		resp, _ := v.visit(http.MethodGet, strings.Replace(u.String(), "code=", "code=4/0Aforged", 1))
		if resp.StatusCode != http.StatusSeeOther {
			v.t.Error(resp.Status)
		}
	}, says: noSuchSignIn},
	{name: "answer used before, with the cookie kept", back: func(b *bench, v *visitor, u *url.URL) {
		cookies := v.client.Jar.Cookies(u)
		v.visit(http.MethodGet, strings.Replace(u.String(), "code=", "code=4/0Aforged", 1))
		v.client.Jar, v.header["Cookie"] = nil, []string{cookies[0].Name + "=" + cookies[0].Value}
	}, says: "was finished before"},
	{name: "taken up elsewhere", back: func(b *bench, _ *visitor, u *url.URL) {
		_, err := b.core.Load().tokens.Resume(b.rig.t.Context(), b.core.Load().store, token.NewSecret(u.Query().Get("state")), "", nil)
		if err == nil {
			b.rig.t.Error("resumed at no address")
		}
	}, says: "was finished before, or is not known"},

	// It comes from another provider, or to another's address.
	{name: "wrong issuer", change: set("iss", "https://evil.example"), says: "another provider than the one that was asked", cli: "another provider"},
	{name: "issuer of the right host over another scheme", change: func(_ *bench, v url.Values) { v.Set("iss", "ftp://accounts.google.com") }, says: "another provider than the one", cli: "another provider"},
	{name: "issuer that is no URL", change: set("iss", "%%"), says: "another provider than the one", cli: "another provider"},
	{name: "issuer twice", change: func(b *bench, v url.Values) { v["iss"] = []string{"https://a.example", "https://b.example"} }, says: "iss twice", cli: "iss twice"},
	{name: "mix-up: the other provider's code and issuer", change: func(b *bench, v url.Values) {
		v.Set("code", b.otherAnswer("cloud").Get("code"))
		v.Set("iss", "https://login.microsoftonline.com/common/v2.0")
	}, says: "another provider than the one", cli: "another provider"},
	{name: "mix-up: the other provider's code alone", change: func(b *bench, v url.Values) { v.Set("code", b.otherAnswer("cloud").Get("code")) }, says: "code of this sign-in", cli: "code of this sign-in"},
	{name: "mix-up: at the other provider's address", back: func(_ *bench, _ *visitor, u *url.URL) { u.Path = "/oauth/microsoft/callback" }, says: "address of another provider"},
	{name: "mix-up: at an address of nobody", back: func(_ *bench, _ *visitor, u *url.URL) { u.Path = "/oauth/other/evil/callback" }, says: "address of another provider"},

	// The provider says no, or the code is not good.
	{name: "no code", change: func(_ *bench, v url.Values) { v.Del("code") }, says: "has no code"},
	{name: "code twice", change: twice("code"), says: "code twice", cli: "code twice"},
	{name: "error twice", change: func(_ *bench, v url.Values) { v["error"] = []string{"a", "b"} }, says: "error twice", cli: "error twice"},
	{name: "endless code", change: set("code", strings.Repeat("x", 5000)), says: "has no code", cli: "has no code"},
	{name: "forged code", change: set("code", "4/0Aforged"), says: "code of this sign-in", cli: "code of this sign-in"},
	{name: "forged code at Microsoft", id: "cloud", change: set("code", "0.forged"), says: "code of this sign-in", cli: "code of this sign-in"},
	{name: "code of another sign-in (PKCE)", change: func(b *bench, v url.Values) { v.Set("code", b.otherAnswer("box").Get("code")) }, says: "code of this sign-in", cli: "redirect URI"},
	{name: "code of another sign-in at Microsoft (PKCE)", id: "cloud", change: func(b *bench, v url.Values) { v.Set("code", b.otherAnswer("cloud").Get("code")) }, says: "another program than began it", cli: "redirect URI"},
	{name: "code used before", change: func(b *bench, v url.Values) { v.Set("code", b.spent()) }, says: "code of this sign-in", cli: "code of this sign-in"},
	{name: "declined", before: owner("box", func(q *sim.Quirks) { q.DenyConsent = true }), says: "was denied", cli: "was denied"},
	{name: "declined at Microsoft", id: "cloud", before: owner("cloud", func(q *sim.Quirks) { q.DenyConsent = true }), says: "declined", cli: "declined"},
	{name: "policy of the Workspace", change: set("error", "admin_policy_enforced"), says: "restricts access", cli: "restricts access"},
	{name: "outside the organisation", change: set("error", "org_internal"), says: "is Internal", cli: "is Internal"},
	{name: "administrator must consent", id: "cloud", change: func(_ *bench, v url.Values) {
		v.Set("error", "access_denied")
		v.Set("error_description", "AADSTS90094: The grant requires admin permission.")
	}, says: "adminconsent", cli: "adminconsent"},
	{name: "markup in an error", change: func(_ *bench, v url.Values) {
		v.Set("error", "<script>alert(1)</script>")
		v.Set("error_description", "a\r\nb\x1b[2J")
	}, says: "refuses the request", cli: "refuses the request"},
	{name: "a box unticked", before: owner("box", func(q *sim.Quirks) { q.GrantScope = "openid email" }), says: "every box ticked", cli: "every box ticked"},
	{name: "scope of Graph", id: "cloud", before: owner("cloud", func(q *sim.Quirks) { q.GrantScope = "https://graph.microsoft.com/User.Read offline_access" }), says: "does not include access to mail", cli: "does not include"},
	{name: "no refresh token", id: "hourly", says: "Add offline_access", cli: "Add offline_access"},
	{name: "another account", id: "cloud", link: as("mallory@mail.test"), says: "Another account than that of the mailbox", cli: "Another account"},
	{name: "another account that the token does not name", link: as("eve@mail.test"), says: "Nothing was stored", cli: "Nothing was stored"},

	// The token endpoint.
	{name: "wrong client secret", id: "stranger", says: "secret is wrong", cli: "secret is wrong"},
	{name: "throttled", before: fault(sim.Gmail, sim.TooManyRequests(time.Minute)), says: "unavailable", cli: "unavailable"},
	{name: "a proxy's page", before: fault(sim.Gmail, sim.HTMLGarbage(200)), says: "A web page came", cli: "A web page"},
	{name: "a redirect of the token endpoint", before: fault(sim.Gmail, sim.OAuthFault{Status: 307, Body: "x", Kind: "text/plain", Header: map[string]string{"Location": "https://evil.example/token"}}), says: "makes no sense", cli: "makes no sense"},

	// Somebody plays with addresses.
	{name: "a further parameter that leads away", change: set("next", "https://evil.example/"), back: func(_ *bench, v *visitor, _ *url.URL) { v.client.Jar = nil }, says: noSuchSignIn},
	{name: "another host's name", back: func(_ *bench, v *visitor, _ *url.URL) { v.host = "evil.example" }, says: "under another name than its own"},
	{name: "another port", back: func(_ *bench, v *visitor, _ *url.URL) { v.host = "localhost:1" }, says: "under another name than its own"},
}

// spent returns a code that was exchanged before.
func (b *bench) spent() string {
	v := b.visitor()
	back := v.consent(v.press(b.base, "well"))
	if _, text := v.read(back.String()); !strings.Contains(text, "Connected.") {
		b.rig.t.Errorf("the honest sign-in: %s", text)
	}
	return back.Query().Get("code")
}

// Whatever is wrong with a sign-in, nothing is stored, the browser ends at an address of ours without parameters, and the
// page says what happened and what to do.
func TestPageRefuses(t *testing.T) {
	if len(negatives) < 36 {
		t.Errorf("%d cases", len(negatives))
	}
	t.Logf("%d cases", len(negatives))
	b := newBench(t)
	for _, n := range negatives {
		t.Run(n.name, func(t *testing.T) {
			if n.id == "" {
				n.id = "box"
			}
			if n.before != nil {
				defer n.before(b)()
			}
			v := b.visitor()
			v.t = t
			link := v.press(b.base, n.id)
			if n.link != nil {
				link = n.link(link)
			}
			back := v.consent(link)
			answer := back.Query()
			code := answer.Get("code")
			if n.change != nil {
				n.change(b, answer)
			}
			back.RawQuery = answer.Encode()
			if n.back != nil {
				n.back(b, v, back)
			}
			asked := len(b.world.OAuth(sim.Gmail).Requests()) + len(b.world.OAuth(sim.Exchange).Requests())
			resp, page := v.visit(http.MethodGet, back.String())
			if next, err := resp.Location(); err == nil {
				if next.Scheme+"://"+next.Host != b.base || next.RawQuery != "" || resp.StatusCode != http.StatusSeeOther {
					t.Errorf("%s to %s", resp.Status, next)
				}
				for _, c := range resp.Cookies() { // as a browser that takes them
					if c.Name == "mailflume-answer" {
						v.header["Cookie"] = []string{c.Name + "=" + c.Value}
					}
				}
				_, page = v.visit(http.MethodGet, next.String())
			} else if resp.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s, and no way on", resp.Status)
			}
			text := plainText(page)
			notice := regexp.MustCompile(`(?s)role="alert">(.*?)</p>`).FindString(page)
			if !strings.Contains(plainText(notice), n.says) || !strings.Contains(notice, "<br>") {
				t.Errorf("it says %q, want %q and what to do", plainText(notice), n.says)
			}
			if len(code) > 8 && strings.Contains(page, code) || strings.Contains(page, answer.Get("state")) && len(answer.Get("state")) > 8 || strings.Contains(page, "<script") {
				t.Errorf("the page shows what it must not: %s", text)
			}
			if n.says == noSuchSignIn || n.says == whichSignIn || strings.Contains(n.says, "another provider") || strings.Contains(n.says, "another name") {
				if now := len(b.world.OAuth(sim.Gmail).Requests()) + len(b.world.OAuth(sim.Exchange).Requests()); now != asked {
					t.Errorf("%d requests went to a token endpoint", now-asked)
				}
			}
			b.untouched(t, n.id)
		})
	}
}

// untouched fails if a grant was stored.
func (b *bench) untouched(t *testing.T, id string) {
	t.Helper()
	if s, err := b.core.Load().tokens.Status(t.Context(), id); err != nil || s.State != token.Absent {
		t.Errorf("something was stored: %+v, %v", s, err)
	}
}

// The same answers, carried over by hand to mailflume connect.
func TestConnectRefuses(t *testing.T) {
	b := newBench(t)
	cases := 0
	for _, n := range negatives {
		if n.cli == "" {
			continue
		}
		cases++
		t.Run(n.name, func(t *testing.T) {
			if n.id == "" {
				n.id = "box"
			}
			if n.before != nil {
				defer n.before(b)()
			}
			secret := ""
			code, out, errs := typed(t, func(out string) (string, bool) {
				link := linkPattern.FindStringSubmatch(out)
				if link == nil || !strings.Contains(out, "Enter: ") {
					return "", false
				}
				if n.link != nil {
					link[1] = n.link(link[1])
				}
				back, _ := browser(t, link[1], false)
				answer := back.Query()
				if secret = answer.Get("code"); n.change != nil {
					n.change(b, answer)
				}
				back.RawQuery = answer.Encode()
				return back.String() + "\n", true
			}, "connect", "-c", b.config, "--no-browser", n.id)
			if code == 0 || !strings.Contains(errs, n.cli) || !strings.Contains(errs, "to do: ") {
				t.Errorf("exit code %d\n%s\n%s; want %q", code, out, errs, n.cli)
			}
			if secret != "" && strings.Contains(out+errs, secret) {
				t.Error("the code is shown")
			}
			b.untouched(t, n.id)
		})
	}
	t.Logf("%d cases", cases)
}

// What is asked for in a way that no reader of the page does: from elsewhere, by another page, by another method, for
// nothing.
func TestPageIsGuarded(t *testing.T) {
	b := newBench(t)
	v := b.visitor()
	for _, tt := range []struct {
		name, method, path string
		host               string
		header             http.Header
		status             int
		says               string
	}{
		{name: "by another site's form", method: "POST", path: "/mailboxes/box/connect", header: http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}, status: 403},
		{name: "by another site's form, old browser", method: "POST", path: "/mailboxes/box/connect", header: http.Header{"Sec-Fetch-Site": nil, "Origin": {"https://evil.example"}}, status: 403},
		{name: "by a page of another port", method: "POST", path: "/mailboxes/box/test", header: http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://localhost:1"}}, status: 403},
		{name: "under a name that leads here", method: "POST", path: "/mailboxes/box/connect", host: "rebound.example", status: 421, says: "http.public_url"},
		{name: "test under a name that leads here", method: "POST", path: "/mailboxes/box/test", host: "rebound.example", status: 421, says: "http.public_url"},
		{name: "no such mailbox", method: "POST", path: "/mailboxes/nobody/connect", status: 404, says: "no such mailbox"},
		{name: "test of no such mailbox", method: "POST", path: "/mailboxes/nobody/test", status: 404, says: "no such mailbox"},
		{name: "page of no such mailbox", method: "GET", path: "/mailboxes/%2F%2Fevil.example", status: 404, says: "no such mailbox"},
		{name: "GET of an action", method: "GET", path: "/mailboxes/box/connect", status: 405},
		{name: "POST of an answer", method: "POST", path: "/oauth/google/callback", status: 405},
		{name: "HEAD of an answer", method: "HEAD", path: "/oauth/google/callback?code=x&state=y", status: 405},
		{name: "answer without a sign-in", method: "GET", path: "/oauth/answer", status: 200, says: "Nobody has signed in"},
		{name: "forged answer page", method: "GET", path: "/mailboxes/box", header: http.Header{"Cookie": {"mailflume-answer=v1|k|e30"}}, status: 200, says: "not connected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v.t, v.host, v.header = t, tt.host, tt.header
			resp, page := v.visit(tt.method, b.base+tt.path)
			if resp.StatusCode != tt.status || !strings.Contains(plainText(page), tt.says) || resp.Header.Get("Refresh") != "" {
				t.Errorf("%s %s", resp.Status, plainText(page))
			}
			h := resp.Header
			if h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") ||
				!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("headers %v", h)
			}
		})
	}
	// Without http.public_url nobody comes through a proxy.
	proxied := http.Header{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"host=evil.example"}, "Sec-Fetch-Site": {"same-origin"}}
	v.t, v.host, v.header = t, "", proxied
	if resp, page := v.visit(http.MethodPost, b.base+"/mailboxes/box/connect"); resp.StatusCode != http.StatusForbidden || !strings.Contains(page, "http.public_url") {
		t.Errorf("%s %s", resp.Status, plainText(page))
	}
	handler := web.Handler(web.Sources{
		Mailboxes: b.statuses, Ready: b.ready, Broker: b.broker,
		Connect: web.Connect{Desk: frontDesk{b.service}, Doctor: frontDesk{b.service}, Keys: func() *token.Keyring { return b.keys }, Public: b.base},
	})
	// With it, headers of a proxy do not count, and neither does the name under which the page was asked for.
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, b.base+"/mailboxes/box/connect", nil)
	req.RemoteAddr, req.Header = "127.0.0.1:4711", proxied
	handler.ServeHTTP(w, req)
	_, target, _ := strings.Cut(w.Header().Get("Refresh"), "url=")
	link, err := url.Parse(target)
	if err != nil || w.Code != http.StatusOK || link.Query().Get("redirect_uri") != b.base+"/oauth/google/callback" {
		t.Errorf("%d, redirect %q", w.Code, link.Query().Get("redirect_uri"))
	}
	// From another machine the page is shown, and nothing can be done with it.
	for path, want := range map[string]int{"/mailboxes/box": 200, "/mailboxes/box/connect": 403, "/mailboxes/box/test": 403} {
		method := http.MethodPost
		if want == 200 {
			method = http.MethodGet
		}
		w := httptest.NewRecorder()
		req := httptest.NewRequest(method, b.base+path, nil)
		req.RemoteAddr = "192.0.2.7:4711"
		handler.ServeHTTP(w, req)
		if w.Code != want || !strings.Contains(plainText(w.Body.String()), "from the machine that mailflume runs on only") || strings.Contains(w.Body.String(), "<button") {
			t.Errorf("%s: %d %s", path, w.Code, plainText(w.Body.String()))
		}
	}
	b.untouched(t, "box")
}
