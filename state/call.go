package state

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// openLimit bounds what a program does once, or a person waits for. A cluster that lost a leader stalls for up to 5.5
	// seconds.
	openLimit = 8 * time.Second
	// readLimit bounds one question. While the bucket has no leader, nobody answers it: it is better asked again.
	readLimit = 2 * time.Second
	// writeLimit bounds one write, whose answer is worth waiting for: without it, it may have been stored.
	writeLimit = 5 * time.Second
)

// bound gives a context without a deadline one, since a request that nobody answers would wait for ever.
func bound(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// call returns the context of one call: it ends with ctx, with end, after the limit if ctx has no deadline, and when the
// connection is lost: nats.go (1.55) lets a request wait for its answer even though the connection that it would come over
// is gone. Without a connection it has ended at once: of a request that it cannot send, nats.go keeps the inbox for ever.
func (s *Store) call(ctx context.Context, limit time.Duration) (call context.Context, end func()) {
	ctx, stop := bound(ctx, limit)
	call, cancel := context.WithCancelCause(ctx)
	lost := s.js.Conn().StatusChanged(nats.RECONNECTING)
	if !s.js.Conn().IsConnected() {
		cancel(nats.ErrDisconnected)
	}
	go func() {
		select {
		case _, ok := <-lost:
			if ok {
				cancel(nats.ErrDisconnected)
			}
		case <-call.Done():
		}
	}()
	return call, func() {
		cancel(nil)
		s.js.Conn().RemoveStatusListener(lost)
		stop()
	}
}

// disconnected is the error of a call, with its cause if that was the connection.
func disconnected(call context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(call), nats.ErrDisconnected) {
		return nats.ErrDisconnected
	}
	return err
}
