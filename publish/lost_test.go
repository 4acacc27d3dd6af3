package publish

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A connection that is lost takes with it the answers that would have come over it: nobody waits for them.
func TestAnswersThatCannotComeAnyMore(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	direct := mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL()}))
	x := newProxy(t, srv.Addr().String())
	p := mustOpen(t, Config{URL: x.url()})
	p.commitWait, p.readWait = time.Hour, time.Hour
	ctx := timeout(t, 30*time.Second)

	x.silence(true)
	committed := make(chan error, 1)
	go func() {
		_, err := p.Commit(ctx, Batch{Mailbox: "m", Events: evs("INBOX", 0, 1)})
		committed <- err
	}()
	eventually(t, 20*time.Second, "the event is stored", func() bool { return mustRecover(t, direct, "m").Seq == 1 })
	x.cut()
	if err := <-committed; !errors.Is(err, ErrUncertain) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit: %v", err)
	}

	x.silence(false)
	eventually(t, 20*time.Second, "it is connected again", func() bool { return p.Status().Connected })
	x.silence(true)
	asked, before := make(chan error, 1), x.unheard()
	go func() {
		_, err := p.Recover(ctx, "m", nil)
		asked <- err
	}()
	eventually(t, 20*time.Second, "the answer is lost", func() bool { return x.unheard() > before })
	x.cut()
	if err := <-asked; !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("recover: %v", err)
	}
}
