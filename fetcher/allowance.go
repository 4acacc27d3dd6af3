package fetcher

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Allowance is how much may be downloaded from one mailbox within any 24 hours, over all its Sessions: what a provider allows
// is shared with the owner's phones and programs. All that is read counts; when it is used up, backfill pauses until enough of
// it is a day old, and new mail goes on. It is counted by the hour. A nil Allowance is no bound.
//
// It may be used from any goroutine.
type Allowance struct {
	perDay int64

	mu    sync.Mutex
	hours []hour // ascending, of the last day only
}

// hour is what was read in one hour, counted from 1970.
type hour struct{ at, bytes int64 }

// hoursOfDay is for how many hours what was read counts.
const hoursOfDay = 24

// NewAllowance returns an Allowance of so many bytes in 24 hours, nil if perDay is 0.
func NewAllowance(perDay int64) *Allowance {
	if perDay <= 0 {
		return nil
	}
	return &Allowance{perDay: perDay}
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// spend counts bytes that were read.
func (a *Allowance) spend(n int, now time.Time) {
	if a == nil || n <= 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(hour{hourOf(now), int64(n)}, false)
}

// add adds what was read in an hour; or, if it is a report of what was known before, takes the larger figure.
func (a *Allowance) add(h hour, report bool) {
	i, known := slices.BinarySearchFunc(a.hours, h, func(x, y hour) int { return int(x.at - y.at) })
	switch {
	case !known:
		a.hours = slices.Insert(a.hours, i, h)
	case report:
		a.hours[i].bytes = max(a.hours[i].bytes, h.bytes)
	default:
		a.hours[i].bytes += h.bytes
	}
	for len(a.hours) > hoursOfDay {
		a.hours = a.hours[1:]
	}
}

// Used returns how many bytes were read in the 24 hours before now.
func (a *Allowance) Used(now time.Time) (n int64) {
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used(hourOf(now))
}

func (a *Allowance) used(now int64) (n int64) {
	for _, h := range a.hours {
		if h.at > now-hoursOfDay && h.at <= now {
			n += h.bytes
		}
	}
	return n
}

// left returns how many bytes may still be read now.
func (a *Allowance) left(now time.Time) int64 {
	if a == nil {
		return math.MaxInt64
	}
	return max(0, a.perDay-a.Used(now))
}

// Resumes returns when backfill may go on, zero if it may now.
func (a *Allowance) Resumes(now time.Time) time.Time {
	if a == nil {
		return time.Time{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at := hourOf(now)
	if a.used(at) < a.perDay {
		return time.Time{}
	}
	for range hoursOfDay {
		if at++; a.used(at) < a.perDay {
			break
		}
	}
	return time.Unix(at*3600, 0).UTC()
}

// String returns what was read, for Report: hour:bytes, with commas between.
func (a *Allowance) String() string {
	if a == nil {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	for i, h := range a.hours {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%d", h.at, h.bytes)
	}
	return b.String()
}

// Report takes in what was read before, by this process or another, as String says it. What it does not understand it passes
// over: then less is known.
func (a *Allowance) Report(text string, now time.Time) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for one := range strings.SplitSeq(text, ",") {
		at, bytes, _ := strings.Cut(one, ":")
		h, err1 := strconv.ParseInt(at, 10, 64)
		n, err2 := strconv.ParseInt(bytes, 10, 64)
		if err1 == nil && err2 == nil && n > 0 && h > hourOf(now)-hoursOfDay && h <= hourOf(now) {
			a.add(hour{h, n}, true)
		}
	}
}
