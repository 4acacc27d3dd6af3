package mailbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/crash"
)

// ledger is what the chain of a mailbox says about which of its messages were published: the stream itself, read headers
// only. It answers where UIDs cannot: a message that the provider shows in two folders or under a new UID, a folder whose
// UIDVALIDITY changed, and a message that was moved.
//
// It is read once, when it is first needed, and kept up to date with what this worker publishes. A chain may be long, so of an
// event it holds a mark or a hint, and no more. Where the messages of the events lie is read when a message turns up that may be
// one of them; see traces.
type ledger struct {
	read    time.Time
	ids     marks     // of the events whose messages the provider has an identity for
	hints   hints     // of the fingerprints of the others
	oldest  time.Time // when the first of the messages arrived whose events the stream has
	traces  *traces   // nil while nobody asks for them
	folders []string  // tokens: what spot.folder counts
	moved   map[spot]spot
	surveys map[string]survey // by folder token, the last one
	holds   map[string]*hold  // by folder, the last one
}

// mark is half of a sha256: enough to tell events apart.
type mark [16]byte

// markOf reads a mark from the hex that events carry.
func markOf(sum string) (m mark) {
	if len(sum) >= 2*len(m) {
		if _, err := hex.Decode(m[:], []byte(sum[:2*len(m)])); err == nil {
			return m
		}
	}
	whole := sha256.Sum256([]byte(sum)) // not written by us
	copy(m[:], whole[:])
	return m
}

func (m mark) compare(other mark) int { return bytes.Compare(m[:], other[:]) }

// marks is a set of them, in order: no other holds so many in so little.
type marks []mark

func (s marks) has(m mark) bool {
	_, found := slices.BinarySearchFunc(s, m, mark.compare)
	return found
}

func (s *marks) add(m mark) {
	if at, found := slices.BinarySearchFunc(*s, m, mark.compare); !found {
		*s = slices.Insert(*s, at, m)
	}
}

// hints is a set of beginnings of fingerprints, in order. It says that none of the events has one, or that perhaps one has. It is
// wrong so seldom that it does not matter: where the chain has 100,000 events, for one new message in 40,000 the chain is read
// in vain.
type hints []uint32

func hintOf(fingerprint string) uint32 {
	m := markOf(fingerprint)
	return binary.BigEndian.Uint32(m[:])
}

func (s hints) has(hint uint32) bool {
	_, found := slices.BinarySearch(s, hint)
	return found
}

func (s *hints) add(hint uint32) {
	if at, found := slices.BinarySearch(*s, hint); !found {
		*s = slices.Insert(*s, at, hint)
	}
}

// ledgerAge is for how long a ledger is used: what retention has removed from the stream is to leave our memory too.
const ledgerAge = 24 * time.Hour

// asksLedger says whether a message is looked up in the ledger: if the provider has an identity of its own for messages,
// while a folder is listed again after a reset, and if there is more than one folder that it could have been moved from.
// Elsewhere the UID tells enough.
func (w *Worker) asksLedger(m fetcher.Message) bool {
	return m.Kind != fetcher.KindMark && m.Kind != fetcher.KindReset &&
		(m.EmailID != "" || m.Relisted || len(w.folders) > 1 || len(w.positions) > 1)
}

// lacksLedger says whether the chain must be read before a message can be looked up. The ledger is complete only if what
// came before the message is on the stream.
func (w *Worker) lacksLedger(m fetcher.Message) bool { return w.asksLedger(m) && w.ledger == nil }

// readLedger reads the chain up to the tail that the next commit expects, so that what it says is complete.
func (w *Worker) readLedger(ctx context.Context) (*ledger, error) {
	l := &ledger{read: time.Now(), moved: make(map[spot]spot), surveys: make(map[string]survey), holds: make(map[string]*hold)}
	for entry, err := range w.c.Stream.Ledger(ctx, w.token, w.tail) {
		if err != nil {
			return nil, err
		}
		l.reach(entry.Received)
		if entry.EmailID != "" {
			l.ids = append(l.ids, markOf(entry.ID))
		} else if entry.Fingerprint != "" {
			l.hints = append(l.hints, hintOf(entry.Fingerprint))
		}
	}
	slices.SortFunc(l.ids, mark.compare)
	slices.Sort(l.hints)
	l.ids, l.hints = slices.Clip(slices.Compact(l.ids)), slices.Clip(slices.Compact(l.hints))
	return l, nil
}

