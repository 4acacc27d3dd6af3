package fetcher

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTooLarge(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int64 // as the server says
		kind Kind
	}{{"honest", 0, KindTooLarge}, {"understated", 10, KindTooLarge}, {"overstated", 1 << 30, KindTooLarge}} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, 1, 2, 3)
			f.mails[1].raw = "Subject: large\r\n\r\n" + strings.Repeat("x", 2000)
			f.mails[1].size = tt.size
			c := f.config()
			c.MaxMessage = 1000
			c.Budget = NewBudget(1000)
			s := mustOpen(t, c)
			r := readAll(t.Context(), s, nil)
			for range 2 { // one understated waits for the next pass
				next := readAll(t.Context(), s, r.after)
				r.all, r.after = append(r.all, next.all...), next.after
			}
			var large []Message
			for _, m := range r.all {
				if m.Kind == KindTooLarge {
					large = append(large, m)
				}
			}
			if len(large) != 1 || large[0].UID != 2 || large[0].Size < 1000 || string(large[0].Raw) != "Subject: large\r\n\r\n" {
				t.Fatalf("%+v", large)
			}
			if p := r.after["INBOX"]; p.Low != 3 {
				t.Fatal(p)
			}
		})
	}
}

// TestQuirkSizes: where RFC822.SIZE is a guess, the literal decides. An Exchange is known by its greeting or, where that was replaced,
// by its answer to ID.
func TestQuirkSizes(t *testing.T) {
	for greeting, id := range map[string]string{
		"* OK The Microsoft Exchange IMAP4 service is ready. [QQ==]": `* ID ("name" "x")`,
		"* OK For authorised users only":                             `* ID ("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "15.20")`,
	} {
		f := newFake(t, 1, 2, 3)
		f.greeting = greeting
		f.on["ID"] = func(c *fakeConn, tag, _ string) bool { c.say("%s\r\n%s OK ID completed.", id, tag); return true }
		f.mails[0].size = 1 << 20
		f.mails[1].size = 1 << 20
		f.mails[1].raw += strings.Repeat("x", 2000)
		c := f.config()
		c.MaxMessage = 1000
		r := readAll(t.Context(), mustOpen(t, c), nil)
		wantUIDs(t, r, 1, 3)
		if m := r.all[2]; m.Kind != KindTooLarge || m.UID != 2 || m.Size < 2000 {
			t.Fatalf("%+v", m)
		}
	}
}

// answerFetch replaces the answer to the FETCH of bodies.
func (f *fake) answerFetch(answer func(c *fakeConn, set string)) {
	f.on["UID FETCH"] = func(c *fakeConn, tag, args string) bool {
		if !strings.Contains(args, "BODY") {
			return false
		}
		set, _, _ := strings.Cut(args, " ")
		answer(c, set)
		c.say("%s OK done", tag)
		return true
	}
}

func TestUIDAfterBody(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.answerFetch(func(c *fakeConn, set string) {
		for i, m := range f.mails {
			if matches(set, m.uid, 3) {
				c.say("* %d FETCH (BODY[] {%d}\r\n%s FLAGS (\\Seen) UID %d)", i+1, len(m.raw), m.raw, m.uid)
			}
		}
	})
	r := readAll(t.Context(), mustOpen(t, f.config()), nil)
	wantUIDs(t, r, 1, 2, 3)
	if m := r.all[2]; string(m.Raw) != f.mails[1].raw || len(m.Flags) != 1 {
		t.Fatalf("%+v", m)
	}
}

// TestH07ForeignUIDAfterBody: a body that turns out to be another message's is not taken for the one asked for (H7).
func TestH07ForeignUIDAfterBody(t *testing.T) {
	f := newFake(t, 1)
	f.answerFetch(func(c *fakeConn, _ string) { c.say("* 1 FETCH (BODY[] {5}\r\nwrong UID 9)") })
	wantUIDs(t, readAll(t.Context(), mustOpen(t, f.config()), nil))
}

// TestH10UnsolicitedFetch: other FETCH responses do not take the place of the answer (H10).
func TestH10UnsolicitedFetch(t *testing.T) {
	f := newFake(t, 1, 2)
	f.answerFetch(func(c *fakeConn, set string) {
		c.say("* 1 FETCH (FLAGS (\\Answered))")
		c.say("* 1 FETCH (UID 1 FLAGS (\\Deleted))")
		c.say("* 9 FETCH (UID 99 BODY[] {3}\r\nxyz)")
		for i, m := range f.mails {
			if matches(set, m.uid, 2) {
				c.fetch(i+1, m, "BODY")
				c.say("* %d FETCH (UID %d BODY[] {6}\r\nsecond)", i+1, m.uid)
			}
		}
		c.say("* 2 EXPUNGE\r\n* VANISHED 41,43\r\n* 7 EXISTS\r\n* XYZZY (a {3}\r\nb)c {2}\r\nde)")
	})
	r := readAll(t.Context(), mustOpen(t, f.config()), nil)
	wantUIDs(t, r, 1, 2)
	if string(r.all[1].Raw) != f.mails[0].raw || fmt.Sprint(r.all[1].Flags) != `[\Seen $Label]` {
		t.Fatalf("%+v", r.all[1])
	}
}

