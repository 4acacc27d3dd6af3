package fetcher

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMessages(t *testing.T) {
	f := newFake(t, 1, 2, 5, 900)
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 1, 2, 5, 900)
	if m := r.all[0]; m.Kind != KindMark || m.Position.N != 1 || m.Position.Low != 0 {
		t.Fatalf("start point: %+v", m)
	}
	m := r.all[3]
	want := Message{
		Folder: "INBOX", UIDValidity: 7, UID: 5, Flags: []string{`\Seen`, "$Label"}, Size: int64(len(f.mails[2].raw)),
		InternalDate: time.Date(2026, 7, 17, 2, 44, 25, 0, time.UTC), Raw: []byte(f.mails[2].raw), Backfill: true,
	}
	m.Position, m.release = Position{}, nil
	m.InternalDate = m.InternalDate.UTC()
	if got, want := fmt.Sprintf("%+v", m), fmt.Sprintf("%+v", want); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	before := r.after["INBOX"]
	wantUIDs(t, readAll(t.Context(), s, r.after))
	f.change(func() { f.add(901) })
	r = readAll(t.Context(), s, r.after)
	wantUIDs(t, r, 901)
	if m := r.all[0]; !m.Live || m.Backfill || m.Position.N <= before.N {
		t.Fatalf("%+v", m)
	}
	for _, c := range f.commands("") {
		for _, never := range []string{"SELECT", "BODY[", "BODYSTRUCTURE", "ENVELOPE", "ENABLE", "RETURN", "CHARSET", "STORE"} {
			if strings.Contains(c, never) {
				t.Errorf("sent %q", c)
			}
		}
	}
}

func TestStartPoints(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.mails[0].date = "01-Jan-2026 10:00:00 +0000"
	f.mails[1].date = "05-Mar-2026 10:00:00 +0000"
	f.mails[2].date = "01-Feb-2026 10:00:00 +0000"
	c := f.config()
	c.Start = Start{}
	s := mustOpen(t, c)
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r)
	if r.after["INBOX"].Low != 3 {
		t.Fatal(r.after)
	}
	c.Start = Start{Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	s = mustOpen(t, c)
	r = readAll(t.Context(), s, nil)
	wantUIDs(t, r, 2)
	f.change(func() { f.add(4) })
	r = readAll(t.Context(), s, r.after) // and the older ones stay away
	wantUIDs(t, r, 4)
	wantUIDs(t, readAll(t.Context(), s, r.after))
}

// TestHole: a message that is listed and not handed out is asked for again, and given up after 3 tries over 15 minutes.
func TestHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1, 2, 3)
		f.mails[1].hole = true
		s := mustOpen(t, f.config())
		r := readAll(t.Context(), s, nil)
		wantUIDs(t, r, 1, 3)
		for range 5 {
			p, err := ParsePosition(r.after["INBOX"].String())
			if err != nil || p.Settled(2) {
				t.Fatal(p, err)
			}
			r = readAll(t.Context(), s, r.after)
			wantUIDs(t, r)
			time.Sleep(2 * time.Minute)
		}
		time.Sleep(5 * time.Minute)
		r = readAll(t.Context(), s, r.after)
		if len(r.all) != 1 || r.all[0].Kind != KindUnreadable || r.all[0].UID != 2 {
			t.Fatalf("%+v", r)
		}
		f.change(func() { f.mails[1].hole = false })
		r = readAll(t.Context(), s, r.after)
		wantUIDs(t, r)
		if r.after["INBOX"].Low != 3 {
			t.Fatal(r.after)
		}
		s.Close()
	})
}

// TestHoleOutOfWindow: a message that does not come is not forgotten because many others did.
func TestHoleOutOfWindow(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(1500) {
		f.add(uid + 1)
	}
	f.mails[4].hole = true
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	if r.err != nil || len(r.uids) != 1499 || r.after["INBOX"].Settled(5) {
		t.Fatal(r.err, len(r.uids))
	}
	f.change(func() { f.mails[4].hole = false })
	r = readAll(t.Context(), s, r.after)
	wantUIDs(t, r, 5)
	wantUIDs(t, readAll(t.Context(), s, r.after))
}

// TestMissingNeverPassed: no Position passes a message that did not come, be the UIDs ever so far apart.
func TestMissingNeverPassed(t *testing.T) {
	f := newFake(t, 1, 5, 9000, 20_000)
	f.answerFetch(func(c *fakeConn, set string) {
		for i, m := range f.mails {
			if m.uid != 5 && matches(set, m.uid, 20_000) {
				c.fetch(i+1, m, "BODY")
			}
		}
	})
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 1, 9000, 20_000)
	for _, m := range r.all {
		if p, err := ParsePosition(m.Position.String()); err != nil || p.Settled(5) {
			t.Errorf("after UID %d: %v", m.UID, p)
		}
	}
	f.change(func() { delete(f.on, "UID FETCH") })
	wantUIDs(t, readAll(t.Context(), s, r.after), 5)
}

