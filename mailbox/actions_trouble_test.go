package mailbox_test

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

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

// A refusal that another worker has seen the end of, while it had the mailbox, is over for this one too.
func TestRefusalThatAnotherWorkerSawTheEndOf(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		s.after = fetcher.Action{Move: "Done"}
		s.a.Inject(sim.Fault{Command: "MOVE", When: sim.When{Times: -1}, Answer: "NO [NOPERM] Not yours."})
		stop := s.run()
		s.deliver(0, 1)
		s.within(time.Minute, "the move is refused", func() bool { return s.w.Status().Actions.Failures > 0 })
		stop()
		first := s.w
		s.a.ClearFaults()
		stop = s.run()
		s.within(time.Minute, "the mail is in Done", func() bool { return len(s.a.UIDs("Done")) == 1 })
		stop()
		s.w = first
		defer runs(l.t, first)()
		s.within(time.Minute, "it watches", s.watching)
		before := s.a.Stats().Commands["SEARCH"]
		time.Sleep(time.Hour)
		if n := s.a.Stats().Commands["SEARCH"] - before; n > 100 {
			t.Errorf("%d SEARCHes in an hour in which nothing came", n)
		}
		if a := first.Status().Actions; a.Sentence != "" {
			t.Errorf("%+v", a)
		}
	})
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
		stop := runs(t, w)
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
	})
}

// unread is a journal that cannot be read, once.
type unread struct {
	*broker.Broker
	failed atomic.Bool
}

func (u *unread) LedgerSince(ctx context.Context, box string, after, tail uint64) iter.Seq2[publish.Entry, error] {
	if u.failed.CompareAndSwap(false, true) {
		return func(yield func(publish.Entry, error) bool) { yield(publish.Entry{}, publish.ErrUnavailable) }
	}
	return u.Broker.LedgerSince(ctx, box, after, tail)
}

// That the stream could not be read is over when it can be, though there is nothing to act upon.
func TestJournalThatCouldNotBeRead(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Gmail, "anna")
		s.fetch.MaxMessage, s.after = 4000, fetcher.Action{Seen: true}
		c := s.config()
		c.Journal = &unread{Broker: l.broker}
		s.w = mailbox.NewWorker(c)
		defer runs(l.t, s.w)()
		s.a.Deliver("INBOX", append(message(1), make([]byte, 8000)...), time.Now()) // dead mail is left alone
		s.within(time.Minute, "it is said", func() bool { return s.w.Status().Actions.Sentence != "" })
		s.within(time.Hour, "it is over", func() bool { return s.w.Status().Actions.Sentence == "" })
		if n := s.w.Status().Actions.Failures; n != 1 {
			l.t.Errorf("%d failures", n)
		}
	})
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
