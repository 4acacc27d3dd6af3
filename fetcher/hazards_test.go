package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The hazards of reading mail over IMAP, H2 to H15, each a test; H16 to H30 are in hazards_more_test.go, and those that need
// the stream (H1, H17, H29) in package mailbox.

// TestH02UIDValidityChangesMeanwhile: UIDVALIDITY is looked at after each EXAMINE before a UID is used, and a server that
// changes it under an open folder loses the session.
func TestH02UIDValidityChangesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1, 2)
		f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
			c.say("* LIST (\\Junk) \"/\" Spam\r\n%s OK", tag)
			return true
		}
		c := f.config()
		c.Folders = []string{"INBOX", "Spam"}
		s := mustOpen(t, c)
		r := readAll(t.Context(), s, nil)
		wantUIDs(t, r, 1, 2, 1, 2)
		f.change(func() { f.validity = 8 })
		r = readAll(t.Context(), s, r.after)
		wantUIDs(t, r, 1, 2, 1, 2)
		if r.all[0].Kind != KindReset || r.all[1].Kind != KindReset || !r.all[2].Relisted {
			t.Errorf("%+v", r.all[:3])
		}
		s.Close()
	})
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		time.AfterFunc(time.Minute, func() { f.conns[0].say("* OK [UIDVALIDITY 7] as before\r\n* OK [UIDVALIDITY 9] another") })
		var e *ServerError
		if d, err := waited(t, s); d != time.Minute || !errors.As(err, &e) {
			t.Errorf("after %v: %v", d, err)
		}
	})
}

// TestH02UIDValidityChangesAfterTheLook: between the look at a folder and what is read of it last, its UIDs may have come to mean
// other messages.
func TestH02UIDValidityChangesAfterTheLook(t *testing.T) {
	for name, position := range map[string]string{
		"backfill":  "",
		"postponed": "p1;7;2;3;9;0;0;;2.32771.900000000", // UID 2, at which FETCH failed three times
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, 1, 2)
				f.on["LIST"] = func(c *fakeConn, tag, _ string) bool { c.say("* LIST () \"/\" Work\r\n%s OK", tag); return true }
				opened := 0
				f.on["EXAMINE"] = func(_ *fakeConn, _, args string) bool {
					if strings.Contains(args, "Work") {
						if opened++; opened == 2 {
							f.change(func() { f.validity = 8 })
						}
					}
					return false
				}
				after := map[string]Position{}
				if position != "" {
					for folder, text := range map[string]string{"INBOX": "p1;7;2;3;9;0;0;;", "Work": position} {
						p, err := ParsePosition(text)
						if err != nil {
							t.Fatal(err)
						}
						after[folder] = p
					}
				}
				c := f.config()
				c.Folders = []string{"INBOX", "Work"}
				r := readOnce(t, c, after)
				var changed *ServerError
				if !errors.As(r.err, &changed) || opened != 2 {
					t.Error(r.err, opened)
				}
				for _, m := range r.all {
					if m.Folder == "Work" && m.UID != 0 {
						t.Errorf("UID %d was read as if UIDVALIDITY still were %d", m.UID, m.UIDValidity)
					}
				}
				var work []string
				for _, m := range readOnce(t, c, r.after).all {
					if m.Folder == "Work" && m.Kind != KindMark {
						work = append(work, fmt.Sprint(m.Kind, m.UIDValidity, m.UID, m.Relisted))
					}
				}
				if want := []string{"4 8 0 false", "0 8 1 true", "0 8 2 true"}; !slices.Equal(work, want) {
					t.Errorf("then %q, want %q", work, want)
				}
			})
		})
	}
}

