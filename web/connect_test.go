package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

// desk is a Desk, Doctor and Door for mailboxes of any name.
type desk struct {
	grant  token.Status
	finish error
}

func (d desk) Login(_ context.Context, id string) (web.Login, bool) {
	return web.Login{Name: id, Provider: "gmail", Client: "google", Callback: "/oauth/google/callback", Grant: d.grant}, id != "nobody"
}

func (desk) Begin(_ context.Context, _, _, _ string) (string, token.Secret, error) {
	return "https://provider.test/authorize?x=1", token.NewSecret("the-state"), nil
}

func (d desk) Finish(_ context.Context, _ string, answer url.Values, _ bool) (web.End, error) {
	return web.End{ID: answer.Get("id"), Link: answer.Get("link")}, d.finish
}

func (desk) Examine(context.Context, string) web.Examination { return web.Examination{OK: true} }

func (desk) Invited(_ context.Context, link string) (string, time.Time, error) {
	switch link {
	case "good":
		return "sales", time.Now().Add(90 * time.Minute), nil
	case "gone":
		return "nobody", time.Now().Add(time.Hour), nil
	case "away":
		return "", time.Time{}, &token.UnavailableError{Problem: token.Problem{Sentence: "NATS is away.", Hint: "Wait."}}
	}
	return "", time.Time{}, &token.ConsentError{Problem: token.Problem{Sentence: "This link was used.", Hint: "Ask for another."}}
}

const home = "http://localhost:8080"

// connected is sources whose mailboxes can be connected.
func connected(t *testing.T, d desk, all ...mailbox.Status) web.Sources {
	t.Helper()
	key := token.NewKey()
	keys, err := token.NewKeyring(func() (string, error) { return key, nil })
	if err != nil {
		t.Fatal(err)
	}
	s := sources(all...)
	s.Connect = web.Connect{Desk: d, Doctor: d, Door: d, Keys: func() *token.Keyring { return keys }, Public: home}
	return s
}

