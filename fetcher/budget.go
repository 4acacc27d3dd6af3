package fetcher

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the bytes of all messages that are between their fetching and their Release, over all Sessions that
// share it. Waiting for it is fair: first come, first served, whatever the size.
//
// A server may take hours to hand a message out, and its room is taken all the while. So that it does not hold up others, what
// is being read of large messages has half of the Budget at most, and who reads slower than slowest while others wait is
// cut off.
type Budget struct {
	size    int64
	sem     *semaphore.Weighted
	large   *semaphore.Weighted // what is being read of messages over size/largeShare
	waiting atomic.Int32        // how many wait for either
}

// largeShare is the part of a Budget from which on a message counts as large.
const largeShare = 64

// How fast a message must be read if others wait for room: within readPatience and a second for each slowest bytes.
const (
	readPatience = time.Minute
	slowest      = 256 << 10
	lookForOther = 5 * time.Second // after that, how often to look whether others wait
)

// NewBudget returns a Budget of so many bytes. A message larger than that gets all of it.
func NewBudget(size int64) *Budget {
	return &Budget{size: size, sem: semaphore.NewWeighted(size), large: semaphore.NewWeighted(max(1, size/2))}
}

// share is room for one message. A nil share is that of no Budget.
type share struct {
	b    *Budget
	n    int64
	gate int64 // of b.large
	back sync.Once

	mu    sync.Mutex // guards what follows; never held across I/O
	timer *time.Timer
	over  bool // the message is read, or was cut
}

// acquire waits for room for n bytes. It is given back once, however often release is called.
func (b *Budget) acquire(ctx context.Context, n int64) (*share, error) {
	if b == nil || n <= 0 {
		return nil, nil
	}
	s := &share{b: b, n: min(n, b.size)}
	if n > b.size/largeShare {
		s.gate = min(n, max(1, b.size/2))
		if err := b.wait(ctx, b.large, s.gate); err != nil {
			return nil, err
		}
	}
	if err := b.wait(ctx, b.sem, s.n); err != nil {
		b.large.Release(s.gate)
		return nil, err
	}
	return s, nil
}

func (b *Budget) wait(ctx context.Context, sem *semaphore.Weighted, n int64) error {
	if sem.TryAcquire(n) {
		return nil
	}
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	return sem.Acquire(ctx, n)
}

// begin notes that the message is being read; cut ends that if it takes too long while others wait.
func (s *share) begin(cut func()) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(s.patience(), func() {
		if s.overdue() {
			cut()
		}
	})
}

// overdue reports whether others wait for a message that is still being read. If none do, it is asked again before long.
func (s *share) overdue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return false
	case s.b.waiting.Load() == 0:
		s.timer.Reset(lookForOther)
		return false
	}
	s.over = true
	return true
}

func (s *share) patience() time.Duration {
	return readPatience + time.Duration(s.n)*time.Second/slowest
}

// read notes that the message has been read, or will not be.
func (s *share) read() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.over = true
	s.timer.Stop()
	s.mu.Unlock()
	s.b.large.Release(s.gate)
}

// release gives the room back. It may be called from any goroutine.
func (s *share) release() {
	if s != nil {
		s.back.Do(func() { s.b.sem.Release(s.n) })
	}
}
