package mailbox

import (
	"testing"
	"time"
)

// draws is how often a random wait is drawn to see its bounds.
const draws = 2000

// bounds returns the shortest and the longest of many waits after n earlier failures.
func bounds(v Verdict, n int) (low, high time.Duration) {
	low = 1 << 62
	for range draws {
		b := backoff{failures: n}
		wait := b.next(v, time.Unix(1000, 0))
		low, high = min(low, wait), max(high, wait)
	}
	return low, high
}

// Full jitter: each wait is drawn evenly from zero to a bound that doubles up to a limit.
func TestBackoffHasFullJitter(t *testing.T) {
	for failures, bound := range map[int]time.Duration{
		0: 2 * time.Second, 1: 4 * time.Second, 2: 8 * time.Second, 7: 256 * time.Second, 8: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		low, high := bounds(Verdict{Class: Passing}, failures)
		if low < 0 || low > bound/20 || high >= bound || high < bound*19/20 {
			t.Errorf("after %d failures: %v to %v, want 0 to %v", failures, low, high, bound)
		}
	}
}

// However often a short trouble is met, the mailbox is tried again soon after it. A long one is met as seldom as ever.
func TestBackoffOfShortTrouble(t *testing.T) {
	for range draws {
		var b backoff
		for i := range 15 {
			if wait := b.next(Verdict{Class: Passing}, time.Unix(1000+int64(i), 0)); wait > longestShort {
				t.Fatalf("waits %v after %d s", wait, i)
			}
		}
	}
	var longest time.Duration
	for range draws {
		var b backoff
		for i := range 15 {
			b.next(Verdict{Class: Passing}, time.Unix(1000+int64(i), 0))
		}
		longest = max(longest, b.next(Verdict{Class: Passing}, time.Unix(1015, 0)))
	}
	if longest < longestRun*19/20 {
		t.Errorf("waits at most %v after 15 s", longest)
	}
}

func TestBackoffGrowsByItself(t *testing.T) {
	var b backoff
	now := time.Unix(1000, 0)
	for range 20 {
		b.next(Verdict{Class: Passing}, now)
	}
	if b.failures != 20 {
		t.Errorf("%d failures were counted, want 20", b.failures)
	}
}

// An outage of our own stream, however long, is no reason to stay away from the mail server after it.
func TestBackoffDoesNotBlameTheServer(t *testing.T) {
	for range draws {
		var b backoff
		for range 700 {
			if wait := b.next(Verdict{Class: Passing, Ours: true}, time.Unix(1000, 0)); wait > longestOur {
				t.Fatalf("waits %v for our own stream", wait)
			}
		}
		if wait := b.next(Verdict{Class: Passing}, time.Unix(5000, 0)); wait > firstWait {
			t.Fatalf("then %v for the server's first failure", wait)
		}
	}
}

// What needs somebody to act is looked at every quarter of an hour or so, from the first time on.
func TestBackoffOfWhatNeedsSomebody(t *testing.T) {
	for _, class := range []Class{Person, Operator} {
		for _, failures := range []int{0, 50} {
			low, high := bounds(Verdict{Class: class}, failures)
			if low < 12*time.Minute || high > 18*time.Minute {
				t.Errorf("%s: %v to %v, want 12 to 18 min", class, low, high)
			}
		}
	}
}

// A server that says how long to wait is believed, in whatever class; the jitter only adds.
func TestBackoffHeedsTheServer(t *testing.T) {
	for _, class := range []Class{Passing, Person, Operator} {
		for _, wait := range []time.Duration{time.Nanosecond, time.Second, 92415 * time.Millisecond, 24 * time.Hour} {
			low, high := bounds(Verdict{Class: class, Wait: wait}, 3)
			if low < wait || high > wait+wait/10 {
				t.Errorf("%s: %v to %v, want %v and at most a tenth more", class, low, high, wait)
			}
		}
	}
}

// Only five minutes without trouble forget the failures: a server that takes a login and drops it at once is not hammered.
func TestBackoffForgetsAfterStability(t *testing.T) {
	for _, c := range []struct {
		stable time.Duration
		passes int // complete passes in that time
		want   int // failures that are counted afterwards
	}{
		{4*time.Minute + 59*time.Second, 1, 6},
		{5 * time.Minute, 1, 1},
		{5 * time.Minute, 50, 1}, // the first pass counts, not the last
		{time.Hour, 0, 6},        // nothing succeeded
	} {
		b := backoff{failures: 5}
		now := time.Unix(1000, 0)
		for i := range c.passes {
			b.succeeded(now.Add(time.Duration(i) * c.stable / time.Duration(c.passes+1)))
		}
		b.next(Verdict{Class: Passing}, now.Add(c.stable))
		if b.failures != c.want {
			t.Errorf("stable for %v with %d passes: %d failures, want %d", c.stable, c.passes, b.failures, c.want)
		}
	}
	// Stability ends with a failure: it is not carried over to the next one.
	b := backoff{}
	now := time.Unix(1000, 0)
	b.succeeded(now)
	b.next(Verdict{Class: Passing}, now.Add(time.Hour))
	b.next(Verdict{Class: Passing}, now.Add(2*time.Hour))
	if b.failures != 2 {
		t.Errorf("%d failures, want 2", b.failures)
	}
}

// A session that ends with its token comes back at once and counts as no failure, but not twice within a minute.
func TestBackoffOfAnExpectedEnd(t *testing.T) {
	expected := Verdict{Class: Passing, Expected: true}
	var b backoff
	now := time.Unix(1000, 0)
	if wait := b.next(expected, now); wait != 0 || b.failures != 0 {
		t.Errorf("the first waits for %v and counts %d failures", wait, b.failures)
	}
	b.next(expected, now.Add(59*time.Second))
	if b.failures != 1 {
		t.Errorf("the second within a minute counts %d failures, want 1", b.failures)
	}
	if wait := b.next(expected, now.Add(time.Minute)); wait != 0 {
		t.Errorf("a minute later it waits for %v", wait)
	}
}

// A daily limit lifts after one hour or after twenty-four: each time that it has not, the wait doubles.
func TestBackoffDoublesWhatTheServerAsksFor(t *testing.T) {
	var b backoff
	now := time.Now()
	v := Verdict{Class: Passing, Wait: time.Hour, Longest: 24 * time.Hour}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 24, 24} {
		if got := b.next(v, now); got < want*time.Hour || got > want*66*time.Minute {
			t.Errorf("waits %v, want %d hours", got, want)
		}
	}
	b.succeeded(now)
	if got := b.next(v, now.Add(stableFor)); got > 66*time.Minute {
		t.Errorf("after a stable session it waits %v", got)
	}
}

// A login that is accepted and serves nothing passes by itself, unless it has never been otherwise for half an hour.
func TestBackoffOfWhatMustNotLast(t *testing.T) {
	v := Verdict{Class: Passing, Lasting: lasting}
	start := time.Now()
	var never, once backoff
	once.succeeded(start)
	for d := time.Duration(0); d < 2*time.Hour; d += time.Minute {
		if got := never.judge(v, start.Add(d)).Class == Person; got != (d >= lasting) {
			t.Errorf("after %v without success: a person must act: %v", d, got)
		}
		if once.judge(v, start.Add(d)).Class == Person {
			t.Errorf("after %v: it worked once, and a person must act", d)
		}
	}
}
