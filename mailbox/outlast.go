package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/publish"
)

// persist commits a batch. In Run, while the stream takes no mail, it waits and tries again, with everything that was fetched
// and with the connection that is in the midst of fetching more. To give those up would cost a login and the same bodies
// at every try. It gives up when the trouble is another one, or when the chain or the floor have moved meanwhile: then
// what is known of them is void.
func (w *Worker) persist(ctx context.Context, batch []fetcher.Message) error {
	pause := backoff{random: w.c.Random}
	for {
		back := w.back()
		err := w.commit(ctx, w.unsettled(batch))
		if err == nil || !w.patient || !outlasts(err) || ctx.Err() != nil {
			return err
		}
		w.ledger = nil // it may have what was about to be published
		for outlasts(err) && ctx.Err() == nil {
			if sleep(ctx, w.pause(Classify(err), err, &pause), back) {
				pause.cameBack()
			}
			back = w.back()
			moved, readErr := w.moved(ctx)
			if moved {
				return fmt.Errorf("%w: %w", errMoved, err)
			}
			if readErr == nil {
				break
			}
			err = readErr
		}
		if !outlasts(err) || ctx.Err() != nil {
			return err
		}
		w.board.enter(StateReading)
	}
}

// errMoved says that the chain is to be claimed anew, which may be done at once.
var errMoved = errors.New("the chain is not where it was before it took no mail")

// outlasts says whether an error is the stream's, and passes by itself or when the operator has mended the stream.
func outlasts(err error) bool {
	var permission *publish.PermissionError
	return errors.As(err, &permission) || errors.Is(err, publish.ErrNoStream) ||
		errors.Is(err, publish.ErrFull) || errors.Is(err, publish.ErrUnavailable) || errors.Is(err, publish.ErrUncertain)
}

// unsettled returns the messages that the positions have not passed.
func (w *Worker) unsettled(batch []fetcher.Message) []fetcher.Message {
	return slices.DeleteFunc(slices.Clone(batch), func(m fetcher.Message) bool {
		return m.Position.N <= w.positions[m.Folder].N
	})
}

// moved says whether the chain or the floor are anywhere else than we left them.
func (w *Worker) moved(ctx context.Context) (bool, error) {
	chain, err := w.c.Stream.Recover(ctx, w.token, w.tokens())
	if err != nil {
		return false, err
	}
	_, _, revision, err := w.c.Floor.Positions(ctx, w.c.Mailbox.ID)
	switch {
	case errors.Is(err, fs.ErrInvalid): // somebody else wrote it
		return true, nil
	case err != nil:
		return false, errors.Join(publish.ErrUnavailable, &floorError{err})
	}
	return chain.Seq != w.tail || revision != w.savedRevision, nil
}
