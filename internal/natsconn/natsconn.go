// Package natsconn ends the wait for an answer from NATS when the connection that it would come over is lost.
//
// nats.go (1.55) lets a request wait on: it has a context for that, and tells of a lost connection elsewhere. Here both
// come together, at the price of one listener for each connection and nothing but a context for each call. And of a request
// that it cannot send nats.go keeps the inbox for ever, so without a connection nothing should be asked.
//
// What the package does not do: it neither connects nor sends, it cannot tell whether a call without an answer was carried
// out, and it does not try again. That is for whoever makes the call.
package natsconn

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// calls are those that wait for an answer over one connection, each by what ends it.
type calls map[*context.CancelCauseFunc]struct{}

var (
	mu      sync.Mutex // guards waiting and what is in it, and is never held during I/O
	waiting = map[*nats.Conn]calls{}
)

// While returns the context of one call over nc, which ends with ctx, with end, and when nc loses its connection; without one
// it has ended at once. end must be called. A call that begins just after a connection is back may end for the loss before it.
// While may be called by several goroutines.
func While(ctx context.Context, nc *nats.Conn) (call context.Context, end func()) {
	call, cancel := context.WithCancelCause(ctx)
	others := register(nc, &cancel)
	if !nc.IsConnected() {
		cancel(nats.ErrDisconnected)
	}
	return call, func() {
		cancel(nil)
		mu.Lock()
		defer mu.Unlock()
		delete(others, &cancel)
	}
}

// register adds a call to those over nc.
func register(nc *nats.Conn, cancel *context.CancelCauseFunc) calls {
	mu.Lock()
	defer mu.Unlock()
	all, known := waiting[nc]
	if !known {
		all = calls{}
		waiting[nc] = all
		go listen(nc, nc.StatusChanged(nats.RECONNECTING, nats.CLOSED), all)
	}
	all[cancel] = struct{}{}
	return all
}

// listen ends the calls over nc whenever it loses its connection, until it is closed, which nats.go tells them itself.
func listen(nc *nats.Conn, changes chan nats.Status, all calls) {
	for !nc.IsClosed() {
		if <-changes == nats.RECONNECTING {
			lose(all)
		}
	}
	nc.RemoveStatusListener(changes)
	mu.Lock()
	defer mu.Unlock()
	delete(waiting, nc)
}

func lose(all calls) {
	mu.Lock()
	defer mu.Unlock()
	for cancel := range all {
		(*cancel)(nats.ErrDisconnected)
	}
}

// Cause is err, the error of a call under a context of While, or nats.ErrDisconnected if that is why the call ended.
func Cause(call context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(call), nats.ErrDisconnected) {
		return nats.ErrDisconnected
	}
	return err
}
