package mailbox

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
)

// Where a provider has no identity for messages, one that appears in a folder is known by its fingerprint. If there is an
// event with the same one, the message was moved, and is published already, if it is gone from where that event found it;
// if it is still there, this is a copy, and published. So the folder where it lay must be looked at. That happens between
// two passes: the pass that meets such a message is halted, what it may hang on is looked up, and the next pass decides.

// errUndecided halts a pass: a message may be one that was moved.
var errUndecided = errors.New("a message may have been moved")

// Surveyor is what a Session may be too: Survey tells what is in a folder and is not marked as deleted, and Halt ends the pass
// that is under way. Where a Session is none, every message is a new one.
type Surveyor interface {
	Halt()
	Survey(ctx context.Context, folder string, from, to uint32) (validity uint32, uids []uint32, err error)
}

// standing is whether an event's message still lies where the event found it.
type standing int

const (
	standsThere standing = iota
	standsUnknown
	standsGone
)

// survey is what a folder held when it was looked at: uids are those that existed from the UID from up to to.
type survey struct {
	validity, from, to uint32
	uids               []uint32
	position           fetcher.Position  // of the folder: what is not settled may not have been there yet
	before             map[string]uint32 // by folder token: the highest UID that had been seen there
	settled            map[string]uint32 // the same, moveTakes before the folder was looked at
}

// moveTakes is how long a server may show a moved message in both folders. Many copy first and remove then: Dovecot does, and so
// do clients without MOVE. It is a moment as a rule; on a busy machine, whose disk others keep waiting, Dovecot needed more than
// four seconds.
const moveTakes = 7 * time.Second

// firstLook is when to look first whether a move has ended. Each wait for the next look is twice as long.
const firstLook = 250 * time.Millisecond

// place is where a message lies.
type place struct {
	folder string
	uid    uint32
}

// span is a range of UIDs to look at.
type span struct{ from, to uint32 }

// sameAs looks for an event whose message this one is: its trace, and standsGone; or standsUnknown, if there may be one.
func (w *Worker) sameAs(m fetcher.Message, d *draft) (found *trace, s standing) {
	l, best := w.ledger, standsThere
	l.traces.asked = time.Now()
	for t := range l.traces.of(markOf(d.fingerprint)) {
		own := l.folders[t.folder] == event.Token(m.Folder)
		if own && (m.Relisted && t.validity != m.UIDValidity || t.validity == m.UIDValidity && t.uid == m.UID) {
			return t, standsGone // it is what the folder is listed again for, or the very same
		}
		// A header with a Message-ID is that of one message. Without one, messages that a program makes may have the same.
		if len(d.mail.Email.MessageID) == 0 && (t.received == 0 || t.received != m.InternalDate.Unix()) {
			continue
		}
		if s := w.stands(t, m); s > best {
			found, best = t, s
		}
	}
	if best == standsGone {
		w.doubts = nil // this one is it, whatever the others are
	}
	return found, best
}

// stands says whether the message of a trace is still where it was when m had arrived, and notes the question if nobody has
// looked.
func (w *Worker) stands(t *trace, m fetcher.Message) standing {
	l := w.ledger
	token := l.folders[t.folder]
	if token == event.Token(m.Folder) && t.validity != m.UIDValidity {
		return standsGone
	}
	i := slices.IndexFunc(w.folders, func(f string) bool { return event.Token(f) == token })
	if i < 0 {
		return standsGone // from a folder that is not watched any more
	}
	if _, can := w.session.(Surveyor); !can || t.uid == 0 {
		return standsThere
	}
	seen, looked := l.surveys[token]
	validity := w.positions[w.folders[i]].UIDValidity
	if looked {
		validity = seen.validity
	}
	if validity != t.validity {
		return standsGone
	}
	if looked && seen.from <= t.uid && t.uid <= seen.to && seen.position.Settled(t.uid) {
		if _, there := slices.BinarySearch(seen.uids, t.uid); !there {
			return standsGone
		}
		switch to := event.Token(m.Folder); {
		case m.UID <= seen.settled[to]:
			return standsThere
		case m.UID <= seen.before[to]:
			w.doubts = append(w.doubts, place{w.folders[i], t.uid}) // a copy, or a move that is under way
		}
	}
	ask, asked := w.questions[w.folders[i]]
	if !asked {
		ask = span{t.uid, t.uid}
	}
	w.questions[w.folders[i]] = span{min(ask.from, t.uid), max(ask.to, t.uid)}
	return standsUnknown
}

// aside is how many UIDs around those in question are looked at too: what is moved is often moved with its neighbours.
const aside = 5000

// overlook notes that a message of a halted pass was there before the folders are looked at.
func (w *Worker) overlook(m fetcher.Message) {
	token := event.Token(m.Folder)
	w.seen[token] = max(w.seen[token], m.UID)
}

// halt halts the pass.
func (w *Worker) halt() {
	if surveyor, can := w.session.(Surveyor); can {
		surveyor.Halt()
	}
}

// lookUp looks at the folders in question, in doubt once a move has had the time to end.
func (w *Worker) lookUp(ctx context.Context) error {
	surveyor, can := w.session.(Surveyor)
	if !can || w.ledger == nil {
		return nil
	}
	waited := false
	if len(w.doubts) > 0 {
		ended, err := w.awaitMove(ctx, surveyor)
		if err != nil {
			return err
		}
		waited = !ended
	}
	for folder, ask := range w.questions {
		if err := w.survey(ctx, surveyor, folder, ask, waited); err != nil {
			return err
		}
	}
	return nil
}

// awaitMove waits until one of the messages in doubt is gone: it was the moved one. They are all of one header, since a pass is
// halted by the first message that it cannot decide upon. If they stay for moveTakes, ended is false.
func (w *Worker) awaitMove(ctx context.Context, surveyor Surveyor) (ended bool, err error) {
	for waited, pause := time.Duration(0), firstLook; waited < moveTakes; waited, pause = waited+pause, 2*pause {
		sleep(ctx, pause, nil)
		for _, p := range w.doubts {
			_, uids, err := surveyor.Survey(ctx, p.folder, p.uid, p.uid)
			if err != nil && !onlyFolder(err) {
				return false, err
			}
			if len(uids) == 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// survey looks at one folder. Of one that is missing nothing is left. What had been seen before the last look is settled, if it was
// waited for since.
func (w *Worker) survey(ctx context.Context, surveyor Surveyor, folder string, ask span, waited bool) error {
	old := w.ledger.surveys[event.Token(folder)]
	settled := make(map[string]uint32)
	maps.Copy(settled, old.settled)
	if waited {
		for token, uid := range old.before {
			settled[token] = max(settled[token], uid)
		}
	}
	from, to := max(ask.from, aside+1)-aside, min(ask.to, ^uint32(0)-aside)+aside
	validity, uids, err := surveyor.Survey(ctx, folder, from, to)
	if err != nil && !onlyFolder(err) {
		return err
	}
	w.ledger.surveys[event.Token(folder)] = survey{validity, from, to, uids, w.positions[folder], w.seen, settled}
	return nil
}
