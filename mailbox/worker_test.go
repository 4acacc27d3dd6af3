package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/parser"
	"github.com/mailflume/mailflume/publish"
)

func TestDrainPublishesEachMessageOnce(t *testing.T) {
	for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(provider), func(t *testing.T) {
			r := newRig(t, provider)
			r.deliver("INBOX", 0, 120)
			w := r.worker()
			must(t, w.Drain(t.Context()))
			r.wantExactly("INBOX")
			r.deliver("INBOX", 120, 5)
			must(t, w.Drain(t.Context()))
			must(t, w.Drain(t.Context()))
			r.wantExactly("INBOX")
			if v := r.account.Stats().Violations; len(v) > 0 {
				t.Errorf("the server saw %q", v)
			}
		})
	}
}

func TestRestartGoesOnWhereTheStreamEnds(t *testing.T) {
	r := newRig(t, sim.Exchange, "INBOX", "Archive")
	r.deliver("INBOX", 0, 10)
	r.deliver("Archive", 10, 10)
	must(t, r.worker().Drain(t.Context()))
	r.deliver("INBOX", 20, 3)
	r.deliver("Archive", 23, 3)
	must(t, r.worker().Drain(t.Context()))
	r.wantExactly("INBOX", "Archive")
}

// A message that Gmail shows in two watched folders has one identity and is one event.
func TestOneMessageInTwoFoldersIsOneEvent(t *testing.T) {
	r := newRig(t, sim.Gmail, "INBOX", `\All`)
	r.deliver("INBOX", 0, 20)
	must(t, r.worker().Drain(t.Context()))
	uid := r.account.UIDs("INBOX")[0]
	r.account.RemoveLabel("INBOX", uid, `\Inbox`)
	r.account.AddLabel("[Gmail]/All Mail", r.account.UIDs("[Gmail]/All Mail")[0], `\Inbox`) // back under another UID
	must(t, r.worker().Drain(t.Context()))
	ids := make(map[string]int)
	for _, e := range r.stored() {
		ids[e.ID]++
	}
	if len(ids) != 20 {
		t.Errorf("%d messages are on the stream, want 20", len(ids))
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("event %s is there %d times", id, n)
		}
	}
}

// After UIDVALIDITY changed, only what the stream does not hold is published, and somebody is told.
func TestResetPublishesOnlyWhatIsNew(t *testing.T) {
	for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(provider), func(t *testing.T) {
			r := newRig(t, provider)
			r.deliver("INBOX", 0, 30)
			must(t, r.worker().Drain(t.Context()))
			r.account.BumpUIDValidity("INBOX")
			r.deliver("INBOX", 30, 2) // came while the folder was being renumbered
			w := r.worker()
			must(t, w.Drain(t.Context()))
			r.deliver("INBOX", 32, 1)
			must(t, w.Drain(t.Context()))
			r.wantEach(33, 1)
			if got := w.Status().Dropped["already_published"]; got != 30 {
				t.Errorf("%d messages were counted as published before, want 30", got)
			}
		})
	}
}

// faulty wraps the stream, the object store and the floor, and fails the k-th call: half of the failures happen before the
// call reaches NATS and half after, when it has already been carried out.
type faulty struct {
	*publish.Publisher
	floor mailbox.Floor
	calls atomic.Int64
	fail  int64
	after bool
}

var errFault = fmt.Errorf("a fault of the test: %w", publish.ErrUncertain)

func (f *faulty) strike(do func() error) error {
	if f.calls.Add(1) != f.fail {
		return do()
	}
	if f.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errFault
}

func (f *faulty) Commit(ctx context.Context, b publish.Batch) (r publish.Receipt, err error) {
	err = f.strike(func() error { r, err = f.Publisher.Commit(ctx, b); return err })
	return r, err
}

func (f *faulty) Recover(ctx context.Context, mailbox string, folders []string) (c publish.Chain, err error) {
	err = f.strike(func() error { c, err = f.Publisher.Recover(ctx, mailbox, folders); return err })
	return c, err
}

func (f *faulty) Put(ctx context.Context, mailbox, sum string, size int64, r io.Reader) (ref event.Ref, err error) {
	err = f.strike(func() error { ref, err = f.Publisher.Put(ctx, mailbox, sum, size, r); return err })
	return ref, err
}

func (f *faulty) Positions(ctx context.Context, mailbox string) (p map[string]string, note string, revision uint64, err error) {
	err = f.strike(func() error { p, note, revision, err = f.floor.Positions(ctx, mailbox); return err })
	return p, note, revision, err
}

func (f *faulty) SavePositions(ctx context.Context, mailbox string, p map[string]string, note string, was uint64) (revision uint64, err error) {
	err = f.strike(func() error { revision, err = f.floor.SavePositions(ctx, mailbox, p, note, was); return err })
	return revision, err
}

