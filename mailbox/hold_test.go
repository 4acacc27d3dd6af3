package mailbox_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// threeFolders is a subject that watches three folders of a provider without ids for messages, while its worker runs. INBOX had
// five messages, which are on the stream.
func threeFolders(l *lab) (s *subject, stop func()) {
	s = l.add(sim.Exchange, "anna", "INBOX", "Archive", "Work")
	s.a.CreateFolder("Work")
	s.deliver(0, 5)
	stop = s.run()
	s.within(time.Minute, "the mail", func() bool { return s.received() == 5 && s.watching() })
	return s, stop
}

// looked returns a channel that is closed when the server is next asked to open a folder.
func (s *subject) looked() <-chan struct{} {
	var first sync.Once
	looked := make(chan struct{})
	s.a.Inject(sim.Fault{Command: "EXAMINE", When: sim.When{Times: -1}, Call: func() { first.Do(func() { close(looked) }) }})
	return looked
}

// A message that may be a copy, or half of a move, keeps what follows it in its folder waiting, and no other mail.
func TestCopyHoldsUpItsFolderAlone(t *testing.T) {
	for from, to := range map[string]string{"INBOX": "Archive", "Work": "INBOX"} {
		t.Run(to, func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s, stop := threeFolders(l)
				defer stop()
				s.a.Deliver(from, message(5), minute(5))
				s.within(time.Hour, "what is to be copied", func() bool { return s.received() == 6 && s.watching() })
				looked := s.looked()
				s.a.Deliver(to, message(6), time.Time{})
				s.a.Deliver(to, message(5), time.Time{})
				<-looked
				time.Sleep(3 * time.Second)
				s.a.Deliver(to, message(7), time.Time{})
				n := 8
				for _, folder := range []string{"INBOX", "Archive", "Work"} {
					if folder != to {
						s.a.Deliver(folder, message(n), time.Time{})
						n++
					}
				}
				if took := s.within(time.Minute, "the other mail", func() bool { return s.received() == 9 }); took > 1500*time.Millisecond {
					t.Errorf("the mail of other folders waited for %v", took)
				}
				if got := s.subjects(); got["number 5"] != 1 || got["number 6"] != 1 || got["number 7"] != 0 {
					t.Errorf("the stream has %v; want 5 once as yet, 6 before it and 7 not before it", got)
				}
				if took := s.within(time.Minute, "the copy", func() bool { return s.received() == 11 }); took > 6*time.Second {
					t.Errorf("the copy waited for another %v", took)
				}
				if got := s.subjects(); got["number 5"] != 2 || got["number 7"] != 1 {
					t.Errorf("the stream has %v, want 5 twice and 7 once", got)
				}
			})
		})
	}
}

// A folder that waits is read again in time, although another has much old mail to be read.
func TestHeldFolderDuringBackfill(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna", "INBOX", "Archive", "Work")
		s.a.CreateFolder("Work")
		s.a.Set(func(q *sim.Quirks) { q.WireChunk, q.WireDelay = 10_000, 160*time.Millisecond })
		s.deliver(0, 1)
		for i := range 250 { // 5 MB, 80 s
			s.a.Deliver("Archive", append(message(100+i), bytes.Repeat([]byte("All work and no play.\r\n"), 900)...), time.Time{})
		}
		defer s.run()()
		s.within(time.Minute, "some backfill", func() bool { return s.received() > 10 })
		s.a.Deliver("INBOX", message(0), time.Time{})
		s.a.Deliver("INBOX", message(1), time.Time{})
		inbox := func() (n int) {
			for _, e := range s.events() {
				if e.Folder == "INBOX" {
					n++
				}
			}
			return n
		}
		if took := s.within(10*time.Minute, "what follows the copy", func() bool { return inbox() == 3 }); took > 20*time.Second {
			t.Errorf("what follows the copy waited for %v", took)
		}
		if n := s.received(); n > 200 {
			t.Errorf("the backfill was read already, %d events", n)
		}
		s.within(10*time.Minute, "the backfill", func() bool { return s.received() == 253 })
	})
}

// A folder that waits costs the server a few looks, and none of its messages is read again and again.
func TestHeldFolderIsNotReadMeanwhile(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s, stop := threeFolders(l)
		defer stop()
		for i := range 5 {
			s.a.Deliver("Archive", message(i), time.Time{})
		}
		before := s.a.Stats()
		s.within(time.Hour, "the copies", func() bool { return s.received() == 10 && s.watching() })
		after := s.a.Stats()
		if first, again := before.BodyOctets, after.BodyOctets-before.BodyOctets; again > 3*first {
			t.Errorf("read %d bytes the first time, and %d of the copies", first, again)
		}
		if n := after.Commands["SEARCH"] - before.Commands["SEARCH"]; n > 80 {
			t.Errorf("%d SEARCHes", n)
		}
	})
}

// The wait ends as soon, though one of the folders is not there.
func TestCopiedWhileAFolderIsMissing(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna", "INBOX", "Archive", "Nowhere")
		s.deliver(0, 5)
		defer s.run()()
		s.within(time.Minute, "the mail", func() bool { return s.received() == 5 })
		s.a.Deliver("INBOX", message(1), time.Time{})
		s.a.Deliver("INBOX", message(5), time.Time{})
		if took := s.within(time.Hour, "the copy, and what follows it", func() bool { return s.received() == 7 }); took > time.Minute {
			t.Errorf("what follows a copy waited for %v", took)
		}
	})
}

