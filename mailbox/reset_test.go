package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// A folder that is listed again is measured by its own mail: what another folder got meanwhile does not make its new mail old.
func TestResetIsMeasuredByItsOwnFolder(t *testing.T) {
	r := newRig(t, sim.Exchange, "INBOX", "Archive")
	r.account.Deliver("INBOX", message(0), minute(0))
	r.account.Deliver("Archive", message(1), minute(1))
	must(t, r.worker().Drain(t.Context()))
	r.account.BumpUIDValidity("Archive")
	r.account.Deliver("Archive", message(2), minute(10))
	r.account.Deliver("INBOX", message(3), minute(20))
	must(t, r.worker().Drain(t.Context()))
	r.wantEach(4, 1)
}

// What another folder published in the same pass does not make old what a folder without events of its own is yet to tell:
// in Gmail's All Mail there are few that were not in the inbox first.
func TestResetIsMeasuredBeforeThePass(t *testing.T) {
	r := newRig(t, sim.Gmail, "INBOX", `\All`)
	r.account.Deliver("INBOX", message(0), minute(0))
	must(t, r.worker().Drain(t.Context()))
	r.account.Deliver("[Gmail]/All Mail", message(1), minute(1))
	r.account.BumpUIDValidity("[Gmail]/All Mail")
	r.account.Deliver("INBOX", message(2), minute(2))
	must(t, r.worker().Drain(t.Context()))
	r.wantEach(3, 1)
}

// What was published while a folder is being listed again does not make the rest of the listing old, and is not counted
// against it, when a restart comes in between.
func TestResetGoesOnAfterARestart(t *testing.T) {
	r := newRig(t, sim.Exchange)
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;2;2;0;0;;"),
	}}}, "INBOX").Drain(t.Context()))
	broken := errors.New("the connection broke")
	err := r.scripted(&script{err: broken, passes: [][]fetcher.Message{{
		reset(t, "INBOX", 71, 72, "p1;72;0;5;3;0;1;;"),
		relisted(mail(t, "INBOX", 72, 1, 0, minute(0), "p1;72;1;5;4;0;1;;")),
		relisted(mail(t, "INBOX", 72, 2, 1, minute(30), "p1;72;2;5;5;0;1;;")),
	}}}, "INBOX").Drain(t.Context())
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		relisted(mail(t, "INBOX", 72, 3, 2, minute(20), "p1;72;3;5;6;0;1;;")), // came before the last, was put behind it
		relisted(mail(t, "INBOX", 72, 4, 1, minute(31), "p1;72;4;5;7;0;1;;")), // the same mail, delivered twice
	}}}, "INBOX").Drain(t.Context()))
	got := r.subjects()
	for want, n := range map[string]int{"number 0": 1, "number 1": 2, "number 2": 1} {
		if got[want] != n {
			t.Errorf("%q is on the stream %d times, want %d", want, got[want], n)
		}
	}
}

// What a server gives out under UIDs that other messages had is published, and what it has kept is not: UIDVALIDITY should have changed,
// and did not.
func TestResetUnderTheSameUIDValidity(t *testing.T) {
	r := newRig(t, sim.Exchange)
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;1;2;0;0;;"),
		mail(t, "INBOX", 71, 2, 1, minute(1), "p1;71;2;1;3;0;0;;"),
	}}}, "INBOX").Drain(t.Context()))
	w := r.scripted(&script{passes: [][]fetcher.Message{{
		reset(t, "INBOX", 71, 71, "p1;71;0;3;4;0;1;;"),
		relisted(mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;3;5;0;1;;")),
		relisted(mail(t, "INBOX", 71, 2, 2, minute(5), "p1;71;2;3;6;0;1;;")),
	}}}, "INBOX")
	must(t, w.Drain(t.Context()))
	r.wantEach(3, 1)
	if got := w.Status().Dropped["already_published"]; got != 1 {
		t.Errorf("%d were counted as published before, want 1", got)
	}
}

// Two messages with one header block are two messages where the provider has an identity for each.
func TestResetKeepsProviderIdentitiesApart(t *testing.T) {
	r := newRig(t, sim.Gmail)
	named := func(m fetcher.Message, id string) fetcher.Message { m.EmailID = id; return m }
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		named(mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;2;2;0;0;;"), "1001"),
	}}}, "INBOX").Drain(t.Context()))
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		reset(t, "INBOX", 71, 72, "p1;72;0;3;3;0;1;;"),
		named(relisted(mail(t, "INBOX", 72, 1, 0, minute(0), "p1;72;1;3;4;0;1;;")), "1001"),
		named(relisted(mail(t, "INBOX", 72, 2, 0, minute(5), "p1;72;2;3;5;0;1;;")), "1002"),
	}}}, "INBOX").Drain(t.Context()))
	if n := r.subjects()["number 0"]; n != 2 {
		t.Errorf("%d of the two messages are on the stream", n)
	}
}

