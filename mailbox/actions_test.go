package mailbox_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// acting returns what a worker works with that acts upon what it has published.
func (r *rig) acting(a fetcher.Action) mailbox.Config {
	c := r.config()
	c.After, c.Journal, c.Deeds = a, r.publisher, r.store
	return c
}

// carry lets a worker publish all there is, and act upon it.
func carry(t *testing.T, w *mailbox.Worker) {
	t.Helper()
	for range 100 {
		must(t, w.Drain(t.Context()))
		more, err := w.Act(t.Context())
		must(t, err)
		if !more {
			return
		}
	}
	t.Fatal("there is no end to it")
}

// carry runs a worker of this configuration over what is there.
func (r *rig) carry(c mailbox.Config) mailbox.Status {
	r.t.Helper()
	w := mailbox.NewWorker(c)
	defer w.Close()
	carry(r.t.(*testing.T), w)
	return w.Status()
}

// changing are the commands that can change a mailbox.
var changing = []string{"SELECT", "STORE", "COPY", "MOVE", "EXPUNGE", "CREATE", "APPEND", "CLOSE"}

// Unless the configuration asks for it, nothing in a mailbox changes, and no command that could change it is ever sent.
func TestMailboxIsOnlyReadByDefault(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		r := newRig(t, p, "INBOX", `\Junk`)
		r.deliver("INBOX", 0, 20)
		c := r.acting(fetcher.Action{})
		r.carry(c)
		r.deliver("INBOX", 20, 5)
		r.account.Move("INBOX", 3, map[sim.Provider]string{sim.Gmail: "[Gmail]/Spam", sim.Exchange: "Junk Email"}[p])
		r.carry(c)
		stats := r.account.Stats()
		for _, command := range changing {
			if n := stats.Commands[command]; n > 0 {
				t.Errorf("%s was sent %d times", command, n)
			}
		}
		for _, uid := range r.account.UIDs("INBOX") {
			if flags := r.account.Flags("INBOX", uid); len(flags) > 0 {
				t.Errorf("UID %d has %q", uid, flags)
			}
		}
	})
}

func TestActions(t *testing.T) {
	trash := map[sim.Provider]string{sim.Gmail: "[Gmail]/Trash", sim.Exchange: "Deleted Items"}
	for name, test := range map[string]struct {
		action fetcher.Action
		only   sim.Provider
		ok     func(r *rig) bool
	}{
		"seen and flagged": {fetcher.Action{Seen: true, Flag: true}, "", func(r *rig) bool {
			return slices.Equal(r.account.Flags("INBOX", 1), []string{`\Seen`, `\Flagged`}) && slices.Equal(r.account.Flags("INBOX", 5), []string{`\Seen`, `\Flagged`})
		}},
		"keyword": {fetcher.Action{Keyword: "Done"}, sim.Gmail, func(r *rig) bool { return slices.Equal(r.account.Flags("INBOX", 3), []string{"Done"}) }},
		"label":   {fetcher.Action{Label: "Größe & \"Co\""}, sim.Gmail, func(r *rig) bool { return slices.Contains(r.account.Labels("INBOX", 3), "Größe & \"Co\"") }},
		"move to a new folder": {fetcher.Action{Seen: true, Move: "Größe & \"Co\""}, "", func(r *rig) bool {
			return len(r.account.UIDs("INBOX")) == 0 && len(r.account.UIDs("Größe & \"Co\"")) == 5 && slices.Equal(r.account.Flags("Größe & \"Co\"", 1), []string{`\Seen`})
		}},
		"move by special use": {fetcher.Action{Move: `\Trash`}, "", func(r *rig) bool {
			return len(r.account.UIDs("INBOX")) == 0 && len(r.account.UIDs(trash[r.account.Provider()])) == 5
		}},
		"delete": {fetcher.Action{Delete: true}, "", func(r *rig) bool {
			inTrash := map[sim.Provider]int{sim.Gmail: 5, sim.Exchange: 0}[r.account.Provider()]
			if r.account.Provider() == sim.Gmail && len(r.account.UIDs("[Gmail]/All Mail")) > 0 {
				return false // only archived
			}
			return len(r.account.UIDs("INBOX")) == 0 && len(r.account.UIDs(trash[r.account.Provider()])) == inTrash
		}},
	} {
		both(t, func(t *testing.T, p sim.Provider) {
			if test.only != "" && test.only != p {
				return
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t, p)
				r.deliver("INBOX", 0, 5)
				s := r.carry(r.acting(test.action))
				if !test.ok(r) {
					t.Errorf("INBOX has %v; %+v", r.account.UIDs("INBOX"), s.Actions)
				}
				if s.Actions.Done["done"] != 5 || s.Actions.Failures != 0 || len(r.stored()) != 5 {
					t.Errorf("%d events, %+v", len(r.stored()), s.Actions)
				}
				r.carry(r.acting(test.action))
				if len(r.stored()) != 5 || len(r.account.Stats().Violations) > 0 {
					t.Errorf("%d events, the server saw %q", len(r.stored()), r.account.Stats().Violations)
				}
			})
		})
	}
}

