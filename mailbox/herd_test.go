package mailbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
)

// TestHerd: when the servers come back, a thousand mailboxes log in no faster than was set, with no more than
// two connections each, and all are well within 90 seconds; the mailboxes of another server do not wait for them.
func TestHerd(t *testing.T) {
	mailboxes, rate := 1000, 20
	if raced {
		mailboxes, rate = 300, 6
	}
	inLab(t, plainWorld, func(l *lab) {
		logins := fetcher.NewLogins(float64(rate))
		var all []*subject
		for i := range mailboxes {
			s := l.add(sim.Exchange, fmt.Sprintf("box%d", i))
			s.fetch.Logins = logins
			all = append(all, s)
			defer s.run()()
		}
		other := l.add(sim.Gmail, "other")
		other.fetch.Logins, other.fetch.Addr = logins, "127.0.0.1:143"
		defer other.run()()
		watching := func() (n int) {
			for _, s := range all {
				if s.watching() {
					n++
				}
			}
			return n
		}
		total := func() (n int) {
			for _, s := range all {
				n += s.a.Stats().Logins
			}
			return n
		}
		for range 2 {
			start := time.Now()
			time.Sleep(10 * time.Millisecond)
			if !other.watching() {
				t.Error("the mailbox of another server waits")
			}
			for before := total(); watching() < mailboxes; {
				time.Sleep(time.Second)
				now := total()
				if now-before > rate+1 && time.Since(start) > 2*time.Second {
					t.Errorf("%d logins in a second", now-before)
				}
				if before = now; time.Since(start) > 90*time.Second {
					t.Fatalf("only %d watch after %v", watching(), time.Since(start))
				}
			}
			for _, s := range all {
				s.a.DropConnections()
			}
		}
		for _, s := range all {
			if n := s.a.Stats().MaxConnections; n > 2 {
				t.Errorf("%s: %d connections", s.id, n)
			}
		}
	})
}
