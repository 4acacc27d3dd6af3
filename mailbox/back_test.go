package mailbox_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// gone is a stream that cannot be reached, a line that tells when it can be, and a session without mail.
type gone struct {
	mu    sync.Mutex
	err   error
	calls []time.Time
	back  chan struct{}
}

func (g *gone) Recover(context.Context, string, []string) (publish.Chain, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, time.Now())
	return publish.Chain{}, g.err
}

func (g *gone) Commit(context.Context, publish.Batch) (publish.Receipt, error) {
	return publish.Receipt{}, errors.New("not to be called")
}

func (g *gone) Ledger(context.Context, string, uint64) iter.Seq2[publish.Entry, error] { return nil }

func (g *gone) Back() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.back
}

func (g *gone) Messages(context.Context, map[string]fetcher.Position) iter.Seq2[fetcher.Message, error] {
	return func(func(fetcher.Message, error) bool) {}
}

func (g *gone) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (g *gone) Close() error                   { return nil }

// Who waits for the stream, or for the operator to mend it, does not wait longer when it is back, and all who do so are spread
// over a moment.
func TestTheStreamIsBack(t *testing.T) {
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			g := &gone{err: []error{publish.ErrUnavailable, &publish.TooLargeError{}}[i%2], back: make(chan struct{})}
			w := mailbox.NewWorker(mailbox.Config{
				Mailbox: event.Mailbox{ID: "anna"}, Stream: g, Line: g,
				Open: func(context.Context) (mailbox.Session, []string, error) { return g, []string{"INBOX"}, nil },
			})
			stop := runs(t, w)
			time.Sleep(time.Minute) // it waits up to 5 seconds by now
			synctest.Wait()
			g.mu.Lock()
			before, back := len(g.calls), time.Now()
			close(g.back)
			g.back = make(chan struct{})
			g.mu.Unlock()
			time.Sleep(250 * time.Millisecond)
			synctest.Wait()
			if len(g.calls) == before {
				t.Errorf("not asked within 250 ms of its return; last asked %v before", back.Sub(g.calls[before-1]))
			}
			stop()
		})
	}
}
