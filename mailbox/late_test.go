package mailbox_test

import (
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// A message that the server has not shown by the time at which UIDVALIDITY changes is published after that, although newer
// ones were published before.
func TestLateMessageOutlivesReset(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna")
			defer s.run()()
			s.deliver(0, 3)
			s.within(time.Minute, "the first", func() bool { return s.received() == 3 && s.watching() })
			time.Sleep(time.Hour)
			s.a.DeliverMessage("INBOX", sim.Message{Raw: message(3), Hide: 1000})
			time.Sleep(5 * time.Second)
			s.deliver(4, 3)
			s.within(time.Minute, "what came after it", func() bool { return s.received() == 6 && s.watching() })
			s.a.BumpUIDValidity("INBOX")
			s.a.Hide("INBOX", s.a.UIDs("INBOX")[3], 0)
			s.within(time.Hour, "the late one", func() bool { return s.received() == 7 })
			time.Sleep(time.Hour)
			if n := s.received(); n != 7 {
				t.Errorf("%d events for 7 messages", n)
			}
		})
	})
}