// Mail that has been there before us is not published because its folder is renumbered before anything was.
func TestStartNowIsRememberedByAnEmptyChain(t *testing.T) {
	for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
		r := newRig(t, provider)
		r.fetch.Start = fetcher.Start{}
		r.deliver("INBOX", 0, 10)
		w := r.worker()
		must(t, w.Drain(t.Context()))
		w.Close()
		r.account.BumpUIDValidity("INBOX")
		r.account.Deliver("INBOX", message(10), time.Now().Add(time.Second))
		w = r.worker()
		must(t, w.Drain(t.Context()))
		if got := r.subjects(); len(got) != 1 || got["number 10"] != 1 {
			t.Errorf("%s: the stream has %v, want only what is new", provider, got)
		}
		if got := w.Status().Dropped["before_reset"]; got != 10 {
			t.Errorf("%s: %d are counted, want 10", provider, got)
		}
	}
}

// A reset in the middle of a backfill leaves nothing out, in whatever order the mail arrived.
func TestResetDuringABackfill(t *testing.T) {
	r := newRig(t, sim.Exchange)
	for i := range 300 {
		r.account.Deliver("INBOX", message(i), minute(1000-i))
	}
	c := r.config()
	c.Stream = &failing{Publisher: r.publisher, from: 2}
	w := mailbox.NewWorker(c)
	if err := w.Drain(t.Context()); !errors.Is(err, errFault) {
		t.Fatal(err)
	}
	w.Close()
	if n := len(r.stored()); n == 0 || n == 300 {
		t.Fatalf("%d events: that is not the middle", n)
	}
	r.account.BumpUIDValidity("INBOX")
	must(t, r.worker().Drain(t.Context()))
	r.wantEach(300, 1)
}

// After retention has removed the events of a folder, its old mail stays old.
func TestResetAfterRetention(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 20)
	must(t, r.worker().Drain(t.Context()))
	stream, err := r.publisher.JetStream().Stream(t.Context(), "MAIL")
	must(t, err)
	must(t, stream.Purge(t.Context()))
	r.account.BumpUIDValidity("INBOX")
	r.deliver("INBOX", 20, 1)
	must(t, r.worker().Drain(t.Context()))
	if got := r.stored(); len(got) > 2 { // the last of the old ones arrived in the second that counts
		t.Errorf("%d events after the purge, want the new one and at most the last of the old", len(got))
	}
}

// A message that the server has not shown by the time at which UIDVALIDITY changes is published after that, although newer
// ones were published before.
func TestLateMessageOutlivesReset(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna")
			defer s.run()()
			s.deliver(0, 3)
			s.within(time.Minute, "the first", func() bool { return s.received() == 3 && s.watching() })
			time.Sleep(time.Hour)
			s.a.DeliverMessage("INBOX", sim.Message{Raw: message(3), Hide: 1000})
			time.Sleep(5 * time.Second)
			s.deliver(4, 3)
			s.within(time.Minute, "what came after it", func() bool { return s.received() == 6 && s.watching() })
			s.a.BumpUIDValidity("INBOX")
			s.a.Hide("INBOX", s.a.UIDs("INBOX")[3], 0)
			s.within(time.Hour, "the late one", func() bool { return s.received() == 7 })
			time.Sleep(time.Hour)
			if n := s.received(); n != 7 {
				t.Errorf("%d events for 7 messages", n)
			}
		})
	})
}

// Mail, renumbered folders, restarts and faults in any order: each message is on the stream once.
func TestResetsAndFaultsInAnyOrder(t *testing.T) {
	for seed := range uint64(16) {
		provider, watched, folders := sim.Exchange, []string{"INBOX", "Archive"}, []string{"INBOX", "Archive"}
		if seed%2 == 0 {
			provider, watched, folders = sim.Gmail, []string{"INBOX", `\All`}, []string{"INBOX", "[Gmail]/All Mail"}
		}
		t.Run(fmt.Sprint(provider, seed), func(t *testing.T) {
			s := newShuffle(t, rand.New(rand.NewPCG(seed, 1)), provider, watched...)
			for range 25 {
				folder := folders[s.rng.IntN(len(folders))]
				switch s.rng.IntN(7) {
				case 0, 1, 2:
					s.arrive(folder)
				case 3:
					s.renumber(folder)
				case 4:
					s.restart()
				default:
					_ = s.drain() // it may fail
				}
			}
			s.end()
		})
	}
}

// failing is a stream that takes no batch from the given one on.
type failing struct {
	*publish.Publisher
	from, commits int
}

func (f *failing) Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error) {
	if f.commits++; f.commits >= f.from {
		return publish.Receipt{}, errFault
	}
	return f.Publisher.Commit(ctx, b)
}
