package fetcher

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitBesideShutFolder: a folder that cannot be opened does not keep the next one from being watched, though it is named
// first, and is watched itself once it can be opened.
func TestWaitBesideShutFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		shut := true
		f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
			c.say("* LIST () \"/\" Shared\r\n%s OK", tag)
			return true
		}
		f.on["EXAMINE"] = func(c *fakeConn, tag, args string) (refuse bool) {
			f.change(func() { refuse = shut && strings.Contains(args, "Shared") })
			if refuse {
				c.say("%s NO [NOPERM] no", tag)
			}
			return refuse
		}
		c := f.config()
		c.Folders = []string{"Shared", "INBOX"}
		s := mustOpen(t, c)
		defer s.Close()
		var gone *FolderError
		r := readAll(t.Context(), s, nil)
		if !errors.As(r.err, &gone) || gone.Folder != "Shared" || len(r.uids) != 1 {
			t.Fatal(r)
		}
		time.AfterFunc(time.Minute, func() { f.deliver(2) })
		if d, err := waited(t, s); d != time.Minute || err != nil {
			t.Fatalf("after %v: %v", d, err)
		}
		r = readAll(t.Context(), s, r.after)
		if !errors.As(r.err, &gone) || len(r.uids) != 1 || r.all[0].UID != 2 {
			t.Fatal(r)
		}
		f.change(func() { shut = false })
		if d, err := waited(t, s); d != 0 || err != nil { // the folder has news
			t.Fatalf("after %v: %v", d, err)
		}
		wantUIDs(t, readAll(t.Context(), s, r.after), 1, 2)
		if _, err := waited(t, s); err != nil || s.watched.name != "Shared" {
			t.Fatal(s.watched.name, err)
		}
	})
}

// TestIdleIsTriedAgain: a server that refuses IDLE, or ends it at once, is polled without a busy loop, and not for ever.
func TestIdleIsTriedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		first  time.Duration // for how long Wait waits then
	}{
		"refused":     {"%s NO try later", DefaultPoll},
		"unknown":     {"%s BAD unknown command", DefaultPoll},
		"never begun": {"%s OK done", DefaultPoll},
		"ended":       {"+ idling\r\n%s OK enough", 0},
	} {
		t.Run(name, func(t *testing.T) {
			once := func(f *fake, _ *Config) {
				f.on["IDLE"] = func(c *fakeConn, tag, _ string) bool {
					f.change(func() { delete(f.on, "IDLE") })
					c.say(tt.answer, tag)
					return true
				}
			}
			watched(t, once, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
				start, want := time.Now(), tt.first
				for time.Since(start) < idleRests {
					if d, err := waited(t, s); d != want || err != nil {
						t.Fatal(d, err)
					}
					wantUIDs(t, readAll(t.Context(), s, after))
					want = DefaultPoll
				}
				time.AfterFunc(time.Minute, func() { f.deliver(2) })
				if d, err := waited(t, s); d != time.Minute || err != nil {
					t.Fatalf("news after %v, %v", d, err)
				}
				wantUIDs(t, readAll(t.Context(), s, after), 2)
				if n := len(f.commands("IDLE")); n != 2 {
					t.Error(n, " times IDLE")
				}
			})
		})
	}
}

// TestIdleEndedLate: a server that ends each IDLE by itself after a while is idled with again at once.
func TestIdleEndedLate(t *testing.T) {
	late := func(f *fake, _ *Config) {
		f.on["IDLE"] = func(c *fakeConn, tag, _ string) bool {
			c.tag = tag
			c.say("+ idling")
			time.AfterFunc(3*time.Minute, func() { c.say("%s OK enough", tag) })
			return true
		}
	}
	watched(t, late, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		for range 3 {
			if d, err := waited(t, s); d != 3*time.Minute || err != nil {
				t.Fatal(d, err)
			}
			wantUIDs(t, readAll(t.Context(), s, after))
		}
		time.AfterFunc(time.Minute, func() { f.deliver(2) })
		if d, err := waited(t, s); d != time.Minute || err != nil {
			t.Fatal(d, err)
		}
		wantUIDs(t, readAll(t.Context(), s, after), 2)
		if n := len(f.commands("IDLE")); n != 4 {
			t.Fatal(n, " times IDLE")
		}
	})
}

