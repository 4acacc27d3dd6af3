package fetcher

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// watched runs a test on a fake with UID 1 that has been read, in a bubble.
func watched(t *testing.T, prepare func(f *fake, c *Config), do func(t *testing.T, f *fake, s *Session, after map[string]Position)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		c := f.config()
		if prepare != nil {
			prepare(f, &c)
		}
		s, err := Open(t.Context(), c, secret{"x"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := readAll(t.Context(), s, nil)
		wantUIDs(t, r, 1)
		do(t, f, s, r.after)
	})
}

// waited runs Wait and returns how long it took.
func waited(t *testing.T, s *Session) (time.Duration, error) {
	start := time.Now()
	err := s.Wait(t.Context())
	return time.Since(start), err
}

func TestWaitForPush(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		time.AfterFunc(time.Minute, func() { f.deliver(2) })
		if d, err := waited(t, s); d != time.Minute || err != nil {
			t.Fatal(d, err)
		}
		r := readAll(t.Context(), s, after)
		wantUIDs(t, r, 2)
		if !r.all[0].Live {
			t.Fatal("not live")
		}
	})
}

// TestQuirkSilentIDLE: IDLE is renewed, and mail that was never announced is found by the look at each renewal (H21).
func TestQuirkSilentIDLE(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		for n := range 5 {
			uid := uint32(2 + n)
			f.change(func() { f.add(uid) })
			if d, err := waited(t, s); d > 9*time.Minute || d < 8*time.Minute || err != nil {
				t.Fatal(d, err)
			}
			r := readAll(t.Context(), s, after)
			wantUIDs(t, r, uid)
			after = r.after
			if opened := len(f.commands("EXAMINE")); opened != 2+n { // and UIDVALIDITY is looked at again
				t.Fatal(opened, " times EXAMINE")
			}
		}
	})
}

// TestWaitBetween: what is announced between a pass and Wait is not missed.
func TestWaitBetween(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		f.deliver(2)
		synctest.Wait()
		if d, err := waited(t, s); d != 0 || err != nil {
			t.Fatal(d, err)
		}
		wantUIDs(t, readAll(t.Context(), s, after), 2)
	})
}

// TestQuirkLag: EXISTS comes before the message can be seen.
func TestQuirkLag(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		time.AfterFunc(time.Minute, func() {
			f.change(func() { f.add(2); f.mails[1].hidden = true })
			f.announce()
		})
		start := time.Now()
		for i, want := range []time.Duration{0, 1, 5, 15, 60} {
			if _, err := waited(t, s); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != time.Minute+want*time.Second {
				t.Fatalf("look %d after %v", i, got)
			}
			wantUIDs(t, readAll(t.Context(), s, after))
		}
		if d, err := waited(t, s); d < 8*time.Minute || err != nil {
			t.Fatal(d, err)
		}
		f.change(func() { f.mails[1].hidden = false })
		wantUIDs(t, readAll(t.Context(), s, after), 2)
	})
}

// TestOneOfTwoLags: of two messages that are announced, the one that can be seen at once does not make the other wait for the
// safety poll.
func TestOneOfTwoLags(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*fake, *Config)
		says    []string
	}{
		"one EXISTS": {nil, []string{"* 3 EXISTS"}},
		"two":        {nil, []string{"* 2 EXISTS", "* 3 EXISTS"}},
		"after others have gone": {
			func(f *fake, _ *Config) {
				f.on["EXAMINE"] = func(c *fakeConn, tag, _ string) bool {
					c.say("* 5 EXISTS\r\n* OK [UIDVALIDITY 7] -\r\n* OK [UIDNEXT 2] -\r\n%s OK", tag)
					return true
				}
			},
			[]string{"* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n* 4 EXISTS"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, tt.prepare, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
				time.AfterFunc(time.Minute, func() {
					f.change(func() { f.add(2); f.add(3); f.mails[2].hidden = true })
					for _, words := range tt.says {
						f.conns[0].say("%s", words)
					}
				})
				time.AfterFunc(time.Minute+4*time.Second, func() { f.change(func() { f.mails[2].hidden = false }) })
				start := time.Now()
				var uids []uint32
				for len(uids) < 2 {
					if _, err := waited(t, s); err != nil {
						t.Fatal(err)
					}
					r := readAll(t.Context(), s, after)
					after, uids = r.after, append(uids, r.uids...)
				}
				if d := time.Since(start) - time.Minute; d > 6*time.Second {
					t.Errorf("the second came %v after it was announced", d)
				}
				// An EXISTS that came during the last look costs one more, and those that follow it.
				d, err := waited(t, s)
				for looks := 0; d < 8*time.Minute && err == nil && looks <= len(lagPolls); looks++ {
					wantUIDs(t, readAll(t.Context(), s, after))
					d, err = waited(t, s)
				}
				if d < 8*time.Minute || err != nil {
					t.Error("then it does not wait in peace:", d, err)
				}
			})
		})
	}
}

func TestWaitWithoutIdle(t *testing.T) {
	bare := func(f *fake, _ *Config) { f.post = "IMAP4rev1" }
	watched(t, bare, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		for range 3 {
			if d, err := waited(t, s); d != DefaultPoll || err != nil {
				t.Fatal(d, err)
			}
		}
		f.change(func() { f.add(2) })
		wantUIDs(t, readAll(t.Context(), s, after), 2)
	})
}

