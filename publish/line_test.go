package publish

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// paced returns a line to a server that takes 32 KiB every pause while ctx lasts, then nothing, and all once open was called.
func paced(ctx context.Context, t *testing.T, pause time.Duration) (x *proxy, open func()) {
	t.Helper()
	x = newProxy(t, external(t, t.TempDir(), "").Addr().String())
	pace := make(chan struct{})
	x.mu.Lock()
	x.pace = pace
	x.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.Tick(pause); ctx.Err() == nil; {
			select {
			case <-tick:
			case <-ctx.Done():
				return
			}
			select {
			case pace <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}()
	return x, sync.OnceFunc(func() { <-ended; close(pace) })
}

// large are n events of nearly a megabyte.
func large(n int) []Event {
	all := evs("INBOX", 0, n)
	for i := range all {
		all[i].Data = bytes.Repeat([]byte("x"), 1_000_000)
	}
	return all
}

// A batch that needs longer for the line than its answer may take is not given up on its way: it would be sent again and again.
func TestNarrowLine(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	x, open := paced(ctx, t, 5*time.Millisecond)
	defer open()
	defer stop()
	p := mustSetup(t, mustOpen(t, Config{URL: x.url()}))
	const n = 16
	p.commitWait = 500 * time.Millisecond
	// What the machine still holds when all is sent may take longer than that, too.
	if _, err := p.Commit(t.Context(), Batch{Mailbox: "m", Events: large(n)}); err != nil {
		wantError(t, err, ErrUncertain)
	}
	eventually(t, time.Minute, "all of it is stored", func() bool {
		c, err := p.Recover(t.Context(), "m", nil)
		return err == nil && c.Seq == n
	})
}

// A line that takes nothing any more is left in seconds, and the next one is used.
func TestLineThatTakesNothing(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	x, open := paced(ctx, t, time.Millisecond)
	defer open()
	defer stop()
	p := mustSetup(t, mustOpen(t, Config{URL: x.url()}))
	stop()
	committed := make(chan error, 1)
	go func() {
		_, err := p.Commit(t.Context(), Batch{Mailbox: "m", Events: large(16)})
		committed <- err
	}()
	select {
	case err := <-committed:
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUncertain) {
			t.Errorf("the error is %v", err)
		}
	case <-time.After(45 * time.Second): // nats.go alone takes a minute
		t.Error("it waits for a line that takes nothing")
	}
	open()
	eventually(t, 2*time.Minute, "the next line is used", func() bool {
		c, err := p.Recover(t.Context(), "m", nil)
		if err == nil {
			_, err = p.Commit(t.Context(), Batch{Mailbox: "m", After: c.Seq, Events: evs("INBOX", 0, 3)})
		}
		return err == nil
	})
}
