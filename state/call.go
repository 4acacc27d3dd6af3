package state

import (
	"context"
	"time"
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
// connection is lost, or at once without one.
func (s *Store) call(ctx context.Context, limit time.Duration) (call context.Context, end func()) {
	ctx, stop := bound(ctx, limit)
	call, done := s.calls.While(ctx)
	return call, func() {
		done()
		stop()
	}
}
