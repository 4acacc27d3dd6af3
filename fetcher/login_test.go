package fetcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const gmailChallenge = "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ=="

// refuse makes AUTHENTICATE fail: with Gmail's challenge, or at once as Exchange does. It returns where the lines go that
// follow the challenge.
func (f *fake) refuse(challenge bool, text string) *[]string {
	var lines []string
	f.on["AUTHENTICATE"] = func(c *fakeConn, tag, _ string) bool {
		if challenge {
			c.say("+ %s", gmailChallenge)
			line, err := c.r.ReadString('\n')
			if err != nil {
				return true
			}
			lines = append(lines, strings.TrimRight(line, "\r\n"))
		}
		for part := range strings.SplitSeq(text, "|") {
			c.say("%s", strings.ReplaceAll(part, "TAG", tag))
		}
		return true
	}
	return &lines
}

func TestXOAUTH2(t *testing.T) {
	f := newFake(t)
	f.on["AUTHENTICATE"] = func(c *fakeConn, tag, args string) bool {
		if args != "XOAUTH2 dXNlcj1hbGljZUBnbWFpbC50ZXN0AWF1dGg9QmVhcmVyIHlhMjkuZ29vZAEB" {
			t.Errorf("AUTHENTICATE %s", args)
		}
		c.say("* CAPABILITY %s\r\n%s OK alice@gmail.com authenticated (Success)", f.post, tag)
		return true
	}
	c := f.config()
	c.User = "alice@gmail.test"
	s, err := Open(t.Context(), c, secret{"ya29.good"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	want := []string{"CAPABILITY", "AUTHENTICATE XOAUTH2 dXNlcj1hbGljZUBnbWFpbC50ZXN0AWF1dGg9QmVhcmVyIHlhMjkuZ29vZAEB", `ID ("name" "mailflume" "version" "")`, "NAMESPACE", "LOGOUT"}
	if got := f.commands(""); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%q", got)
	}
}

func TestXOAUTH2WithoutInitialResponse(t *testing.T) {
	f := newFake(t)
	f.pre = "IMAP4rev1 AUTH=XOAUTH2"
	f.on["AUTHENTICATE"] = func(c *fakeConn, tag, args string) bool {
		c.say("+ ")
		line, _ := c.r.ReadString('\n')
		if args != "XOAUTH2" || strings.TrimSpace(line) != b64("user=u@example.com\x01auth=Bearer token\x01\x01") {
			t.Errorf("%q, then %q", args, line)
		}
		c.say("%s OK", tag)
		c.in = true
		return true
	}
	mustOpen(t, f.config())
	if got := f.commands("CAPABILITY"); len(got) != 2 { // before and after login: nothing was volunteered
		t.Fatal(got)
	}
}

func TestLoginRefused(t *testing.T) {
	type check func(error) string
	auth := func(stale bool) check {
		return func(err error) string {
			var e *AuthError
			if !errors.As(err, &e) || e.Stale != stale || e.Hint == "" {
				return fmt.Sprintf("want an AuthError with Stale %v", stale)
			}
			return ""
		}
	}
	throttled := func(wait time.Duration) check {
		return func(err error) string {
			var e *ThrottledError
			if !errors.As(err, &e) || e.Wait != wait {
				return "want a ThrottledError of " + wait.String()
			}
			return ""
		}
	}
	server := func(err error) string {
		var e *ServerError
		if !errors.As(err, &e) {
			return "want a ServerError"
		}
		return ""
	}
	for _, tt := range []struct {
		challenge bool
		text      string
		check     check
	}{
		{true, "TAG NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", auth(true)},
		{true, "TAG NO SASL authentication failed", auth(true)},
		{true, "TAG NO [ALERT] Too many simultaneous connections. (Failure)", throttled(2 * time.Minute)},
		{true, "TAG NO [ALERT] Account exceeded command or bandwidth limits. (Failure)", throttled(time.Hour)},
		{false, "* NO [WEBALERT https://accounts.google.com/signin/continue?sarp=1] Web login required.|TAG NO [ALERT] Please log in via your web browser: https://support.google.com/mail/accounts/answer/78754 (Failure)", auth(false)},
		{false, "TAG NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page and enable your account for IMAP access. (Failure)", auth(false)},
		{false, "TAG NO [ALERT] IMAP access is disabled for your domain. (Failure)", auth(false)},
		{true, "TAG NO Lookup failed k2if6111336rvb", auth(false)},
		{false, "TAG NO [UNAVAILABLE] Temporary System Error (Failure)", server},
		{false, "TAG BAD Invalid SASL argument. k2", server},
		{false, "TAG NO AUTHENTICATE failed.", auth(true)},
		{false, "TAG BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds", throttled(92415 * time.Millisecond)},
		{false, "TAG NO Request is throttled. Suggested Backoff Time: 99999999999999999999 milliseconds", throttled(time.Hour)},
		{false, "TAG NO Basic authentication is disabled.|* BYE Microsoft Exchange Server IMAP4 server signing off.", auth(false)},
		{false, "Server Unavailable. 15", server},
	} {
		f := newFake(t)
		lines := f.refuse(tt.challenge, tt.text)
		_, err := Open(t.Context(), f.config(), secret{"stale"})
		if msg := tt.check(err); msg != "" {
			t.Errorf("%s: got %T %v; %s", tt.text, err, err, msg)
		}
		if tt.challenge && (len(*lines) != 1 || (*lines)[0] != "") {
			t.Errorf("after the challenge: %q, want one empty line", *lines)
		}
	}
}

// TestFreshToken: a refused token is replaced once.
func TestFreshToken(t *testing.T) {
	f := newFake(t)
	f.on["AUTHENTICATE"] = func(c *fakeConn, tag, args string) bool {
		if args == "XOAUTH2 "+b64("user=u@example.com\x01auth=Bearer fresh\x01\x01") {
			return false
		}
		c.say("%s NO AUTHENTICATE failed.", tag)
		return true
	}
	s, err := Open(t.Context(), f.config(), secret{"stale", "fresh"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	var refused *AuthError
	if _, err := Open(t.Context(), f.config(), secret{"stale", "stale too", "fresh"}); !errors.As(err, &refused) {
		t.Fatal(err)
	}
}

func TestOAUTHBEARER(t *testing.T) {
	f := newFake(t)
	lines := f.refuse(true, "TAG NO [AUTHENTICATIONFAILED] no")
	c := f.config()
	c.Auth = OAUTHBEARER
	var refused *AuthError
	if _, err := Open(t.Context(), c, secret{"bad"}); !errors.As(err, &refused) || len(*lines) != 1 || (*lines)[0] != "AQ==" {
		t.Fatalf("%v, %q", err, *lines)
	}
	want := "AUTHENTICATE OAUTHBEARER " + b64("n,a=u@example.com,\x01host=localhost\x01port=143\x01auth=Bearer bad\x01\x01")
	if got := f.commands("AUTHENTICATE"); got[0] != want {
		t.Fatal(got)
	}
}

func TestPassword(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.Auth = Password
	s, err := Open(t.Context(), c, secret{`pa"ss\`})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	f.pre = "IMAP4rev1"
	s, err = Open(t.Context(), c, secret{`pa"ss\`})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := f.commands("AUTHENTICATE PLAIN " + b64("\x00u@example.com\x00pa\"ss\\")); len(got) != 1 {
		t.Error(f.log)
	}
	if got := f.commands(`LOGIN "u@example.com" "pa\"ss\\"`); len(got) != 1 {
		t.Error(f.log)
	}
	f.pre = "IMAP4rev1 LOGINDISABLED"
	var refused *AuthError
	if _, err := Open(t.Context(), c, secret{"x"}); !errors.As(err, &refused) || refused.Stale {
		t.Error(err)
	}
}

// TestQuirkNotConnected: Exchange accepts the login and serves nothing.
func TestQuirkNotConnected(t *testing.T) {
	f := newFake(t)
	f.on["NAMESPACE"] = func(c *fakeConn, tag, _ string) bool {
		c.say("%s BAD User is authenticated but not connected.", tag)
		return true
	}
	var e *NotConnectedError
	if _, err := Open(t.Context(), f.config(), secret{"x"}); !errors.As(err, &e) || e.Hint == "" {
		t.Fatal(err)
	}
}

func TestGreeting(t *testing.T) {
	for greeting, want := range map[string]any{
		"* BYE Too many simultaneous connections":   new(*ThrottledError),
		"* BYE Connection is closed. 13":            new(*ByeError),
		"* PREAUTH welcome":                         new(*ServerError),
		"220 smtp.example.com ESMTP":                new(*ServerError),
		"* OK " + strings.Repeat("x", 100<<10):      new(*LimitError),
		"* BYE Session expired, please login again": new(*ExpiredError),
	} {
		f := newFake(t)
		f.greeting = greeting
		if _, err := Open(t.Context(), f.config(), secret{"x"}); err == nil || !errors.As(err, want) {
			t.Errorf("%.60s: %T %v", greeting, err, err)
		}
	}
}

func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, silent := range []string{"CAPABILITY", "AUTHENTICATE", "NAMESPACE", "LIST"} {
			f := newFake(t)
			f.on[silent] = func(*fakeConn, string, string) bool { return true }
			c := f.config()
			c.Folders = []string{"Other"}
			start := time.Now()
			var stall *StallError
			if _, err := Open(t.Context(), c, secret{"x"}); !errors.As(err, &stall) || time.Since(start) != DefaultProgress {
				t.Errorf("%s: %v after %v", silent, err, time.Since(start))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			start = time.Now()
			if _, err := Open(ctx, c, secret{"x"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
				t.Errorf("%s: %v after %v", silent, err, time.Since(start))
			}
			cancel()
		}
	})
}

func TestFolders(t *testing.T) {
	f := newFake(t, 1)
	f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
		c.say(`* LIST (\HasNoChildren) "/" INBOX`)
		c.say(`* LIST (\HasChildren \Noselect) "/" "[Gmail]"`)
		c.say(`* LIST (\All \HasNoChildren) "/" "[Gmail]/Alle &-Nachrichten&AOQ-"`)
		c.say("* LIST (\\Junk) NIL {4}\r\nSp m (\"CHILDINFO\" (\"SUBSCRIBED\"))")
		c.say("* LIST () \"/\" Tab\tbed")
		c.say(`* LIST () "/" "&AAA"`)
		c.say("* LIST () \"/\" \"gr\xc3\xbcn\"")
		c.say(`* LIST () "/" Calendar`)
		c.say(`* LIST () "/" a[b]c`)
		c.say("%s OK LIST completed.", tag)
		return true
	}
	c := f.config()
	c.Folders = []string{`\All`, `\Junk`, "inbox", "a[b]c", `\All`}
	s := mustOpen(t, c)
	if got := fmt.Sprintf("%q", s.Folders()); got != `["[Gmail]/Alle &Nachrichtenä" "Sp m" "INBOX" "a[b]c"]` {
		t.Fatal(got)
	}
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 1, 1, 1, 1)
	if got := f.commands("EXAMINE"); got[0] != `EXAMINE "[Gmail]/Alle &-Nachrichten&AOQ-"` {
		t.Fatal(got)
	}
	c.Folders = []string{`\Archive`}
	var missing *FolderError
	if _, err := Open(t.Context(), c, secret{"x"}); !errors.As(err, &missing) || !strings.Contains(missing.Hint, `Sp m (\Junk)`) || strings.Contains(missing.Hint, "Calendar") {
		t.Fatal(err, missing)
	}
}

