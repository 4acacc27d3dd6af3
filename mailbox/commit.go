package mailbox

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/publish"
)

// stopGrace bounds what is finished after we were asked to stop: a commit that is under way, and the floor.
const stopGrace = 2 * time.Second

// withGrace returns a ctx that outlives its parent by stopGrace.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(stopGrace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// batchBytes bounds the data of one batch: we hold all of it, and so does the server until it is complete.
const batchBytes = 4 << 20

// staged is a message on its way: its event, or why it has none; neither if it only moves the position.
type staged struct {
	message fetcher.Message
	event   *publish.Event
	dropped string
}

// commit puts a batch of messages on the stream and moves the positions past them.
func (w *Worker) commit(ctx context.Context, batch []fetcher.Message) error {
	if len(batch) == 0 {
		return nil // most passes find nothing, and need no turn for it
	}
	if err := w.c.Turns.take(ctx); err != nil {
		return err
	}
	defer w.c.Turns.giveBack()
	var rest []staged
	size := 0
	for _, m := range batch {
		if size >= batchBytes || w.lacksLedger(m) {
			if err := w.send(ctx, rest); err != nil {
				return err
			}
			rest, size = nil, 0
		}
		s, err := w.stage(ctx, m)
		if errors.Is(err, errNoTraces) {
			if err := w.send(ctx, rest); err != nil {
				return err
			}
			rest, size = nil, 0
			if err := w.readTraces(ctx); err != nil {
				return err
			}
			s, err = w.stage(ctx, m)
		}
		if errors.Is(err, errUndecided) {
			if sendErr := w.send(ctx, rest); sendErr != nil {
				return sendErr
			}
		}
		if err != nil {
			return err
		}
		if s.event != nil {
			size += len(s.event.Data)
		}
		rest = append(rest, s)
	}
	return w.send(ctx, rest)
}

// send commits what is staged as one batch and moves the positions past it.
//
// If the answer is anything but a clean ack, the batch may have landed or not. So the chain is read again: if it stands
// where this batch would have left it, it landed; if it stands where it stood, or is gone, the batch is sent once more;
// anything else is another writer's doing and an error.
func (w *Worker) send(ctx context.Context, rest []staged) error {
	b := publish.Batch{Mailbox: w.token, After: w.tail}
	for _, s := range rest {
		if s.event != nil {
			b.Events = append(b.Events, *s.event)
		}
	}
	if len(b.Events) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// A commit that has begun is finished although we were asked to stop: else its outcome would be unknown.
		sending, cancel := withGrace(ctx)
		defer cancel()
		receipt, err := w.c.Stream.Commit(sending, b)
		if errors.Is(err, publish.ErrConflict) || errors.Is(err, publish.ErrUncertain) {
			receipt, err = w.settle(sending, b, err)
		}
		if err != nil {
			return err
		}
		w.tail = receipt.Seq
	}
	w.advance(rest)
	return nil
}

// advance moves the positions past messages that are on the stream, or that had nothing to put there.
func (w *Worker) advance(done []staged) {
	for _, s := range done {
		w.positions[s.message.Folder] = s.message.Position
		if s.event != nil {
			if s.event.Route == routeDead {
				crash.At("deadletter.published")
			}
			w.board.published(s.event.Route, arrival(s.message))
			w.countDrops()
			w.last[s.event.Folder] = publish.Last{ID: s.event.ID, Position: s.event.Position}
		}
		if s.dropped != "" {
			w.drops[s.dropped]++
		}
	}
}

// arrival returns when a new message arrived; zero if it was there before, or has come from another folder.
func arrival(m fetcher.Message) time.Time {
	if m.Backfill || m.Relisted || !m.InternalDate.After(m.Boundary) {
		return time.Time{}
	}
	return m.InternalDate
}

// settle finds out what became of a batch that was not cleanly acknowledged, and sends it once more if it did not land.
func (w *Worker) settle(ctx context.Context, b publish.Batch, cause error) (publish.Receipt, error) {
	chain, err := w.c.Stream.Recover(ctx, b.Mailbox, w.tokens())
	if err != nil {
		return publish.Receipt{}, errors.Join(cause, err)
	}
	if chain.Seq == 0 { // all that we knew is gone
		if err := w.compareNow(ctx, chain); err != nil {
			return publish.Receipt{}, errors.Join(cause, err)
		}
		b.After = 0
	}
	if chain.Seq == b.After {
		return w.c.Stream.Commit(ctx, b)
	}
	landed := maps.Clone(w.last)
	for _, e := range b.Events {
		landed[e.Folder] = publish.Last{ID: e.ID, Position: e.Position}
	}
	if maps.EqualFunc(chain.Folders, landed, sameEvent) {
		return publish.Receipt{Seq: chain.Seq}, nil
	}
	return publish.Receipt{}, cause
}

func sameEvent(a, b publish.Last) bool { return a.ID == b.ID && a.Position == b.Position }

// stage decides what a message becomes: an event, or a mere move of the position.
func (w *Worker) stage(ctx context.Context, m fetcher.Message) (staged, error) {
	switch m.Kind {
	case fetcher.KindMark:
		return staged{message: m}, nil
	case fetcher.KindReset:
		return staged{message: m}, w.reset(ctx, m)
	}
	if m.IsDraft() {
		return staged{message: m, dropped: dropDraft}, nil
	}
	if m.Sent && !w.c.Sent {
		return staged{message: m, dropped: dropSent}, nil
	}
	e, err := w.digest(ctx, m)
	if err != nil {
		return staged{}, err
	}
	dropped, err := w.known(ctx, m, e)
	if err != nil {
		return staged{}, err
	}
	if dropped != "" {
		return staged{message: m, dropped: dropped}, nil
	}
	p, err := w.finish(ctx, m, e)
	if err != nil {
		return staged{}, err
	}
	return staged{message: m, event: p}, nil
}
