package mailbox_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/publish"
)

// errCrashed is what a killed replica gets to hear of everything that it still tries.
var errCrashed = errors.New("the process was killed")

// line is a replica's way to the broker. It fails as networks and servers do, and is dead once the replica was killed.
type line struct {
	*broker.Broker
	world *simulation

	mu   sync.Mutex
	rng  *rand.Rand // of what goes wrong
	dead bool
}

// call carries out do, or does what goes wrong with it.
func (l *line) call(ctx context.Context, do func() error) error {
	before, after, wait, err := l.fate()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if before {
		return err
	}
	if l.isDead() {
		return errCrashed
	}
	if failed := do(); failed != nil {
		return failed
	}
	if after || l.isDead() {
		return publish.ErrUncertain
	}
	return nil
}

// fate draws what becomes of a call: it fails before it did anything, or after, or is late.
func (l *line) fate() (before, after bool, wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return true, false, 0, errCrashed
	}
	if l.world.isOut() {
		return true, false, 5 * time.Second, publish.ErrUnavailable
	}
	// No two calls take the same time: what comes first is drawn, and not left to the scheduler.
	usual := l.world.h.Stream + time.Duration(1+l.rng.IntN(1e6))
	if l.rng.IntN(100) >= l.world.odds() {
		return false, false, usual, nil
	}
	switch l.rng.IntN(6) {
	case 0:
		return true, false, usual, publish.ErrUnavailable
	case 1:
		return true, false, 5*time.Second + usual, publish.ErrUncertain // lost on the way there
	case 2:
		return true, false, usual, publish.ErrFull
	case 3:
		return false, true, 5*time.Second + usual, nil // lost on the way back
	case 4:
		return false, true, usual, nil
	default:
		return false, false, time.Duration(l.rng.Int64N(int64(3 * time.Second))), nil
	}
}

// chance returns a source of chance for one part of a replica: of parts that shared one, the scheduler would say who gets what.
func chance(seed, part uint64) func(n int64) int64 {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, part))
	return func(n int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		return rng.Int64N(n)
	}
}

func (l *line) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *line) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *line) Recover(ctx context.Context, mailbox string, folders []string) (c publish.Chain, err error) {
	err = l.call(ctx, func() error { c, err = l.Broker.Recover(ctx, mailbox, folders); return err })
	return c, err
}

func (l *line) Commit(ctx context.Context, b publish.Batch) (r publish.Receipt, err error) {
	err = l.call(ctx, func() error { r, err = l.Broker.Commit(ctx, b); return err })
	return r, err
}

func (l *line) Ledger(ctx context.Context, mailbox string, tail uint64) iter.Seq2[publish.Entry, error] {
	if err := l.call(ctx, func() error { return nil }); err != nil {
		return func(yield func(publish.Entry, error) bool) { yield(publish.Entry{}, err) }
	}
	return l.Broker.Ledger(ctx, mailbox, tail)
}

func (l *line) Put(ctx context.Context, mailbox, sum string, size int64, r io.Reader) (ref event.Ref, err error) {
	err = l.call(ctx, func() error { ref, err = l.Broker.Put(ctx, mailbox, sum, size, r); return err })
	return ref, err
}

func (l *line) Announce(ctx context.Context, n publish.Notice) error {
	return l.call(ctx, func() error { return l.Broker.Announce(ctx, n) })
}

func (l *line) Positions(ctx context.Context, mailbox string) (p map[string]string, note string, revision uint64, err error) {
	err = l.call(ctx, func() error { p, note, revision, err = l.Broker.Positions(ctx, mailbox); return err })
	return p, note, revision, err
}

func (l *line) SavePositions(ctx context.Context, mailbox string, p map[string]string, note string, was uint64) (is uint64, err error) {
	err = l.call(ctx, func() error { is, err = l.Broker.SavePositions(ctx, mailbox, p, note, was); return err })
	return is, err
}
