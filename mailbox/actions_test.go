package mailbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/dovecot"
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
	done := make(chan error, 2)
	for range 2 {
		w := mailbox.NewWorker(r.acting(fetcher.Action{Move: "Done"}))
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
	r.carry(r.acting(fetcher.Action{Move: "Done"}))
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

// Without MOVE messages are copied and then removed, they alone; without UIDPLUS as well that cannot be, and is said.
func TestMoveWithoutMOVE(t *testing.T) {
	for _, lacks := range [][]string{{"MOVE"}, {"MOVE", "UIDPLUS"}, {"UIDPLUS"}} {
		for _, a := range []fetcher.Action{{Move: "Done"}, {Delete: true}} {
			t.Run(fmt.Sprint(lacks, a), func(t *testing.T) {
				r := newRig(t, sim.Exchange)
				r.account.Set(func(q *sim.Quirks) { q.Lacks = lacks })
				r.deliver("INBOX", 0, 3)
				r.carry(r.acting(fetcher.Action{})) // so that the next is not acted upon
				r.account.SetFlags("INBOX", 2, `\Deleted`)
				c := r.acting(a)
				r.carry(c)
				r.deliver("INBOX", 3, 2)
				s := r.carry(c)
				can := !slices.Contains(lacks, "UIDPLUS") || a.Move != "" && !slices.Contains(lacks, "MOVE")
				want := []uint32{1, 2, 3}
				if !can {
					want = []uint32{1, 2, 3, 4, 5}
				}
				if got := r.account.UIDs("INBOX"); !slices.Equal(got, want) {
					t.Errorf("INBOX has %v, want %v", got, want)
				}
				if !can && (s.Actions.Who != mailbox.Person || s.Actions.Hint == "" || r.account.Stats().Commands["COPY"] > 0) {
					t.Errorf("%+v", s.Actions)
				}
				if v := r.account.Stats().Violations; len(v) > 0 {
					t.Errorf("the server saw %q", v)
				}
			})
		}
	}
}

// QUIRK(exchange): copyuid.
func TestExchangeCopyUIDIsNotBelieved(t *testing.T) {
	for _, odd := range []string{"* OK [COPYUID 14  ]", "[COPYUID 55 31 6]", "* OK [COPYUID 14 1:900 1]"} {
		r := newRig(t, sim.Exchange)
		r.account.Set(func(q *sim.Quirks) { q.CopyUID = odd })
		r.deliver("INBOX", 0, 3)
		c := r.acting(fetcher.Action{Move: "Done"})
		if s := r.carry(c); s.Actions.Done["done"] != 3 || len(r.account.UIDs("Done")) != 3 {
			t.Errorf("%s: %+v", odd, s.Actions)
		}
	}
	inLab(t, plainWorld, func(l *lab) { // it agrees, and does nothing
		s := l.add(sim.Exchange, "anna")
		s.after = fetcher.Action{Move: "Done"}
		s.a.Inject(sim.Fault{Command: "MOVE", When: sim.When{Times: 2}, Answer: "OK MOVE completed."})
		defer s.run()()
		s.deliver(0, 3)
		s.within(time.Minute, "the mail is in Done", func() bool { return len(s.a.UIDs("INBOX")) == 0 && len(s.a.UIDs("Done")) == 3 })
		if a := s.w.Status().Actions; a.Failures != 2 || a.Sentence != "" {
			t.Errorf("%+v", a)
		}
	})
}

// What the server refuses for good is said once, tried seldom, holds up no mail, and is made good when it is allowed.
func TestActionRefused(t *testing.T) {
	for _, text := range []string{"NO [NOPERM] Not yours.", "NO [CANNOT] No.", "NO [READ-ONLY] Look only.", "NO [TRYCREATE] No such folder."} {
		inLab(t, plainWorld, func(l *lab) {
			var log lines
			s := l.add(sim.Exchange, "anna")
			s.after, s.log = fetcher.Action{Move: "Done"}, slog.New(slog.NewTextHandler(&log, nil))
			s.a.Inject(sim.Fault{Command: "MOVE", When: sim.When{Times: -1}, Answer: text})
			defer s.run()()
			for i := range 24 {
				s.deliver(i, 1)
				s.within(time.Minute, "mail is published", func() bool { return s.received() == i+1 })
				time.Sleep(5 * time.Minute)
			}
			st := s.w.Status()
			if st.State != mailbox.StateWatching || st.Actions.Who != mailbox.Person || st.Actions.Sentence == "" || st.Actions.Hint == "" {
				t.Errorf("%s: %+v", text, st)
			}
			if n := st.Actions.Failures; n < 5 || n > 12 { // every 15 minutes, about
				t.Errorf("%s: tried %d times in two hours", text, n)
			}
			if n := log.count("what comes after publishing must wait"); n != 1 {
				t.Errorf("%s: said %d times", text, n)
			}
			if log.count("anna@example.test") > 0 {
				t.Error("the log has the address")
			}
			s.a.ClearFaults()
			s.within(time.Hour, "the mail is in Done", func() bool { return len(s.a.UIDs("Done")) == 24 && s.w.Status().Actions.Sentence == "" })
			s.once()
		})
	}
}

// A server that takes its time over an action, or that hangs up on it, does not keep new mail waiting.
func TestActionsDoNotDelayMail(t *testing.T) {
	for name, f := range map[string]sim.Fault{
		"stalls":     sim.Stall("STORE", -1),
		"hangs up":   sim.DropConnection("STORE"),
		"throttles":  {Command: "STORE", Answer: "BAD Request is throttled. Suggested Backoff Time: 600000 milliseconds"},
		"is unwell":  {Command: "STORE", Answer: "NO Server Unavailable. 15"},
		"says no":    {Command: "SELECT", Answer: "NO [NOPERM] Not yours."},
		"says a bye": {Command: "STORE", Before: []string{"* BYE Connection is closed. 13"}, Drop: true},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s := l.add(sim.Exchange, "anna")
				s.after = fetcher.Action{Seen: true}
				f.When = sim.When{Times: -1}
				s.a.Inject(f)
				defer s.run()()
				for i := range 40 {
					s.deliver(i, 1)
					s.within(time.Minute, "mail is published", func() bool { return s.received() == i+1 })
					time.Sleep(3 * time.Minute)
				}
				if n := s.a.Stats().Logins; n > 60 {
					t.Errorf("%d logins in two hours", n)
				}
				s.a.ClearFaults()
				s.within(2*time.Hour, "all is seen", func() bool {
					return !slices.ContainsFunc(s.a.UIDs("INBOX"), func(uid uint32) bool { return len(s.a.Flags("INBOX", uid)) == 0 })
				})
				s.once()
			})
		})
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

