package mailbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// Of two positions with the same N the one that the stream acknowledged counts.
func TestStreamWinsOverTheFloor(t *testing.T) {
	r := newRig(t, sim.Exchange)
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;2;2;0;0;;"),
	}}}, "INBOX").Drain(t.Context()))
	_, note, revision, err := r.store.Positions(t.Context(), "anna")
	must(t, err)
	// What an owner saved that had not seen the message, and whose predecessor woke up and published it.
	_, err = r.store.SavePositions(t.Context(), "anna", map[string]string{"INBOX": "p1;71;0;2;2;0;0;;"}, note, revision)
	must(t, err)
	s := &asked{}
	must(t, r.scripted(s, "INBOX").Drain(t.Context()))
	if p := s.after["INBOX"]; !p.Settled(1) {
		t.Errorf("goes on after %v: the message would be published again", p)
	}
}

// Two workers believe to own the mailbox. One counts its vain tries to get a message, so that its positions have a high N,
// while the other publishes. What the chain has got since the floor was written counts, whatever the floor's N.
func TestFloorOfWhoDidNotKnowTheChain(t *testing.T) {
	for _, before := range []int{3, 0} { // of an empty chain there is as much to know
		t.Run(fmt.Sprint(before), func(t *testing.T) { floorOfWhoDidNotKnow(t, before) })
	}
}

func floorOfWhoDidNotKnow(t *testing.T, before int) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, before)
	busy, idle := r.worker(), r.worker()
	must(t, busy.Drain(t.Context()))
	must(t, idle.Drain(t.Context()))
	r.account.DeliverMessage("INBOX", sim.Message{Raw: message(before), Holes: -1, Date: time.Date(2026, 3, 1, 0, 1, 0, 0, time.UTC)})
	for range 20 {
		idle.Drain(t.Context()) //nolint:errcheck // the message is not handed out
	}
	r.deliver("INBOX", before+1, 5)
	busy.Drain(t.Context()) //nolint:errcheck // it publishes, and then the floor is another's
	if n := len(r.stored()); n != before+5 {
		t.Fatalf("%d events, want %d", n, before+5)
	}
	for range 3 {
		idle.Drain(t.Context()) //nolint:errcheck // first it learns that the chain has moved
	}
	seen := map[uint32]int{}
	for _, e := range r.stored() {
		if seen[e.Data.IMAP.UID]++; seen[e.Data.IMAP.UID] > 1 {
			t.Errorf("UID %d is on the stream %d times", e.Data.IMAP.UID, seen[e.Data.IMAP.UID])
		}
	}
	if len(seen) != before+5 {
		t.Errorf("%d messages are on the stream, want %d", len(seen), before+5)
	}
}

// A mailbox that comes back to this replica goes on from what the stream says, not from what was true when it left.
func TestMailboxThatComesBackIsClaimedAnew(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 2)
	w := r.worker()
	watch := func(w *mailbox.Worker, n uint64) {
		t.Helper()
		stop := runs(t, w)
		eventually(t, "the worker has read everything", func() bool {
			return w.Status().State == mailbox.StateWatching && w.Status().Published["received"] >= n
		})
		stop()
	}
	watch(w, 2)
	r.deliver("INBOX", 2, 2)
	watch(r.worker(), 2) // another replica has it for a while
	r.deliver("INBOX", 4, 2)
	watch(w, 4)
	r.wantExactly("INBOX")
	if f := w.Status().Failures; f != 0 {
		t.Errorf("%d failures: it went on from where it had been", f)
	}
}

// Where the stream lost what it had, as it does with an old mailbox's events, the floor says how far the mail was read:
// nothing comes twice, what is new comes, and nobody hears of a failure.
func TestStreamThatLostItsMail(t *testing.T) {
	for name, lose := range map[string]func(r *rig){
		"purged": func(r *rig) {
			stream, err := r.publisher.JetStream().Stream(r.t.Context(), "MAIL")
			must(r.t, err)
			must(r.t, stream.Purge(r.t.Context()))
		},
		"made anew": func(r *rig) {
			must(r.t, r.publisher.JetStream().DeleteStream(r.t.Context(), "MAIL"))
			must(r.t, r.publisher.Setup(r.t.Context()))
		},
	} {
		for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
			t.Run(name+"/"+string(provider), func(t *testing.T) {
				r := newRig(t, provider)
				r.deliver("INBOX", 0, 3)
				w := r.worker()
				must(t, w.Drain(t.Context()))
				lose(r)
				r.deliver("INBOX", 3, 1)
				must(t, w.Drain(t.Context()))
				r.deliver("INBOX", 4, 1)
				must(t, w.Drain(t.Context()))
				must(t, r.worker().Drain(t.Context()))
				got := r.subjects()
				if len(got) != 2 || got["number 3"] != 1 || got["number 4"] != 1 {
					t.Errorf("the stream has %v, want 3 and 4 once each", got)
				}
			})
		}
	}
}

// unsaved is a floor that fails to save positions, once.
type unsaved struct {
	*broker.Broker
	calls int // this one fails when it reaches 0
}

func (u *unsaved) SavePositions(ctx context.Context, id string, p map[string]string, note string, was uint64) (uint64, error) {
	if u.calls--; u.calls == 0 {
		return 0, publish.ErrUncertain
	}
	return u.Broker.SavePositions(ctx, id, p, note, was)
}

// That positions could not be saved is not overlooked because a folder could not be read either.
func TestPositionsAreSavedAlthoughAFolderIsMissing(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		p, err := fetcher.ParsePosition("p1;71;1;2;2;0;0;;")
		must(l.t, err)
		c := l.add(sim.Exchange, "anna").config()
		c.Floor = &unsaved{l.broker, 2} // the first claims the mailbox
		c.Open = func(context.Context) (mailbox.Session, []string, error) {
			mark := fetcher.Message{Kind: fetcher.KindMark, Folder: "INBOX", UIDValidity: 71, Position: p}
			return &script{
				passes: [][]fetcher.Message{{mark}, {mark}}, err: &fetcher.FolderError{Folder: "Orders", Text: "does not exist"},
			}, []string{"INBOX", "Orders"}, nil
		}
		defer runs(l.t, mailbox.NewWorker(c))()
		time.Sleep(time.Minute)
		positions, _, _, err := l.broker.Positions(l.t.Context(), "anna")
		must(l.t, err)
		if positions["INBOX"] != p.String() {
			l.t.Errorf("saved are %q", positions)
		}
	})
}
