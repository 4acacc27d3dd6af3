package mailbox

import (
	"context"
	"fmt"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
)

// ledger is what the chain of a mailbox says about which of its messages were published: the stream itself, read headers
// only. It answers where UIDs cannot: a message that the provider shows in two folders or under a new UID, and a folder
// whose UIDVALIDITY changed.
type ledger struct {
	ids          map[string]struct{}
	fingerprints map[string]int // how many events have it
	newest       time.Time      // the latest INTERNALDATE among them
}

// readLedger reads the chain up to the tail that the next commit expects, so that what it says is complete.
func (w *Worker) readLedger(ctx context.Context) (*ledger, error) {
	if w.ledger != nil {
		return w.ledger, nil
	}
	l := &ledger{ids: make(map[string]struct{}), fingerprints: make(map[string]int)}
	for entry, err := range w.c.Stream.Ledger(ctx, w.token, w.tail) {
		if err != nil {
			return nil, err
		}
		l.ids[entry.ID] = struct{}{}
		if entry.Fingerprint != "" {
			l.fingerprints[entry.Fingerprint]++
		}
		if entry.Received.After(l.newest) {
			l.newest = entry.Received
		}
	}
	w.ledger = l
	return l, nil
}

// known says whether a message is on the stream already, or must not go there. It asks the ledger only where UIDs do not
// tell: if the provider has an identity of its own for messages, and while a folder is listed again after a reset.
func (w *Worker) known(ctx context.Context, m fetcher.Message, d *draft) (bool, error) {
	if m.EmailID == "" && !m.Relisted {
		return false, nil
	}
	l, err := w.readLedger(ctx)
	if err != nil {
		return false, err
	}
	if _, ok := l.ids[d.event.ID]; ok {
		w.board.dropped(dropPublished)
		return true, nil
	}
	// From here on it counts as published: if its batch fails, the chain is claimed anew and the ledger with it.
	l.ids[d.event.ID] = struct{}{}
	if !m.Relisted {
		return false, nil
	}
	if d.fingerprint != "" && l.fingerprints[d.fingerprint] > 0 {
		l.fingerprints[d.fingerprint]--
		w.board.dropped(dropPublished)
		return true, nil
	}
	// Older than what we published and not in the ledger: it was there before our start point, or retention removed its
	// event. Publishing it would flood the stream with old mail, so it is counted instead.
	if !m.InternalDate.After(l.newest) {
		w.board.dropped(dropUnknown)
		return true, nil
	}
	return false, nil
}

// reset tells the world that a folder's UIDVALIDITY changed. Its messages come again after this; known tells them apart.
func (w *Worker) reset(ctx context.Context, m fetcher.Message) error {
	w.ledger = nil
	w.log.Warn("UIDVALIDITY changed; the folder is listed again", "folder", event.Token(m.Folder), "was", m.Was, "is", m.UIDValidity)
	return w.announce(ctx, event.MailboxChange{
		State: "reset", Folder: m.Folder,
		Detail: fmt.Sprintf("UIDVALIDITY changed from %d to %d; only what the stream does not hold is published.", m.Was, m.UIDValidity),
	})
}

// cause says why a message is published now.
func (w *Worker) cause(m fetcher.Message) event.Cause {
	switch {
	case m.Relisted:
		return event.CauseReconcile
	case m.Backfill:
		return event.CauseBackfill
	case m.Live:
		return event.CauseLive
	default:
		return event.CauseCatchup
	}
}
