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

// TestH19SilenceIsNormal: ten hours without mail are ten hours of one connection.
func TestH19SilenceIsNormal(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		for start := time.Now(); time.Since(start) < 10*time.Hour; {
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantUIDs(t, readAll(t.Context(), s, after))
		}
		if n, c := len(f.commands("UID FETCH")), len(f.commands("AUTHENTICATE")); n != 2 || c != 1 {
			t.Errorf("%d fetches, %d logins", n, c)
		}
	})
}

// TestH22Throttled: what asks for patience says for how long, wherever it stands.
func TestH22Throttled(t *testing.T) {
	for text, want := range map[string]ThrottledError{
		"NO [ALERT] Too many simultaneous connections. (Failure)":              {Wait: 2 * time.Minute, Longest: 10 * time.Minute},
		"NO [ALERT] Account exceeded command or bandwidth limits. (Failure)":   {Wait: time.Hour, Longest: 24 * time.Hour},
		"BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds": {Wait: 92415 * time.Millisecond},
		"NO Request is throttled. Suggested Backoff Time: 299910 milliseconds": {Wait: 299910 * time.Millisecond},

		"NO [THROTTLED] slow down":                                     {},
		"NO [OVERQUOTA] Account exceeded command or bandwidth limits.": {Wait: time.Hour, Longest: 24 * time.Hour},

		"NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip)": {Wait: 2 * time.Minute, Longest: 10 * time.Minute},
	} {
		for _, verb := range []string{"AUTHENTICATE", "NAMESPACE", "EXAMINE", "UID SEARCH", "UID FETCH"} {
			f := newFake(t, 1)
			f.on[verb] = func(c *fakeConn, tag, _ string) bool { c.say("%s %s", tag, text); return true }
			s, err := Open(t.Context(), f.config(), secret{"x"})
			if err == nil {
				err = readAll(t.Context(), s, nil).err
				s.Close()
			}
			var e *ThrottledError
			if !errors.As(err, &e) || e.Wait != want.Wait || e.Longest != want.Longest {
				t.Errorf("%s answers %q: %v", verb, text, err)
			}
			if n := len(f.commands("AUTHENTICATE")); n != 1 {
				t.Errorf("%s answers %q: %d logins", verb, text, n)
			}
		}
	}
}

// TestH23ErrorChallenge: the challenge of a refused XOAUTH2 is answered with an empty line, whatever it says; the tagged
// text decides, and one fresh token is tried, once.
func TestH23ErrorChallenge(t *testing.T) {
	for _, challenge := range []string{`{"status":"400","schemes":"Bearer"}`, `{"status":"401"}`, `{"status":"403"}`, "no JSON", ""} {
		f := newFake(t, 1)
		var lines []string
		f.on["AUTHENTICATE"] = func(c *fakeConn, tag, _ string) bool {
			c.say("+ %s", b64(challenge))
			line, err := c.r.ReadString('\n')
			if err == nil {
				lines = append(lines, line)
				c.say("%s NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", tag)
			}
			return true
		}
		_, err := Open(t.Context(), f.config(), secret{"stale", "fresh", "another"})
		var e *AuthError
		if !errors.As(err, &e) || !e.Stale || e.Hint == "" || fmt.Sprintf("%q", lines) != `["\r\n" "\r\n"]` {
			t.Errorf("%s: %v, %q", challenge, err, lines)
		}
	}
}

// TestH26FolderNames: a name is sent so that it is nothing but a name, and one that could be more is refused.
func TestH26FolderNames(t *testing.T) {
	for _, name := range []string{"a\r\nA9 DELETE INBOX", "a\nb", "a\x00b", ""} {
		f := newFake(t)
		c := f.config()
		c.Folders = []string{name}
		if _, err := Open(t.Context(), c, secret{"x"}); err == nil || len(f.commands("")) > 0 {
			t.Errorf("%q: %v, %q", name, err, f.commands(""))
		}
	}
	names := map[string]string{ // as configured and as on the wire
		`in "quotes"`: `"in \"quotes\""`, `back\slash`: `"back\\slash"`, "a/b.c": `"a/b.c"`, "x) (y": `"x) (y"`,
		"Вся почта": `"&BBIEQQRP- &BD8EPgRHBEIEMA-"`, "a & b": `"a &- b"`, "{5}": `"{5}"`, "100%*": `"100%*"`,
	}
	for name, wire := range names {
		f := newFake(t, 1)
		f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
			c.say("* LIST () \"/\" %s\r\n* LIST () \"/\" {15}\r\nwith\r\nA1 LOGOUT\r\n* LIST () \"/\" a\tb\r\n%s OK", wire, tag)
			return true
		}
		c := f.config()
		c.Folders = []string{name}
		wantUIDs(t, readAll(t.Context(), mustOpen(t, c), nil), 1)
		if got := f.commands("EXAMINE"); len(got) != 1 || strings.Trim(strings.TrimPrefix(got[0], "EXAMINE "), `"`) != strings.Trim(wire, `"`) {
			t.Errorf("%q: %q, want %s", name, got, wire)
		}
		if len(f.commands("LOGOUT")) > 0 {
			t.Error("a folder's name became a command")
		}
	}
	for _, name := range []string{"inbox", "InBoX", `\Inbox`} {
		f := newFake(t, 1)
		f.on["LIST"] = func(c *fakeConn, tag, _ string) bool { c.say("* LIST () \"/\" InBox\r\n%s OK", tag); return true }
		c := f.config()
		c.Folders = []string{name}
		wantUIDs(t, readAll(t.Context(), mustOpen(t, c), nil), 1)
	}
}

