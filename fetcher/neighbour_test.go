package fetcher

import (
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// processorTime is what this process has used of its processors. A busy machine does not change it.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// neighbour is a mailbox beside that of a hostile server.
type neighbour struct {
	t       *testing.T
	s       *Session
	playing atomic.Bool // a script plays
}

// passes reads the mailbox over and over for so long. It returns how long the passes took, and apart from them those during
// which a script played.
func (n *neighbour) passes(d time.Duration) (all, meanwhile []time.Duration) {
	for began := time.Now(); time.Since(began) < d; time.Sleep(time.Millisecond) {
		playing, start := n.playing.Load(), time.Now()
		wantUIDs(n.t, readAll(n.t.Context(), n.s, nil), 1, 2, 3)
		took := time.Since(start)
		if all = append(all, took); playing || n.playing.Load() {
			meanwhile = append(meanwhile, took)
		}
	}
	return all, meanwhile
}

// TestHostileNeighbour measures what a hostile server costs another mailbox: how long a pass over it takes in half a second
// in which a script plays, twice as often as a worker calls a server that was cut for the first time, and in half a second in
// which none does, in turns. The medians may differ by a tenth. Each breach is cut within 5 seconds. It needs a quiet
// machine: make hostile.
func TestHostileNeighbour(t *testing.T) {
	if os.Getenv("MAILFLUME_TIMED") == "" {
		t.Skip("set MAILFLUME_TIMED, on a quiet machine")
	}
	const window = 500 * time.Millisecond
	n := &neighbour{t: t, s: mustOpen(t, newFake(t, 1, 2, 3).config())}
	var alone, beside, meanwhile []time.Duration
	var longest time.Duration
	n.passes(window) // to warm up
	for _, a := range attacks {
		all, _ := n.passes(window)
		alone = append(alone, all...)
		cut := make(chan time.Duration)
		n.playing.Store(true)
		go func() {
			start := time.Now()
			if err := a.suffer(t); err == nil {
				t.Errorf("%s %s: no error", a.at, a.name)
			}
			n.playing.Store(false)
			cut <- time.Since(start)
		}()
		all, during := n.passes(window)
		beside, meanwhile = append(beside, all...), append(meanwhile, during...)
		longest = max(longest, <-cut)
	}
	ratio := float64(percentile(beside, 50)) / float64(percentile(alone, 50))
	t.Logf("a pass of another mailbox, median and 99th of 100: %v and %v alone (%d passes), %v and %v beside %d hostile servers (%d), "+
		"%v and %v just while they send (%d)", percentile(alone, 50), percentile(alone, 99), len(alone), percentile(beside, 50),
		percentile(beside, 99), len(attacks), len(beside), percentile(meanwhile, 50), percentile(meanwhile, 99), len(meanwhile))
	t.Logf("ratio of the medians %.3f; the longest script was cut after %v", ratio, longest)
	if ratio > 1.10 {
		t.Errorf("another mailbox takes %.2f times as long", ratio)
	}
	if longest > 5*time.Second {
		t.Errorf("a script was cut after %v", longest)
	}
}

func percentile(d []time.Duration, n int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)*n/100].Round(time.Microsecond)
}
