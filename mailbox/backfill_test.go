package mailbox_test

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
)

// backfillSize is how many old messages TestNewMailBeforeOldMail has: MAILFLUME_BACKFILL says more.
func backfillSize(t *testing.T) int {
	if text := os.Getenv("MAILFLUME_BACKFILL"); text != "" {
		n, err := strconv.Atoi(text)
		must(t, err)
		return n
	}
	if raced {
		return 2000
	}
	return 4000
}

// TestNewMailBeforeOldMail: a worker that begins with all that is there publishes new mail in between, not after it; killed
// and started again in the midst, it goes on, and everything is there once, with its cause.
func TestNewMailBeforeOldMail(t *testing.T) {
	const news = 5
	old := backfillSize(t)
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, old)
	var seen int // of all events
	delivered := map[uint32]time.Time{}
	for n := range news {
		w := r.bare()
		stop := runs(t, w)
		events := func() int { return seen + int(w.Status().Published["received"]) }
		grows(t, events, seen+1)
		before := events()
		r.deliver("INBOX", old+n, 1)
		delivered[uint32(old+n+1)] = time.Now()
		if grows(t, events, before+old/20); n == news-1 {
			grows(t, events, old+news)
		}
		stop()
		seen = events()
	}
	var uids []uint32
	lastBack := 0
	place := map[uint32]int{}
	for i, e := range r.stored() {
		uid := e.Data.IMAP.UID
		uids = append(uids, uid)
		place[uid] = i
		backfill := int(uid) <= old
		if backfill != (e.Cause == event.CauseBackfill) {
			t.Errorf("UID %d has the cause %s", uid, e.Cause)
		}
		if backfill {
			lastBack = i
		}
	}
	chain, err := r.publisher.Recover(t.Context(), "anna", nil)
	must(t, err)
	for entry, err := range r.publisher.Ledger(t.Context(), "anna", chain.Seq) {
		must(t, err)
		p, err := fetcher.ParsePosition(entry.Position)
		must(t, err)
		if at, is := delivered[p.High()]; is {
			t.Logf("UID %d was on the stream after %v", p.High(), entry.Time.Sub(at))
			delete(delivered, p.High())
		}
	}
	for n := range news {
		if at := place[uint32(old+n+1)]; at > lastBack-old/20 {
			t.Errorf("new message %d is event %d; the backfill ends with event %d", n, at, lastBack)
		}
	}
	slices.Sort(uids)
	if want := r.account.UIDs("INBOX"); !slices.Equal(uids, want) {
		t.Errorf("%d events of %d messages", len(uids), len(want))
	}
}

// grows waits until what is counted has reached a number, for as long as it grows.
func grows(t *testing.T, count func() int, number int) {
	t.Helper()
	for from, at := time.Now(), -1; ; time.Sleep(5 * time.Millisecond) {
		now := count()
		if now >= number {
			return
		}
		if now > at {
			from, at = time.Now(), now
		}
		if time.Since(from) > time.Minute {
			t.Fatalf("at %d of %d for a minute", now, number)
		}
	}
}

// TestCauses: why a message is published now: as it was there before, because of an outage of whatever length, or as it came.
func TestCauses(t *testing.T) {
	const missed = 1100 // more than a position tells apart
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 2)
	w := r.bare()
	must(t, w.Drain(t.Context()))
	r.deliver("INBOX", 2, 2) // connected
	must(t, w.Drain(t.Context()))
	w.Close()
	r.deliver("INBOX", 4, missed) // nobody looks
	w = r.bare()
	must(t, w.Drain(t.Context()))
	r.deliver("INBOX", missed+4, 1)
	must(t, w.Drain(t.Context()))
	r.account.BumpUIDValidity("INBOX")
	w.Close() // the server does
	r.deliver("INBOX", missed+5, 1)
	must(t, w.Drain(t.Context()))
	r.deliver("INBOX", missed+6, 1)
	must(t, w.Drain(t.Context()))
	count := map[event.Cause]int{}
	for _, e := range r.stored() {
		count[e.Cause]++
	}
	want := map[event.Cause]int{event.CauseBackfill: 2, event.CauseLive: 4, event.CauseCatchup: missed, event.CauseReconcile: 1}
	for cause, n := range want {
		if count[cause] != n {
			t.Errorf("%d events of cause %s, want %d", count[cause], cause, n)
		}
	}
}
