package mailbox

import (
	"math/rand/v2"
	"time"
)

// How long to wait. A server that accepts a login and drops it at once must not be hammered, so only a stable connection
// resets the backoff.
const (
	firstWait  = 2 * time.Second
	firstOur   = 250 * time.Millisecond
	longestRun = 5 * time.Minute  // the longest wait for what passes by itself
	longestOur = 5 * time.Second  // the longest wait for our own stream
	parkedWait = 15 * time.Minute // how often something that needs a person is tried again
	stableFor  = 5 * time.Minute

	// Most trouble is short. While it is shorter than this, waits are, so that the mailbox is well soon after it.
	shortTrouble = 15 * time.Second
	longestShort = 7 * time.Second
)

// backoff is exponential with full jitter (each wait is drawn evenly from zero to the current bound).
type backoff struct {
	random      func(n int64) int64 // rand.Int64N if nil
	failures    int
	since       time.Time // when the first of failures was
	ours        int       // failures of our own stream, which say nothing about the server
	throttled   int       // failures that asked for a wait which doubles
	expected    time.Time // when the last expected end of a session was
	stableSince time.Time
	worked      bool
	lastingFrom time.Time // when what must not last was first seen
}

func (b *backoff) draw(n int64) int64 {
	if b.random == nil {
		return rand.Int64N(n)
	}
	return b.random(n)
}

// succeeded notes that a pass was complete at the given time.
func (b *backoff) succeeded(now time.Time) {
	b.worked, b.ours = true, 0
	if b.stableSince.IsZero() {
		b.stableSince = now
	}
}

// cameBack notes that what was waited for is said to be there.
func (b *backoff) cameBack() { b.ours = 0 }

// judge turns what would pass by itself, but has lasted for too long in a mailbox that never worked, into what its owner
// must look at.
func (b *backoff) judge(v Verdict, now time.Time) Verdict {
	if v.Lasting == 0 || b.worked {
		return v
	}
	if b.lastingFrom.IsZero() {
		b.lastingFrom = now
	}
	if now.Sub(b.lastingFrom) >= v.Lasting {
		v.Class = Person
	}
	return v
}

// next returns how long to wait after a failure at the given time.
func (b *backoff) next(v Verdict, now time.Time) time.Duration {
	if !b.stableSince.IsZero() && now.Sub(b.stableSince) >= stableFor {
		b.failures, b.throttled = 0, 0
	}
	b.stableSince = time.Time{}
	// The end of a session with its token is part of life: reconnect at once. Twice in short order it is not.
	if v.Expected && now.Sub(b.expected) >= time.Minute {
		b.expected = now
		return 0
	}
	first, longest, failures := firstWait, longestRun, &b.failures
	if v.Ours {
		first, longest, failures = firstOur, longestOur, &b.ours
	}
	if !v.Ours && b.failures == 0 {
		b.since = now
	}
	bound := min(longest, first<<min(*failures, 16))
	*failures++
	if now.Sub(b.since) < shortTrouble {
		bound = min(bound, longestShort)
	}
	if v.Class != Passing {
		bound = parkedWait
	}
	wait := time.Duration(b.draw(int64(bound)))
	if v.Class != Passing {
		wait = bound*4/5 + wait*2/5
	}
	if v.Wait > 0 {
		// A server's own wish wins, with a tenth of jitter on top so that its clients do not come back together.
		wait = v.Wait
		if v.Longest > 0 {
			wait = min(v.Longest, v.Wait<<min(b.throttled, 10))
			b.throttled++
		}
		wait += time.Duration(b.draw(int64(wait)/10 + 1))
	}
	return wait
}
