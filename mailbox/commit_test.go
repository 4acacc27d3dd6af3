package mailbox_test

import (
	"context"
	"errors"
	"testing"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// stopping ends its worker's ctx while the first batch is being committed.
type stopping struct {
	*publish.Publisher
	stop    func()
	yielded <-chan struct{}
	commits int
}

func (s *stopping) Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error) {
	if s.commits++; s.commits == 1 {
		<-s.yielded // there is more to commit
		s.stop()
	}
	return s.Publisher.Commit(ctx, b)
}

// Asked to stop, a worker finishes the commit that is under way and begins no other.
func TestStoppingBeginsNoCommit(t *testing.T) {
	r := newRig(t, sim.Exchange)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	yielded := make(chan struct{})
	var pass []fetcher.Message
	for uid := uint32(1); uid <= publish.MaxBatch+50; uid++ {
		p := fetcher.Position{UIDValidity: 71, Low: uid, N: uint64(uid)}
		pass = append(pass, mail(t, "INBOX", 71, uid, int(uid), minute(0), p.String()))
	}
	s := &stopping{Publisher: r.publisher, stop: stop, yielded: yielded}
	c := r.config()
	c.Raw, c.Stream = mailbox.RawNever, s
	c.Open = func(context.Context) (mailbox.Session, []string, error) {
		return &script{passes: [][]fetcher.Message{pass}, ended: yielded}, []string{"INBOX"}, nil
	}
	w := mailbox.NewWorker(c)
	defer w.Close()
	if err := w.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain gives %v", err)
	}
	if s.commits != 1 {
		t.Errorf("%d commits were begun, want the first only", s.commits)
	}
	if len(r.stored()) == 0 {
		t.Error("the commit that was under way is not on the stream")
	}
}

// refusing is a stream that takes nothing, once.
type refusing struct {
	*publish.Publisher
	refused bool
}

func (r *refusing) Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error) {
	if !r.refused {
		r.refused = true
		return publish.Receipt{}, publish.ErrUnavailable
	}
	return r.Publisher.Commit(ctx, b)
}

// A message that is dropped is counted once, however often its batch is tried.
func TestDropsAreCountedOnce(t *testing.T) {
	r := newRig(t, sim.Gmail, "INBOX", `\All`)
	r.deliver("INBOX", 0, 3)
	must(t, r.worker().Drain(t.Context()))
	r.account.BumpUIDValidity("INBOX")
	r.deliver("INBOX", 3, 1)
	c := r.config()
	c.Stream = &refusing{Publisher: r.publisher}
	w := mailbox.NewWorker(c)
	defer w.Close()
	if err := w.Drain(t.Context()); !errors.Is(err, publish.ErrUnavailable) {
		t.Fatal(err)
	}
	must(t, w.Drain(t.Context()))
	if n := w.Status().Dropped["already_published"]; n != 4 { // the new one is in both folders
		t.Errorf("%d were counted, want 4", n)
	}
}