// TestH26FolderRecreated: a folder that is gone is an error of that folder, and its return a UIDVALIDITY like another.
func TestH26FolderRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.on["LIST"] = func(c *fakeConn, tag, _ string) bool { c.say("* LIST () \"/\" Work\r\n%s OK", tag); return true }
		c := f.config()
		c.Folders = []string{"INBOX", "Work"}
		s := mustOpen(t, c)
		r := readAll(t.Context(), s, nil)
		wantUIDs(t, r, 1, 1)
		f.change(func() {
			f.add(2)
			f.on["EXAMINE"] = func(c *fakeConn, tag, args string) bool {
				if strings.Contains(args, "Work") {
					c.say("%s NO [NONEXISTENT] Unknown Mailbox: Work (Failure)", tag)
				}
				return strings.Contains(args, "Work")
			}
		})
		s.lookAgain()
		r = readAll(t.Context(), s, r.after)
		var missing *FolderError
		if !errors.As(r.err, &missing) || len(r.uids) != 1 {
			t.Fatal(r.err, r.uids)
		}
		f.change(func() { delete(f.on, "EXAMINE"); f.validity = 99 })
		r = readAll(t.Context(), s, r.after)
		if r.err != nil || len(r.uids) != 4 {
			t.Fatal(r.err, r.uids)
		}
		s.Close()
	})
}

// TestH27Clock: whatever the wall clock does, a message is given up after three tries at the earliest, and soon after that.
func TestH27Clock(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	for _, jump := range []time.Duration{time.Second, time.Hour, 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		for _, jump := range []time.Duration{jump, -jump} {
			p, now := Position{UIDValidity: 1, Next: 1, N: 1}, start
			tries := 0
			for {
				gone, err := p.lose(5, now)
				if err != nil {
					t.Fatal(err)
				}
				if tries++; gone || tries > 60 {
					break
				}
				if again, err := ParsePosition(p.String()); err != nil || again != p {
					t.Fatal(p, err)
				}
				now = now.Add(time.Minute)
				if tries == 2 {
					now = now.Add(jump)
				}
			}
			if tries < lostTries || tries > 20 {
				t.Errorf("jump by %v: given up after %d tries, a minute apart", jump, tries)
			}
		}
	}
	if day := dayOf(time.Date(2038, 1, 20, 0, 0, 0, 0, time.UTC)); (Position{since: day}).wanted().Year() != 2038 {
		t.Error("2038")
	}
}

// TestH28StaleFolder: where only another EXAMINE shows new mail, it is shown.
func TestH28StaleFolder(t *testing.T) {
	for _, post := range []string{"IMAP4rev1", "IMAP4rev1 IDLE"} {
		watched(t, func(f *fake, _ *Config) {
			var seen []mail
			f.post = post
			f.on["EXAMINE"] = func(*fakeConn, string, string) bool { f.change(func() { seen = f.mails }); return false }
			f.on["UID SEARCH"] = func(c *fakeConn, tag, args string) bool {
				c.search(seen, args)
				c.say("%s OK", tag)
				return true
			}
		}, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
			f.change(func() { f.mails = append(f.mails[:1:1], mail{uid: 2, raw: "Subject: 2\r\n\r\n"}); f.next = 3 })
			start := time.Now()
			for {
				if err := s.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if r := readAll(t.Context(), s, after); r.err != nil || len(r.uids) == 1 {
					wantUIDs(t, r, 2)
					break
				}
			}
			if d := time.Since(start); d > 2*DefaultIdleRefresh {
				t.Errorf("found after %v", d)
			}
		})
	}
}

// TestH30NoExtensions: whatever is offered, nothing is switched on that was not asked for; ID may be answered anyhow.
func TestH30NoExtensions(t *testing.T) {
	for _, id := range []string{`* ID ("name" "x")`, "* ID NIL", "* ID ()", `* ID ("a" NIL "b" {3}` + "\r\nx)y)", "* ID", `* ID ("name" "x"`} {
		f := newFake(t, 1)
		f.post = "IMAP4rev1 IMAP4rev2 COMPRESS=DEFLATE ENABLE CONDSTORE QRESYNC UTF8=ACCEPT ESEARCH LITERAL+ LITERAL- IDLE NAMESPACE ID " +
			"NOTIFY METADATA LIST-EXTENDED LIST-STATUS SORT SEARCHRES BINARY PREVIEW SAVEDATE OBJECTID UIDONLY"
		f.on["ID"] = func(c *fakeConn, tag, _ string) bool { c.say("%s\r\n%s OK", id, tag); return true }
		s := mustOpen(t, f.config())
		wantUIDs(t, readAll(t.Context(), s, nil), 1)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(id, err)
		}
		cancel()
		for _, c := range f.commands("") {
			for _, never := range []string{"COMPRESS", "ENABLE", "CONDSTORE", "QRESYNC", "RETURN", "NOTIFY", "CHARSET", "UTF8", "MODSEQ"} {
				if strings.Contains(c, never) {
					t.Errorf("sent %q", c)
				}
			}
		}
	}
}
