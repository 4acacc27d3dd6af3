package mailbox_test

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// TestThirtyDays runs 50 mailboxes for 30 days, in seconds: tokens of an hour, connections that die, limits, folders that
// are renumbered, mail all the while. Every message is published once, and no mailbox has more than two connections.
func TestThirtyDays(t *testing.T) {
	days, worlds := 30, 10
	if raced {
		days, worlds = 2, 4
	}
	began, percent := time.Now(), debug.SetGCPercent(800) // hundreds of thousands of short commands
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		t.Logf("%d days of %d mailboxes in %v", days, worlds*perWorld, time.Since(began).Round(10*time.Millisecond))
	})
	for seed := range worlds {
		t.Run(fmt.Sprint("world ", seed), func(t *testing.T) {
			t.Parallel()
			inLab(t, plainWorld, func(l *lab) { manyDays(l, days, rand.New(rand.NewPCG(1, uint64(seed)))) })
		})
	}
}

// perWorld is how many mailboxes share a bubble: few, so that every processor has one to run.
const perWorld = 5

// manyDays runs the mailboxes of one world.
func manyDays(l *lab, days int, random *rand.Rand) {
	var all []*subject
	for i := range perWorld {
		s := l.add([]sim.Provider{sim.Gmail, sim.Exchange}[i%2], fmt.Sprintf("box%d", i))
		all = append(all, s)
		defer s.run()()
	}
	delivered := make([]int, len(all))
	for range days * 24 {
		for i, s := range all {
			if random.IntN(3) == 0 {
				s.deliver(delivered[i], 1)
				delivered[i]++
			}
			trouble(random.IntN(400), s)
		}
		time.Sleep(time.Hour)
	}
	for _, s := range all {
		s.a.ClearFaults()
	}
	time.Sleep(2 * time.Hour)
	for i, s := range all {
		if n := s.received(); n != delivered[i] {
			l.t.Errorf("%s: %d of %d messages: %+v", s.id, n, delivered[i], s.w.Status())
		}
		if n := s.a.Stats().MaxConnections; n > 2 {
			l.t.Errorf("%s: %d connections", s.id, n)
		}
	}
}

// trouble lets something happen to a mailbox, about once in ten days for each kind.
func trouble(kind int, s *subject) {
	switch kind {
	case 0:
		s.a.DropConnections()
	case 1:
		s.a.Inject(sim.IdleDies(7 * time.Minute))
	case 2:
		s.a.Inject(sim.SilentIdle())
	case 3:
		s.a.Throttle(20 * time.Minute)
	case 4:
		s.a.Inject(sim.Stall("SEARCH", -1))
	case 5:
		s.a.Inject(sim.CutLiteral(20))
	case 6:
		s.a.BumpUIDValidity("INBOX")
	case 7:
		s.a.ExpireTokens()
	case 8:
		s.a.Inject(sim.Unavailable())
	case 9:
		s.a.Inject(sim.DropConnection("FETCH"))
	}
}
