package mailbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
)

// TestRenewedBeforeTheTokenEnds: where it is known when a token ends, the session is renewed shortly before, in a day as often
// as there are tokens: the server never has to end one, nobody is told, the mailbox is watched all the time, and what comes
// meanwhile is live.
func TestRenewedBeforeTheTokenEnds(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna")
			s.ends = true
			defer s.run()()
			s.within(time.Minute, "it watches", s.watching)
			every := time.Minute
			if raced {
				every = 7 * time.Minute // at another time of each hour
			}
			for i := range int(24 * time.Hour / every) {
				s.deliver(i, 1)
				s.within(10*time.Second, "it came", func() bool { return s.received() == i+1 })
				time.Sleep(every)
			}
			st := s.a.Stats()
			if st.Logins < 24 || st.Logins > 26 || st.MaxConnections > 2 || s.w.Status().Failures != 0 {
				t.Errorf("%d logins, %d connections, %d failures", st.Logins, st.MaxConnections, s.w.Status().Failures)
			}
			for _, e := range s.events() {
				if cause := decode(t, e).Cause; cause != event.CauseLive {
					t.Fatalf("UID %d has the cause %s", decode(t, e).Data.IMAP.UID, cause)
				}
			}
			if got := s.notices(); len(got) != 1 {
				t.Errorf("announced %v", got)
			}
			s.once()
		})
	})
}

// TestRenewalThatFails: if no new session is to be had when the token is about to end, or none within a moment, the old one serves on.
func TestRenewalThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		fault  sim.Fault
		logins int
	}{
		"refused": {sim.Fault{Command: "AUTHENTICATE", NotConnected: true, When: sim.When{Times: 3}}, 5},
		"hangs":   {sim.Fault{Command: "AUTHENTICATE", Delay: -1, When: sim.When{Times: 2}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s := l.add(sim.Exchange, "anna")
				s.ends = true
				defer s.run()()
				s.within(time.Minute, "it watches", s.watching)
				time.Sleep(57 * time.Minute)
				s.a.Inject(c.fault)
				for i := range 8 {
					time.Sleep(15 * time.Second)
					s.deliver(i, 1)
					s.within(11*time.Second, "the old session serves", func() bool { return s.received() == i+1 })
				}
				s.within(time.Minute, "there is a new one", func() bool { return s.a.Stats().Logins >= c.logins && s.watching() })
				if n := s.w.Status().Failures; n != 0 {
					t.Errorf("%d failures", n)
				}
			})
		})
	}
}

