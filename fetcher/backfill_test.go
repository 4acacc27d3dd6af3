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

// slowMail makes each FETCH of bodies take a millisecond a message, as a fast server would.
func slowMail(f *fake) {
	f.on["UID FETCH"] = func(c *fakeConn, _, args string) bool {
		set, items, _ := strings.Cut(args, " ")
		if strings.Contains(items, "BODY") {
			nums, _ := parseUIDSet(set).Nums()
			time.Sleep(time.Duration(len(nums)) * time.Millisecond)
		}
		return false
	}
}

// TestBackfillGivesWay: with 6,500 old messages to read, new mail comes within seconds, whether it is announced or not; the
// backfill is complete, ascending, and nothing comes twice.
func TestBackfillGivesWay(t *testing.T) {
	for _, announced := range []bool{true, false} {
		t.Run(fmt.Sprintf("announced %v", announced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const old = 6_500
				f := newFake(t)
				for uid := range uint32(old) {
					f.add(uid + 1)
				}
				slowMail(f)
				s := mustOpen(t, f.config())
				arrived, uid := map[uint32]time.Time{}, uint32(old)
				var back, news []uint32
				after := map[string]Position{}
				for len(back) < old {
					for m, err := range s.Messages(t.Context(), after) {
						if err != nil {
							t.Fatal(err)
						}
						after[m.Folder] = m.Position
						switch {
						case m.Kind != KindMail:
						case m.Backfill:
							back = append(back, m.UID)
							if len(back)%1000 == 0 {
								uid++
								arrived[uid] = time.Now()
								f.change(func() { f.add(uid) })
								if announced {
									f.conns[0].say("* %d EXISTS", uid)
								}
							}
						default:
							if late := time.Since(arrived[m.UID]); late > 5*time.Second || !m.Live {
								t.Errorf("UID %d came after %v, live %v", m.UID, late, m.Live)
							}
							news = append(news, m.UID)
						}
						m.Release()
					}
					if err := s.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.IsSorted(back) || len(slices.Compact(back)) != old || back[old-1] != old || len(news) != 6 || !slices.IsSorted(news) {
					t.Errorf("backfill of %d up to %d, new %v", len(back), back[len(back)-1], news)
				}
				if p := after["INBOX"]; p.Behind() || p.Low != uid || len(p.Gaps()) > 0 {
					t.Errorf("position %v", p)
				}
				s.Close()
			})
		})
	}
}

// TestBackfillGoesOn: a session that dies at any message of the backfill, with new mail in between, is followed by one that
// begins there; nothing is lost and nothing comes twice.
func TestBackfillGoesOn(t *testing.T) {
	for stop := 1; stop < 60; stop++ {
		f := newFake(t)
		for uid := range uint32(40) {
			f.add(2*uid + 1)
		}
		after, got := map[string]Position{}, []uint32{}
		uid, causes := uint32(1000), map[uint32]string{}
		for n := 0; n < 5 || after["INBOX"].Behind() || len(got) < 45; n++ {
			if n > 100 {
				t.Fatalf("stopped after %d messages: %v", stop, got)
			}
			s := mustOpen(t, f.config())
			read := 0
			for m, err := range s.Messages(t.Context(), after) {
				if err != nil {
					t.Fatal(err)
				}
				p, err := ParsePosition(m.Position.String())
				if err != nil || p != m.Position {
					t.Fatalf("%v: %v, %v", m.Position, p, err)
				}
				after[m.Folder] = p
				if m.Kind == KindMail {
					got = append(got, m.UID)
					causes[m.UID] = fmt.Sprint(m.Backfill, m.Live)
				}
				if read++; read == stop {
					break
				}
			}
			s.Close()
			if n < 5 {
				uid++
				f.change(func() { f.add(uid) }) // while nobody looks
			}
		}
		slices.Sort(got)
		if len(got) != 45 || len(slices.Compact(got)) != 45 {
			t.Fatalf("stopped after %d messages: %v", stop, got)
		}
		for uid, cause := range causes {
			if want := fmt.Sprint(uid < 1000, false); cause != want {
				t.Fatalf("UID %d: backfill and live are %s, want %s", uid, cause, want)
			}
		}
		if p := after["INBOX"]; p.Behind() {
			t.Fatalf("stopped after %d messages: %v", stop, p)
		}
	}
}

