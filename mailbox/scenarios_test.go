package mailbox_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// The scenarios that a worker must pass with Gmail and Exchange, by their numbers. Those of the token alone are tested
// where it lives: 2 (replicas, one refresh) is TestReplicasRenewOnce, 3 (killed before the save) TestDeathBetweenAnswerAndSave,
// 13 (invalid_client) TestClientErrorIsOneForAllMailboxes, all in package token.

func both(t *testing.T, do func(t *testing.T, p sim.Provider)) {
	for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(p), func(t *testing.T) { do(t, p) })
	}
}

// A token that expires in IDLE costs less than two seconds, one refresh, and no penalty.
func TestScenario01TokenExpiresInIdle(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna")
			defer s.run()()
			s.within(time.Minute, "it watches", s.watching)
			for i := range 24 {
				time.Sleep(time.Duration(10+i) * time.Minute)
				logins, refreshes := s.a.Stats().Logins, s.grant.count()
				s.a.ExpireTokens()
				s.deliver(i, 1)
				s.within(2*time.Second, "it is back", func() bool { return s.received() == i+1 && s.watching() })
				if n := s.grant.count() - refreshes; n != 1 {
					t.Errorf("expiry %d: %d refreshes", i, n)
				}
				if n := s.a.Stats().Logins - logins; n != 1 {
					t.Errorf("expiry %d: %d logins", i, n)
				}
			}
			if st := s.w.Status(); st.Failures != 0 || s.a.Stats().MaxConnections > 2 {
				t.Errorf("%d failures, %d connections", st.Failures, s.a.Stats().MaxConnections)
			}
			s.once()
		})
	})
}

// Too many connections look like a stale token, challenge and all: the token is not renewed, and the account is left
// alone for minutes.
func TestScenario04TooManyConnections(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Gmail, "anna")
		s.a.Set(func(q *sim.Quirks) { q.MaxConnections = 1 })
		phone, err := fetcher.Open(l.t.Context(), s.fetch, s.grant)
		must(l.t, err)
		s.deliver(0, 3)
		defer s.run()()
		time.Sleep(49 * time.Minute)
		if n := s.a.Stats().Refused; n < 4 || n > 8 {
			t.Errorf("%d logins refused in 49 minutes", n)
		}
		if n := s.grant.count(); n != 1 {
			t.Errorf("%d refreshes", n)
		}
		if st := s.w.Status(); st.State != mailbox.StateWaiting || st.Hint == "" {
			t.Errorf("%+v", st)
		}
		phone.Close()
		s.within(15*time.Minute, "the mail", func() bool { return s.received() == 3 })
		if n := s.a.Stats().MaxConnections; n > 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// Where every fourth login is worth nothing, all mail comes and the mailbox is never called broken; where none ever worked
// it is, after half an hour.
func TestScenario05NotConnected(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s, broken := l.add(sim.Exchange, "anna"), l.add(sim.Exchange, "ben")
		often, always := sim.NotConnected(), sim.NotConnected()
		often.When, always.When = sim.When{Times: -1, Percent: 28}, sim.When{Times: -1}
		s.a.Inject(often)
		broken.a.Inject(always)
		defer s.run()()
		defer broken.run()()
		for i := range 60 {
			s.deliver(i, 1)
			time.Sleep(20 * time.Minute)
			s.a.DropConnections()
			if st := s.w.Status(); st.State == mailbox.StateParked {
				t.Fatalf("parked: %+v", st)
			}
			if st := broken.w.Status(); i == 0 && st.State == mailbox.StateParked || i > 2 && (st.State != mailbox.StateParked || st.Hint == "") {
				t.Fatalf("after %d minutes: %+v", 20*(i+1), st)
			}
		}
		s.within(10*time.Minute, "the mail", func() bool { return s.received() == 60 })
		s.once()
		if n := broken.notices(); !slices.Equal(n, []string{"auth_failed"}) {
			t.Errorf("announced %q", n)
		}
	})
}

// A hint to wait is waited for without a connection, by that account only.
func TestScenario06ThrottleHint(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s, other := l.add(sim.Exchange, "anna"), l.add(sim.Exchange, "ben")
		defer s.run()()
		defer other.run()()
		s.within(time.Minute, "both watch", func() bool { return s.watching() && other.watching() })
		s.a.Throttle(92415 * time.Millisecond)
		s.deliver(0, 2)
		s.within(time.Second, "it is throttled", func() bool { return s.w.Status().State == mailbox.StateWaiting })
		before, logins := s.a.Stats(), s.a.Stats().Logins
		for range 9 {
			other.deliver(other.received(), 1)
			time.Sleep(10 * time.Second)
			if n := s.a.Stats(); n.Connections != 0 || n.Logins != logins || n.Commands["SEARCH"] != before.Commands["SEARCH"] {
				t.Fatalf("it came back before its time: %+v", n)
			}
		}
		if n := other.received(); n != 9 {
			t.Errorf("the other mailbox has %d of 9", n)
		}
		s.within(time.Minute, "the mail", func() bool { return s.received() == 2 })
	})
}

