// Package natsconn ends the wait for an answer from NATS when the connection that it would come over is lost.
//
// nats.go (1.55) lets a request wait on: it has a context for that, and tells of a lost connection elsewhere. Here both
// come together, at the price of one listener for each [Calls] and nothing but a context for each call. And of a request
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

// Calls are those that wait for an answer over one connection. Its methods may be called by several goroutines.
type Calls struct {
	nc      *nats.Conn
	changes chan nats.Status

	mu      sync.Mutex // guards waiting, and is never held during I/O
	waiting map[*context.CancelCauseFunc]struct{}
}

// Over returns the calls over nc, of which there are none yet, and listens for its loss until Close, or until nc is closed.
func Over(nc *nats.Conn) *Calls {
	c := &Calls{nc: nc, changes: nc.StatusChanged(nats.RECONNECTING, nats.CLOSED), waiting: map[*context.CancelCauseFunc]struct{}{}}
	go c.listen()
	return c
}

// Close ends the listening: no call may begin after it. That nc is closed has the same effect.
func (c *Calls) Close() { c.nc.RemoveStatusListener(c.changes) }

// While returns the context of one call, which ends with ctx, with end, and when the connection is lost; without one it has
// ended at once. end must be called. A call that begins just after the connection is back may end for the loss before it.
func (c *Calls) While(ctx context.Context) (call context.Context, end func()) {
	call, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	c.waiting[&cancel] = struct{}{}
	c.mu.Unlock()
	if !c.nc.IsConnected() {
		cancel(nats.ErrDisconnected)
	}
	return call, func() {
		cancel(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, &cancel)
	}
}

// listen ends the calls whenever the connection is lost, until it is closed, which nats.go tells them itself.
func (c *Calls) listen() {
	defer c.Close()
	for !c.nc.IsClosed() {
		switch status, listening := <-c.changes; {
		case !listening:
			return
		case status == nats.RECONNECTING:
			c.lose()
		}
	}
}

func (c *Calls) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cancel := range c.waiting {
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
