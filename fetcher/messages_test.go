package fetcher

import (
	"errors"
	"fmt"
	"slices"
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

// TestStartBeforeAllMail: a day on which there was no mail yet means all of it, in a Position that can be read again.
func TestStartBeforeAllMail(t *testing.T) {
	for _, day := range []time.Time{time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0).UTC()} {
		f := newFake(t, 1, 2)
		c := f.config()
		c.Start = Start{Since: day}
		r := readOnce(t, c, nil)
		wantUIDs(t, r, 1, 2)
		p := r.after["INBOX"]
		if again, err := ParsePosition(p.String()); err != nil || again != p {
			t.Errorf("%v: %v", day, err)
		}
	}
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

// TestMoreLostThanRoom: a folder of which the server hands out fewer messages than can be kept track of is read to its end all
// the same, some at a time; until then the error says what is wrong.
func TestMoreLostThanRoom(t *testing.T) {
	for name, sized := range map[string]bool{"nothing": false, "sizes": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const last = 2*maxLost + 10
				f := newFake(t)
				for uid := range uint32(last) {
					f.add(uid + 1)
				}
				f.on["UID FETCH"] = func(c *fakeConn, tag, args string) bool {
					set, items, _ := strings.Cut(args, " ")
					for i, m := range f.mails {
						if (m.uid == last || sized && !strings.Contains(items, "BODY")) && matches(set, m.uid, last) {
							c.fetch(i+1, m, items)
						}
					}
					c.say("%s OK FETCH completed.", tag)
					return true
				}
				var after map[string]Position
				unreadable, read := 0, false
				for passes := 1; !read; passes++ {
					r := readOnce(t, f.config(), after)
					after = r.after
					for _, m := range r.all {
						if m.Kind == KindUnreadable {
							unreadable++
						}
					}
					read = slices.Contains(r.uids, last)
					if passes > 15 || r.err != nil && !strings.Contains(r.err.Error(), "none of more than 64 messages") {
						t.Fatalf("pass %d, %d given up: %v", passes, unreadable, r.err)
					}
					time.Sleep(6 * time.Minute)
				}
				if unreadable != 2*maxLost {
					t.Errorf("%d given up before the last was read", unreadable)
				}
			})
		})
	}
}

// TestLateUIDOutOfWindow: what shows late in a long pass is not left behind.
func TestLateUIDOutOfWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a look for new mail in between would be one SEARCH more
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
		defer s.Close()
		r := readAll(t.Context(), s, nil)
		if r.err != nil || len(r.uids) != 3000 || r.uids[2999] != 5 {
			t.Fatal(r.err, len(r.uids))
		}
		wantUIDs(t, readAll(t.Context(), s, r.after))
		if n := len(f.commands("UID SEARCH")); n != 3 {
			t.Fatal(n, "searches")
		}
	})
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

// TestManyDeletedMeanwhile: that somebody deletes many messages between SEARCH and FETCH is no trouble of the server's (H8).
func TestManyDeletedMeanwhile(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(300) {
		f.add(uid + 1)
	}
	f.on["UID FETCH"] = func(*fakeConn, string, string) bool {
		f.change(func() { f.mails = slices.DeleteFunc(f.mails, func(m mail) bool { return m.uid > 50 && m.uid <= 250 }) })
		return false
	}
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	if p := r.after["INBOX"]; r.err != nil || len(r.uids) != 100 || len(p.lostOnes()) > 0 {
		t.Fatal(r.err, len(r.uids), p)
	}
	if n := len(f.commands("UID FETCH")); n > 10 {
		t.Errorf("%d times FETCH", n)
	}
}

// TestNothingIsThereMeanwhile: of a server that denies all that it has listed nothing is believed: no Position passes the messages.
func TestNothingIsThereMeanwhile(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(3000) {
		f.add(uid + 1)
	}
	all := f.mails
	f.on["UID FETCH"] = func(*fakeConn, string, string) bool { f.change(func() { f.mails = nil }); return false }
	r := readAll(t.Context(), mustOpen(t, f.config()), nil)
	if !errors.Is(r.err, errManyLost) || len(r.uids) > 0 {
		t.Error(r.err, len(r.uids))
	}
	f.change(func() { f.mails = all; delete(f.on, "UID FETCH") })
	if r = readAll(t.Context(), mustOpen(t, f.config()), r.after); r.err != nil || len(r.uids) != 3000 {
		t.Errorf("%d messages, %v", len(r.uids), r.err)
	}
}