// A daily limit in the middle of a FETCH: what came is kept, the rest comes when it is lifted, nothing is asked hourly for
// a day.
func TestScenario07Overquota(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Gmail, "anna")
		s.deliver(0, 100)
		s.a.LimitBandwidth(int64(50*len(message(10))), 20*time.Hour)
		defer s.run()()
		s.within(time.Minute, "the first half", func() bool { return s.w.Status().State == mailbox.StateWaiting })
		if n := s.received(); n < 40 || n > 60 {
			t.Errorf("%d came", n)
		}
		time.Sleep(20 * time.Hour)
		if n := s.a.Stats().Refused; n > 6 {
			t.Errorf("%d logins while the account was blocked", n)
		}
		s.a.LimitBandwidth(1<<40, 0)
		s.within(26*time.Hour, "the rest", func() bool { return s.received() == 100 })
		s.once()
	})
}

// What is announced before it can be seen, listed before it can be fetched, or made up by the server is neither lost nor
// taken for mail.
func TestScenario08NotYetThere(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		s.a.Set(func(q *sim.Quirks) { q.Lag = 3 * time.Second })
		defer s.run()()
		s.within(time.Minute, "it watches", s.watching)
		s.deliver(0, 1)
		s.within(time.Minute, "the slow one", func() bool { return s.received() == 1 })
		s.a.DeliverMessage("INBOX", sim.Message{Raw: message(1), Holes: 3})
		s.a.DeliverMessage("INBOX", sim.Message{Raw: message(2), Holes: -1})
		s.a.DeliverMessage("INBOX", sim.Message{Raw: sim.Unrenderable(4)})
		s.a.DeliverMessage("INBOX", sim.Message{Raw: message(4), Hide: 4})
		s.a.DeliverMessage("INBOX", sim.Message{Raw: message(5), NoDate: true})
		s.within(time.Hour, "all of it", func() bool { r := s.routes(); return r["received"] == 4 && r["dead"] == 2 })
		time.Sleep(time.Hour)
		s.once()
		if r := s.routes(); r["received"] != 4 || r["dead"] != 2 {
			t.Errorf("%v", r)
		}
	})
}

// A UIDVALIDITY that changes brings nothing twice, although Exchange writes its messages anew at each fetch.
func TestScenario09UIDValidity(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna")
			s.a.Set(func(q *sim.Quirks) { q.NewBoundary = p == sim.Exchange })
			defer s.run()()
			for i := range 5 {
				s.deliver(20*i, 10)
				s.within(time.Minute, "mail", func() bool { return s.received() == 20*i+10 && s.watching() })
				s.a.BumpUIDValidity("INBOX")
				time.Sleep(time.Second) // what arrived in the same second as the last event cannot be told from older mail
				s.deliver(20*i+10, 10)
				s.within(time.Minute, "the flow goes on", func() bool { return s.received() == 20*i+20 && s.watching() })
			}
			if n := s.notices(); !slices.Equal(n, []string{"connected", "reset", "reset", "reset", "reset", "reset"}) {
				t.Errorf("announced %q", n)
			}
		})
	})
}

// A message in two watched folders of Gmail, moved to and fro, is one event.
func TestScenario10TwoFolders(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Gmail, "anna", "INBOX", `\All`, "Work")
		s.a.CreateFolder("Work")
		defer s.run()()
		for i := range 10 {
			uid := s.a.Deliver("INBOX", message(i), time.Time{})
			time.Sleep(7 * time.Minute)
			moved := s.a.Move("INBOX", uid, "Work")
			time.Sleep(7 * time.Minute)
			s.a.Move("Work", moved, "INBOX")
		}
		time.Sleep(time.Hour)
		s.once()
		if n := s.received(); n != 10 {
			t.Errorf("%d events for 10 messages", n)
		}
	})
}

// Where Exchange offers IMAP4rev2, and breaks what belongs to it, nothing changes for us.
func TestScenario11Rev2(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		s.a.Set(func(q *sim.Quirks) { q.Rev2 = true })
		defer s.run()()
		s.deliver(0, 10)
		s.within(time.Minute, "the mail", func() bool { return s.received() == 10 })
		for _, never := range []string{"ENABLE", "LSUB", "STATUS"} {
			if n := s.a.Stats().Commands[never]; n > 0 {
				t.Errorf("%d times %s", n, never)
			}
		}
	})
}