// TestFolderGone: one folder that cannot be opened does not hold up the others.
func TestFolderGone(t *testing.T) {
	f := newFake(t, 1)
	f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
		c.say("* LIST () \"/\" Gone\r\n%s OK", tag)
		return true
	}
	f.on["EXAMINE"] = func(c *fakeConn, tag, args string) bool {
		if strings.Contains(args, "Gone") {
			c.say("%s NO [NONEXISTENT] Unknown Mailbox: Gone (now in authenticated state) (Failure)", tag)
			return true
		}
		return false
	}
	c := f.config()
	c.Folders = []string{"Gone", "INBOX"}
	s := mustOpen(t, c)
	r := readAll(t.Context(), s, nil)
	var gone *FolderError
	if !errors.As(r.err, &gone) || gone.Folder != "Gone" || fmt.Sprint(r.uids) != "[1]" {
		t.Fatal(r)
	}
}

func TestPlainIsForLoopback(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.Addr = "imap.example.com:143"
	var e *TLSError
	if _, err := Open(t.Context(), c, secret{"x"}); !errors.As(err, &e) || len(f.commands("")) > 0 {
		t.Fatal(err)
	}
}

func TestConfigMistakes(t *testing.T) {
	_, err := Open(t.Context(), Config{Addr: "x", Security: "ssl", Auth: "magic", Folders: []string{"a\r\nb"}}, secret{"x"})
	for _, want := range []string{"address", "user", "security", "auth", "folder"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
}

// A server that repeats what it was told, in plain or as it was sent, is quoted without it.
func TestRefusalIsQuotedWithoutSecrets(t *testing.T) {
	for _, auth := range []Auth{XOAUTH2, Password} {
		f := newFake(t)
		f.pre = "IMAP4rev1 AUTH=XOAUTH2 AUTH=PLAIN SASL-IR"
		f.on["AUTHENTICATE"] = func(c *fakeConn, tag, args string) bool {
			c.say("%s NO [AUTHENTICATIONFAILED] Alice@mail.test may not use %s, sent as %s", tag, "s3cret-of-alice-in-plain", args)
			return true
		}
		c := f.config()
		c.User, c.Auth = "alice@mail.test", auth
		_, err := Open(t.Context(), c, secret{"s3cret-of-alice-in-plain"})
		var refused *AuthError
		if !errors.As(err, &refused) || !strings.Contains(refused.Text, "<user> may not use ***, sent as") {
			t.Fatalf("%v", err)
		}
		if strings.Contains(refused.Text, "alice") || strings.Contains(refused.Text, "czNjcmV0") || strings.Contains(refused.Text, "M2NyZXQtb2Y") || strings.Contains(refused.Text, "zM2NyZXQt") {
			t.Errorf("%s", refused.Text)
		}
	}
}
