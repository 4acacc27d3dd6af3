package fetcher_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
)

// Survey tells what is in a folder now and not on its way out, also in the one that is open, and news are found afterwards all
// the same.
func TestSurvey(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		for i := range 7 {
			a.Deliver("INBOX", message(i), time.Time{})
		}
		c := newCollect(t, a)
		s, err := open("INBOX")
		check(t, err)
		defer s.Close()
		check(t, c.pass(s))
		a.Expunge("INBOX", 2)
		a.Expunge("INBOX", 6)
		a.SetFlags("INBOX", 7, `\Deleted`)
		a.Deliver("INBOX", message(7), time.Time{})
		validity, uids, err := s.Survey(t.Context(), "INBOX", 2, 7)
		check(t, err)
		if want := c.after["INBOX"].UIDValidity; validity != want || !slices.Equal(uids, []uint32{3, 4, 5}) {
			t.Errorf("%d and %v, want %d and 3 4 5", validity, uids, want)
		}
		check(t, c.pass(s))
		if got := c.got["INBOX"]; len(got) != 8 {
			t.Errorf("got %v", got)
		}
		var missing *fetcher.FolderError
		if _, _, err := s.Survey(t.Context(), "Nowhere", 1, 2); !errors.As(err, &missing) {
			t.Errorf("%v", err)
		}
	})
}

// A pass that is halted ends at the next FETCH, and its session lives: the next pass yields what it left out.
func TestHalt(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		const n = 1200
		for i := range n {
			a.Deliver("INBOX", message(i), time.Time{})
		}
		s, err := open("INBOX")
		check(t, err)
		defer s.Close()
		var first int
		for m, err := range s.Messages(t.Context(), nil) {
			check(t, err)
			if m.UID != 0 {
				first++
				s.Halt()
			}
			m.Release()
		}
		if first == 0 || first > 500 {
			t.Errorf("%d messages came after the halt", first)
		}
		c := newCollect(t, a)
		check(t, c.pass(s))
		if got := len(c.got["INBOX"]); got != n {
			t.Errorf("the next pass gave %d, want %d", got, n)
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A folder that is skipped is left out of one pass, and found to have its news in the next.
func TestSkip(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		a.CreateFolder("Work")
		s, err := open("INBOX", "Work")
		check(t, err)
		defer s.Close()
		c := newCollect(t, a)
		for i, skipped := range []string{"", "INBOX", "Work", ""} {
			a.Deliver("INBOX", message(2*i), time.Time{})
			a.Deliver("Work", message(2*i+1), time.Time{})
			if skipped != "" {
				s.Skip(skipped)
			}
			before := map[string]int{"INBOX": len(c.got["INBOX"]), "Work": len(c.got["Work"])}
			check(t, c.pass(s))
			for folder, n := range before {
				if got := len(c.got[folder]); (got == n) != (folder == skipped) {
					t.Errorf("pass %d leaves out %q, and %s has %d messages after %d", i, skipped, folder, got, n)
				}
			}
		}
		if len(c.got["INBOX"]) != 4 || len(c.got["Work"]) != 4 {
			t.Errorf("got %v", c.got)
		}
	})
}
