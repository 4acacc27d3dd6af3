package mailbox_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// The hazards of IMAP that need the stream: H1, H17 and H29. The others are in package fetcher.

// resets returns how often a folder was announced as renumbered.
func (r *rig) resets() (n int) {
	r.t.Helper()
	usage, err := r.publisher.Usage(r.t.Context())
	must(r.t, err)
	for d, err := range r.publisher.Follow(r.t.Context(), ">") {
		must(r.t, err)
		var e event.MailboxEvent
		must(r.t, json.Unmarshal(d.Data, &e))
		if e.Type == event.MailboxType("reset") && e.Data.Folder == "INBOX" && e.Data.Detail != "" {
			n++
		}
		if d.Seq == usage.Stream.LastSeq {
			break
		}
	}
	return n
}

// TestH01UIDValidity: a folder of 5,000 messages is renumbered five times, between sessions and under an open one.
// Nothing is lost, nothing comes twice, new mail is not held up for a minute, and each change is announced.
func TestH01UIDValidity(t *testing.T) {
	many := 5000
	if raced {
		many = 300
	}
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, many)
	c := r.config()
	c.Raw = mailbox.RawNever
	w := mailbox.NewWorker(c)
	defer w.Close()
	must(t, w.Drain(t.Context()))
	for i := range 5 {
		if i%2 == 1 {
			w.Close()
		}
		r.account.BumpUIDValidity("INBOX")
		r.deliver("INBOX", many+i, 1)
		start := time.Now()
		if err := w.Drain(t.Context()); err != nil { // the session has ended with its UIDs
			must(t, w.Drain(t.Context()))
		}
		if got, d := w.Status().Published["received"], time.Since(start); got != uint64(many+i+1) || d > time.Minute {
			t.Errorf("change %d: %d events after %v", i+1, got, d)
		}
	}
	r.wantEach(many+5, 1)
	if n := r.resets(); n != 5 {
		t.Errorf("announced %d times", n)
	}
}

// TestH01OnDovecot is the same with a real server, renumbered between sessions and under open ones. To deliver is what takes
// long: MAILFLUME_RENUMBER says how many messages; the figure of the hazard is 5000.
func TestH01OnDovecot(t *testing.T) {
	many := 300
	if n, err := strconv.Atoi(os.Getenv("MAILFLUME_RENUMBER")); err == nil {
		many = n
	}
	d := dovecot.Start(t, dovecot.Options{})
	r := newDovecotRig(t, d, "INBOX")
	deliver := func(from, n int) {
		t.Helper()
		raw := make([][]byte, n)
		for i := range raw {
			raw[i] = message(from + i)
		}
		_, err := d.Append(t.Context(), r.fetch.User, "INBOX", time.Now(), raw...)
		must(t, err)
	}
	deliver(0, many)
	c := r.config()
	c.Raw = mailbox.RawNever
	w := mailbox.NewWorker(c)
	defer w.Close()
	must(t, w.Drain(t.Context()))
	for i := range 5 {
		if i%2 == 1 {
			w.Close()
		}
		_, err := d.BumpUIDValidity(t.Context(), r.fetch.User, "INBOX")
		must(t, err)
		deliver(many+i, 1)
		for range 3 {
			if err = w.Drain(t.Context()); err == nil {
				break
			}
			t.Logf("change %d: %v", i+1, err)
		}
		must(t, err)
		w.Close() // a session that is left open need not learn of the change
		must(t, w.Drain(t.Context()))
		if got := w.Status().Published["received"]; got != uint64(many+i+1) {
			t.Errorf("change %d: %d events", i+1, got)
		}
	}
	r.wantEach(many+5, 1)
	if n := r.resets(); n != 5 {
		t.Errorf("announced %d times", n)
	}
}

// TestH17ContentChanges: a message is what it was when it was published, though Exchange writes it anew at each fetch, and
// it is known again after its UID changed.
func TestH17ContentChanges(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.account.Set(func(q *sim.Quirks) { q.NewBoundary = true })
	for i := range 10 {
		raw := fmt.Appendf(nil, "From: b@example.test\r\nSubject: number %d\r\nMessage-ID: <%d@example.test>\r\n"+
			"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b%d\"\r\n\r\n--b%d\r\n\r\nHello\r\n--b%d--\r\n", i, i, i, i, i)
		r.account.Deliver("INBOX", raw, time.Date(2026, 3, 1, 0, 0, i, 0, time.UTC))
	}
	must(t, r.worker().Drain(t.Context()))
	first := r.stored()
	must(t, r.worker().Drain(t.Context()))
	r.account.BumpUIDValidity("INBOX")
	must(t, r.worker().Drain(t.Context()))
	again := r.stored()
	if len(first) != 10 || len(again) != 10 {
		t.Fatalf("%d events, then %d", len(first), len(again))
	}
	for i := range first {
		if first[i].Data.Raw == nil || *first[i].Data.Raw != *again[i].Data.Raw {
			t.Errorf("event %d: %+v became %+v", i, first[i].Data.Raw, again[i].Data.Raw)
		}
	}
}

// TestH29OneMessageInManyFolders: what Gmail shows in INBOX, in All Mail and under each label is one event, whichever
// folder is read first, and stays one when it is moved.
func TestH29OneMessageInManyFolders(t *testing.T) {
	for _, folders := range [][]string{{"INBOX", `\All`, "Work"}, {"Work", `\All`, "INBOX"}} {
		r := newRig(t, sim.Gmail, folders...)
		r.account.CreateFolder("Work")
		for i := range 20 {
			uid := r.account.Deliver("INBOX", message(i), time.Time{})
			r.account.AddLabel("INBOX", uid, "Work")
		}
		must(t, r.worker().Drain(t.Context()))
		for _, uid := range r.account.UIDs("INBOX") {
			moved := r.account.Move("INBOX", uid, "Work")
			r.account.Move("Work", moved, "INBOX")
		}
		w := r.worker()
		must(t, w.Drain(t.Context()))
		for subject, n := range r.subjects() {
			if n != 1 {
				t.Errorf("%s is on the stream %d times", subject, n)
			}
		}
		if n := len(r.stored()); n != 20 {
			t.Errorf("%d events, want 20", n)
		}
		if w.Status().State == mailbox.StateParked {
			t.Errorf("%+v", w.Status())
		}
	}
}

// What arrives in the very second of the newest that was published is not older than it: INTERNALDATE has whole seconds
// (RFC 9051, section 2.3.3).
func TestH1MailOfTheSameSecondIsNew(t *testing.T) {
	r := newRig(t, sim.Exchange)
	at := time.Date(2026, 3, 1, 0, 0, 7, 0, time.UTC)
	r.account.Deliver("INBOX", message(1), at)
	must(t, r.worker().Drain(t.Context()))
	r.account.BumpUIDValidity("INBOX")
	r.account.Deliver("INBOX", message(2), at)
	w := r.worker()
	must(t, w.Drain(t.Context()))
	if n := len(r.stored()); n != 2 || w.Status().Dropped["unknown"] != 0 {
		t.Errorf("%d events, want 2; dropped %v", n, w.Status().Dropped)
	}
}