// reach notes that the ledger goes back to when a message arrived.
func (l *ledger) reach(received time.Time) {
	if !received.IsZero() && (l.oldest.IsZero() || received.Before(l.oldest)) {
		l.oldest = received
	}
}

// known returns why a message must not go to the stream, or "". Its error is errUndecided if that cannot be said before the
// folder was looked at where an event's message lay, and errNoTraces if not before readTraces.
func (w *Worker) known(ctx context.Context, m fetcher.Message, d *draft) (dropped string, err error) {
	if !w.asksLedger(m) {
		w.note(m, d)
		return "", nil
	}
	if w.ledger == nil {
		if w.ledger, err = w.readLedger(ctx); err != nil {
			return "", err
		}
	}
	l := w.ledger
	if l.ids.has(markOf(d.event.ID)) {
		return dropPublished, nil
	}
	if (m.EmailID == "" || m.Relisted) && d.fingerprint != "" && l.hints.has(hintOf(d.fingerprint)) {
		if l.traces == nil {
			return "", errNoTraces
		}
		switch t, s := w.sameAs(m, d); s {
		case standsGone:
			l.move(t, m)
			return dropPublished, nil
		case standsUnknown:
			return "", errUndecided
		}
	}
	// Older than what was dealt with and not in the ledger: it was there before our start point, or retention removed its
	// event. Publishing it would flood the stream with old mail, so it is counted instead.
	if m.Relisted && m.InternalDate.Before(m.Boundary) && !l.missed(m) {
		return dropUnknown, nil
	}
	w.note(m, d)
	return "", nil
}

// latest is how much later than its successors a server may show a message.
const latest = 24 * time.Hour

// missed says whether a message that the ledger does not have was never published, although newer ones were: the server had
// not shown it yet. The ledger can tell only for as far as it goes back.
func (l *ledger) missed(m fetcher.Message) bool {
	return m.Boundary.Sub(m.InternalDate) < latest && !l.oldest.IsZero() && !l.oldest.After(m.InternalDate)
}

// note keeps the ledger up to date, if there is one, with a message that is about to be published: if its batch fails, the
// chain is claimed anew and the ledger with it.
func (w *Worker) note(m fetcher.Message, d *draft) {
	if w.ledger == nil {
		return
	}
	l := w.ledger
	l.reach(m.InternalDate)
	switch {
	case m.EmailID != "":
		l.ids.add(markOf(d.event.ID))
	case d.fingerprint != "":
		l.hints.add(hintOf(d.fingerprint))
		if l.traces != nil {
			l.traces.add(markOf(d.fingerprint), trace{spot: l.spot(m), received: unix(m.InternalDate)})
		}
	}
}

// countDrops counts the messages that were dropped, once a position that is past them is kept: before that they may come
// again.
func (w *Worker) countDrops() {
	w.board.dropped(w.drops)
	clear(w.drops)
}

// reset tells the world that a folder's UIDs mean other messages. They come again after this; known tells them apart.
func (w *Worker) reset(ctx context.Context, m fetcher.Message) error {
	if w.ledger != nil {
		clear(w.ledger.surveys) // their UIDs mean nothing any more
		clear(w.ledger.holds)
	}
	why := fmt.Sprintf("UIDVALIDITY changed from %d to %d", m.Was, m.UIDValidity)
	if m.Was == m.UIDValidity {
		why = fmt.Sprintf("The server gives UIDs once more under UIDVALIDITY %d, as after a restore from a backup", m.Was)
	}
	w.log.Warn("UIDs have changed; the folder is listed again", "folder", event.Token(m.Folder), "was", m.Was, "is", m.UIDValidity)
	err := w.announce(ctx, event.MailboxChange{
		State: "reset", Folder: m.Folder,
		Detail: why + "; only what the stream does not hold is published.",
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
	case m.Live || w.gapless:
		return event.CauseLive
	default:
		return event.CauseCatchup
	}
}