// QUIRK(gmail): all mail. Nothing leaves All Mail but for the trash.
func TestGmailAllMail(t *testing.T) {
	r := newRig(t, sim.Gmail, `\All`)
	r.deliver("INBOX", 0, 3)
	s := r.carry(r.acting(fetcher.Action{Move: "Done"}))
	if s.Actions.Done["done"] != 3 || s.Actions.Failures != 0 || len(r.account.UIDs("Done")) != 3 {
		t.Errorf("%d in Done; %+v", len(r.account.UIDs("Done")), s.Actions)
	}
	r.deliver("INBOX", 3, 2)
	if s = r.carry(r.acting(fetcher.Action{Delete: true})); s.Actions.Done["done"] != 2 || len(r.account.UIDs("[Gmail]/Trash")) != 2 {
		t.Errorf("%d in the trash; %+v", len(r.account.UIDs("[Gmail]/Trash")), s.Actions)
	}
}

// picky is a session that refuses to act upon some messages.
type picky struct {
	script
	mu    sync.Mutex
	acted map[uint32]int
}

func (p *picky) Act(_ context.Context, _ string, _ uint32, uids []uint32, _ fetcher.Action) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(uids, 3) {
		return &fetcher.ServerError{Command: "MOVE", Text: "no"}
	}
	for _, uid := range uids {
		p.acted[uid]++
	}
	return nil
}

