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

// hold leaves a folder out of the passes for a while, so that nothing passes a message in it that may be a copy, or half of a
// move that is under way. Other folders are read on.
type hold struct {
	since   time.Time
	then    map[string]survey // what the folders held when it began, by token
	places  []place           // where events lie whose message it may be
	refused bool              // one of these folders could not be opened when it was looked at last
	over    bool
}

// moveTakes is for how long a server may show a moved message in both folders. Many copy first and remove then: Dovecot does, and
// so do clients without MOVE. It is a moment as a rule; on a busy machine, whose disk others keep waiting, Dovecot needed more
// than four seconds.
const moveTakes = 8 * time.Second

// refusedFor is for how long a folder may refuse to be opened before a message is published although it may have been moved from
// there: others wait behind it.
const refusedFor = 15 * time.Minute

// How long to wait between two looks: as long as the hold lasts already, within these bounds.
const (
	firstLook = 250 * time.Millisecond
	lastLook  = time.Second
)

// hold begins to hold the folder of a message.
func (w *Worker) hold(q *question) {
	w.ledger.holds[q.folder] = &hold{since: time.Now(), then: maps.Clone(w.ledger.surveys), places: q.places}
}

// skipHeld leaves the folders that are held out of the next pass, and says whether there are any.
func (w *Worker) skipHeld() (some bool) {
	surveyor, can := w.session.(Surveyor)
	if !can || w.ledger == nil {
		return false
	}
	for folder, h := range w.ledger.holds {
		if !h.over {
			surveyor.Skip(folder)
			some = true
		}
	}
	return some
}

// linger waits until it is time to look again at what holds a folder. It returns false if nothing does, or nothing that will
// pass soon.
func (w *Worker) linger(ctx context.Context) bool {
	if !w.claimed || w.ledger == nil {
		return false
	}
	wait := time.Duration(-1)
	for _, h := range w.ledger.holds {
		age := time.Since(h.since)
		if h.over || h.refused && age >= moveTakes {
			continue
		}
		next := max(0, min(max(age, firstLook), lastLook, moveTakes-age))
		if wait < 0 || next < wait {
			wait = next
		}
	}
	if wait < 0 {
		return false
	}
	sleep(ctx, wait, nil)
	return true
}

// judge looks whether what a folder is held for still lies where the events found it. The hold is over if some of it is gone, which
// was the moved one, and if all of it has stayed for so long that it was not moved.
func (w *Worker) judge(ctx context.Context, surveyor Surveyor, folder string, h *hold) error {
	age, gone, refused := time.Since(h.since), false, false
	for name, ask := range spans(h.places) {
		_, uids, err := surveyor.Survey(ctx, name, ask.from, ask.to)
		switch {
		case err == nil || isGone(err):
			gone = gone || slices.ContainsFunc(h.places, func(p place) bool { return p.folder == name && !slices.Contains(uids, p.uid) })
		case onlyFolder(err):
			refused = true
		default:
			return err
		}
	}
	if w.ledger.traces != nil {
		w.ledger.traces.asked = time.Now()
	}
	if refused && !h.refused {
		w.log.Info("a folder waits: a message may have been moved from another that cannot be opened", "folder", event.Token(folder))
	}
	h.refused = refused
	if !gone && (age < moveTakes || refused && age < refusedFor) {
		return nil
	}
	h.over = true
	return w.surveyAll(ctx, surveyor, h.places)
}

// isGone says whether a folder cannot be opened because it is no more.
func isGone(err error) bool {
	var folder *fetcher.FolderError
	return errors.As(err, &folder) && folder.Missing
}

// outlasted says whether the message of a trace, which the last look at its folder found there, was there together with m for so
// long that it is another one. A folder that cannot be opened is not waited for for ever.
func (l *ledger) outlasted(t *trace, m fetcher.Message) bool {
	h := l.holds[m.Folder]
	if h == nil {
		return false
	}
	token := l.folders[t.folder]
	then, now := h.then[token], l.surveys[token]
	if m.UID > then.before[event.Token(m.Folder)] {
		return false
	}
	lasted := now.at.Sub(h.since)
	if now.refused {
		return lasted >= refusedFor
	}
	return then.shows(t) && lasted >= moveTakes
}