// A folder that cannot be opened at the moment tells nothing about a message that was there: it may have been moved from it, or
// copied. Its folder waits for that, and no other; in the end it is published.
func TestShutFolderDecidesNothing(t *testing.T) {
	for _, test := range []struct {
		moved, opens bool
		copies       int
	}{{true, true, 1}, {false, true, 2}, {false, false, 2}} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s, stop := threeFolders(l)
				defer stop()
				s.a.Set(func(q *sim.Quirks) { q.Shut = []string{"INBOX"} })
				if test.moved {
					s.a.Move("INBOX", 3, "Archive")
				} else {
					s.a.Deliver("Archive", message(2), time.Time{})
				}
				s.a.Deliver("Archive", message(5), time.Time{})
				time.Sleep(6 * time.Minute)
				s.a.Deliver("Work", message(6), time.Time{})
				time.Sleep(6 * time.Minute)
				if got := s.subjects(); got["number 2"] != 1 || got["number 5"] != 0 || got["number 6"] != 1 {
					t.Errorf("the stream has %v; want 2 once as yet, 5 not before it, and 6", got)
				}
				if test.opens {
					s.a.Set(func(q *sim.Quirks) { q.Shut = nil })
				}
				s.within(20*time.Minute, "what follows it", func() bool { return s.subjects()["number 5"] == 1 })
				time.Sleep(time.Hour)
				if got := s.subjects(); got["number 2"] != test.copies || s.received() != 6+test.copies {
					t.Errorf("the stream has %v, want number 2 %d times", got, test.copies)
				}
			})
		})
	}
}

// What follows in a folder that waits is tried out after a crash, although the others were read meanwhile: nobody knows yet that
// it is not what the process died of.
func TestCareOutlivesAHold(t *testing.T) {
	t.Parallel() // it waits to see whether a move goes on
	self, err := os.Executable()
	must(t, err)
	r := newRig(t, sim.Exchange, "INBOX", "Archive")
	r.deliver("INBOX", 0, 1)
	must(t, r.worker().Drain(t.Context()))
	r.claimAndDie()
	r.deliver("Archive", 0, 2)
	tried := filepath.Join(t.TempDir(), "tried")
	c := r.config()
	c.Trial = []string{"sh", "-c", `tee -a "$0" | "$1" trial`, tried, self}
	w := mailbox.NewWorker(c)
	defer w.Close()
	must(t, w.Drain(t.Context()))
	if got := r.subjects(); got["number 0"] != 2 || got["number 1"] != 1 {
		t.Errorf("the stream has %v, want the copy and what follows it", got)
	}
	all, err := os.ReadFile(tried)
	must(t, err)
	if !bytes.Contains(all, []byte("Subject: number 1")) {
		t.Error("what follows the copy was not tried out")
	}
}

// Messages that are copied and moved in any order, also while their folders wait, also by servers and clients that copy first and
// remove then, and while one of the folders cannot be opened for some minutes: each message is on the stream once, and each of its copies.
func TestCopiesAndMovesInAnyOrder(t *testing.T) {
	folders := []string{"INBOX", "Archive", "Work"}
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s, stop := threeFolders(l)
				defer stop()
				rng := rand.New(rand.NewPCG(seed, 3))
				want := map[string]int{"number 0": 1, "number 1": 1, "number 2": 1, "number 3": 1, "number 4": 1}
				leaving := map[string]bool{} // messages that a slow move has copied and not yet removed
				var removed sync.WaitGroup
				for range 40 {
					s.a.Set(func(q *sim.Quirks) { q.Shut = nil })
					if rng.IntN(4) == 0 {
						s.a.Set(func(q *sim.Quirks) { q.Shut = []string{folders[rng.IntN(3)]} })
					}
					from, to := folders[rng.IntN(3)], folders[rng.IntN(3)]
					uids := s.a.UIDs(from)
					if len(uids) == 0 {
						continue
					}
					uid := uids[rng.IntN(len(uids))]
					raw, place := s.a.Raw(from, uid), fmt.Sprint(from, uid)
					_, subject, _ := strings.Cut(string(raw), "Subject: ")
					subject, _, _ = strings.Cut(subject, "\r\n")
					switch what := rng.IntN(5); {
					case what == 0:
						subject = fmt.Sprintf("number %d", len(want))
						s.a.Deliver(to, message(len(want)), time.Time{})
						want[subject]++
					case leaving[place] || from == to:
					case what == 1:
						s.a.Deliver(to, raw, time.Time{})
						want[subject]++
					case what == 2:
						s.a.Move(from, uid, to)
					default:
						leaving[place] = true
						s.a.Deliver(to, raw, time.Time{})
						after := time.Duration(rng.Int64N(int64(6 * time.Second)))
						removed.Go(func() { time.Sleep(after); s.a.Expunge(from, uid) })
					}
					time.Sleep(time.Duration(rng.Int64N(int64([]time.Duration{time.Second, 10 * time.Second, 6 * time.Minute}[rng.IntN(3)]))))
				}
				removed.Wait()
				s.a.Set(func(q *sim.Quirks) { q.Shut = nil })
				time.Sleep(time.Hour)
				if got := s.subjects(); !maps.Equal(got, want) {
					t.Errorf("the stream has %v\nwant %v", got, want)
				}
			})
		})
	}
}
