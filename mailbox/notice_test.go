package mailbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// A notice is shown for a week, also by a worker that has the mailbox all the while.
func TestANoticeIsShownForAWeek(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		stop := s.run()
		s.deliver(0, 1)
		s.within(time.Minute, "it is published", func() bool { return s.received() == 1 })
		stop()
		c := s.config()
		c.Floor = broker.New() // which has no record of what was published
		c.Open = func(context.Context) (mailbox.Session, []string, error) { return &script{}, []string{"INBOX"}, nil }
		s.w = mailbox.NewWorker(c)
		defer runs(l.t, s.w)()
		s.within(time.Minute, "it watches", s.watching)
		time.Sleep(6 * 24 * time.Hour)
		if st := s.w.Status(); st.Notice == "" || st.NoticeHint == "" || st.NoticeAt.IsZero() {
			l.t.Errorf("after 6 days it shows %q", st.Notice)
		}
		time.Sleep(2 * 24 * time.Hour)
		if st := s.w.Status(); st.Notice != "" || st.NoticeHint != "" || !st.NoticeAt.IsZero() {
			l.t.Errorf("after 8 days it shows %q", st.Notice)
		}
	})
}

// How long a stream has ended before what it acknowledged is measured while the mailbox is ours: what a leader said that did not
// know of its successor, and what another says on another day, are two things.
func TestAStreamThatForgotIsWatchedOnlyWhileItIsOurs(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		stop := s.run()
		s.deliver(0, 3)
		s.within(time.Minute, "it is published", func() bool { return s.received() == 3 })
		stop()
		c := s.config()
		c.Stream = rolledBack{l.broker, 1}
		w := mailbox.NewWorker(c)
		for range 2 {
			stop := runs(l.t, w)
			time.Sleep(10 * time.Second)
			stop()
			if n := w.Status().Notice; n != "" {
				l.t.Errorf("shows %q", n)
			}
			time.Sleep(24 * time.Hour)
		}
	})
}
