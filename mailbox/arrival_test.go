package mailbox_test

import (
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// How far behind a mailbox is can be seen of its new mail alone: of what was there before, and of what only comes from
// another folder, the time of arrival says nothing.
func TestArrivalOfTheLastMessage(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 3)
	w := r.worker()
	must(t, w.Drain(t.Context()))
	if s := w.Status(); !s.LastArrived.IsZero() || s.LastMessage.IsZero() {
		t.Errorf("of older mail: %v, %v", s.LastArrived, s.LastMessage)
	}
	arrived := time.Now().Add(time.Minute).Truncate(time.Second)
	r.account.Deliver("INBOX", message(3), arrived)
	must(t, w.Drain(t.Context()))
	if s := w.Status(); !s.LastArrived.Equal(arrived) {
		t.Errorf("arrived %v, want %v", s.LastArrived, arrived)
	}
	r.account.Deliver("INBOX", message(4), arrived.Add(-48*time.Hour)) // as one that was moved here
	must(t, w.Drain(t.Context()))
	if s := w.Status(); !s.LastArrived.IsZero() {
		t.Errorf("of moved mail: %v", s.LastArrived)
	}
	r.wantExactly("INBOX")
}
