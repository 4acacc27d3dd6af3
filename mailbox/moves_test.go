package mailbox_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// A message that lies in another watched folder than before is the same one if it is gone from where it was. Where the
// provider has an identity for messages that tells; these tests are about those without.

// waysToMove are what can be done to six messages in INBOX and three in Archive that leaves each of them the same.
var waysToMove = map[string]func(t *testing.T, r *rig, w *mailbox.Worker){
	"moved": func(_ *testing.T, r *rig, _ *mailbox.Worker) {
		r.account.Move("INBOX", 2, "Archive")
	},
	"moved back": func(t *testing.T, r *rig, w *mailbox.Worker) {
		uid := r.account.Move("INBOX", 2, "Archive")
		must(t, w.Drain(t.Context()))
		r.account.Move("Archive", uid, "INBOX")
	},
	"moved to and fro between two passes": func(_ *testing.T, r *rig, _ *mailbox.Worker) {
		r.account.Move("Archive", r.account.Move("INBOX", 2, "Archive"), "INBOX")
	},
	"all moved": func(_ *testing.T, r *rig, _ *mailbox.Worker) {
		for _, uid := range r.account.UIDs("INBOX") {
			r.account.Move("INBOX", uid, "Archive")
		}
	},
	"moved from both": func(_ *testing.T, r *rig, _ *mailbox.Worker) {
		r.account.Move("INBOX", 1, "Archive")
		r.account.Move("Archive", 1, "INBOX")
	},
	"moved, and the folder deleted": func(_ *testing.T, r *rig, _ *mailbox.Worker) {
		r.account.Move("Archive", 1, "INBOX")
		r.account.DeleteFolder("Archive")
		r.account.CreateFolder("Archive")
	},
	"renamed over the other": func(_ *testing.T, r *rig, _ *mailbox.Worker) {
		for _, uid := range r.account.UIDs("Archive") {
			r.account.Move("Archive", uid, "INBOX")
		}
		r.account.DeleteFolder("Archive")
		r.account.CreateFolder("Archive")
		for _, uid := range r.account.UIDs("INBOX") {
			r.account.Move("INBOX", uid, "Archive")
		}
	},
	"moved and renumbered": func(_ *testing.T, r *rig, _ *mailbox.Worker) {
		r.account.Move("INBOX", 2, "Archive")
		r.account.BumpUIDValidity("INBOX")
		r.account.BumpUIDValidity("Archive")
	},
}

func TestMovedMessageIsTheSame(t *testing.T) {
	for name, move := range waysToMove {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", name, restart), func(t *testing.T) {
				r := newRig(t, sim.Exchange, "INBOX", "Archive")
				r.account.Set(func(q *sim.Quirks) { q.NewBoundary = true })
				r.deliver("INBOX", 0, 6)
				r.deliver("Archive", 6, 3)
				w := r.worker()
				must(t, w.Drain(t.Context()))
				move(t, r, w)
				if restart {
					w.Close()
					w = r.worker()
				}
				r.deliver("Archive", 9, 1)
				r.deliver("INBOX", 10, 1)
				if err := w.Drain(t.Context()); err != nil { // a session ends with its UIDs
					must(t, w.Drain(t.Context()))
				}
				must(t, w.Drain(t.Context()))
				r.wantEach(11, 1)
				if v := r.account.Stats().Violations; len(v) > 0 {
					t.Errorf("the server saw %q", v)
				}
			})
		}
	}
}

// A server may show a message in its new folder before it is gone from the old one. Some clients never remove it there, but
// mark it as deleted. Other mail waits for the end of the move, and no longer.
func TestMoveThatIsUnderWay(t *testing.T) {
	gone := func(s *subject) { s.a.Expunge("INBOX", 3) }
	for name, test := range map[string]struct {
		takes time.Duration // from the first look on
		end   func(s *subject)
	}{
		"fast":    {500 * time.Millisecond, gone},
		"slow":    {7 * time.Second, gone},
		"deleted": {500 * time.Millisecond, func(s *subject) { s.a.SetFlags("INBOX", 3, `\Deleted`) }},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s := l.add(sim.Exchange, "anna", "INBOX", "Archive")
				defer s.run()()
				s.deliver(0, 5)
				s.within(time.Minute, "the mail", func() bool { return s.received() == 5 && s.watching() })
				var first sync.Once
				looked := make(chan struct{})
				s.a.Inject(sim.Fault{Command: "EXAMINE", When: sim.When{Times: -1}, Call: func() {
					first.Do(func() { close(looked); time.AfterFunc(test.takes, func() { test.end(s) }) })
				}})
				s.a.Deliver("Archive", message(2), time.Time{})
				<-looked
				s.deliver(5, 1)
				if took := s.within(time.Minute, "other mail", func() bool { return s.received() == 6 }); took > 2*test.takes+time.Second {
					t.Errorf("other mail waited for %v", took)
				}
				time.Sleep(time.Hour)
				if n := s.received(); n != 6 {
					t.Errorf("%d events for 6 messages", n)
				}
				s.a.Deliver("Archive", message(3), time.Time{}) // a copy
				s.within(time.Hour, "the copy", func() bool { return s.received() == 7 && s.watching() })
			})
		})
	}
}