// TestLateUIDOutOfWindow: what shows late in a long pass is not left behind.
func TestLateUIDOutOfWindow(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(3000) {
		f.add(uid + 1)
	}
	f.mails[4].hidden = true
	f.on["UID FETCH"] = func(*fakeConn, string, string) bool {
		f.change(func() { f.mails[4].hidden = false })
		return false
	}
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	if r.err != nil || len(r.uids) != 3000 || r.uids[2999] != 5 {
		t.Fatal(r.err, len(r.uids))
	}
	wantUIDs(t, readAll(t.Context(), s, r.after))
	if n := len(f.commands("UID SEARCH")); n != 3 {
		t.Fatal(n, "searches")
	}
}

// TestH08ExpungedMeanwhile: a message that goes between SEARCH and FETCH is no hole for long (H8).
func TestH08ExpungedMeanwhile(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.mails[1].hole = true
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	f.change(func() { f.mails[1].hidden = true })
	r = readAll(t.Context(), s, r.after)
	if p := r.after["INBOX"]; r.err != nil || p.isLost(2) {
		t.Fatal(r.err, p)
	}
}

// TestQuirkStar: n:* matches the last message although it is below n (H4).
func TestQuirkStar(t *testing.T) {
	f := newFake(t, 10)
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 10)
	p := r.after["INBOX"]
	p.Low, p.window = 20, [16]uint64{}
	r = readAll(t.Context(), s, map[string]Position{"INBOX": p})
	wantUIDs(t, r)
	if len(f.commands("UID FETCH")) != 2 { // one for sizes, one for the body
		t.Fatal(f.commands("UID FETCH"))
	}
}

// TestH25AbsurdUID: a UID that cannot be does not move the Position past everything (H25).
func TestH25AbsurdUID(t *testing.T) {
	f := newFake(t, 1)
	f.on["UID SEARCH"] = func(c *fakeConn, tag, _ string) bool {
		c.say("* SEARCH 4294967295 4294967294 1 0 1 99999999999 x\r\n%s OK", tag)
		return true
	}
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 1)
	if p := r.after["INBOX"]; p.Low != 1 {
		t.Fatal(p)
	}
}

// TestManyMessages: a large folder is listed in windows, which grow where there is nothing.
func TestManyMessages(t *testing.T) {
	f := newFake(t, 3, 60_000, 4_000_000)
	f.on["EXAMINE"] = func(c *fakeConn, tag, _ string) bool {
		c.say("* 100000 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4000001] x\r\n%s OK", tag)
		return true
	}
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 3, 60_000, 4_000_000)
	got := f.commands("UID SEARCH")
	if len(got) > 12 || got[0] != "UID SEARCH UID 1:50000" || !strings.Contains(strings.Join(got, "\n"), "UID SEARCH UID 4000001:*") {
		t.Fatalf("%q", got)
	}
}

func TestUIDValidityChanged(t *testing.T) {
	f := newFake(t, 1, 2)
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	f.change(func() { f.validity = 8 })
	s = mustOpen(t, f.config())
	n := r.after["INBOX"].N
	r = readAll(t.Context(), s, r.after)
	wantUIDs(t, r, 1, 2)
	if m := r.all[0]; m.Kind != KindReset || m.Was != 7 || m.UIDValidity != 8 || m.Position.N <= n {
		t.Fatalf("%+v", m)
	}
	if !r.all[1].Relisted || r.all[1].UIDValidity != 8 {
		t.Fatalf("%+v", r.all[1])
	}
	f.change(func() { f.add(3) })
	r = readAll(t.Context(), s, r.after)
	wantUIDs(t, r, 3)
	if r.all[0].Relisted {
		t.Fatal("new mail is not relisted")
	}
}

// TestQuirkNoUIDNEXT: a server that says neither is still read (H3).
func TestQuirkNoUIDNEXT(t *testing.T) {
	f := newFake(t, 4, 5)
	f.validity, f.next = 0, 0
	c := f.config()
	c.Start = Start{}
	s := mustOpen(t, c)
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r)
	f.change(func() { f.add(6); f.next = 0 })
	wantUIDs(t, readAll(t.Context(), s, r.after), 6)
}

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

// TestQuirkSizes: where RFC822.SIZE is a guess, the literal decides.
func TestQuirkSizes(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.greeting = "* OK The Microsoft Exchange IMAP4 service is ready. [QQ==]"
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
