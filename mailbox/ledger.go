package mailbox

import (
	"context"
	"crypto/sha256"
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
// It is read once, when it is first needed, and kept up to date with what this worker publishes.
type ledger struct {
	read    time.Time
	ids     map[mark]struct{} // of events whose messages the provider has an identity for
	newest  map[mark]int32    // of the other events: by fingerprint, the last of traces with it
	traces  []trace
	folders []string  // tokens: what trace.folder counts
	oldest  time.Time // when the first of the messages arrived whose events the stream has

	surveys map[string]survey // by folder token, the last one
}

// trace is where the message of an event lies, as far as we know. A message that is found again elsewhere takes its trace
// along, so that one event accounts for one message.
type trace struct {
	received int64 // INTERNALDATE, Unix seconds; 0 if unknown
	validity uint32
	uid      uint32 // 0 if unknown
	before   int32  // another trace with this fingerprint; -1 if there is none
	folder   uint16
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

// ledgerAge is for how long a ledger is used: what retention has removed from the stream is to leave our memory too.
const ledgerAge = 24 * time.Hour

// maxTraces is how many events of a mailbox are known by their fingerprints, the newest of them: 60 bytes each. A message
// whose event is older is published again when it is moved.
const maxTraces = 200_000

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
	l := &ledger{
		read: time.Now(), ids: make(map[mark]struct{}), newest: make(map[mark]int32),
		surveys: make(map[string]survey),
	}
	for entry, err := range w.c.Stream.Ledger(ctx, w.token, w.tail) {
		if err != nil {
			return nil, err
		}
		l.reach(entry.Received)
		if entry.EmailID != "" {
			l.ids[markOf(entry.ID)] = struct{}{}
			continue
		}
		p, err := fetcher.ParsePosition(entry.Position)
		if err != nil || entry.Fingerprint == "" {
			continue // not written by us, or nothing was there to know it by
		}
		l.add(entry.Fingerprint, entry.Folder, trace{received: unix(entry.Received), validity: p.UIDValidity, uid: entry.UID})
	}
	return l, nil
}

// reach notes that the ledger goes back to when a message arrived.
func (l *ledger) reach(received time.Time) {
	if !received.IsZero() && (l.oldest.IsZero() || received.Before(l.oldest)) {
		l.oldest = received
	}
}

// unix is 0 for what is no time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// add notes where the message of an event lies.
func (l *ledger) add(fingerprint, folder string, t trace) {
	if len(l.traces) >= 2*maxTraces {
		l.forget()
	}
	m := markOf(fingerprint)
	t.folder, t.before = l.number(folder), -1
	if i, ok := l.newest[m]; ok {
		t.before = i
	}
	l.newest[m] = int32(len(l.traces))
	l.traces = append(l.traces, t)
}

// number returns what stands for a folder in a trace. There are few folders.
func (l *ledger) number(folder string) uint16 {
	i := slices.Index(l.folders, folder)
	if i < 0 {
		i = len(l.folders)
		l.folders = append(l.folders, folder)
	}
	return uint16(i)
}

// forget drops all but the newest maxTraces.
func (l *ledger) forget() {
	gone := int32(len(l.traces) - maxTraces)
	l.traces = append([]trace(nil), l.traces[gone:]...)
	for i := range l.traces {
		l.traces[i].before = max(l.traces[i].before-gone, -1)
	}
	for m, i := range l.newest {
		if i < gone {
			delete(l.newest, m)
		} else {
			l.newest[m] = i - gone
		}
	}
}

// known returns why a message must not go to the stream, or "". Its error is errUndecided if that cannot be said before the
// folder was looked at where an event's message lay.
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
	if _, ok := l.ids[markOf(d.event.ID)]; ok {
		return dropPublished, nil
	}
	if m.EmailID == "" || m.Relisted {
		switch i, s := w.sameAs(m, d); s {
		case standsGone:
			l.traces[i].move(m, l.number(event.Token(m.Folder)))
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
	w.ledger.reach(m.InternalDate)
	switch {
	case m.EmailID != "":
		w.ledger.ids[markOf(d.event.ID)] = struct{}{}
	case d.fingerprint != "":
		w.ledger.add(d.fingerprint, event.Token(m.Folder), trace{received: unix(m.InternalDate), validity: m.UIDValidity, uid: m.UID})
	}
}

// countDrops counts the messages that were dropped, once a position that is past them is kept: before that they may come
// again.
func (w *Worker) countDrops() {
	w.board.dropped(w.drops)
	clear(w.drops)
}

// reset tells the world that a folder's UIDVALIDITY changed. Its messages come again after this; known tells them apart.
func (w *Worker) reset(ctx context.Context, m fetcher.Message) error {
	if w.ledger != nil {
		clear(w.ledger.surveys) // their UIDs mean nothing any more
	}
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
	case m.Live || w.gapless:
		return event.CauseLive
	default:
		return event.CauseCatchup
	}
}