// What a worker did not live to do the next one does: the stream is the queue. Whatever call fails, before or after it took
// effect, every message is published once and acted upon.
func TestActionsSurviveEveryFault(t *testing.T) {
	for _, after := range []bool{false, true} {
		for k := int64(1); ; k++ {
			r := newRig(t, sim.Exchange, "INBOX", "Archive")
			r.deliver("INBOX", 0, 5)
			r.deliver("Archive", 5, 2)
			f := &faulty{Publisher: r.publisher, floor: r.store, fail: k, after: after}
			c := r.acting(fetcher.Action{Seen: true, Move: "Done"})
			c.Stream, c.Bytes, c.Floor, c.Deeds = f, f, f, faultyDeeds{r.store, f}
			w := mailbox.NewWorker(c)
			if err := w.Drain(t.Context()); err == nil {
				w.Act(t.Context()) // it may fail
			}
			w.Close() // killed
			r.carry(r.acting(c.After))
			r.wantEach(7, 1)
			if n := len(r.account.UIDs("INBOX")) + len(r.account.UIDs("Archive")); n != 0 || len(r.account.UIDs("Done")) != 7 {
				t.Fatalf("the %d. call failed, after it took effect: %v: %d are where they were, %d in Done", k, after, n, len(r.account.UIDs("Done")))
			}
			if f.calls.Load() < k {
				if k < 12 {
					t.Errorf("only %d calls were made: the faults do not strike", k-1)
				}
				break
			}
		}
	}
}

type faultyDeeds struct {
	mailbox.Deeds
	f *faulty
}

func (d faultyDeeds) SaveDeeds(ctx context.Context, mailbox string, done map[string]uint64, was uint64) (revision uint64, err error) {
	err = d.f.strike(func() error { revision, err = d.Deeds.SaveDeeds(ctx, mailbox, done, was); return err })
	return revision, err
}

// UIDs of a former life of a folder are nobody's: what has them now is left alone.
func TestNoActionAfterUIDValidityChanged(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 5)
	c := r.acting(fetcher.Action{Delete: true})
	w := mailbox.NewWorker(c)
	must(t, w.Drain(t.Context()))
	w.Close() // killed between commit and action
	r.account.Expunge("INBOX", 1)
	r.account.BumpUIDValidity("INBOX")
	s := r.carry(c)
	if n := len(r.account.UIDs("INBOX")); n != 4 {
		t.Errorf("%d messages are left, want 4", n)
	}
	if s.Actions.Done["renumbered"] != 5 || s.Actions.Done["done"] != 0 {
		t.Errorf("%+v", s.Actions)
	}
	r.deliver("INBOX", 5, 1)
	if s := r.carry(c); len(r.account.UIDs("INBOX")) != 4 || s.Actions.Done["done"] != 1 {
		t.Errorf("%d messages are left, want 4; %+v", len(r.account.UIDs("INBOX")), s.Actions)
	}
}