// browse asks h for a page of ours, from this machine unless it is said otherwise, with the cookies of an answer before.
func browse(h http.Handler, method, path string, before *http.Response, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, home+path, nil)
	r.RemoteAddr = "127.0.0.1:4711"
	if method == http.MethodPost {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if before != nil {
		for _, c := range before.Cookies() {
			r.AddCookie(c)
		}
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func elsewhere(r *http.Request) { r.RemoteAddr = "192.0.2.7:4711" }

// text is what a reader of an answer sees, and where its forms lead.
func text(t *testing.T, resp *http.Response) (words string, forms []string) {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for z := html.NewTokenizer(strings.NewReader(string(body))); z.Next() != html.ErrorToken; {
		switch tok := z.Token(); {
		case tok.Type == html.TextToken:
			words += " " + tok.Data
		case tok.Data == "form":
			for _, a := range tok.Attr {
				if a.Key == "action" {
					forms = append(forms, a.Val)
				}
			}
		}
	}
	return strings.Join(strings.Fields(words), " "), forms
}

// Whatever a mailbox is called, its buttons lead to it, and what is said once is said once.
func TestNamesOfMailboxes(t *testing.T) {
	for _, name := range []string{"sales", "team: sales", "javascript:alert(1)", "two words", "Büro", "a/b", "50%", "a?b#c", "a;b,c", `quo"te`, "ｆｕｌｌ"} {
		h := web.Handler(connected(t, desk{}, status(name, mailbox.StateWatching)))
		at := "/mailboxes/" + url.PathEscape(name)
		words, forms := text(t, browse(h, http.MethodGet, at, nil))
		wants(t, words, name, "Connect your Gmail account", "Test connection")
		want := []string{at + "/connect", at + "/test"}
		for i, action := range forms {
			to, err := url.Parse(action)
			if err != nil {
				t.Fatal(err)
			}
			base, _ := url.Parse(home + at)
			forms[i] = base.ResolveReference(to).EscapedPath()
		}
		if !slices.Equal(forms, want) {
			t.Errorf("%s: the forms lead to %q, want %q", name, forms, want)
		}
		if resp := browse(h, http.MethodPost, at+"/test", nil); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: the test: %s", name, resp.Status)
		}
		begun := browse(h, http.MethodPost, at+"/connect", nil)
		back := browse(h, http.MethodGet, "/oauth/google/callback?state=the-state&id="+url.QueryEscape(name), begun)
		next := back.Header.Get("Location")
		if next != home+at {
			t.Errorf("%s: it goes on to %q", name, next)
		}
		shown := browse(h, http.MethodGet, strings.TrimPrefix(next, home), back)
		if words, _ := text(t, shown); !strings.Contains(words, "Connected.") {
			t.Errorf("%s: %s", name, words)
		}
		var kept, dropped string
		for _, c := range back.Cookies() {
			if c.Name == "mailflume-answer" {
				kept = c.Path
			}
		}
		for _, c := range shown.Cookies() {
			if c.Name == "mailflume-answer" && c.MaxAge < 0 {
				dropped = c.Path
			}
		}
		if kept == "" || kept != dropped {
			t.Errorf("%s: the answer is kept at %q and removed at %q", name, kept, dropped)
		}
	}
}

// What comes through a proxy that the configuration does not know may come from anybody.
func TestUnknownProxy(t *testing.T) {
	s := connected(t, desk{}, status("sales", mailbox.StateWatching))
	s.Connect.Public = ""
	server, err := web.Listen(web.Config{Listen: "127.0.0.1:0"}, s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() { stop(); <-ended }()
	_, port, _ := strings.Cut(server.Addr(), ":")
	ask := func(method, path string, header ...string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+server.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "localhost:" + port
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		words, _ := text(t, resp)
		return resp.StatusCode, words
	}
	if code, words := ask("POST", "/mailboxes/sales/connect"); code != http.StatusOK || !strings.Contains(words, "Continue to sign in") {
		t.Errorf("without a proxy: %d %s", code, words)
	}
	for _, header := range []string{"X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"} {
		for _, path := range []string{"/mailboxes/sales/connect", "/mailboxes/sales/test"} {
			code, words := ask("POST", path, header, "192.0.2.7")
			if code != http.StatusForbidden || !strings.Contains(words, "http.public_url") {
				t.Errorf("%s with %s: %d %s", path, header, code, words)
			}
		}
		if _, words := ask("GET", "/mailboxes/sales", header, "192.0.2.7"); strings.Contains(words, "Test connection") {
			t.Errorf("with %s: %s", header, words)
		}
	}
	known := web.Handler(connected(t, desk{}, status("sales", mailbox.StateWatching)))
	resp := browse(known, http.MethodPost, "/mailboxes/sales/connect", nil, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.7") })
	if resp.StatusCode != http.StatusOK {
		t.Errorf("through the proxy of http.public_url: %s", resp.Status)
	}
}

// A reader of the page under another name is sent on to its own, once: a proxy that changes the name back is named.
func TestAnotherName(t *testing.T) {
	h := web.Handler(connected(t, desk{}, status("two words", mailbox.StateWatching)))
	other := func(r *http.Request) { r.Host = "127.0.0.1:8080" }
	resp := browse(h, http.MethodGet, "/mailboxes/two%20words", nil, other)
	next := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(next, home+"/mailboxes/two%20words") {
		t.Fatalf("%s to %q", resp.Status, next)
	}
	path := strings.TrimPrefix(next, home)
	if words, forms := text(t, browse(h, http.MethodGet, path, nil)); !strings.Contains(words, "Test connection") || len(forms) != 2 || strings.Contains(forms[0], "?") {
		t.Errorf("%q %s", forms, words)
	}
	resp = browse(h, http.MethodGet, path, nil, other)
	if words, _ := text(t, resp); resp.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(words, "the header Host") {
		t.Errorf("%s %s", resp.Status, words)
	}
}

// Whoever comes with a link may sign in for its mailbox from anywhere, and sees nothing else.
func TestLink(t *testing.T) {
	s := connected(t, desk{}, status("sales", mailbox.StateWatching))
	h := web.Handler(s)
	for range 2 { // to look at it does not use it up
		resp := browse(h, http.MethodGet, "/link/good", nil, elsewhere)
		words, forms := text(t, resp)
		wants(t, words, "sales", "Connect your Gmail account", "good once", "min left")
		if resp.StatusCode != http.StatusOK || len(forms) != 1 || forms[0] != "./good" || strings.Contains(words, "All mailboxes") || strings.Contains(words, "Test connection") {
			t.Errorf("%s %q %s", resp.Status, forms, words)
		}
	}
	begun := browse(h, http.MethodPost, "/link/good", nil, elsewhere)
	if begun.StatusCode != http.StatusOK || begun.Header.Get("Refresh") != "0;url=https://provider.test/authorize?x=1" {
		t.Errorf("%s %v", begun.Status, begun.Header)
	}
	back := browse(h, http.MethodGet, "/oauth/google/callback?state=the-state&link=good&id=sales", begun, elsewhere)
	if next := back.Header.Get("Location"); next != home+"/oauth/answer" {
		t.Errorf("on to %q", next)
	}
	if words, _ := text(t, browse(h, http.MethodGet, "/oauth/answer", back, elsewhere)); !strings.Contains(words, "Connected.") || strings.Contains(words, "All mailboxes") {
		t.Error(words)
	}
	// What came to nothing can be tried again at once.
	s.Connect.Desk = desk{finish: &token.ConsentError{Problem: token.Problem{Sentence: "Another account has signed in.", Hint: "Sign out first."}}}
	h = web.Handler(s)
	back = browse(h, http.MethodGet, "/oauth/google/callback?state=the-state&link=good&id=sales", begun, elsewhere)
	if next := back.Header.Get("Location"); next != home+"/link/good" {
		t.Errorf("on to %q", next)
	}
	words, forms := text(t, browse(h, http.MethodGet, "/link/good", back, elsewhere))
	if !strings.Contains(words, "Another account has signed in. Sign out first.") || len(forms) != 1 {
		t.Errorf("%q %s", forms, words)
	}
}

func TestLinkRefused(t *testing.T) {
	h := web.Handler(connected(t, desk{}, status("sales", mailbox.StateWatching)))
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, tt := range []struct {
		name, method, path string
		change             func(*http.Request)
		status             int
		says               string
	}{
		{"used", "GET", "/link/used", elsewhere, 403, "This link was used. Ask for another."},
		{"used, by its form", "POST", "/link/used", elsewhere, 403, "This link was used."},
		{"NATS is away", "GET", "/link/away", elsewhere, 503, "NATS is away."},
		{"mailbox is gone", "POST", "/link/gone", elsewhere, 404, "no such mailbox"},
		{"by another site's form", "POST", "/link/good", header("Sec-Fetch-Site", "cross-site"), 403, ""},
		{"under another name", "GET", "/link/good", func(r *http.Request) { r.Host = "rebound.example" }, 421, "another name"},
		{"under another name, by its form", "POST", "/link/good", func(r *http.Request) { r.Host = "rebound.example" }, 421, "the header Host"},
		{"another method", "DELETE", "/link/good", elsewhere, 405, ""},
		{"nothing", "GET", "/link/", elsewhere, 404, ""},
	} {
		resp := browse(h, tt.method, tt.path, nil, tt.change)
		words, forms := text(t, resp)
		if resp.StatusCode != tt.status || !strings.Contains(words, tt.says) || len(forms) > 0 || resp.Header.Get("Refresh") != "" || len(resp.Cookies()) > 0 {
			t.Errorf("%s: %s %q %v", tt.name, resp.Status, words, resp.Header)
		}
	}
}

// How a grant stands is said as it is: one that cannot be renewed is not said to be.
func TestGrantInWords(t *testing.T) {
	now := time.Now()
	problem := &token.Problem{Code: "AADSTS7000222", Sentence: "The client secret has expired.", Hint: "Create a new secret."}
	for _, tt := range []struct {
		grant token.Status
		says  string
	}{
		{token.Status{State: token.Idle, Expiry: now.Add(time.Hour)}, "token valid Valid until"},
		{token.Status{State: token.Idle, Expiry: now.Add(-time.Hour)}, "renewed at the next login"},
		{token.Status{State: token.Idle, Expiry: now.Add(time.Hour), Problem: problem, ProblemOf: token.OfOperator}, "token valid, but it cannot be renewed"},
		{token.Status{State: token.Idle, Expiry: now.Add(-time.Hour), Problem: problem, ProblemOf: token.OfOperator}, "Grant cannot be renewed The client secret has expired. Create a new secret."},
		{token.Status{State: token.Idle, Expiry: now.Add(-time.Hour), Problem: problem, ProblemOf: token.OfNobody}, "cannot be renewed at the moment"},
		{token.Status{State: token.NeedsPerson, Problem: problem, ProblemOf: token.OfOwner}, "reconnect needed"},
		{token.Status{State: token.Absent}, "not connected"},
	} {
		h := web.Handler(connected(t, desk{grant: tt.grant}, status("sales", mailbox.StateWatching)))
		words, _ := text(t, browse(h, http.MethodGet, "/mailboxes/sales", nil))
		wants(t, words, tt.says)
		if broken := tt.grant.Broken(); strings.Contains(words, "it is renewed by itself") == broken && tt.grant.Expiry.After(now) {
			t.Errorf("%+v: %s", tt.grant, words)
		}
	}
}

// How far behind a mailbox is, and what will stop it before long, is on the list, on its page and in the metrics.
func TestLagAndForecast(t *testing.T) {
	s := status("sales", mailbox.StateWatching)
	s.LastMessage = time.Now().Add(-5 * time.Minute)
	s.LastArrived = s.LastMessage.Add(-90 * time.Second)
	s.LastChecked = time.Now().Add(-10 * time.Second)
	s.Published = map[string]uint64{"received": 12, "dead": 3}
	ahead := status("ahead", mailbox.StateWatching)
	ahead.LastMessage, ahead.LastArrived = s.LastMessage, s.LastMessage.Add(time.Minute) // the mail server's clock
	away := status("away", mailbox.StateElsewhere)
	src := connected(t, desk{}, s, ahead, away, status("old", mailbox.StateWatching))
	src.Owner = func(string) string { return "worker-2" }
	secret := token.Problem{Code: "secret_expires", Sentence: "The secret of client google expires on 2026-12-01.", Hint: "Create a new one."}
	src.Grants = func() web.Grants {
		return web.Grants{List: []token.Status{
			{Mailbox: "sales", Warnings: []token.Problem{secret, {Code: "refresh_token_ends", Sentence: "The refresh token of sales ends soon.", Hint: "Sign in again."}}},
			{Mailbox: "ahead", Warnings: []token.Problem{secret, {Code: token.CodeConfiguredRefused, Sentence: "It was refused.", Hint: "Correct it."}}},
		}}
	}
	h := web.Handler(src)
	list, _ := text(t, browse(h, http.MethodGet, "/", nil))
	wants(t, list, "5 min ago 90 s after it arrived", "5 min ago 0 s after it arrived", "Soon : The refresh token of sales ends soon. Sign in again.", "Not used : It was refused. Correct it.")
	if n := strings.Count(list, secret.Sentence+" "+secret.Hint); n != 1 {
		t.Errorf("the client's secret is spoken of %d times: %s", n, list)
	}
	if strings.Count(list, "after it arrived") != 2 {
		t.Error(list)
	}
	one, _ := text(t, browse(h, http.MethodGet, "/mailboxes/sales", nil))
	wants(t, one, "Last checked 10 s ago Last message 5 min ago 90 s after it arrived Published 15 since this replica started, of which 3 dead")
	other, _ := text(t, browse(h, http.MethodGet, "/mailboxes/away", nil))
	wants(t, other, "not on this replica but on worker-2")
	if strings.Contains(other, "Last checked") {
		t.Error(other)
	}
	samples, _ := metrics(t, src)
	for series, want := range map[string]float64{
		`mailflume_mailbox_last_event_delay_seconds{mailbox="sales"}`: 90, `mailflume_mailbox_last_event_delay_seconds{mailbox="ahead"}`: 0,
	} {
		if got, ok := samples[series]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", series, got, ok, want)
		}
	}
	if _, ok := samples[`mailflume_mailbox_last_event_delay_seconds{mailbox="old"}`]; ok {
		t.Error("a delay of no message")
	}
}