// What is still where it was is a copy, and what came twice is two: each of them is published.
func TestCopiedMessageIsAnother(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(sim.Exchange, "anna", "INBOX", "Archive")
			deliver := func(folder string, from int) {
				for i := range 5 {
					s.a.Deliver(folder, message(from+i), minute(from+i)) // the same bytes, the same dates
				}
			}
			w := mailbox.NewWorker(s.config())
			drain := func() { must(l.t, w.Drain(l.t.Context())) }
			deliver("INBOX", 0)
			drain()
			if restart {
				w.Close()
				w = mailbox.NewWorker(s.config())
			}
			deliver("Archive", 0)
			drain()
			s.wantEach(5, 2)
			deliver("Archive", 5)
			deliver("INBOX", 5)
			drain()
			s.wantEach(10, 2)
			drain()
			s.wantEach(10, 2)
			w.Close()
		})
	}
}

func (s *subject) wantEach(n, times int) { s.t.Helper(); wantEach(s.t, s.subjects(), n, times) }

// subjects counts the events on the stream by the subject of the message.
func (s *subject) subjects() map[string]int {
	n := make(map[string]int)
	for _, e := range s.events() {
		n[*decode(s.t, e).Data.Email.Subject]++
	}
	return n
}

// One event accounts for one message: of two copies and an original that went away, one is the original.
func TestOneEventAccountsForOneMessage(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna", "INBOX", "Archive")
		w := mailbox.NewWorker(s.config())
		defer w.Close()
		s.a.Deliver("INBOX", message(0), minute(0))
		must(l.t, w.Drain(l.t.Context()))
		for _, i := range []int{0, 1, 0} {
			s.a.Deliver("Archive", message(i), minute(i))
		}
		s.a.Expunge("INBOX", 1)
		must(l.t, w.Drain(l.t.Context()))
		if got := s.subjects(); got["number 0"] != 2 || got["number 1"] != 1 {
			t.Errorf("the stream has %v, want number 0 twice and number 1 once", got)
		}
	})
}

// Hours after a move it is known where the message lies: what comes to its old place is a copy, and what is moved on is not.
func TestMovedLongAgo(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna", "INBOX", "Archive", "Done")
		s.a.CreateFolder("Done")
		defer s.run()()
		s.deliver(0, 5)
		s.within(time.Minute, "the mail", func() bool { return s.received() == 5 && s.watching() })
		uid := s.a.Move("INBOX", 3, "Archive")
		time.Sleep(2 * time.Hour)
		s.a.Deliver("INBOX", message(2), time.Time{})
		s.within(time.Hour, "the copy", func() bool { return s.received() == 6 })
		time.Sleep(2 * time.Hour)
		s.a.Move("Archive", uid, "Done")
		time.Sleep(2 * time.Hour)
		if n := s.received(); n != 6 {
			t.Errorf("%d events for 5 messages and a copy", n)
		}
		s.a.Deliver("Archive", message(2), time.Time{})
		s.within(time.Hour, "another copy", func() bool { return s.received() == 7 })
	})
}

// Messages that no Message-ID tells apart are the same only if they arrived in the same second.
func TestWithoutMessageIDTheDateTells(t *testing.T) {
	r := newRig(t, sim.Exchange, "INBOX", "Archive")
	scan := []byte("From: scanner@example.test\r\nSubject: number 0\r\n\r\nA page.\r\n")
	r.account.Deliver("INBOX", scan, minute(0))
	w := r.worker()
	must(t, w.Drain(t.Context()))
	uid := r.account.Move("INBOX", 1, "Archive")
	must(t, w.Drain(t.Context()))
	r.wantEach(1, 1)
	r.account.Expunge("Archive", uid)
	r.account.Deliver("INBOX", scan, minute(5))
	must(t, w.Drain(t.Context()))
	r.wantEach(1, 2)
}