// What is asked for later begins later, and begins anew when it was not asked for meanwhile.
func TestActionsBeginWhenTheyAreAskedFor(t *testing.T) {
	r := newRig(t, sim.Exchange)
	on, off := r.acting(fetcher.Action{Seen: true}), r.acting(fetcher.Action{})
	for i, c := range []mailbox.Config{off, on, off, on} {
		r.deliver("INBOX", i*2, 1)
		w := mailbox.NewWorker(c)
		carry(t, w)
		r.deliver("INBOX", i*2+1, 1)
		carry(t, w)
		w.Close()
	}
	var seen []uint32
	for _, uid := range r.account.UIDs("INBOX") {
		if len(r.account.Flags("INBOX", uid)) > 0 {
			seen = append(seen, uid)
		}
	}
	// What comes before the first claim with it is on the stream after that claim, and counts.
	if !slices.Equal(seen, []uint32{3, 4, 7, 8}) {
		t.Errorf("seen are %v, want 3 4 7 8", seen)
	}
}

// A message that is moved into a folder that is watched too is not published again.
func TestMovedIntoAWatchedFolder(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		r := newRig(t, p, "INBOX", "Done")
		r.account.CreateFolder("Done")
		c := r.acting(fetcher.Action{Move: "Done"})
		w := mailbox.NewWorker(c)
		defer w.Close()
		for i := range 4 {
			r.deliver("INBOX", i*3, 3)
			carry(t, w)
		}
		carry(t, w)
		r.wantEach(12, 1)
		if n := len(r.account.UIDs("Done")); n != 12 || w.Status().Dropped["already_published"] != 12 {
			t.Errorf("%d in Done; dropped %v", n, w.Status().Dropped)
		}
	})
}

// Two workers that both believe to own the mailbox publish each message once, and between them act upon all of them.
func TestTwoWorkersAct(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 250)
	c := r.acting(fetcher.Action{Move: "Done"})
	c.Raw = mailbox.RawNever
	done := make(chan error, 2)
	for range 2 {
		w := mailbox.NewWorker(c)
		t.Cleanup(w.Close)
		go func() {
			var err error
			for range 200 {
				more := false
				if err = w.Drain(t.Context()); err == nil {
					more, err = w.Act(t.Context())
				}
				if err == nil && !more {
					break
				}
			}
			done <- err
		}()
	}
	for range 2 {
		must(t, <-done)
	}
	r.carry(c)
	r.wantEach(250, 1)
	if left, moved := len(r.account.UIDs("INBOX")), len(r.account.UIDs("Done")); left != 0 || moved != 250 {
		t.Errorf("%d are left, %d in Done", left, moved)
	}
}

// Dead mail is for a person to look at: it stays where it is.
func TestDeadMailIsLeftAlone(t *testing.T) {
	r := newRig(t, sim.Gmail)
	r.fetch.MaxMessage = 4000
	r.deliver("INBOX", 0, 1)
	r.account.Deliver("INBOX", append(message(1), make([]byte, 8000)...), time.Now())
	s := r.carry(r.acting(fetcher.Action{Delete: true}))
	if got := r.account.UIDs("INBOX"); !slices.Equal(got, []uint32{2}) || s.Actions.Done["done"] != 1 {
		t.Errorf("INBOX has %v; %+v", got, s)
	}
}

// What MOVE itself announces is no news: after it, mail is watched for at once.
func TestActionsAnnounceNothing(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		for _, a := range []fetcher.Action{{Move: "Done"}, {Seen: true}, {Delete: true}} {
			inLab(t, plainWorld, func(l *lab) {
				s := l.add(p, "anna")
				s.after = a
				defer s.run()()
				s.within(time.Minute, "it watches", s.watching)
				for i := range 20 {
					s.deliver(i, 1)
					if d := s.within(time.Minute, "mail is published", func() bool { return s.received() == i+1 }); d > time.Second {
						t.Errorf("%+v: message %d took %v", a, i, d)
					}
					time.Sleep(3 * time.Second)
				}
				if n := s.w.Status().Actions.Done["done"]; n != 20 {
					t.Errorf("%+v: %d were acted upon", a, n)
				}
			})
		}
	})
}
