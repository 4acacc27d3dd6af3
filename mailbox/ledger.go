package mailbox

import (
	"context"
	"fmt"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/publish"
)

// ledger is what the chain of a mailbox says about which of its messages were published: the stream itself, read headers
// only. It answers where UIDs cannot: a message that the provider shows in two folders or under a new UID, and a folder
// whose UIDVALIDITY changed.
type ledger struct {
	ids  map[string]struct{}
	read time.Time

	// What follows is for one folder that is listed again. What was published under its present UIDVALIDITY is no part of
	// it: those messages have their UID in the position, and a restart in the middle of the listing changes nothing.
	listing      listing
	fingerprints map[string]int // how many events have it; not those that an identity of the provider tells apart
	newest       time.Time      // the latest INTERNALDATE that was published from the folder; from any, if there is none
}

// listing names a folder in one of its lives.
type listing struct {
	folder   string
	validity uint32
}

func listingOf(m fetcher.Message) listing {
	if !m.Relisted {
		return listing{}
	}
	return listing{m.Folder, m.UIDValidity}
}

// ledgerAge is for how long a ledger is used: what retention has removed from the stream is to leave our memory too.
const ledgerAge = 24 * time.Hour

// asksLedger says whether a message is looked up in the ledger: if the provider has an identity of its own for messages,
// and while a folder is listed again after a reset. Elsewhere the UID tells enough.
func asksLedger(m fetcher.Message) bool { return m.EmailID != "" || m.Relisted }

// elsewhereAge is how old the events of other folders must be to measure a folder that has none of its own. Younger ones may
// be from the very pass that lists it again, or from one that was cut short, and what it is about to tell may be older.
const elsewhereAge = time.Hour

// lacksLedger says whether the chain must be read before a message can be looked up. The ledger is complete only if what
// came before the message is on the stream.
func (w *Worker) lacksLedger(m fetcher.Message) bool {
	return asksLedger(m) && (w.ledger == nil || m.Relisted && w.ledger.listing != listingOf(m))
}

// readLedger reads the chain up to the tail that the next commit expects, so that what it says is complete.
func (w *Worker) readLedger(ctx context.Context, of listing) (*ledger, error) {
	l := &ledger{ids: make(map[string]struct{}), read: time.Now(), listing: of, fingerprints: make(map[string]int)}
	var elsewhere time.Time
	for entry, err := range w.c.Stream.Ledger(ctx, w.token, w.tail) {
		if err != nil {
			return nil, err
		}
		l.ids[entry.ID] = struct{}{}
		if of == (listing{}) || of.has(entry) {
			continue
		}
		if entry.Fingerprint != "" && entry.EmailID == "" {
			l.fingerprints[entry.Fingerprint]++
		}
		switch own := entry.Folder == event.Token(of.folder); {
		case own && entry.Received.After(l.newest):
			l.newest = entry.Received
		case !own && entry.Received.After(elsewhere) && time.Since(entry.Time) > elsewhereAge:
			elsewhere = entry.Received
		}
	}
	if l.newest.IsZero() {
		l.newest = elsewhere
	}
	return l, nil
}

// has says whether an event was published from the folder in this life of it.
func (l listing) has(e publish.Entry) bool {
	p, err := fetcher.ParsePosition(e.Position)
	return err == nil && p.UIDValidity == l.validity && e.Folder == event.Token(l.folder)
}

// known returns why a message must not go to the stream, or "".
func (w *Worker) known(ctx context.Context, m fetcher.Message, d *draft) (dropped string, err error) {
	if !asksLedger(m) {
		return "", nil
	}
	if w.lacksLedger(m) {
		l, err := w.readLedger(ctx, listingOf(m))
		if err != nil {
			return "", err
		}
		w.ledger = l
	}
	l := w.ledger
	if _, ok := l.ids[d.event.ID]; ok {
		return dropPublished, nil
	}
	if m.Relisted && d.fingerprint != "" && l.fingerprints[d.fingerprint] > 0 {
		l.fingerprints[d.fingerprint]--
		return dropPublished, nil
	}
	// Older than what we published and not in the ledger: it was there before our start point, or retention removed its
	// event. Publishing it would flood the stream with old mail, so it is counted instead.
	if m.Relisted && m.InternalDate.Before(l.newest) {
		return dropUnknown, nil
	}
	// From here on it counts as published: if its batch fails, the chain is claimed anew and the ledger with it.
	l.ids[d.event.ID] = struct{}{}
	return "", nil
}

// countDrops counts the messages that were dropped, once a position that is past them is kept: before that they may come
// again.
func (w *Worker) countDrops() {
	w.board.dropped(w.drops)
	clear(w.drops)
}

// reset tells the world that a folder's UIDVALIDITY changed. Its messages come again after this; known tells them apart.
func (w *Worker) reset(ctx context.Context, m fetcher.Message) error {
	w.log.Warn("UIDVALIDITY changed; the folder is listed again", "folder", event.Token(m.Folder), "was", m.Was, "is", m.UIDValidity)
	err := w.announce(ctx, event.MailboxChange{
		State: "reset", Folder: m.Folder,
		Detail: fmt.Sprintf("UIDVALIDITY changed from %d to %d; only what the stream does not hold is published.", m.Was, m.UIDValidity),
	})
	crash.At("epoch.recorded")
	return err
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
