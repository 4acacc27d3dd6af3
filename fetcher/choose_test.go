package fetcher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true},
		{"*", "a/b", true},
		{"%", "a", true},
		{"%", "a/b", false},
		{"a/%", "a/b", true},
		{"a/%", "a/b/c", false},
		{"a/*", "a/b/c", true},
		{"a/*", "a", false},
		{"*b", "a/b", true},
		{"*b", "a/bc", false},
		{"a*c%", "abcd", true},
		{"a", "a", true},
		{"a", "b", false},
		{"", "", true},
		{"", "a", false},
		{"%/%", "a/b", true},
		{"%/%", "a", false},
		{"**%", "x", true},
		{"ü*", "über", true},
		{strings.Repeat("*a", 300) + "b", strings.Repeat("a", 1000), false},
	} {
		if got := glob(tt.pattern, tt.name); got != tt.want {
			t.Errorf("glob(%.20q, %.20q) = %v", tt.pattern, tt.name, got)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"INBOX", "inbox", true},
		{`\Inbox`, "INBOX", true},
		{"IN%", `\Inbox`, true},
		{"Work", "work", false},
		{"Work/*", "Work/A", true},
		{"Work/*", "Work", false},
		{`\Junk`, `\Junk`, true},
		{`\Junk`, "INBOX", false},
	} {
		if Overlap(tt.a, tt.b) != tt.want || Overlap(tt.b, tt.a) != tt.want {
			t.Errorf("Overlap(%q, %q): want %v", tt.a, tt.b, tt.want)
		}
	}
}

func TestNamespaces(t *testing.T) {
	for text, want := range map[string]string{
		`(("" "/")) NIL NIL`:                                     `{[{ /}] [] []}`,
		`(("INBOX." ".")) (("user." ".")) (("" "."))`:            `{[{INBOX. .}] [{user. .}] [{ .}]}`,
		`NIL NIL (("#shared/" "/") ("#public/" "/"))`:            `{[] [] [{#shared/ /} {#public/ /}]}`,
		`(("" "/" "X-PARAM" ("FLAG1" "FLAG2"))) (("~" NIL)) nil`: `{[{ /}] [{~ }] []}`,
		`(("a\"b\\" "/")) NIL NIL`:                               `{[{a"b\ /}] [] []}`,
		``:                                                       `{[] [] []}`,
		`(("" "/`:                                                `{[] [] []}`,
		`))))`:                                                   `{[] [] []}`,
		`garbage`:                                                `{[] [] []}`,
		strings.Repeat("(", 100_000):                             `{[] [] []}`,
	} {
		if got := fmt.Sprint(parseNamespaces(text)); got != want {
			t.Errorf("%.40q: %s, want %s", text, got, want)
		}
	}
}

