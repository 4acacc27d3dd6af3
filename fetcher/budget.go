package fetcher

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the bytes of all messages that are between their fetching and their Release, over all Sessions that
// share it. Waiting for it is fair: first come, first served, whatever the size.
type Budget struct {
	size int64
	sem  *semaphore.Weighted
}

// NewBudget returns a Budget of so many bytes. A message larger than that gets all of it.
func NewBudget(size int64) *Budget {
	return &Budget{size: size, sem: semaphore.NewWeighted(size)}
}

// acquire waits for n bytes and returns what gives them back, once however often it is called.
func (b *Budget) acquire(ctx context.Context, n int64) (release func(), err error) {
	if b == nil || n <= 0 {
		return func() {}, nil
	}
	n = min(n, b.size)
	if err := b.sem.Acquire(ctx, n); err != nil {
		return nil, err
	}
	done := make(chan struct{}, 1)
	done <- struct{}{}
	return func() {
		select {
		case <-done:
			b.sem.Release(n)
		default:
		}
	}, nil
}
