package fetcher

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPoison: a message at which the server always breaks the rules is given up, and the others come.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1, 2, 3)
		f.on["UID FETCH"] = func(c *fakeConn, _, args string) bool {
			if !strings.Contains(args, "BODY") {
				return false
			}
			set, _, _ := strings.Cut(args, " ")
			for i, m := range f.mails {
				if matches(set, m.uid, 3) {
					if m.uid == 2 {
						c.say("* 2 FETCH (UID 2 BODY[] {9223372036854775807}\r\n")
						return true
					}
					c.fetch(i+1, m, "BODY")
				}
			}
			return false
		}
		var after map[string]Position
		var kinds []string
		for range 6 {
			r := readOnce(t, f.config(), after)
			after = r.after
			for _, m := range r.all {
				if m.UID != 0 {
					kinds = append(kinds, fmt.Sprint(m.Kind, " ", m.UID))
				}
			}
			time.Sleep(6 * time.Minute)
		}
		if fmt.Sprint(kinds) != "[0 1 0 3 2 2]" { // in the end it does not hold up the one after it
			t.Fatal(kinds)
		}
	})
}

// TestH20Progress: a transfer may be slow, and may pause; it may not stop, and not drip.
func TestH20Progress(t *testing.T) {
	for _, tt := range []struct {
		name  string
		size  int
		chunk int
		pause time.Duration
		ok    bool
	}{
		{"16 KB a second", 25 << 20, 16 << 10, time.Second, true},
		{"pauses", 1 << 20, 100 << 10, 40 * time.Second, true},
		{"long pauses", 1 << 20, 100 << 10, 55 * time.Second, true},
		{"drips", 1 << 20, 1, time.Second, false},
		{"stops", 1 << 20, 600 << 10, 61 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				raw := strings.Repeat("x", tt.size)
				f := newFake(t, 1)
				f.mails[0].raw = raw
				f.answerFetch(func(c *fakeConn, _ string) {
					c.say("* 1 FETCH (UID 1 BODY[] {%d}", len(raw))
					for rest := raw; rest != ""; {
						n := min(tt.chunk, len(rest))
						if _, err := io.WriteString(c.Conn, rest[:n]); err != nil {
							return
						}
						rest = rest[n:]
						time.Sleep(tt.pause)
					}
					c.say(")")
				})
				s := mustOpen(t, f.config())
				start := time.Now()
				r := readAll(t.Context(), s, nil)
				var stall *StallError
				if tt.ok && (r.err != nil || len(r.uids) != 1) || !tt.ok && (!errors.As(r.err, &stall) || len(r.uids) != 0) {
					t.Errorf("%v, %v after %v", r.uids, r.err, time.Since(start))
				}
				if !tt.ok && time.Since(start) > 2*DefaultProgress {
					t.Errorf("found out after %v", time.Since(start))
				}
				if n := len(f.commands("UID FETCH")); n != 2 {
					t.Errorf("%d fetches", n)
				}
				s.Close()
				time.Sleep(tt.pause) // for the server to notice
			})
		})
	}
}

// TestH20Chatter: lines that say nothing are a sign of life for some minutes, as Dovecot sends them during long work, and
// not for ever; before the login no more than afterwards.
func TestH20Chatter(t *testing.T) {
	for _, tt := range []struct {
		verb  string
		lines int // one every 15 seconds
		ok    bool
	}{
		{"UID SEARCH", 20, true},
		{"UID SEARCH", 1000, false},
		{"UID FETCH", 1000, false},
		{"EXAMINE", 1000, false},
		{"CAPABILITY", 1000, false},
		{"AUTHENTICATE", 1000, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, 1)
			f.on[tt.verb] = func(c *fakeConn, _, _ string) bool {
				for i := 0; i < tt.lines && c.fail == nil; i++ {
					c.say("* OK Hang in there..")
					time.Sleep(15 * time.Second)
				}
				return c.fail != nil
			}
			start := time.Now()
			s, err := Open(t.Context(), f.config(), secret{"x"})
			if err == nil {
				err = readAll(t.Context(), s, nil).err
				s.Close()
			}
			var stall *StallError
			if tt.ok != (err == nil) || !tt.ok && !errors.As(err, &stall) || time.Since(start) > (chatterSpans+1)*DefaultProgress {
				t.Errorf("%s, %d lines: %v after %v", tt.verb, tt.lines, err, time.Since(start))
			}
			time.Sleep(time.Minute) // for the server to notice
		})
	}
}