// TestESEARCH: a server that knows IMAP4rev2 alone answers SEARCH otherwise.
func TestESEARCH(t *testing.T) {
	f := newFake(t, 1, 2, 4, 7)
	f.pre, f.post = strings.Replace(f.pre, "rev1", "rev2", 1), strings.Replace(f.post, "rev1", "rev2", 1)
	answer := "UID ALL 7,1:2,4"
	f.on["UID SEARCH"] = func(c *fakeConn, tag, _ string) bool {
		c.say("* ESEARCH (TAG %q) %s\r\n%s OK", tag, answer, tag)
		return true
	}
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 1, 2, 4, 7)
	for _, answer = range []string{"UID", "UID ALL", "UID ALL x,5:y,,0,4294967295", "UID COUNT 0"} {
		r = readAll(t.Context(), s, r.after)
		wantUIDs(t, r)
	}
	answer = "UID ALL 1:4294967295"
	var limit *LimitError
	if r = readAll(t.Context(), s, r.after); !errors.As(r.err, &limit) {
		t.Error(r.err)
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
	wantUIDs(t, readAll(t.Context(), s, r.after))
	got := f.commands("UID SEARCH")
	if len(got) > 12 || got[0] != "UID SEARCH UID 1:50000" || !strings.HasSuffix(got[len(got)-1], ":*") {
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

// TestQuirkReissuedUIDs: what comes under UIDs that other messages had before is read, with all of its folder. A UIDNEXT that goes back
// and forth is no reason for that, nor are messages that go and come back.
func TestQuirkReissuedUIDs(t *testing.T) {
	for name, nextAfter := range map[string]uint32{"restored": 1, "made from the highest UID": 1, "too low by one": 0, "an old state for a while": 1} {
		t.Run(name, func(t *testing.T) {
			watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
				look := func(change func()) reading {
					f.change(func() { change(); f.next = f.mails[len(f.mails)-1].uid + nextAfter })
					if _, err := waited(t, s); err != nil {
						t.Fatal(err)
					}
					r := readAll(t.Context(), s, after)
					after = r.after
					return r
				}
				add := func(uids ...uint32) {
					for _, uid := range uids {
						f.add(uid)
						f.mails[len(f.mails)-1].date = time.Now().Format("02-Jan-2006 15:04:05 -0700")
					}
				}
				wantUIDs(t, look(func() { add(2, 3, 4) }), 2, 3, 4)
				all := slices.Clone(f.mails)
				for range 2 {
					wantUIDs(t, look(func() { f.mails = f.mails[:2] }))
				}
				switch name {
				case "restored":
					r := look(func() { add(3); f.mails[2].raw = "Subject: another\r\n\r\n" })
					wantUIDs(t, r, 1, 2, 3)
					last := r.all[len(r.all)-1]
					if m := r.all[0]; m.Kind != KindReset || m.Was != m.UIDValidity || !last.Relisted || string(last.Raw) != f.mails[2].raw {
						t.Errorf("%+v", r.all)
					}
					wantUIDs(t, look(func() { add(4, 5) }), 4, 5)
				case "an old state for a while":
					wantUIDs(t, look(func() { f.mails = all }))
					wantUIDs(t, look(func() { add(5) }), 5)
				default:
					wantUIDs(t, look(func() { add(5) }), 5)
					wantUIDs(t, look(func() { f.mails = f.mails[:2] }))
					wantUIDs(t, look(func() { add(6, 7) }), 6, 7)
					wantUIDs(t, look(func() { f.mails = f.mails[:3] }))
					wantUIDs(t, look(func() { add(8) }), 8)
				}
			})
		})
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