// TestH03NoUIDValidity: a server without UIDVALIDITY is read by its UIDs; what it says later is a change like any other.
func TestH03NoUIDValidity(t *testing.T) {
	f := newFake(t, 4, 5)
	f.validity, f.next = 0, 0
	r := readAll(t.Context(), mustOpen(t, f.config()), nil)
	wantUIDs(t, r, 4, 5)
	r = readAll(t.Context(), mustOpen(t, f.config()), r.after)
	wantUIDs(t, r)
	f.change(func() { f.validity = 9; f.next = 6 })
	r = readAll(t.Context(), mustOpen(t, f.config()), r.after)
	wantUIDs(t, r, 4, 5)
	f.change(func() { f.validity = 0 }) // said once and then forgotten: no reason to read all of it again
	wantUIDs(t, readAll(t.Context(), mustOpen(t, f.config()), r.after))
}

// TestH04Star: n:* matches the last message although its UID is below n, and it is not fetched again.
func TestH04Star(t *testing.T) {
	f := newFake(t, 10, 2000)
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	before := len(f.commands("UID FETCH"))
	for range 5 {
		r = readAll(t.Context(), s, r.after)
		wantUIDs(t, r)
	}
	if n := len(f.commands("UID FETCH")); n != before {
		t.Errorf("%d fetches with nothing new", n-before)
	}
}

// TestH05Gaps: UIDNEXT may lie above the highest UID for ever, and move by itself; that is no reason to be busy.
func TestH05Gaps(t *testing.T) {
	watched(t, func(f *fake, _ *Config) { f.next = 5000 }, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		start, n := time.Now(), len(f.commands(""))
		for time.Since(start) < 3*time.Hour {
			f.change(func() { f.next += 7 })
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := readAll(t.Context(), s, after)
			wantUIDs(t, r)
			after = r.after
		}
		if got := len(f.commands("")) - n; got > 3*23 { // IDLE, EXAMINE, SEARCH every eight to nine minutes
			t.Errorf("%d commands in three hours", got)
		}
	})
}

// TestH06LateUID: a UID that is seen after a higher one, hidden for 1 to 100 listings, comes with the first listing that
// has it, once, and no pass lists twice: one by itself, and a hundred at once.
func TestH06LateUID(t *testing.T) {
	for _, hidden := range []int{1, 2, 3, 10, 50, 100} {
		f := newFake(t, 1, 2, 3, 4)
		f.mails[1].hidden = true
		s := mustOpen(t, f.config())
		r := readAll(t.Context(), s, nil)
		wantUIDs(t, r, 1, 3, 4)
		for uid := range uint32(hidden - 1) {
			f.change(func() { f.add(5 + uid) })
			r = readAll(t.Context(), s, r.after)
			wantUIDs(t, r, 5+uid)
		}
		f.change(func() { f.mails[1].hidden = false })
		r = readAll(t.Context(), s, r.after)
		wantUIDs(t, r, 2)
		wantUIDs(t, readAll(t.Context(), s, r.after))
		if n := len(f.commands("UID SEARCH")); n > hidden+2 {
			t.Fatalf("hidden for %d listings: %d listings in %d passes", hidden, n, hidden+2)
		}
		s.Close()
	}
	f := newFake(t, 1)
	for uid := range uint32(100) {
		f.add(2 + uid)
		f.mails[1+uid].hidden = true
	}
	f.add(200)
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	wantUIDs(t, r, 1, 200)
	for n := range uint32(100) { // UID 2+n was hidden for n+1 listings
		f.change(func() { f.mails[1+n].hidden = false; f.add(201 + n) })
		r = readAll(t.Context(), s, r.after)
		wantUIDs(t, r, 2+n, 201+n)
	}
	wantUIDs(t, readAll(t.Context(), s, r.after))
	if n := len(f.commands("UID SEARCH")); n > 102 {
		t.Errorf("%d listings in 102 passes", n)
	}
}