// TestWhyItEnded: the last words of a server become the error.
func TestWhyItEnded(t *testing.T) {
	for words, want := range map[string]any{
		"* BYE Session expired, please login again.":                               new(*ExpiredError),
		"* BYE Session invalidated - AccessTokenExpired":                           new(*ExpiredError),
		"* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.":          new(*ThrottledError),
		"* BYE Connection closed. 14":                                              new(*ByeError),
		"Server Unavailable. 15":                                                   new(*ServerError),
		"* 3 FETC":                                                                 nil, // cut
		"TAG BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds": new(*ThrottledError),
		"TAG NO [UNAVAILABLE] later":                                               new(*ServerError),
		"TAG BAD User is authenticated but not connected.":                         new(*NotConnectedError),
	} {
		for _, verb := range []string{"EXAMINE", "UID SEARCH", "UID FETCH"} {
			f := newFake(t, 1)
			f.on[verb] = func(c *fakeConn, tag, _ string) bool {
				fmt.Fprintf(c.Conn, "%s", strings.ReplaceAll(words, "TAG", tag))
				if want != nil {
					c.say("")
				}
				if !strings.HasPrefix(words, "TAG") {
					c.Conn.Close()
				}
				return true
			}
			s := mustOpen(t, f.config())
			r := readAll(t.Context(), s, nil)
			if want == nil && !errors.Is(r.err, io.ErrUnexpectedEOF) || want != nil && !errors.As(r.err, want) {
				t.Errorf("%s: %s: %T %v", verb, words, r.err, r.err)
			}
			if err := s.Wait(t.Context()); err == nil {
				t.Errorf("%s: %s: the session lives on", verb, words)
			}
			s.Close()
		}
	}
}

// TestQuirkPartialFetch: a NO after what still exists is no error.
func TestQuirkPartialFetch(t *testing.T) {
	f := newFake(t, 1, 2)
	f.on["UID FETCH"] = func(c *fakeConn, tag, args string) bool {
		c.fetch(1, f.mails[0], args)
		c.say("%s NO Some of the requested messages no longer exist.", tag)
		return true
	}
	wantUIDs(t, readAll(t.Context(), mustOpen(t, f.config()), nil), 1)
}

// TestQuirkSoftThrottling: a success may carry a warning.
func TestQuirkSoftThrottling(t *testing.T) {
	f := newFake(t, 1)
	f.on["UID SEARCH"] = func(c *fakeConn, tag, _ string) bool {
		c.say("* SEARCH 1\r\n%s OK Success [THROTTLED]", tag)
		return true
	}
	s := mustOpen(t, f.config())
	wantUIDs(t, readAll(t.Context(), s, nil), 1)
	var e *ThrottledError
	if err := s.Notice(); !errors.As(err, &e) || s.Notice() != nil {
		t.Fatal(err)
	}
}

// TestWarningAtLogin: what a server wants a person to read is not lost because it says so while we log in.
func TestWarningAtLogin(t *testing.T) {
	for verb, words := range map[string]string{
		"NAMESPACE":    "* NAMESPACE NIL NIL NIL\r\nTAG OK Success [THROTTLED]",
		"AUTHENTICATE": "* NO [ALERT] u@example.com is [THROTTLED]\r\nTAG OK done",
	} {
		f := newFake(t, 1)
		f.on[verb] = func(c *fakeConn, tag, _ string) bool {
			c.in = true
			c.say("%s", strings.ReplaceAll(words, "TAG", tag))
			return true
		}
		s := mustOpen(t, f.config())
		var e *ThrottledError
		if err := s.Notice(); !errors.As(err, &e) || strings.Contains(err.Error(), "u@example.com") || !s.filter.slowedWithin(slowFor) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// TestHalfSpeed: for a quarter of an hour after [THROTTLED], as much time passes between two FETCHes as the last one took.
func TestHalfSpeed(t *testing.T) {
	for _, tt := range []struct {
		warning string
		want    time.Duration
	}{{"", 30 * time.Second}, {"[THROTTLED]", 60 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			for uid := range uint32(3 * fetchChunk) {
				f.add(uid + 1)
			}
			f.on["UID SEARCH"] = func(c *fakeConn, tag, args string) bool {
				c.search(f.mails, args)
				c.say("%s OK Success %s", tag, tt.warning)
				return true
			}
			f.on["UID FETCH"] = func(_ *fakeConn, _, args string) bool {
				if strings.Contains(args, "BODY") {
					time.Sleep(10 * time.Second)
				}
				return false
			}
			s := mustOpen(t, f.config())
			start := time.Now()
			r := readAll(t.Context(), s, map[string]Position{"INBOX": {UIDValidity: 7, Next: 1, N: 1}})
			if d := time.Since(start); r.err != nil || len(r.uids) != 3*fetchChunk || d != tt.want {
				t.Errorf("%s: %d messages in %v: %v", tt.warning, len(r.uids), d, r.err)
			}
			time.Sleep(slowFor)
			if s.filter.slowedWithin(slowFor) {
				t.Error("it is never forgotten")
			}
			s.Close()
		})
	}
}
