package mailbox

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
)

// traces is where the messages of a chain's events lie, by fingerprint. It is read from the chain when a message has the
// fingerprint of an event, which is seldom, and comes in swarms when somebody tidies up; and dropped when that is over.
type traces struct {
	asked  time.Time      // for the last time
	newest map[mark]int32 // the last of all with a fingerprint
	all    []trace
}

// trace is where the message of an event lies, as far as we know. A message that is found again elsewhere takes its trace
// along, so that one event accounts for one message.
type trace struct {
	spot

	before   int32 // another trace with this fingerprint; -1 if there is none
	received int64 // INTERNALDATE, Unix seconds; 0 if unknown
}

// spot is where a message lies or lay.
type spot struct {
	validity uint32
	uid      uint32 // 0 if unknown
	folder   uint16 // of ledger.folders
}

// tracesHeld is for how long traces are held after the last question.
const tracesHeld = 10 * time.Minute

// maxTraces is how many events of a mailbox are known by where their messages lie, the newest of them: 60 bytes each. A message
// whose event is older is published again when it is moved.
const maxTraces = 200_000

// errNoTraces says that a message has the fingerprint of an event, and nobody has read where the event's message lies.
var errNoTraces = errors.New("the traces of the chain are to be read")

// forget drops what we need not hold, or should not hold any longer.
func (w *Worker) forget() {
	l := w.ledger
	switch {
	case l == nil:
	case time.Since(l.read) > ledgerAge:
		w.ledger = nil
	case l.traces != nil && time.Since(l.traces.asked) > tracesHeld:
		l.traces = nil
		clear(l.surveys) // only traces ask what is where
		clear(l.holds)
	}
}

// readTraces reads where the messages of the chain's events lie. What is staged must be on the stream.
func (w *Worker) readTraces(ctx context.Context) error {
	l := w.ledger
	read := &traces{asked: time.Now(), newest: make(map[mark]int32)}
	for entry, err := range w.c.Stream.Ledger(ctx, w.token, w.tail) {
		if err != nil {
			return err
		}
		p, err := fetcher.ParsePosition(entry.Position)
		if err != nil || entry.EmailID != "" || entry.Fingerprint == "" {
			continue // not written by us, or known by something better, or by nothing
		}
		at := spot{validity: p.UIDValidity, uid: entry.UID, folder: l.number(entry.Folder)}
		read.add(markOf(entry.Fingerprint), trace{spot: l.now(at), received: unix(entry.Received)})
	}
	l.traces = read
	return nil
}

// unix is 0 for what is no time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// add notes where the message of an event lies.
func (s *traces) add(m mark, t trace) {
	if len(s.all) >= 2*maxTraces {
		s.forget()
	}
	t.before = -1
	if i, ok := s.newest[m]; ok {
		t.before = i
	}
	s.newest[m] = int32(len(s.all))
	s.all = append(s.all, t)
}

// of yields the traces with a fingerprint, the newest first.
func (s *traces) of(m mark) iter.Seq[*trace] {
	return func(yield func(*trace) bool) {
		i, ok := s.newest[m]
		for ok && i >= 0 && yield(&s.all[i]) {
			i = s.all[i].before
		}
	}
}

// forget drops all but the newest maxTraces.
func (s *traces) forget() {
	gone := int32(len(s.all) - maxTraces)
	s.all = slices.Clone(s.all[gone:])
	for i := range s.all {
		s.all[i].before = max(s.all[i].before-gone, -1)
	}
	for m, i := range s.newest {
		if i < gone {
			delete(s.newest, m)
		} else {
			s.newest[m] = i - gone
		}
	}
}

// number returns what stands for a folder in a spot. There are few folders.
func (l *ledger) number(folder string) uint16 {
	i := slices.Index(l.folders, folder)
	if i < 0 {
		i = len(l.folders)
		l.folders = append(l.folders, folder)
	}
	return uint16(i)
}

// spot returns where a message lies.
func (l *ledger) spot(m fetcher.Message) spot {
	return spot{validity: m.UIDValidity, uid: m.UID, folder: l.number(event.Token(m.Folder))}
}

// move notes that the message of a trace lies elsewhere now, for the traces that are read later too. From where it lies nothing
// was moved: so moved never leads in a circle.
func (l *ledger) move(t *trace, m fetcher.Message) {
	to := l.spot(m)
	delete(l.moved, to)
	if t.spot != to && t.uid != 0 {
		l.moved[t.spot] = to
	}
	t.spot = to
}

// now returns where a message lies that an event found at a spot.
func (l *ledger) now(s spot) spot {
	for to, moved := l.moved[s]; moved; to, moved = l.moved[s] {
		s = to
	}
	return s
}