// TestH09Expunge: messages that go away while others are listed, fetched and waited for change nothing, as nothing counts
// by sequence numbers.
func TestH09Expunge(t *testing.T) {
	watched(t, func(f *fake, _ *Config) {
		for _, verb := range []string{"UID SEARCH", "UID FETCH", "IDLE"} {
			f.on[verb] = func(c *fakeConn, tag, args string) bool {
				c.say("* 1 EXPUNGE\r\n* VANISHED (EARLIER) 3:7\r\n* 1 EXPUNGE\r\n* 0 EXISTS\r\n* 12 EXPUNGE")
				c.answer(tag, verb, args)
				c.say("* VANISHED 1\r\n* 1 EXPUNGE")
				return true
			}
		}
	}, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		time.AfterFunc(time.Minute, func() { f.deliver(9) })
		for start := time.Now(); ; {
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r := readAll(t.Context(), s, after); r.err != nil || len(r.uids) > 0 {
				wantUIDs(t, r, 9)
				break
			}
			if d := time.Since(start); d > 70*time.Second {
				t.Fatalf("nothing after %v", d)
			}
		}
		if n := len(f.commands("UID SEARCH")); n > 30 {
			t.Errorf("%d listings in a minute", n)
		}
		for _, c := range f.commands("") {
			if strings.HasPrefix(c, "FETCH") || strings.HasPrefix(c, "SEARCH") || strings.HasPrefix(c, "STORE") {
				t.Errorf("by sequence number: %q", c)
			}
		}
	})
}

// TestH11NoBody: a message whose body does not come is tried three times over 15 minutes and then given up, and holds up
// none of the others.
func TestH11NoBody(t *testing.T) {
	for name, answer := range map[string]string{
		"no body":     "* 2 FETCH (UID 2 FLAGS ())",
		"NIL":         "* 2 FETCH (UID 2 BODY[] NIL)",
		"zero length": "* 2 FETCH (UID 2 BODY[] {0}\r\n)",
		"empty":       "* 2 FETCH (UID 2 BODY[] \"\")",
		"nothing":     "* 2 RECENT",
		"other UID":   "* 2 FETCH (UID 7 BODY[] {3}\r\nabc)",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, 1, 2, 3)
				f.answerFetch(func(c *fakeConn, set string) {
					for i, m := range f.mails {
						switch {
						case !matches(set, m.uid, 3):
						case m.uid == 2:
							c.say("%s", answer)
						default:
							c.fetch(i+1, m, "BODY")
						}
					}
				})
				s := mustOpen(t, f.config())
				start := time.Now()
				r := readAll(t.Context(), s, nil)
				wantUIDs(t, r, 1, 3)
				for passes := 1; ; passes++ {
					if len(r.all) > 0 && r.all[len(r.all)-1].Kind == KindUnreadable {
						break
					}
					if r.err != nil || passes > 20 || r.after["INBOX"].Settled(2) {
						t.Fatal(r.err, passes, r.after)
					}
					if err := s.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					r = readAll(t.Context(), s, r.after)
				}
				if d := time.Since(start); d < 15*time.Minute || d > 30*time.Minute {
					t.Errorf("given up after %v", d)
				}
				s.Close()
			})
		})
	}
}

// TestH12SizeLies: RFC822.SIZE is no measure; what is limited are the bytes that come.
func TestH12SizeLies(t *testing.T) {
	for _, greeting := range []string{"* OK ready", "* OK The Microsoft Exchange IMAP4 service is ready. [QQ==]"} {
		for _, size := range []int64{1, 35, 1 << 40} {
			f := newFake(t, 1, 2)
			f.greeting = greeting
			f.mails[0].size = size
			r := readAll(t.Context(), mustOpen(t, f.config()), nil)
			first := r.all[1]
			tooLarge := size > DefaultMaxMessage && first.Kind == KindTooLarge // an honest greeting is believed
			if !tooLarge && (first.Kind != KindMail || string(first.Raw) != f.mails[0].raw) {
				t.Errorf("size %d: %+v", size, first)
			}
		}
	}
}