// Thousands that are moved at once cost a question or two and little more than their bytes.
func TestManyMovedAtOnce(t *testing.T) {
	const n = 1500
	r := newRig(t, sim.Exchange, "INBOX", "Archive")
	r.deliver("INBOX", 0, n)
	w := r.worker()
	must(t, w.Drain(t.Context()))
	before := r.account.Stats()
	for _, uid := range r.account.UIDs("INBOX") {
		r.account.Move("INBOX", uid, "Archive")
	}
	must(t, w.Drain(t.Context()))
	r.wantEach(n, 1)
	after := r.account.Stats()
	if first, again := before.BodyOctets, after.BodyOctets-before.BodyOctets; again > first*3/2 {
		t.Errorf("read %d bytes the first time and %d to know them again", first, again)
	}
	if asked := after.Commands["SEARCH"] - before.Commands["SEARCH"]; asked > 20 {
		t.Errorf("%d SEARCHes", asked)
	}
	if got := w.Status().Dropped["already_published"]; got != n {
		t.Errorf("%d are counted as published before, want %d", got, n)
	}
}

// Moves, renumbered folders, restarts and faults in any order: each message is on the stream once.
func TestMovesAndFaultsInAnyOrder(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			folders := []string{"INBOX", "Archive", "Work"}
			s := newShuffle(t, rand.New(rand.NewPCG(seed, 2)), sim.Exchange, folders...)
			s.account.CreateFolder("Work")
			s.account.Set(func(q *sim.Quirks) { q.NewBoundary = seed%2 == 0 })
			for range 40 {
				from, to := folders[s.rng.IntN(3)], folders[s.rng.IntN(3)]
				switch s.rng.IntN(8) {
				case 0, 1:
					s.arrive(to)
				case 2, 3, 4:
					if uids := s.account.UIDs(from); len(uids) > 0 && from != to {
						uid := uids[s.rng.IntN(len(uids))]
						s.note("%d of %s goes to %s", uid, from, to)
						s.account.Move(from, uid, to)
					}
				case 5:
					if s.drain() == nil { // what was not read yet and is older than the last would be counted
						s.renumber(to)
					}
				case 6:
					s.restart()
				default:
					_ = s.drain() // it may fail
				}
			}
			s.end()
		})
	}
}

// The same on a real Dovecot, with its own MOVE and COPY.
func TestMovedMessageIsTheSameOnDovecot(t *testing.T) {
	t.Parallel() // it waits to see whether a move goes on
	d := dovecot.Start(t, dovecot.Options{})
	r := newDovecotRig(t, d, "INBOX", "Archive")
	_, err := d.Append(t.Context(), r.fetch.User, "INBOX", time.Time{}, message(0), message(1), message(2), message(3))
	must(t, err)
	w := r.worker()
	must(t, w.Drain(t.Context()))
	do := func(folder string, commands ...string) {
		t.Helper()
		_, err := d.Exec(t.Context(), r.fetch.User, folder, commands...)
		must(t, err)
	}
	do("INBOX", "UID MOVE 1 Archive")
	must(t, w.Drain(t.Context()))
	r.wantEach(4, 1)
	do("Archive", "UID MOVE 1 INBOX")
	must(t, w.Drain(t.Context()))
	r.wantEach(4, 1)
	w.Close()
	do("INBOX", "UID MOVE 2:3 Archive")
	w = r.worker()
	must(t, w.Drain(t.Context()))
	r.wantEach(4, 1)
	do("INBOX", "UID COPY 4 Archive")
	must(t, w.Drain(t.Context()))
	if got := r.subjects(); got["number 3"] != 2 || got["number 0"] != 1 {
		t.Errorf("the stream has %v, want the copied one twice", got)
	}
	_, err = d.BumpUIDValidity(t.Context(), r.fetch.User, "Archive")
	must(t, err)
	if err := w.Drain(t.Context()); err != nil {
		must(t, w.Drain(t.Context()))
	}
	if n := len(r.stored()); n != 5 {
		t.Errorf("%d events, want 5", n)
	}
}

// newDovecotRig is a rig whose mailbox is a real Dovecot's.
func newDovecotRig(t *testing.T, d *dovecot.Server, folders ...string) *rig {
	t.Helper()
	r := newRig(t, sim.Exchange, folders...)
	d.Allow("good", r.fetch.User)
	r.fetch.Addr = d.Addr
	r.token = func() (string, error) { return "good", nil }
	return r
}
