package mailbox_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/sim"
)

// outcome is an event as the judge sees it.
type outcome struct {
	id, subject, folder, route, sum string
	validity, uid                   uint32
	old                             bool // it was there at the start, or when UIDVALIDITY changed: newer mail comes first
}

func (s *simulation) outcomes(t *testing.T) (all []outcome) {
	for _, e := range s.broker.Events("anna") {
		m := decode(t, e)
		o := outcome{
			id: e.ID, folder: m.Data.IMAP.Folder, route: e.Route, validity: m.Data.IMAP.UIDValidity, uid: m.Data.IMAP.UID,
			old: m.Cause == event.CauseBackfill || m.Cause == event.CauseReconcile,
		}
		if m.Data.Email.Subject != nil {
			o.subject = *m.Data.Email.Subject
		}
		if m.Data.Raw != nil {
			if raw, ok := s.broker.Object(m.Data.Raw.Name); ok {
				sum := sha256.Sum256(raw)
				o.sum = hex.EncodeToString(sum[:])
			}
		}
		all = append(all, o)
	}
	return all
}

// judge says what is wrong with what a history left behind.
func (s *simulation) judge(all []outcome) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	times, ids := map[string]int{}, map[string]int{}
	for _, o := range all {
		times[o.subject]++
		ids[o.id]++
		if sum, ok := s.mails[o.subject]; !ok {
			complain("%q was never delivered", o.subject)
		} else if sum != o.sum {
			complain("%q has other bytes", o.subject)
		}
		if o.route != "received" {
			complain("%q is %s", o.subject, o.route)
		}
	}
	for id, n := range ids {
		if n > 1 {
			complain("event %s is there %d times", id, n)
		}
	}
	for subject, n := range times {
		if n > 1 {
			complain("%q is there %d times", subject, n)
		}
	}
	for _, folder := range []string{"INBOX", archiveName(s.h.Provider)} {
		if folder != "INBOX" && len(s.h.Folders) == 1 {
			continue
		}
		for _, uid := range s.account.UIDs(folder) {
			if subject := subjectOf(s.account.Raw(folder, uid)); times[subject] == 0 {
				complain("%q is in %s and not on the stream", subject, folder)
			}
		}
	}
	last := map[string]uint32{}
	for _, o := range all {
		if where := fmt.Sprintf("%s/%d, old: %v,", o.folder, o.validity, o.old); s.late[o.subject] {
			continue // seen after those that came later
		} else if o.uid <= last[where] {
			complain("%q comes after UID %d of %s", o.subject, last[where], where)
		} else {
			last[where] = o.uid
		}
	}
	for _, v := range s.world.Violations() {
		complain("against the rules of the house: %s", v)
	}
	slices.Sort(wrong)
	return wrong
}

func subjectOf(raw []byte) string {
	_, rest, _ := strings.Cut(string(raw), "\r\nSubject: ")
	subject, _, _ := strings.Cut(rest, "\r\n")
	return subject
}

// log is what a history left behind, as text.
func (s *simulation) log(t *testing.T) string {
	var b strings.Builder
	for _, o := range s.outcomes(t) {
		fmt.Fprintf(&b, "%s %s/%d/%d %s %s\n", o.route, o.folder, o.validity, o.uid, o.id, o.sum)
	}
	return b.String()
}

// A judge that sees nothing would pass everything.
func TestTheJudgeOfHistoriesSeesWhatIsWrong(t *testing.T) {
	s := play(t, history{
		Provider: sim.Exchange, Folders: []string{"INBOX"}, Seed: 1, Steps: []step{{"deliver", 5, time.Minute}, {"deliver", 3, time.Minute}},
	})
	all := s.outcomes(t)
	if wrong := s.judge(all); len(all) != 8 || len(wrong) > 0 {
		t.Fatalf("%d events, %q", len(all), wrong)
	}
	for name, change := range map[string]func(all []outcome) []outcome{
		"one is lost":           func(all []outcome) []outcome { return all[1:] },
		"one is there twice":    func(all []outcome) []outcome { return append(all, all[3]) },
		"two are one":           func(all []outcome) []outcome { all[2] = all[3]; return all },
		"two in another order":  func(all []outcome) []outcome { all[2], all[3] = all[3], all[2]; return all },
		"one has other bytes":   func(all []outcome) []outcome { all[2].sum = all[3].sum; return all },
		"one is dead":           func(all []outcome) []outcome { all[2].route = "dead"; return all },
		"one was never sent":    func(all []outcome) []outcome { return append(all, outcome{id: "x", subject: "x", route: "received"}) },
		"two have the same id":  func(all []outcome) []outcome { all[2].id = all[3].id; return all },
		"one without its bytes": func(all []outcome) []outcome { all[0].sum = ""; return all },
	} {
		if wrong := s.judge(change(slices.Clone(all))); len(wrong) == 0 {
			t.Errorf("%s, and the judge does not see it", name)
		}
	}
}