// TestH13Partial: no part of a message is ever asked for, and one that is longer than announced is taken whole.
func TestH13Partial(t *testing.T) {
	f := newFake(t, 1)
	f.mails[0].raw += strings.Repeat("more than announced\r\n", 10_000)
	f.mails[0].size = 100
	r := readAll(t.Context(), mustOpen(t, f.config()), nil)
	wantUIDs(t, r, 1)
	if string(r.all[1].Raw) != f.mails[0].raw {
		t.Errorf("%d bytes of %d", len(r.all[1].Raw), len(f.mails[0].raw))
	}
	for _, c := range f.commands("UID FETCH") {
		if strings.Contains(c, "<") {
			t.Errorf("asks for a part: %q", c)
		}
	}
}

// reset is a connection whose end comes as a reset by the peer.
type reset struct{ net.Conn }

func (c reset) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = syscall.ECONNRESET
	}
	return n, err
}

// TestH14CutLiteral: a message of 100 KB that is cut, by a close, after a BYE or by a reset, at more than 200 places never
// comes as a part, and comes whole with the next session. Among the places are the first octet, the last one, and the end of
// the literal, after which only the parenthesis is missing.
func TestH14CutLiteral(t *testing.T) {
	var b strings.Builder
	for i := range 100 << 10 / 16 {
		fmt.Fprintf(&b, "%015d\n", i)
	}
	raw := b.String()
	for i := range 200 {
		cutLiteral(t, raw, i*512, i%3)
	}
	for _, cut := range []int{0, 1, 2, len(raw) - 2, len(raw) - 1, len(raw)} {
		for ending := range 3 {
			cutLiteral(t, raw, cut, ending)
		}
	}
	for short := range 60 { // a BYE may come where the literal should have gone on, and be taken for its end
		cutLiteral(t, raw, len(raw)-1-short, 1)
	}
}

// cutLiteral reads a message whose literal ends after cut octets: by a close (0), after a BYE (1), by a reset (2).
func cutLiteral(t *testing.T, raw string, cut, ending int) {
	f := newFake(t, 1, 2)
	f.mails[1].raw = raw
	f.on["UID FETCH"] = func(c *fakeConn, _, args string) bool {
		if !strings.Contains(args, "BODY") {
			return false
		}
		c.fetch(1, f.mails[0], "BODY")
		fmt.Fprintf(c.Conn, "* 2 FETCH (UID 2 BODY[] {%d}\r\n%s", len(raw), raw[:cut])
		if ending == 1 {
			c.say("\r\n* BYE Session invalidated - AccessTokenExpired")
		}
		c.Conn.Close()
		return true
	}
	conf := f.config()
	if ending == 2 {
		conf.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := f.dial(ctx, network, addr)
			return reset{conn}, err
		}
	}
	s := mustOpen(t, conf)
	r := readAll(t.Context(), s, nil)
	s.Close()
	if r.err == nil || slices.Contains(r.uids, 2) {
		t.Fatalf("cut at %d, ending %d: %v, %v", cut, ending, r.uids, r.err)
	}
	f.change(func() { delete(f.on, "UID FETCH") })
	s = mustOpen(t, f.config())
	again := readAll(t.Context(), s, r.after)
	s.Close()
	wantUIDs(t, again, 2)
	if string(again.all[len(again.all)-1].Raw) != raw {
		t.Fatalf("cut at %d, ending %d: then %d bytes", cut, ending, len(again.all[0].Raw))
	}
}

// TestH15HugeLiteral: what a literal announces is not allocated before it is known to be within the limit.
func TestH15HugeLiteral(t *testing.T) {
	for _, size := range []string{"9223372036854775807", "18446744073709551616", "4294967296000"} {
		f := newFake(t, 1)
		f.answerFetch(func(c *fakeConn, _ string) { c.say("* 1 FETCH (UID 1 BODY[] {%s}\r\n", size) })
		r := readAll(t.Context(), mustOpen(t, f.config()), nil)
		var limit *LimitError
		if !errors.As(r.err, &limit) {
			t.Errorf("{%s}: %v", size, r.err)
		}
	}
}
