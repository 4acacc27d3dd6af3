package state

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// A visitor has a session that others see, and takes nothing from them.
func TestAVisitorTakesNoMailbox(t *testing.T) {
	b := newBroker(t)
	const lease = 3 * lease // nobody is to lose it
	var calls book
	mailboxes := names(30)
	a := join(t, b.store(b.url()), &calls, lease, mailboxes)
	eventually(t, soon, "one replica owns everything", func() bool { return calls.each(mailboxes) })
	before := calls.count()

	v := NewReplica(b.store(b.url()), ReplicaConfig{Lease: lease, Visitor: true}, slog.New(slog.DiscardHandler))
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		left <- v.Run(ctx, mailboxes, func(context.Context, string) { t.Error("the visitor was given a mailbox") })
	}()
	eventually(t, soon, "the visitor is seen", func() bool { return v.Valid() && len(a.Replicas()) == 2 })
	id := v.ID()
	if !a.Alive(id) || v.Remaining() <= 0 {
		t.Errorf("alive %v, remaining %v", a.Alive(id), v.Remaining())
	}
	// Longer than a heartbeat takes, so that whoever wanted to share has done so.
	time.Sleep(lease / 2)
	if !calls.each(mailboxes) || calls.count() != before {
		t.Error("mailboxes moved because of the visitor")
	}
	leave()
	if err := <-left; err != nil {
		t.Error(err)
	}
	eventually(t, soon, "the visitor is gone", func() bool { return !a.Alive(id) })
	a.leave()
	calls.check(t)
}
