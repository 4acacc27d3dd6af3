package mailbox_test

import (
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// Two workers believe to own the mailbox. One counts its vain tries to get a message, so that its positions have a high N,
// while the other publishes. What the chain has got since the floor was written counts, whatever the floor's N.
func TestFloorOfWhoDidNotKnowTheChain(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 3)
	busy, idle := r.worker(), r.worker()
	must(t, busy.Drain(t.Context()))
	must(t, idle.Drain(t.Context()))
	r.account.DeliverMessage("INBOX", sim.Message{Raw: message(3), Holes: -1, Date: time.Date(2026, 3, 1, 0, 1, 0, 0, time.UTC)})
	for range 20 {
		idle.Drain(t.Context()) //nolint:errcheck // the message is not handed out
	}
	r.deliver("INBOX", 4, 5)
	busy.Drain(t.Context()) //nolint:errcheck // it publishes, and then the floor is another's
	if n := len(r.stored()); n != 8 {
		t.Fatalf("%d events, want 8", n)
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
	if len(seen) != 8 {
		t.Errorf("%d messages are on the stream, want 8", len(seen))
	}
}