// TestBackfillAtHalfSpeed: after [THROTTLED] the backfill takes twice its time too.
func TestBackfillAtHalfSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		for uid := range uint32(3000) {
			f.add(uid + 1)
		}
		slowMail(f)
		s := mustOpen(t, f.config())
		defer s.Close()
		s.filter.noteNotice("Success [THROTTLED]")
		start := time.Now()
		if r := readAll(t.Context(), s, nil); r.err != nil || len(r.uids) != 3000 || time.Since(start) != 6*time.Second {
			t.Errorf("%d messages in %v: %v", len(r.uids), time.Since(start), r.err)
		}
	})
}

// TestBackfillLost: what the server lists and does not hand out in the midst of the backfill is asked for again, and the
// position never passes it unseen.
func TestBackfillLost(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(3000) {
		f.add(uid + 1)
	}
	f.mails[9].hole, f.mails[2900].hole = true, true
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, nil)
	if r.err != nil || len(r.uids) != 2998 {
		t.Fatal(r.err, len(r.uids))
	}
	if p := r.after["INBOX"]; p.Settled(10) || p.Settled(2901) || !p.Settled(11) {
		t.Fatalf("position %v", p)
	}
	f.change(func() { f.mails[9].hole, f.mails[2900].hole = false, false; f.add(3001) })
	wantUIDs(t, readAll(t.Context(), s, r.after), 10, 2901, 3001)
}

// TestBackfillOfAnEarlierVersion: a position in the midst of a backfill, as an earlier version wrote it, is taken over: the
// backfill goes on from there, after what is new.
func TestBackfillOfAnEarlierVersion(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(3000) {
		f.add(uid + 1)
	}
	p, err := ParsePosition("p1;7;100;3001;101;0;0;;")
	if err != nil {
		t.Fatal(err)
	}
	f.add(3001)
	s := mustOpen(t, f.config())
	r := readAll(t.Context(), s, map[string]Position{"INBOX": p})
	if r.err != nil || len(r.uids) != 2901 || r.uids[0] != 3001 || r.uids[1] != 101 || r.uids[2900] != 3000 {
		t.Fatal(r.err, len(r.uids), r.uids[:2])
	}
	if p := r.after["INBOX"]; p.Low != 3001 || p.Behind() {
		t.Fatalf("position %v", p)
	}
}

// TestBackfillThatIsNotListed: a SEARCH that finds nothing in a folder that has messages ends no backfill; in one that has none, or only
// new ones, it does.
func TestBackfillThatIsNotListed(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.on["UID SEARCH"] = func(c *fakeConn, tag, _ string) bool { c.say("* SEARCH\r\n%s OK", tag); return true }
	r := readOnce(t, f.config(), nil)
	var answer *ServerError
	if !errors.As(r.err, &answer) || !r.after["INBOX"].Behind() {
		t.Fatal(r.err, r.after)
	}
	f.change(func() { delete(f.on, "UID SEARCH") })
	wantUIDs(t, readOnce(t, f.config(), r.after), 1, 2, 3)
	for name, uids := range map[string][]uint32{"none": nil, "new ones": {4, 5}} {
		f.change(func() {
			f.mails = nil
			for _, uid := range uids {
				f.add(uid)
			}
		})
		again := readOnce(t, f.config(), r.after)
		wantUIDs(t, again, uids...)
		if again.after["INBOX"].Behind() {
			t.Errorf("%s: %v", name, again.after)
		}
	}
}

// TestBackfillSince: of a folder with a start date only what arrived since is read, before and after what is new.
func TestBackfillSince(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(1500) {
		f.add(uid + 1)
		f.mails[uid].date = "01-Jan-2026 10:00:00 +0000"
		if uid%2 == 0 {
			f.mails[uid].date = "01-Jan-2020 10:00:00 +0000"
		}
	}
	c := f.config()
	c.Start = Start{Since: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := mustOpen(t, c)
	r := readAll(t.Context(), s, nil)
	if r.err != nil || len(r.uids) != 750 || r.uids[0] != 2 || r.uids[749] != 1500 {
		t.Fatal(r.err, len(r.uids))
	}
	f.change(func() { f.add(1501); f.mails[1500].date = "01-Jan-2020 10:00:00 +0000" })
	wantUIDs(t, readAll(t.Context(), s, r.after), 1501)
}