// Whatever call fails, before or after it took effect: the next Drain makes it good, and nothing is lost or there twice.
func TestEveryCallMayFail(t *testing.T) {
	for _, after := range []bool{false, true} {
		for k := int64(1); ; k++ {
			r := newRig(t, sim.Exchange, "INBOX", "Archive")
			r.deliver("INBOX", 0, 5)
			r.deliver("Archive", 5, 2)
			f := &faulty{Publisher: r.publisher, floor: r.store, fail: k, after: after}
			c := r.config()
			c.Stream, c.Bytes, c.Floor = f, f, f
			w := mailbox.NewWorker(c)
			err := w.Drain(t.Context())
			struck := f.calls.Load() >= k
			if err != nil && !errors.Is(err, errFault) {
				t.Errorf("call %d, after %v: %v", k, after, err)
			}
			if err != nil {
				must(t, w.Drain(t.Context()))
			}
			w.Close()
			r.deliver("INBOX", 7, 1)
			must(t, r.worker().Drain(t.Context()))
			r.wantExactly("INBOX", "Archive")
			if t.Failed() {
				t.Fatalf("the %d. call failed, after it took effect: %v", k, after)
			}
			if !struck {
				if k < 10 {
					t.Errorf("only %d calls were made: the faults do not strike", k-1)
				}
				break
			}
		}
	}
}

// Two workers that both believe to own the mailbox never publish a message twice: the chain lets one of them through.
func TestTwoWorkersOnOneChain(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 300)
	done := make(chan error, 2)
	for range 2 {
		w := r.worker()
		go func() {
			var err error
			for range 50 {
				if err = w.Drain(t.Context()); err == nil {
					break
				}
			}
			done <- err
		}()
	}
	for range 2 {
		must(t, <-done)
	}
	r.wantExactly("INBOX")
}

func TestDeadMessages(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.fetch.MaxMessage = 4000
	r.deliver("INBOX", 0, 1)
	large := append(message(1), make([]byte, 8000)...)
	r.account.Deliver("INBOX", large, time.Now())
	r.deliver("INBOX", 2, 1)
	w := r.worker()
	must(t, w.Drain(t.Context()))
	must(t, w.Drain(t.Context())) // Exchange does not say how large it is before it comes: the header is for the next pass
	events := r.stored()
	if len(events) != 3 {
		t.Fatalf("%d events, want 3", len(events))
	}
	dead := events[slices.IndexFunc(events, func(e event.MessageEvent) bool { return e.Data.IMAP.UID == 2 })]
	if dead.Type != event.TypeDead || dead.Data.Dead == nil || dead.Data.Dead.Reason != event.ReasonTooLarge {
		t.Errorf("the large message became %s, %+v", dead.Type, dead.Data.Dead)
	}
	if s := dead.Data.Email.Subject; s == nil || *s != "number 1" {
		t.Errorf("the dead event does not have the header: subject %v", s)
	}
	if dead.Data.IMAP.Size < 8000 {
		t.Errorf("size %d, want what the server says", dead.Data.IMAP.Size)
	}
	if got := w.Status().Published; got["dead"] != 1 || got["received"] != 2 {
		t.Errorf("counted %v", got)
	}
}

func TestRunPublishesWhatArrives(t *testing.T) {
	r := newRig(t, sim.Gmail)
	w := r.worker()
	stop := runs(t, w)
	defer stop()
	eventually(t, "the worker watches", func() bool { return w.Status().State == mailbox.StateWatching })
	r.deliver("INBOX", 0, 1)
	eventually(t, "the message is published", func() bool { return w.Status().Published["received"] == 1 })
	r.account.DropConnections()
	eventually(t, "the lost connection is noticed", func() bool { return w.Status().Failures > 0 })
	r.deliver("INBOX", 1, 1)
	eventually(t, "the worker comes back", func() bool { return w.Status().Published["received"] == 2 })
	stop()
	r.wantExactly("INBOX")
	events := r.stored()
	if c := events[0].Cause; c != event.CauseLive {
		t.Errorf("the first message's cause is %q, want live", c)
	}
	if c := events[1].Cause; c != event.CauseCatchup {
		t.Errorf("the second message's cause is %q, want catchup", c)
	}
}

// eventually waits for what real sockets need time for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// Only what the mailbox's own server wrote about the sender is believed.
func TestAuthIsThatOfTheTrustedServer(t *testing.T) {
	r := newRig(t, sim.Gmail)
	r.account.Deliver("INBOX", append([]byte("Authentication-Results: mx.google.com; spf=pass; dkim=fail\r\n"+
		"Authentication-Results: mx.evil.test; dkim=pass\r\n"), message(0)...), time.Now())
	c := r.config()
	c.Parse = parser.Options{AuthServIDs: []string{"mx.google.com"}}
	w := mailbox.NewWorker(c)
	defer w.Close()
	must(t, w.Drain(t.Context()))
	auth := r.stored()[0].Data.Auth
	if auth == nil || auth.SPF != "pass" || auth.DKIM != "fail" {
		t.Errorf("auth is %+v", auth)
	}
}