// Lines that are no IMAP may cost the connection; they cost no mail, no process, and no storm of logins.
func TestScenario12OddLines(t *testing.T) {
	for _, line := range []string{
		"Server Unavailable. 15", "+ ", "[COPYUID 55 31 6]", "* OK [COPYUID 14  ]", "", "*", "* ", "* 99999999999999999999 EXISTS", "\x00\x01",
		`* 1 FETCH (BODYSTRUCTURE (NIL NIL NIL NIL NIL "7BIT" 0 NIL NIL NIL NIL))`, `* 1 FETCH (BODYSTRUCTURE ("ALTERNATIVE"))`,
		"* BYE", "* NO", "* 5", "* 5 FETCH", "* SEARCH 1 2 x (MODSEQ 5)", "A BAD", "* LIST (", "* STATUS INBOX (", "(((",
	} {
		t.Run(fmt.Sprintf("%q", line), func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s := l.add(sim.Exchange, "anna")
				for _, command := range []string{"EXAMINE", "SEARCH", "FETCH", "IDLE"} {
					s.a.Inject(sim.Fault{Command: command, When: sim.When{Times: 5}, Before: []string{line}})
				}
				s.deliver(0, 5)
				defer s.run()()
				s.within(time.Hour, "the mail", func() bool { return s.received() == 5 })
				s.a.Inject(sim.Fault{Command: "SEARCH", When: sim.When{Times: -1}, Before: []string{line}, Drop: true})
				logins := s.a.Stats().Logins
				time.Sleep(time.Hour)
				if n := s.a.Stats().Logins - logins; n > 60 {
					t.Errorf("%d logins in an hour", n)
				}
				s.once()
			})
		})
	}
}

// A clock that is ten minutes off the server's moves no mail and no token wrongly.
func TestScenario14ClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		skewed := func() sim.Options { return sim.Options{Now: func() time.Time { return time.Now().Add(skew) }} }
		inLab(t, skewed, func(l *lab) {
			s := l.add(sim.Exchange, "anna")
			defer s.run()()
			for i := range 12 {
				s.deliver(i, 1)
				time.Sleep(30 * time.Minute)
			}
			s.within(time.Minute, "the mail", func() bool { return s.received() == 12 })
			if n := s.grant.count(); n > 14 {
				t.Errorf("skew %v: %d refreshes in six hours", skew, n)
			}
			s.once()
		})
	}
}

// What its owner is still writing is not published, wherever it is shown; it is counted. What is sent is another message.
func TestDraftsAreNotPublished(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		inLab(t, plainWorld, func(l *lab) {
			s := l.add(p, "anna", "INBOX", `\Drafts`)
			drafts := "Drafts"
			if p == sim.Gmail {
				s.fetch.Folders, drafts = []string{"INBOX", `\All`}, "[Gmail]/Drafts"
			}
			defer s.run()()
			s.a.DeliverMessage(drafts, sim.Message{Raw: message(1), Flags: []string{`\Draft`}})
			s.deliver(2, 3)
			time.Sleep(time.Hour)
			if st := s.w.Status(); s.received() != 3 || st.Dropped["draft"] != 1 {
				t.Errorf("%d received, dropped %v", s.received(), st.Dropped)
			}
		})
	})
}

// What the mailbox's owner sent is published where that is asked for, and marked; what one sends to oneself has arrived.
func TestSentMailOnlyIfAskedFor(t *testing.T) {
	both(t, func(t *testing.T, p sim.Provider) {
		for _, asked := range []bool{false, true} {
			inLab(t, plainWorld, func(l *lab) {
				s := l.add(p, "anna", "INBOX", `\Sent`)
				sent := "Sent Items"
				if p == sim.Gmail {
					s.fetch.Folders, sent = []string{"INBOX", `\All`}, "[Gmail]/Sent Mail"
				}
				s.sent = asked
				defer s.run()()
				s.a.DeliverMessage(sent, sim.Message{Raw: message(1)})
				s.deliver(2, 1)
				s.a.DeliverMessage("INBOX", sim.Message{Raw: message(3), Labels: []string{`\Sent`}})
				time.Sleep(time.Hour)
				want, dropped := 2, uint64(1)
				if asked {
					want, dropped = 3, 0
				}
				if st := s.w.Status(); s.received() != want || st.Dropped["sent"] != dropped || s.marked() != want-2 {
					t.Errorf("asked for: %v; %d received, %d marked, dropped %v", asked, s.received(), s.marked(), st.Dropped)
				}
			})
		}
	})
}