// TestWaitEndsInACommand: the session serves on if ctx ends while Wait opens a folder or begins to idle.
func TestWaitEndsInACommand(t *testing.T) {
	for _, verb := range []string{"EXAMINE", "IDLE"} {
		t.Run(verb, func(t *testing.T) {
			watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
				s.selected = nil
				f.change(func() {
					f.on[verb] = func(c *fakeConn, tag, args string) bool {
						f.change(func() { delete(f.on, verb) })
						time.Sleep(time.Second)
						c.answer(tag, verb, args)
						return true
					}
				})
				ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("enough"))
				defer cancel()
				if err := s.Wait(ctx); err == nil || err.Error() != "enough" {
					t.Fatal(err)
				}
				f.deliver(2)
				wantUIDs(t, readAll(t.Context(), s, after), 2)
			})
		})
	}
}

// TestWaitEndsThoughTheServerHangs: then the session is given up.
func TestWaitEndsThoughTheServerHangs(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		f.change(func() { f.on["IDLE"] = func(*fakeConn, string, string) bool { return true } })
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
		defer cancel()
		start := time.Now()
		if err := s.Wait(ctx); err == nil || err.Error() != "enough" || time.Since(start) > time.Second+byePatience {
			t.Fatal(err, time.Since(start))
		}
		var stall *StallError
		if err := s.Wait(t.Context()); !errors.As(err, &stall) {
			t.Fatal(err)
		}
	})
}

// manyFolders is a fake with so many more folders, each of which takes so long to open, that show the same mail; Folder7 cannot be
// opened.
func manyFolders(t *testing.T, n int, each time.Duration) *fake {
	f := newFake(t, 1)
	f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
		for i := range n {
			c.say("* LIST () \"/\" Folder%d", i)
		}
		c.say("%s OK", tag)
		return true
	}
	f.on["EXAMINE"] = func(c *fakeConn, tag, args string) bool {
		time.Sleep(each)
		if strings.Trim(args, `"`) == "Folder7" {
			c.say("%s NO [NOPERM] no", tag)
			return true
		}
		return false
	}
	return f
}

// TestNewsAmongManyFolders: where to look at all folders takes long, news of the one that is watched do not wait for that; the others
// are looked at after them, or as often as Config.Poll says, but not all the time, and what is known of them does not change in
// between.
func TestNewsAmongManyFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := manyFolders(t, 20, 300*time.Millisecond)
		c := f.config()
		c.Folders, c.Start = []string{"INBOX", "*"}, Start{}
		s := mustOpen(t, c)
		defer s.Close()
		r := readAll(t.Context(), s, nil)
		if r.err != nil || len(r.after) != 20 {
			t.Fatal(r.err, len(r.after))
		}
		var shut *FolderError
		began, others, full, owed := time.Now(), time.Now(), 0, false
		for uid := uint32(2); time.Since(began) < 10*time.Minute; uid++ {
			if uid%4 != 0 || !owed { // else nothing but the clock says that the others are to be looked at
				time.AfterFunc(20*time.Second, func() { f.deliver(uid) })
			}
			if _, err := waited(t, s); err != nil {
				t.Fatal(err)
			}
			seen, start := len(f.commands("EXAMINE")), time.Now()
			r = readAll(t.Context(), s, r.after)
			if full > 0 && !errors.As(r.err, &shut) {
				t.Fatal("the folder that cannot be read is well: ", r.err)
			}
			d := time.Since(start)
			n := len(f.commands("EXAMINE")) - seen
			if n > 10 {
				if time.Since(others) > othersShare*7*time.Second+20*time.Second {
					t.Fatalf("the others were left alone for %v", time.Since(others))
				}
				others, owed = time.Now(), false
				full++
				continue
			}
			owed = true
			if d > time.Second || n > 3 {
				t.Fatalf("a look at one folder took %v and %d times EXAMINE", d, n)
			}
		}
		if full < 5 || full > 11 {
			t.Errorf("%d looks at all folders in 10 minutes", full)
		}
	})
}

// TestNewsWhileOthersAreLookedAt: it takes half a minute to look at all folders, and news of the watched one do not wait so long.
func TestNewsWhileOthersAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := manyFolders(t, 60, 500*time.Millisecond)
		c := f.config()
		c.Folders, c.Start = []string{"INBOX", "*"}, Start{}
		s := mustOpen(t, c)
		defer s.Close()
		delivered := time.Now().Add(8 * time.Second)
		time.AfterFunc(8*time.Second, func() { f.change(func() { f.add(2) }) })
		for m, err := range s.Messages(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			m.Release()
			if m.Folder == "INBOX" && m.UID == 2 {
				if d := time.Since(delivered); d > watchedEvery+2*time.Second {
					t.Fatalf("it took %v", d)
				}
				return
			}
		}
		t.Fatal("it was not read")
	})
}