// TestDisorder: a server may answer in any order; the UIDs come ascending all the same.
func TestDisorder(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.answerFetch(func(c *fakeConn, set string) {
		for i := len(f.mails) - 1; i >= 0; i-- {
			if matches(set, f.mails[i].uid, 3) {
				c.fetch(i+1, f.mails[i], "BODY")
			}
		}
	})
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 3)
	wantUIDs(t, readAll(t.Context(), s, r.after), 1, 2)
}

func TestH24OddButHonest(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.on["EXAMINE"] = func(c *fakeConn, _, _ string) bool {
		c.say("* OK [COPYUID 14  ]\r\n[COPYUID 55 31 6]\r\n+ \r\n* NO [WEBALERT https://x.example/?a=b&c=(d] login\r\n* OK [Error=\"Micro.Soft:x\" A=0 y] fine")
		return false
	}
	f.answerFetch(func(c *fakeConn, _ string) {
		raw := f.mails[0].raw
		c.say("* 1 FETCH (UID 1 FLAGS (\\Seen a]b \"x y\" \\* c[d) INTERNALDATE \"00-Jan-2020 99:00:00\" MODSEQ (0) X-GUID abc EMAILID NIL BODY[] {%d}\r\n%s)", len(raw), raw)
		c.say("* 2 FETCH (FLAGS () BODY[] \"quoted\\\"\" UID 2 INTERNALDATE \" 4-Mar-2026 10:12:01 +0000\")")
		c.say("* 3 FETCH (UID 3 INTERNALDATE NIL BODY[] {0}\r\n)")
	})
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 1, 2) // and 3, of which the server says that it is not empty, is lost
	if m := r.all[1]; !m.InternalDate.IsZero() || fmt.Sprint(m.Flags) != `[\Seen c[d]` {
		t.Fatalf("%+v", m)
	}
	if m := r.all[2]; string(m.Raw) != `quoted"` || m.InternalDate.Day() != 4 {
		t.Fatalf("%+v", m)
	}
	if err := s.Notice(); err == nil || !strings.Contains(err.Error(), "WEBALERT") {
		t.Fatal(err)
	}
}

// TestIdentifiers: Gmail's and OBJECTID's are asked for and lifted out.
func TestIdentifiers(t *testing.T) {
	for caps, answer := range map[string]string{
		"X-GM-EXT-1": "* 1 FETCH (X-GM-THRID 17 X-GM-MSGID 1563491715126921418 X-GM-LABELS (\"\\\\Important\" {4}\r\nA B) NIL \\Sent) UID 1 BODY[] {3}\r\nabc)",
		"OBJECTID":   "* 1 FETCH (UID 1 BODY[] {3}\r\nabc EMAILID (M6d99) THREADID (17))",
	} {
		f := newFake(t, 1)
		f.post += " " + caps
		f.answerFetch(func(c *fakeConn, _ string) { c.say("%s", answer) })
		r := readAll(t.Context(), mustOpen(t, f.config()), nil)
		wantUIDs(t, r, 1)
		m := r.all[1]
		if m.ThreadID != "17" || string(m.Raw) != "abc" {
			t.Fatalf("%+v", m)
		}
		switch caps {
		case "X-GM-EXT-1":
			if m.EmailID != "1563491715126921418" || fmt.Sprintf("%q", m.Labels) != `["\\Important" "A B)" "\\Sent"]` {
				t.Fatalf("%+v", m)
			}
			if c := f.commands("UID FETCH"); !strings.Contains(c[1], "(UID X-GM-MSGID X-GM-THRID X-GM-LABELS ") {
				t.Fatal(c)
			}
		case "OBJECTID":
			if m.EmailID != "M6d99" {
				t.Fatalf("%+v", m)
			}
		}
	}
}

// TestBreak: leaving the loop cleans up (goleak) and ends the session.
func TestBreak(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(300) {
		f.add(uid + 1)
		f.mails[uid].raw += strings.Repeat("x", 5000)
	}
	s := mustOpen(t, f.config())
	for m, err := range s.Messages(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if m.UID == 3 {
			break
		}
	}
	if err := s.Wait(t.Context()); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if r := readAll(t.Context(), s, nil); !errors.Is(r.err, errStopped) {
		t.Fatal(r.err)
	}
}

// TestSlowConsumer: the time that the consumer takes is not the server's.
func TestSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1, 2, 3)
		s := mustOpen(t, f.config())
		var n int
		for m, err := range s.Messages(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			m.Release()
			n++
		}
		if n != 4 {
			t.Fatal(n)
		}
		s.Close()
	})
}

// TestBudget: fetching waits for the bytes in flight to be given back, and one message may need all of them.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1, 2, 3)
		for i := range f.mails {
			f.mails[i].raw = "\r\n\r\n" + strings.Repeat("x", 596)
		}
		f.mails[2].raw += strings.Repeat("x", 1400)
		c := f.config()
		c.Budget = NewBudget(1000)
		s := mustOpen(t, c)
		start := time.Now()
		var at []time.Duration
		for m, err := range s.Messages(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Since(start))
			time.AfterFunc(5*time.Minute, m.Release)
		}
		if fmt.Sprint(at) != "[0s 0s 5m0s 10m0s]" {
			t.Fatal(at)
		}
		time.Sleep(time.Hour)
		s.Close()
	})
}
