package fetcher_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
)

// wire is a connection that can go half open: from then on what is written vanishes and nothing is ever read, as if a
// router had forgotten the connection.
type wire struct {
	net.Conn
	dead *atomic.Bool
}

func (w *wire) Write(p []byte) (int, error) {
	if w.dead.Load() {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 && w.dead.Load() {
		return w.Read(p)
	}
	return n, err
}

// TestHalfOpenIdle: a connection that went half open in IDLE is noticed within the refresh and 30 seconds, and
// the mail of the meantime comes with the next one.
func TestHalfOpenIdle(t *testing.T) {
	for _, refresh := range []time.Duration{10 * time.Second, fetcher.DefaultIdleRefresh} {
		synctest.Test(t, func(t *testing.T) {
			w := sim.New(sim.Options{})
			defer w.Close()
			a := w.AddAccount(sim.Gmail, address)
			var dead *atomic.Bool
			open := func() *fetcher.Session {
				dead = new(atomic.Bool)
				s, err := fetcher.Open(t.Context(), fetcher.Config{
					Addr: "localhost:143", Security: fetcher.Plain, User: address, Start: fetcher.Start{All: true}, IdleRefresh: refresh,
					Dial: func(context.Context, string, string) (net.Conn, error) {
						return &wire{Conn: w.IMAP(sim.Gmail).Pipe(), dead: dead}, nil
					},
				}, token(func() string { return a.AccessToken(time.Hour) }))
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			c := newCollect(t, a)
			for n := range 20 {
				s := open()
				if err := c.pass(s); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				time.AfterFunc(time.Duration(n)*refresh/40, func() {
					dead.Store(true)
					a.Deliver("INBOX", message(n), time.Time{})
				})
				var err error
				for err == nil {
					if err = s.Wait(t.Context()); err == nil {
						err = c.pass(s)
					}
				}
				if d := time.Since(start); d > refresh/2+refresh+30*time.Second {
					t.Errorf("refresh %v: noticed after %v: %v", refresh, d, err)
				}
				s.Close()
			}
			s := open()
			if err := c.pass(s); err != nil {
				t.Fatal(err)
			}
			c.complete()
			s.Close()
			a.DropConnections()
		})
	}
}
