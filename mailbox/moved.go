package mailbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
)

// Where a provider has no identity for messages, one that appears in a folder is known by its fingerprint. If there is an
// event with the same one, the message was moved, and is published already, if it is gone from where that event found it;
// if it is still there, this is a copy, and published. So the folder where it lay must be looked at. That happens between
// two passes: the pass that meets such a message is halted, what it may hang on is looked up, and the next pass decides. If it is
// there, the server may be in the midst of a move, so its folder is held: see hold.

// errUndecided halts a pass: a message may be one that was moved.
var errUndecided = errors.New("a message may have been moved")

// Surveyor is what a Session may be too: Survey tells what is in a folder and is not marked as deleted, Halt ends the pass that is
// under way, and Skip leaves a folder out of the next one. Where a Session is none, every message is a new one.
type Surveyor interface {
	Halt()
	Skip(folder string)
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
	at                 time.Time
	refused            bool // the folder could not be opened: nothing is known
	validity, from, to uint32
	uids               []uint32
	position           fetcher.Position  // of the folder: what is not settled may not have been there yet
	before             map[string]uint32 // by folder token: the highest UID that had been seen there
}

// shows says whether the message of a trace was there.
func (s survey) shows(t *trace) bool {
	_, there := slices.BinarySearch(s.uids, t.uid)
	return there && s.validity == t.validity
}

// place is where a message lies.
type place struct {
	folder string
	uid    uint32
}

// span is a range of UIDs to look at.
type span struct{ from, to uint32 }

// spans returns what to look at, by folder, to see all places.
func spans(places []place) map[string]span {
	all := make(map[string]span)
	for _, p := range places {
		s, some := all[p.folder]
		if !some {
			s = span{p.uid, p.uid}
		}
		all[p.folder] = span{min(s.from, p.uid), max(s.to, p.uid)}
	}
	return all
}

// question is what is to be known of a message that halted a pass.
type question struct {
	folder string  // of the message
	places []place // where events lie whose message it may be
	unseen bool    // nobody has looked there since it had been seen
}

// sameAs looks for an event whose message this one is: its trace, and standsGone; or standsUnknown, if there may be one.
func (w *Worker) sameAs(m fetcher.Message, d *draft) (found *trace, s standing) {
	l, best := w.ledger, standsThere
	l.traces.asked = time.Now()
	w.question = &question{folder: m.Folder}
	defer func() {
		if s != standsUnknown {
			w.question = nil
		}
	}()
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
	return found, best
}

// stands says whether the message of a trace is still where it was when m had arrived, and notes where to look for it.
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
	if looked && !seen.refused {
		validity = seen.validity
	}
	if validity != t.validity {
		return standsGone
	}
	covered := seen.refused || seen.from <= t.uid && t.uid <= seen.to && seen.position.Settled(t.uid)
	if covered && !seen.refused && !seen.shows(t) {
		return standsGone
	}
	w.question.places = append(w.question.places, place{w.folders[i], t.uid})
	if covered && l.outlasted(t, m) {
		return standsThere
	}
	if !covered || m.UID > seen.before[event.Token(m.Folder)] {
		w.question.unseen = true
	}
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

// lookUp looks where the message may have come from that halted a pass. If that was done since it had been seen, and it is still in
// question, its folder is held. Then it looks what has become of the holds.
func (w *Worker) lookUp(ctx context.Context) error {
	surveyor, can := w.session.(Surveyor)
	if !can || w.ledger == nil {
		return nil
	}
	switch q := w.question; {
	case q == nil:
	case q.unseen:
		if err := w.surveyAll(ctx, surveyor, q.places); err != nil {
			return err
		}
	default:
		w.hold(q)
	}
	w.question = nil
	for _, folder := range w.folders {
		h := w.ledger.holds[folder]
		if h == nil || h.over {
			continue
		}
		if err := w.judge(ctx, surveyor, folder, h); err != nil {
			return err
		}
	}
	return nil
}

// surveyAll looks at each folder once, around all places in it.
func (w *Worker) surveyAll(ctx context.Context, surveyor Surveyor, places []place) error {
	for folder, ask := range spans(places) {
		if err := w.survey(ctx, surveyor, folder, ask); err != nil {
			return err
		}
	}
	return nil
}

// survey looks at one folder. Of one that is missing nothing is left.
func (w *Worker) survey(ctx context.Context, surveyor Surveyor, folder string, ask span) error {
	from, to := max(ask.from, aside+1)-aside, min(ask.to, ^uint32(0)-aside)+aside
	at := time.Now()
	validity, uids, err := surveyor.Survey(ctx, folder, from, to)
	if err != nil && !onlyFolder(err) {
		return err
	}
	w.ledger.surveys[event.Token(folder)] = survey{at, err != nil && !isGone(err), validity, from, to, uids, w.positions[folder], w.seen}
	return nil
}
