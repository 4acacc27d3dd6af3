package mailbox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// Without MOVE messages are copied and then removed, they alone; without UIDPLUS as well that cannot be, and is said.
func TestMoveWithoutMOVE(t *testing.T) {
	for _, lacks := range [][]string{{"MOVE"}, {"MOVE", "UIDPLUS"}, {"UIDPLUS"}} {
		for _, a := range []fetcher.Action{{Move: "Done"}, {Delete: true}} {
			t.Run(fmt.Sprint(lacks, a), func(t *testing.T) {
				r := newRig(t, sim.Exchange)
				r.account.Set(func(q *sim.Quirks) { q.Lacks = lacks })
				r.deliver("INBOX", 0, 3)
				r.carry(r.acting(fetcher.Action{})) // so that the next is not acted upon
				r.account.SetFlags("INBOX", 2, `\Deleted`)
				c := r.acting(a)
				r.carry(c)
				r.deliver("INBOX", 3, 2)
				s := r.carry(c)
				can := !slices.Contains(lacks, "UIDPLUS") || a.Move != "" && !slices.Contains(lacks, "MOVE")
				want := []uint32{1, 2, 3}
				if !can {
					want = []uint32{1, 2, 3, 4, 5}
				}
				if got := r.account.UIDs("INBOX"); !slices.Equal(got, want) {
					t.Errorf("INBOX has %v, want %v", got, want)
				}
				if !can && (s.Actions.Who != mailbox.Person || s.Actions.Hint == "" || r.account.Stats().Commands["COPY"] > 0) {
					t.Errorf("%+v", s.Actions)
				}
				if v := r.account.Stats().Violations; len(v) > 0 {
					t.Errorf("the server saw %q", v)
				}
			})
		}
	}
}

// QUIRK(exchange): copyuid.
func TestExchangeCopyUIDIsNotBelieved(t *testing.T) {
	for _, odd := range []string{"* OK [COPYUID 14  ]", "[COPYUID 55 31 6]", "* OK [COPYUID 14 1:900 1]"} {
		r := newRig(t, sim.Exchange)
		r.account.Set(func(q *sim.Quirks) { q.CopyUID = odd })
		r.deliver("INBOX", 0, 3)
		c := r.acting(fetcher.Action{Move: "Done"})
		if s := r.carry(c); s.Actions.Done["done"] != 3 || len(r.account.UIDs("Done")) != 3 {
			t.Errorf("%s: %+v", odd, s.Actions)
		}
	}
	inLab(t, plainWorld, func(l *lab) { // it agrees, and does nothing
		s := l.add(sim.Exchange, "anna")
		s.after = fetcher.Action{Move: "Done"}
		s.a.Inject(sim.Fault{Command: "MOVE", When: sim.When{Times: 2}, Answer: "OK MOVE completed."})
		defer s.run()()
		s.deliver(0, 3)
		s.within(time.Minute, "the mail is in Done", func() bool { return len(s.a.UIDs("INBOX")) == 0 && len(s.a.UIDs("Done")) == 3 })
		if a := s.w.Status().Actions; a.Failures != 2 || a.Sentence != "" {
			t.Errorf("%+v", a)
		}
	})
}

// QUIRK(gmail): all mail. Nothing leaves All Mail but for the trash.
func TestGmailAllMail(t *testing.T) {
	r := newRig(t, sim.Gmail, `\All`)
	r.deliver("INBOX", 0, 3)
	s := r.carry(r.acting(fetcher.Action{Move: "Done"}))
	if s.Actions.Done["done"] != 3 || s.Actions.Failures != 0 || len(r.account.UIDs("Done")) != 3 {
		t.Errorf("%d in Done; %+v", len(r.account.UIDs("Done")), s.Actions)
	}
	r.deliver("INBOX", 3, 2)
	if s = r.carry(r.acting(fetcher.Action{Delete: true})); s.Actions.Done["done"] != 2 || len(r.account.UIDs("[Gmail]/Trash")) != 2 {
		t.Errorf("%d in the trash; %+v", len(r.account.UIDs("[Gmail]/Trash")), s.Actions)
	}
}

// The same on a real Dovecot.
func TestActionsOnDovecot(t *testing.T) {
	d := dovecot.Start(t, dovecot.Options{})
	r := newDovecotRig(t, d, "INBOX", "Archive")
	_, err := d.Append(t.Context(), r.fetch.User, "INBOX", time.Time{}, message(0), message(1), message(2))
	must(t, err)
	c := r.acting(fetcher.Action{Seen: true, Keyword: "Done", Move: "Größe & \"Co\""})
	w := mailbox.NewWorker(c)
	must(t, w.Drain(t.Context()))
	w.Close() // killed between commit and action
	_, err = d.Exec(t.Context(), r.fetch.User, "INBOX", `UID STORE 3 +FLAGS (\Deleted)`)
	must(t, err)
	r.carry(c)
	count := func(folder string) int {
		t.Helper()
		f, err := d.FetchAll(t.Context(), r.fetch.User, folder)
		must(t, err)
		return len(f.Mails)
	}
	if in, out := count("INBOX"), count(`Gr&APYA3w-e &- "Co"`); in != 0 || out != 3 {
		t.Errorf("%d in INBOX, %d moved", in, out)
	}
	lines, err := d.Exec(t.Context(), r.fetch.User, `Gr&APYA3w-e &- "Co"`, "UID SEARCH SEEN KEYWORD Done")
	must(t, err)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "SEARCH 1 2 3") }) {
		t.Errorf("%q", lines)
	}
	c.After = fetcher.Action{Delete: true}
	_, err = d.Append(t.Context(), r.fetch.User, "INBOX", time.Time{}, message(3), message(4))
	must(t, err)
	_, err = d.Append(t.Context(), r.fetch.User, "Archive", time.Time{}, message(5))
	must(t, err)
	w = mailbox.NewWorker(c)
	must(t, w.Drain(t.Context()))
	w.Close()
	_, err = d.BumpUIDValidity(t.Context(), r.fetch.User, "Archive")
	must(t, err)
	s := r.carry(c)
	if in, archived := count("INBOX"), count("Archive"); in != 0 || archived != 1 || s.Actions.Done["renumbered"] != 1 {
		t.Errorf("%d in INBOX, %d in Archive; %+v", in, archived, s.Actions)
	}
	r.wantEach(6, 1)
}