// TestH18HalfOpenIdle: a connection that died in silence is found when IDLE is renewed (H18).
func TestH18HalfOpenIdle(t *testing.T) {
	mute := func(f *fake, _ *Config) {
		f.on["IDLE"] = func(c *fakeConn, _, _ string) bool {
			c.say("+ idling")
			buf := make([]byte, 100)
			for {
				if _, err := c.Read(buf); err != nil {
					return true
				}
			}
		}
	}
	watched(t, mute, func(t *testing.T, _ *fake, s *Session, _ map[string]Position) {
		d, err := waited(t, s)
		var stall *StallError
		if !errors.As(err, &stall) || d > 9*time.Minute+20*time.Second {
			t.Fatal(d, err)
		}
	})
}

func TestIdleNeverStarts(t *testing.T) {
	mute := func(f *fake, _ *Config) { f.on["IDLE"] = func(*fakeConn, string, string) bool { return true } }
	watched(t, mute, func(t *testing.T, _ *fake, s *Session, _ map[string]Position) {
		d, err := waited(t, s)
		var stall *StallError
		if !errors.As(err, &stall) || d != idlePatience {
			t.Fatal(d, err)
		}
	})
}

// TestQuirkExpired: the session ends with its token, in IDLE too.
func TestQuirkExpired(t *testing.T) {
	for _, idle := range []bool{true, false} {
		prepare := func(f *fake, _ *Config) {
			if !idle {
				f.post = "IMAP4rev1"
			}
		}
		watched(t, prepare, func(t *testing.T, f *fake, s *Session, _ map[string]Position) {
			time.AfterFunc(time.Minute, func() {
				f.conns[0].say("* BYE Session invalidated - AccessTokenExpired") // and the connection stays open
			})
			d, err := waited(t, s)
			var expired *ExpiredError
			if !errors.As(err, &expired) || d != time.Minute {
				t.Fatal(d, err)
			}
		})
	}
}

// TestWaitEnds: the end of ctx leaves IDLE politely, and the connection by LOGOUT.
func TestWaitEnds(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, _ map[string]Position) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("enough"))
		defer cancel()
		if err := s.Wait(ctx); err == nil || err.Error() != "enough" {
			t.Fatal(err)
		}
		start := time.Now()
		s.Close()
		if len(f.commands("LOGOUT")) != 1 || time.Since(start) != 0 {
			t.Fatal(f.log, time.Since(start))
		}
	})
}

// TestCloseHung: a server that does not answer LOGOUT is left all the same.
func TestCloseHung(t *testing.T) {
	mute := func(f *fake, _ *Config) { f.on["LOGOUT"] = func(*fakeConn, string, string) bool { return true } }
	watched(t, mute, func(t *testing.T, _ *fake, s *Session, _ map[string]Position) {
		start := time.Now()
		s.Close()
		if d := time.Since(start); d > byePatience {
			t.Fatal(d)
		}
	})
}

// TestPollOtherFolders: IDLE watches one folder, so the others are looked at in between.
func TestPollOtherFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
			c.say("* LIST (\\Junk) \"/\" Spam\r\n%s OK", tag)
			return true
		}
		c := f.config()
		c.Folders = []string{"INBOX", `\Junk`}
		s := mustOpen(t, c)
		r := readAll(t.Context(), s, nil)
		wantUIDs(t, r, 1, 1)
		if d, err := waited(t, s); d != DefaultPoll || err != nil {
			t.Fatal(d, err)
		}
		f.change(func() { f.add(2) })
		r = readAll(t.Context(), s, r.after)
		wantUIDs(t, r, 2, 2)
		f.change(func() { f.add(3) }) // after the look at INBOX and unannounced
		if d, err := waited(t, s); d != 0 || err != nil {
			t.Fatal(d, err)
		}
		s.Close()
	})
}

// TestEndedMeanwhile: a connection that ended while nobody was looking is found by the next call, at once.
func TestEndedMeanwhile(t *testing.T) {
	for name, next := range map[string]func(ctx context.Context, s *Session) error{
		"Wait":     func(ctx context.Context, s *Session) error { return s.Wait(ctx) },
		"Messages": func(ctx context.Context, s *Session) error { return readAll(ctx, s, nil).err },
		"Close":    func(_ context.Context, s *Session) error { s.Close(); return &ByeError{} },
	} {
		for _, words := range []string{"* BYE Connection is closed. 13", ""} {
			t.Run(name+words, func(t *testing.T) {
				watched(t, nil, func(t *testing.T, f *fake, s *Session, _ map[string]Position) {
					if words != "" {
						f.conns[0].say("%s", words)
					}
					f.conns[0].Close()
					synctest.Wait()
					start := time.Now()
					err := next(t.Context(), s)
					var bye *ByeError
					if err == nil || words != "" && !errors.As(err, &bye) || time.Since(start) != 0 {
						t.Fatalf("%v after %v", err, time.Since(start))
					}
				})
			})
		}
	}
}
