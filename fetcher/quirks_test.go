package fetcher

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestQuirksHaveTests: each QUIRK comment has a name, and a test of that name.
func TestQuirksHaveTests(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	all := text.String()
	for _, m := range regexp.MustCompile(`QUIRK\([a-z,]+\): ([A-Za-z ]+)[.:]`).FindAllStringSubmatch(all, -1) {
		var name strings.Builder
		for word := range strings.FieldsSeq(m[1]) {
			name.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
		if !strings.Contains(all, "func TestQuirk"+name.String()+"(") {
			t.Errorf("%s: no TestQuirk%s", m[0], &name)
		}
	}
	if n := strings.Count(all, "QUIRK"+"("); n < 15 {
		t.Errorf("only %d quirks", n)
	}
}

func TestQuirkThrottled(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"Request is throttled. Suggested Backoff Time: 299910 milliseconds": 299910 * time.Millisecond,
		"Request is throttled. Suggested Backoff Time: 9000000":             time.Hour,
		"request is throttled": 0,
	} {
		var e *ThrottledError
		if err := classifyTagged("FETCH", text); !errors.As(err, &e) || e.Wait != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestQuirkBandwidth(t *testing.T) {
	var e *ThrottledError
	if err := classifyBye("[OVERQUOTA] Account exceeded command or bandwidth limits."); !errors.As(err, &e) || e.Wait != time.Hour {
		t.Error(err)
	}
}

func TestQuirkTooManyConnections(t *testing.T) {
	var e *ThrottledError
	if err := classifyLogin(XOAUTH2, "[ALERT] Too many simultaneous connections. (Failure)", ""); !errors.As(err, &e) || e.Hint == "" {
		t.Error(err)
	}
}

func TestQuirkErrorChallenge(t *testing.T) {
	f := newFake(t)
	lines := f.refuse(true, "TAG NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")
	var e *AuthError
	if _, err := Open(t.Context(), f.config(), secret{"x"}); !errors.As(err, &e) || fmt.Sprintf("%q", *lines) != `[""]` {
		t.Errorf("%v, %q", err, *lines)
	}
}

// rewrite gives lines to a filter and returns what go-imap sees of them, the greeting apart, and the error at the end.
func rewrite(t *testing.T, verb string, lines ...string) (string, error) {
	t.Helper()
	f := newFilter(newLink(nullConn{strings.NewReader(strings.Join(lines, "\r\n") + "\r\n")}, time.Minute), nil, nil, 1<<20)
	f.br = bufio.NewReader(f.link)
	if verb != "" {
		if _, err := f.Write([]byte("T1 " + verb + "\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	buf := make([]byte, 1000)
	for {
		n, err := f.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			_, seen, _ := strings.Cut(out.String(), "\r\n")
			return seen, err
		}
	}
}

func TestQuirkBareLine(t *testing.T) {
	var e *ServerError
	if _, err := rewrite(t, "NOOP", "Server Unavailable. 15", "T1 OK"); !errors.As(err, &e) {
		t.Error(err)
	}
	if got, _ := rewrite(t, "NOOP", "[COPYUID 55 31 6]", "T9 OK other", "", "T1 OK"); got != "T1 OK -\r\n" {
		t.Errorf("%q", got)
	}
}

func TestQuirkStrayContinuation(t *testing.T) {
	if got, _ := rewrite(t, "NOOP", "+ ", "+", "T1 OK done"); got != "T1 OK done\r\n" {
		t.Errorf("%q", got)
	}
	f := newFake(t, 1)
	for _, verb := range []string{"CAPABILITY", "ID", "NAMESPACE"} {
		f.on[verb] = func(c *fakeConn, _, _ string) bool { c.say("+ "); return false }
	}
	wantUIDs(t, readAll(t.Context(), mustOpen(t, f.config()), nil), 1)
}

// TestQuirkPlaceholder: what Exchange makes up in place of a message is no mail (H16).
func TestQuirkPlaceholder(t *testing.T) {
	for _, tt := range []struct {
		raw  string
		want bool
	}{
		{"From: \"Microsoft Exchange Server\" <>\r\nSubject: Retrieval using the IMAP4 protocol failed for the following message: 7\r\n\r\nx", true},
		{"Subject: Retrieval using the IMAP4 protocol\r\n failed for the following message: 7\r\nFrom: Microsoft Exchange Server <.MISSING-HOST-NAME.>\r\n\r\n", true},
		{"From: Eve <eve@example.com>\r\nSubject: Retrieval using the IMAP4 protocol failed for the following message: 7\r\n\r\n", false},
		{"From: x\r\nSubject: Re: Retrieval using the IMAP4 protocol failed for the following message: 7\r\n\r\n", false},
		{"From: x\r\n\r\nSubject: Retrieval using the IMAP4 protocol failed for the following message: 7\r\n", false},
		{"", false},
	} {
		if got := standsIn([]byte(tt.raw)); got != tt.want {
			t.Errorf("%q: %v", tt.raw, got)
		}
	}
}

func TestQuirkOddCode(t *testing.T) {
	for line, want := range map[string]string{
		`T1 OK [Error="Microsoft.Exchange.Data.X:..." AuthResult=0 y] completed.`: `T1 OK (Error="Microsoft.Exchange.Data.X:..." AuthResult=0 y] completed.`,
		"T1 OK [CAPABILITY IMAP4rev1 ENABLE] in":                                  "T1 OK in",
		"T1 OK [COPYUID 14  ]":                                                    "T1 OK -",
		"T1 NO [nonexistent x y] gone":                                            "T1 NO [NONEXISTENT] gone",
		"T1 BAD [":                                                                "T1 BAD (",
	} {
		if got, _ := rewrite(t, "NOOP", line); got != want+"\r\n" {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestQuirkUnquotedName(t *testing.T) {
	got, _ := rewrite(t, `LIST "" "*"`, "* LIST (\\Marked) \"/\" INBOX", "* LIST () \"/\" a b c", "* LIST () \"/\" a\tb", "* LIST () NIL +Folder")
	want := "* LIST (\\Marked) \"/\" \"INBOX\"\r\n* LIST () \"/\" \"a b c\"\r\n* LIST () NIL \"+Folder\"\r\n"
	if got != want {
		t.Errorf("%q", got)
	}
}

func TestQuirkOddDates(t *testing.T) {
	for s, want := range map[string]string{
		" 4-Mar-2026 10:12:01 +0000": "2026-03-04T10:12:01Z",
		"04-Mar-2026 10:12:01 +0200": "2026-03-04T10:12:01+02:00",
		"4-Mar-2026 10:12:01":        "2026-03-04T10:12:01Z",
		"00-Jan-2020 10:12:01 +0000": "0001-01-01T00:00:00Z",
		"":                           "0001-01-01T00:00:00Z",
	} {
		if got := parseDate(s).Format(time.RFC3339); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// TestQuirkLabels: in Gmail's All Mail the labels say what was sent; in INBOX everything has arrived.
func TestQuirkLabels(t *testing.T) {
	for _, tt := range []struct {
		f      folder
		labels string
		want   bool
	}{
		{folder{name: "INBOX"}, `\Sent \Important`, false},
		{folder{name: "[Gmail]/All Mail"}, `\Important \Sent`, true},
		{folder{name: "[Gmail]/All Mail"}, `\Sent \Inbox`, false},
		{folder{name: "[Gmail]/All Mail"}, `Sent`, false},
		{folder{name: "Gesendete Elemente", sent: true}, "", true},
	} {
		if got := tt.f.sentByOwner(strings.Fields(tt.labels)); got != tt.want {
			t.Errorf("%s in %s: %v", tt.labels, tt.f.name, got)
		}
	}
}
