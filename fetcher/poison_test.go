package fetcher

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fatal is what a server does when it is asked for the body of a message that it cannot read.
var fatal = map[string]func(c *fakeConn, tag string){
	"is cut": func(c *fakeConn, _ string) { c.Conn.Close() },
	"is cut in it": func(c *fakeConn, _ string) {
		fmt.Fprint(c.Conn, "* 2 FETCH (UID 2 BODY[] {500}\r\nSubj")
		c.Conn.Close()
	},
	"says BYE":       func(c *fakeConn, _ string) { c.say("* BYE Internal error occurred."); c.Conn.Close() },
	"says SERVERBUG": func(c *fakeConn, tag string) { c.say("%s NO [SERVERBUG] Internal error occurred.", tag) },
	"hangs":          func(c *fakeConn, _ string) { c.r.ReadByte() }, //nolint:errcheck // until the client has had enough
}

// TestFatalMessage: a message at whose FETCH the server fails does not hold up the others for long, in its folder or elsewhere,
// ends few of the sessions after that, and is given up in the end.
func TestFatalMessage(t *testing.T) {
	for name, fail := range fatal {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, 1, 2, 3)
				f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
					c.say("* LIST () \"/\" INBOX\r\n* LIST () \"/\" Other\r\n%s OK", tag)
					return true
				}
				var other atomic.Bool // the folder that is open
				f.on["EXAMINE"] = func(_ *fakeConn, _, args string) bool {
					other.Store(strings.Contains(args, "Other"))
					return false
				}
				f.on["UID FETCH"] = func(c *fakeConn, tag, args string) bool {
					set, items, _ := strings.Cut(args, " ")
					if other.Load() || !strings.Contains(items, "BODY") || !matches(set, 2, 3) {
						return false
					}
					if matches(set, 1, 3) {
						c.fetch(1, f.mails[0], items)
					}
					fail(c, tag)
					return true
				}
				c := f.config()
				c.Folders = []string{"INBOX", "Other"}
				var after map[string]Position
				var kinds []string
				began := time.Now()
				var gone time.Duration
				failed := 0
				for passes := 1; gone == 0; passes++ {
					r := readOnce(t, c, after)
					after = r.after
					for _, m := range r.all {
						if m.UID != 0 {
							kinds = append(kinds, fmt.Sprint(m.Folder, m.UID, m.Kind))
						}
						if m.Kind == KindUnreadable {
							gone = time.Since(began)
						}
					}
					if passes == 5 && !slices.Equal(kinds, []string{"INBOX1 0", "INBOX3 0", "Other1 0", "Other2 0", "Other3 0"}) {
						t.Fatalf("after %d passes: %v", passes, kinds)
					}
					if r.err != nil {
						failed++
					} else if passes <= 4 {
						t.Fatalf("pass %d went well", passes)
					}
					if passes > 200 {
						t.Fatalf("pass %d: %v", passes, r.err)
					}
					time.Sleep(5 * time.Minute)
				}
				if last := kinds[len(kinds)-1]; last != "INBOX2 2" || len(kinds) != 6 || gone < cutAfter || gone > cutAfter+time.Hour {
					t.Errorf("%v, given up after %v", kinds, gone)
				}
				if most := int(lostTries + cutAfter/lostAfter + 2); failed < cutTries || failed > most {
					t.Errorf("it has ended %d sessions, want %d to %d", failed, cutTries, most)
				}
			})
		})
	}
}

// TestFatalMessageThatHeals: a message at which FETCH failed for a while is asked for again although there is backfill to read, for which
// the day's bytes do not suffice.
func TestFatalMessageThatHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		for uid := range uint32(400) {
			f.add(uid + 1)
		}
		c := f.config()
		c.Allowance = NewAllowance(20 << 10)
		var after map[string]Position
		r := readOnce(t, c, after)
		f.change(func() { f.add(401) })
		broken := true
		f.on["UID FETCH"] = func(c *fakeConn, tag, args string) (fail bool) {
			set, items, _ := strings.Cut(args, " ")
			f.change(func() { fail = broken && strings.Contains(items, "BODY") && matches(set, 401, 401) })
			if fail {
				c.say("%s NO [SERVERBUG] Internal error occurred.", tag)
			}
			return fail
		}
		for range 8 {
			if r = readOnce(t, c, r.after); slices.Contains(r.uids, 401) {
				t.Fatal("it came")
			}
			time.Sleep(5 * time.Minute)
		}
		f.change(func() { broken = false })
		began := time.Now()
		for !slices.Contains(r.uids, 401) {
			if r = readOnce(t, c, r.after); r.err != nil || time.Since(began) > lostAfter {
				t.Fatal(time.Since(began), r.err)
			}
			time.Sleep(5 * time.Minute)
		}
		if !r.after["INBOX"].Behind() {
			t.Error("there was no backfill left")
		}
	})
}

// TestCutMessageComes: a message during which the connection broke is read in the next session, in its place.
func TestCutMessageComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1, 2, 3, 4)
		cuts := 0
		f.on["UID FETCH"] = func(c *fakeConn, _, args string) bool {
			if cuts > 0 || !strings.Contains(args, "BODY") {
				return false
			}
			cuts++
			c.Conn.Close()
			return true
		}
		var after map[string]Position
		var uids []uint32
		for range 2 {
			r := readOnce(t, f.config(), after)
			after = r.after
			uids = append(uids, r.uids...)
			time.Sleep(time.Second)
		}
		if !slices.Equal(uids, []uint32{1, 2, 3, 4}) || len(after["INBOX"].Gaps()) != 0 {
			t.Errorf("%v, %v", uids, after)
		}
	})
}