// TestChoose: what a configuration means on servers with other delimiters, prefixes and languages.
func TestChoose(t *testing.T) {
	exchange := []string{
		"Archive", "Calendar", "Calendar/Team", "Contacts", "Deleted Items \\Trash", "Drafts \\Drafts", "INBOX", "Junk Email \\Junk", "Kalender",
		"Outbox", "Projects", "Projects/A", "Projects/A/2025", "Projects/Old", "Sent Items \\Sent", "Sync Issues", "Tasks", "Notes from Bob",
	}
	gmail := []string{
		"INBOX", "Work", "Work/Invoices", "Notes", "[Gmail] \\Noselect", "[Gmail]/All Mail \\All", "[Gmail]/Drafts \\Drafts",
		"[Gmail]/Important \\Important", "[Gmail]/Sent Mail \\Sent", "[Gmail]/Spam \\Junk", "[Gmail]/Starred \\Flagged", "[Gmail]/Trash \\Trash",
	}
	courier := []string{"INBOX", "INBOX.Projects", "INBOX.Projects.A", "INBOX.a/b", "INBOX.Sent \\Sent", "user.bob.Projects", "shared.Team", "shared.Team.X"}
	spaces := namespaces{[]namespace{{"INBOX.", "."}}, []namespace{{"user.", "."}}, []namespace{{"shared.", "."}}}
	for _, tt := range []struct {
		all       []string
		delimiter rune
		spaces    namespaces
		wants     string // with commas
		want      string
	}{
		{exchange, '/', namespaces{}, "*", "INBOX Archive Projects Projects/A Projects/A/2025 Projects/Old Notes from Bob"},
		{exchange, '/', namespaces{}, "INBOX,Projects/*,!Projects/Old", "INBOX Projects/A Projects/A/2025"},
		{exchange, '/', namespaces{}, "Projects/%", "Projects/A Projects/Old"},
		{exchange, '/', namespaces{}, `*,!INBOX,!Projects*,\Sent,!\Archive`, "Archive Notes from Bob Sent Items"},
		{exchange, '/', namespaces{}, "Projects/%,Inbox,!inbox", "Projects/A Projects/Old"}, // INBOX is not wanted, however it is written
		{exchange, '/', namespaces{}, `Inbox,Drafts,!\Inbox`, "Drafts"},
		{exchange, '/', namespaces{}, "Calendar", "Calendar"}, // by name: it was asked for
		{exchange, '/', namespaces{}, `Nowhere,\Flagged,INBOX`, `INBOX -Nowhere -\Flagged`},
		{exchange, '/', namespaces{}, "Nowhere/*", ""},
		{exchange, '/', namespaces{}, `\junk,Drafts`, "Junk Email Drafts"},
		{gmail, '/', namespaces{}, "*", "INBOX Work Work/Invoices Notes"},
		{gmail, '/', namespaces{}, `\All,\Junk,\Trash`, "[Gmail]/All Mail [Gmail]/Spam [Gmail]/Trash"},
		{gmail, '/', namespaces{}, "[Gmail]/*", ""},
		{courier, '.', spaces, "*", "INBOX INBOX.Projects INBOX.Projects.A INBOX.a/b"},
		{courier, '.', spaces, "Projects/*", "INBOX.Projects.A"},
		{courier, '.', spaces, "INBOX.Projects.*", "INBOX.Projects.A"},
		{courier, '.', spaces, "Projects", "INBOX.Projects"},
		{courier, '.', spaces, "a/b", "INBOX.a/b"},
		{courier, '.', spaces, "shared.*", "shared.Team shared.Team.X"},
		{courier, '.', spaces, "shared/Team/%", ""}, // a pattern for the folders of others is written with their prefix
		{courier, '.', spaces, "user.bob.Projects", "user.bob.Projects"},
		{[]string{"100%*", "100 of"}, '/', namespaces{}, "100%*", "100%*"}, // a name that looks like a pattern
	} {
		c := catalog{spaces: tt.spaces, exchange: len(tt.all) == len(exchange)}
		for _, line := range tt.all {
			name, attr, _ := strings.Cut(line, ` \`)
			data := &imap.ListData{Mailbox: name, Delim: tt.delimiter}
			if attr != "" {
				data.Attrs = []imap.MailboxAttr{imap.MailboxAttr(`\` + attr)}
			}
			c.all = append(c.all, data)
		}
		got := c.choose(strings.Split(tt.wants, ","))
		var names []string
		for _, f := range got.folders {
			names = append(names, f.name)
		}
		for _, m := range got.missing {
			names = append(names, "-"+m)
		}
		if s := strings.Join(names, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.wants, s, tt.want)
		}
	}
}

// TestQuirkNotMail: no pattern means a folder of Exchange that holds something else than mail, in whatever language, nor what
// lies in it; elsewhere a folder may be called so.
func TestQuirkNotMail(t *testing.T) {
	c := catalog{exchange: true}
	for _, name := range []string{"Calendar", "Calendar/Team", "Kalender", "Contacts", "Aufgaben", "Tâches", "Outbox", "发件箱", "Journal", "INBOX"} {
		c.all = append(c.all, &imap.ListData{Mailbox: name, Delim: '/'})
	}
	if got := c.choose([]string{"*"}).folders; len(got) != 1 || got[0].name != "INBOX" {
		t.Errorf("%d folders", len(got))
	}
	c.exchange = false
	if got := c.choose([]string{"*"}).folders; len(got) != len(c.all) {
		t.Errorf("%d folders of %d", len(got), len(c.all))
	}
}

// TestFolderLimit: a pattern that means too many folders is refused instead of hammering the server.
func TestFolderLimit(t *testing.T) {
	f := newFake(t, 1)
	f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
		for i := range mostFolders + 1 {
			c.say(`* LIST () "/" f%d`, i)
		}
		c.say("%s OK", tag)
		return true
	}
	c := f.config()
	c.Folders = []string{"f*"}
	var e *FolderError
	if _, err := Open(t.Context(), c, secret{"x"}); !errors.As(err, &e) || !strings.Contains(e.Text, "501 folders") {
		t.Error(err)
	}
}

// TestForeignFolders: folders of others are asked for where the configuration names them, since the plain list may not have
// them; and of no server the folders are listed again where they cannot change.
func TestForeignFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.on["NAMESPACE"] = func(c *fakeConn, tag, _ string) bool {
			c.say("* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) NIL\r\n%s OK", tag)
			return true
		}
		f.on["LIST"] = func(c *fakeConn, tag, args string) bool {
			if strings.Contains(args, "Other") {
				c.say(`* LIST () "/" "Other Users/bob/Orders"`)
			}
			c.say("%s OK", tag)
			return true
		}
		c := f.config()
		c.Folders = []string{"INBOX", "Other Users/bob/Orders"}
		s := mustOpen(t, c)
		defer s.Close()
		if got := fmt.Sprintf("%q", s.Folders()); got != `["INBOX" "Other Users/bob/Orders"]` {
			t.Error(got)
		}
		r := readAll(t.Context(), s, nil)
		for range 30 {
			if _, err := waited(t, s); err != nil {
				t.Fatal(err)
			}
			r = readAll(t.Context(), s, r.after)
		}
		if n := len(f.commands("LIST")); n != 2 {
			t.Errorf("%d times LIST", n)
		}
	})
}

// TestForeignFoldersInAnotherAlphabet: where folders of others begin is said in modified UTF-7, as their names are. A pattern does not
// mean them, and by their names they are found.
func TestForeignFoldersInAnotherAlphabet(t *testing.T) {
	for wants, want := range map[string]string{
		"*":                                    `["INBOX" "Work"]`,
		"INBOX,Öffentlich & alt/Team/Aufträge": `["INBOX" "Öffentlich & alt/Team/Aufträge"]`,
		"Öffentlich & alt/*":                   `["Öffentlich & alt/Team" "Öffentlich & alt/Team/Aufträge"]`,
	} {
		f := newFake(t, 1)
		f.on["NAMESPACE"] = func(c *fakeConn, tag, _ string) bool {
			c.say("* NAMESPACE ((\"\" \"/\")) NIL ((\"&ANY-ffentlich &- alt/\" \"/\"))\r\n%s OK", tag)
			return true
		}
		f.on["LIST"] = func(c *fakeConn, tag, args string) bool {
			c.say(`* LIST () "/" Work`)
			c.say(`* LIST () "/" "&ANY-ffentlich &- alt/Team"`)
			if strings.HasSuffix(args, `"&ANY-ffentlich &- alt/*"`) {
				c.say(`* LIST () "/" "&ANY-ffentlich &- alt/Team/Auftr&AOQ-ge"`)
			}
			c.say("%s OK", tag)
			return true
		}
		c := f.config()
		c.Folders = strings.Split(wants, ",")
		s, err := Open(t.Context(), c, secret{"x"})
		if err != nil {
			t.Errorf("%s: %v", wants, err)
			continue
		}
		if got := fmt.Sprintf("%q", s.Folders()); got != want {
			t.Errorf("%s: %s, want %s", wants, got, want)
		}
		s.Close()
	}
}

// TestRelist: with a pattern the server is asked for its folders every few minutes, not more often, and the session wants to
// be renewed when they have changed.
func TestRelist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		names := []string{"P/a"}
		f.on["LIST"] = func(c *fakeConn, tag, args string) bool {
			for _, name := range names {
				c.say(`* LIST () "/" %s`, name)
			}
			c.say("%s OK", tag)
			return true
		}
		c := f.config()
		c.Folders = []string{"INBOX", "P/*"}
		s := mustOpen(t, c)
		defer s.Close()
		r, start := readAll(t.Context(), s, nil), time.Now()
		var err error
		for time.Since(start) < 2*time.Hour && err == nil {
			_, err = waited(t, s)
			if r = readAll(t.Context(), s, r.after); time.Since(start) > time.Hour {
				names = append(names, "P/b")
			}
		}
		if n := len(f.commands("LIST")); !errors.Is(err, ErrRenew) || n > 16 || n < 8 || time.Since(start) > 75*time.Minute {
			t.Errorf("%v after %v and %d times LIST", err, time.Since(start), n)
		}
	})
}

// TestRelistInAnotherOrder: that a server lists the same folders in another order is no reason to log in anew.
func TestRelistInAnotherOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		names := []string{"P/a", "P/b", "P/c"}
		f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
			for _, name := range names {
				c.say(`* LIST () "/" %s`, name)
			}
			slices.Reverse(names)
			c.say("%s OK", tag)
			return true
		}
		c := f.config()
		c.Folders = []string{"P/*"}
		s := mustOpen(t, c)
		defer s.Close()
		r, start := readAll(t.Context(), s, nil), time.Now()
		for time.Since(start) < time.Hour {
			if _, err := waited(t, s); err != nil {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
			r = readAll(t.Context(), s, r.after)
		}
		if n := len(f.commands("LIST")); n < 4 {
			t.Errorf("%d times LIST", n)
		}
	})
}