// A message that the server does not let go holds up the others for an hour, and then no more.
func TestOneRefusedMessageHoldsUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.New()
		var pass []fetcher.Message
		for uid := uint32(1); uid <= 8; uid++ {
			p := fetcher.Position{UIDValidity: 71, Low: uid, N: uint64(uid)}
			pass = append(pass, mail(t, "INBOX", 71, uid, int(uid), time.Now(), p.String()))
		}
		p := &picky{script: script{passes: [][]fetcher.Message{pass}}, acted: map[uint32]int{}}
		w := mailbox.NewWorker(mailbox.Config{
			Mailbox: event.Mailbox{ID: "anna"}, Raw: mailbox.RawNever, After: fetcher.Action{Move: "Done"},
			Open:   func(context.Context) (mailbox.Session, []string, error) { return p, []string{"INBOX"}, nil },
			Stream: b, Bytes: b, Announcer: b, Floor: b, Journal: b, Deeds: b,
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		p.mu.Lock()
		for uid := uint32(1); uid <= 8; uid++ {
			if n := p.acted[uid]; n == 0 != (uid == 3) {
				t.Errorf("UID %d was acted upon %d times", uid, n)
			}
		}
		p.mu.Unlock()
		if a := w.Status().Actions; a.Done["given_up"] != 1 || a.Done["done"] != 7 || a.Sentence != "" {
			t.Errorf("%+v", a)
		}
		stop()
		<-ended
	})
}

// The same on a real Dovecot.
func TestActionsOnDovecot(t *testing.T) {
	d := dovecot.Start(t, dovecot.Options{})
	r := newDovecotRig(t, d, "INBOX", "Archive")
	_, err := d.Append(t.Context(), r.fetch.User, "INBOX", time.Time{}, message(0), message(1), message(2))
	must(t, err)
	c := r.acting(fetcher.Action{Seen: true, Keyword: "Done", Move: "Größe & \"Co\""})
	w := mailbox.NewWorker(c)
	must(t, w.Drain(t.Context()))
	w.Close() // killed between commit and action
	_, err = d.Exec(t.Context(), r.fetch.User, "INBOX", `UID STORE 3 +FLAGS (\Deleted)`)
	must(t, err)
	r.carry(c)
	count := func(folder string) int {
		t.Helper()
		f, err := d.FetchAll(t.Context(), r.fetch.User, folder)
		must(t, err)
		return len(f.Mails)
	}
	if in, out := count("INBOX"), count(`Gr&APYA3w-e &- "Co"`); in != 0 || out != 3 {
		t.Errorf("%d in INBOX, %d moved", in, out)
	}
	lines, err := d.Exec(t.Context(), r.fetch.User, `Gr&APYA3w-e &- "Co"`, "UID SEARCH SEEN KEYWORD Done")
	must(t, err)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "SEARCH 1 2 3") }) {
		t.Errorf("%q", lines)
	}
	c.After = fetcher.Action{Delete: true}
	_, err = d.Append(t.Context(), r.fetch.User, "INBOX", time.Time{}, message(3), message(4))
	must(t, err)
	_, err = d.Append(t.Context(), r.fetch.User, "Archive", time.Time{}, message(5))
	must(t, err)
	w = mailbox.NewWorker(c)
	must(t, w.Drain(t.Context()))
	w.Close()
	_, err = d.BumpUIDValidity(t.Context(), r.fetch.User, "Archive")
	must(t, err)
	s := r.carry(c)
	if in, archived := count("INBOX"), count("Archive"); in != 0 || archived != 1 || s.Actions.Done["renumbered"] != 1 {
		t.Errorf("%d in INBOX, %d in Archive; %+v", in, archived, s.Actions)
	}
	r.wantEach(6, 1)
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}