// TestFoldersComeAndGo: with a pattern, a folder that is made while the mailbox is watched is read within minutes, with what
// came into it before it was found, at whatever point in time the mailbox itself begins; one that goes is no trouble; one
// that comes back is read on from where it was left.
func TestFoldersComeAndGo(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna", "INBOX", "Projects/*", "!Projects/Old", "!Projects/Old/*")
			s.fetch.Start.All = false
			s.a.CreateFolder("Projects/A")
			s.a.CreateFolder("Projects/Old")
			s.a.CreateFolder("Private")
			defer s.run()()
			s.within(time.Minute, "it watches", s.watching)
			s.a.CreateFolder("Projects/B")
			for i, folder := range []string{"Projects/A", "Projects/B", "Projects/Old", "Private"} {
				s.a.Deliver(folder, message(i), time.Now())
			}
			s.a.Deliver("Projects/B", message(9), time.Now().AddDate(0, -1, 0)) // it lay elsewhere before
			s.within(20*time.Minute, "the new folder is read", func() bool { return s.received() == 2 })
			s.a.DeleteFolder("Projects/A")
			time.Sleep(time.Hour)
			if !s.watching() || slices.Contains(s.notices(), "folder_missing") {
				t.Errorf("a folder is gone: %+v, %v", s.w.Status(), s.notices())
			}
			s.a.CreateFolder("Projects/A")
			s.a.Deliver("Projects/A", message(10), time.Now())
			s.within(20*time.Minute, "it is back", func() bool { return s.received() == 3 })
		})
	})
}

// TestFolderMissing: a folder that is named and does not exist is announced as that, once; the others are read; and it is
// announced when it is there.
func TestFolderMissing(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna", "INBOX", "Orders")
			defer s.run()()
			s.deliver(0, 1)
			s.within(time.Minute, "the others are read", func() bool { return s.received() == 1 })
			time.Sleep(3 * time.Hour)
			if got := s.notices(); !slices.Equal(got, []string{"connected", "folder_missing"}) {
				t.Errorf("announced %v", got)
			}
			if st := s.w.Status(); st.Who != "person" || st.Sentence != `Folder "Orders" cannot be read: does not exist` || st.Failures > 1 {
				t.Errorf("%+v", st)
			}
			logins := s.a.Stats().Logins
			s.a.CreateFolder("Orders")
			s.a.Deliver("Orders", message(7), time.Now())
			s.within(20*time.Minute, "it is read", func() bool { return s.received() == 2 && s.watching() })
			if got := s.notices(); !slices.Equal(got, []string{"connected", "folder_missing", "recovered"}) {
				t.Errorf("announced %v", got)
			}
			s.a.DeleteFolder("Orders")
			s.within(time.Hour, "it is said", func() bool { return len(s.notices()) == 4 && s.notices()[3] == "folder_missing" })
			if n := s.a.Stats().Logins - logins; n > 6 { // of which the hourly ones
				t.Errorf("%d logins", n)
			}
		})
	})
}

// TestAllowanceOutlivesTheWorker: what was read today is known to the worker that comes after; meanwhile the status says that
// older mail waits and until when, and new mail is published.
func TestAllowanceOutlivesTheWorker(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Gmail, "anna")
		s.deliver(0, 800)
		s.fetch.Allowance = fetcher.NewAllowance(200_000)
		stop := s.run()
		s.within(time.Minute, "the bytes of the day are used up", func() bool { return !s.w.Status().Resumes.IsZero() && s.watching() })
		first := s.received()
		stop()
		s.fetch.Allowance = fetcher.NewAllowance(200_000) // another process
		defer s.run()()
		s.within(time.Minute, "the next worker knows", func() bool { return !s.w.Status().Resumes.IsZero() && s.watching() })
		s.deliver(800, 1)
		s.within(10*time.Second, "new mail comes", func() bool { return s.received() == first+1 })
		if st := s.w.Status(); !st.Backfill || time.Until(st.Resumes) < 22*time.Hour || time.Until(st.Resumes) > 24*time.Hour {
			t.Errorf("backfill %v, resumes at %v", st.Backfill, st.Resumes)
		}
		time.Sleep(12 * time.Hour)
		if n := s.received(); n != first+1 {
			t.Errorf("%d events after half a day", n)
		}
		s.within(10*24*time.Hour, "all has come", func() bool { return s.received() == 801 && !s.w.Status().Backfill })
		s.once()
	})
}

// TestServersWords: what the server wants a person to read is in the status, without the address, and once in the log.
func TestServersWords(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Gmail, "anna")
		defer s.run()()
		s.within(time.Minute, "it watches", s.watching)
		s.a.Inject(sim.Fault{Command: "SEARCH", Before: []string{"* OK [ALERT] anna@example.test: your storage is nearly full\x1b[2J, see the settings"}})
		s.deliver(0, 1)
		s.within(time.Minute, "it is shown", func() bool {
			return s.w.Status().Said == "server says: [ALERT] <address>: your storage is nearly full [2J, see the settings"
		})
		if at := s.w.Status().SaidAt; at.IsZero() {
			t.Error("nobody knows when")
		}
	})
}

// TestMovedWhileAFolderIsMissing: what has to be looked up before it can be decided upon is, though one of the folders is not
// there.
func TestMovedWhileAFolderIsMissing(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna", "Orders", "INBOX", "Archive")
		defer s.run()()
		s.deliver(0, 3)
		s.within(time.Minute, "the others are read", func() bool { return s.received() == 3 })
		time.Sleep(time.Hour)
		s.a.Move("INBOX", s.a.UIDs("INBOX")[0], "Archive")
		s.a.Deliver("Archive", message(3), time.Now())
		s.within(20*time.Minute, "what comes after the moved one", func() bool { return s.received() == 4 })
		if n := s.w.Status().Dropped["already_published"]; n != 1 {
			l.t.Errorf("%d messages were known", n)
		}
		s.once()
	})
}
