package fetcher

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailflume/mailflume/internal/crash"
)

// Sizes of what is asked for at once.
const (
	searchWhole  = 80_000 // up to so many messages are listed by one open SEARCH; its answer stays below maxText
	searchWindow = 50_000 // UIDs of one SEARCH otherwise
	fetchChunk   = 500    // messages of one FETCH; its command stays below maxCommand
)

// errStopped says that the consumer has left the loop.
var errStopped = errors.New("the loop over Messages was left early, which ends the session")

// Messages makes one pass over the watched folders and yields what is new after the given Positions, by folder name; a
// folder without one begins at Config.Start. Within a folder, mail comes in ascending order of UID, what shows late
// first.
//
// Each Message carries the Position that holds once it is dealt with; a KindMark only moves it. The first of a folder that
// was never read is a KindMark, to be kept before anything else, or mail that arrives before the next pass could be
// missed.
//
// An error ends the pass and the Session, except for a *FolderError, which comes when the other folders are done. Leaving
// the loop early ends the Session too: what the server is sending cannot be taken back.
func (s *Session) Messages(ctx context.Context, after map[string]Position) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if s.dead != nil {
			yield(Message{}, s.dead)
			return
		}
		s.halted.Store(false)
		var missing *FolderError
		for _, f := range s.folders {
			if s.halted.Load() {
				return
			}
			p := &pass{s: s, f: f, pos: after[f.name], yield: yield}
			err := p.run(ctx)
			switch {
			case err == nil:
			case errors.Is(err, errHalted):
				return
			case errors.Is(err, errStopped):
				s.end(err)
				return
			case s.dead == nil && errors.As(err, &missing): // the other folders need not suffer
			default:
				s.end(err)
				yield(Message{}, err)
				return
			}
		}
		if missing != nil {
			yield(Message{}, missing)
		}
	}
}

// pass is one pass over one folder.
type pass struct {
	s     *Session
	f     *folder
	pos   Position
	told  uint64 // the N of the last Position that was yielded
	yield func(Message, error) bool

	missed bool // something listed did not come, of late
}

func (p *pass) run(ctx context.Context) error {
	if err := p.s.examine(ctx, p.f); err != nil {
		return err
	}
	p.told = p.pos.N
	if err := p.begin(ctx); err != nil {
		return err
	}
	if p.f.first == 0 {
		p.f.first = p.pos.High() + 1
		if next := uint32(p.f.examined.UIDNext); next != 0 {
			p.f.first = next
		}
	}
	if err := p.read(ctx); err != nil {
		return err
	}
	if p.missed {
		p.s.lookAgain()
	}
	if p.pos.N != p.told {
		return p.emit(Message{Kind: KindMark})
	}
	return nil
}

// begin brings the Position in line with the folder: it finds the start point of one that is new, and the beginning of
// one whose UIDVALIDITY changed.
func (p *pass) begin(ctx context.Context) error {
	validity := p.f.examined.UIDValidity
	switch {
	case p.pos.IsZero():
		return p.start(ctx, validity)
	case validity == 0:
		return nil // a server that forgot to say it once would otherwise cost a new listing
	case validity == p.pos.UIDValidity:
		return nil
	}
	next, err := p.next(ctx)
	if err != nil {
		return err
	}
	crash.At("uidvalidity.changed")
	was := p.pos
	p.pos = Position{UIDValidity: validity, Next: next, N: was.N + 1, known: was.known, seen: was.seen, since: was.since, relist: true}
	p.f.first = next
	return p.emit(Message{Kind: KindReset, Was: was.UIDValidity})
}

func (p *pass) start(ctx context.Context, validity uint32) error {
	next, err := p.next(ctx)
	if err != nil {
		return err
	}
	p.pos = Position{UIDValidity: validity, Next: next, N: 1}
	switch start := p.s.cfg.Start; {
	case start.All:
	case !start.Since.IsZero():
		p.pos.since = dayOf(start.Since)
	default:
		p.pos.Low = next - 1
		p.pos.note(time.Now(), time.Now())
	}
	return p.emit(Message{Kind: KindMark})
}

// next returns the folder's UIDNEXT, from its highest UID if the server does not say.
func (p *pass) next(ctx context.Context) (uint32, error) {
	if n := uint32(p.f.examined.UIDNext); n != 0 {
		return n, nil
	}
	// QUIRK(any): no UIDNEXT. RFC 3501 requires it; imapflow met servers without.
	uids, err := p.search(ctx, imap.UIDSet{{}}, time.Time{}) // *
	if err != nil {
		return 0, err
	}
	if len(uids) == 0 {
		return 1, nil
	}
	return uids[len(uids)-1] + 1, nil
}

// emit yields a message with the current Position.
func (p *pass) emit(m Message) error {
	m.Folder, m.UIDValidity, m.Position = p.f.name, p.pos.UIDValidity, p.pos
	if m.UID != 0 {
		m.Backfill = m.UID < p.pos.Next
		m.Relisted = m.Backfill && p.pos.relist
		m.Live = m.UID >= p.f.first
		m.Sent = p.f.sentByOwner(m.Labels)
	}
	p.told = p.pos.N
	if !p.yield(m, nil) {
		m.Release()
		return errStopped
	}
	return nil
}

// settle yields a message and moves the Position past it.
func (p *pass) settle(m Message) error {
	m.Boundary = p.pos.boundary()
	p.pos.settle(m.UID)
	p.pos.note(m.InternalDate, time.Now())
	p.s.repolls, p.s.fruitless = nil, 0
	return p.emit(m)
}

// read finds what is not settled and reads it, in ascending order.
func (p *pass) read(ctx context.Context) error {
	select {
	case <-p.s.exists: // what it announced is listed from here on, or is late
	default:
	}
	if err := p.readLost(ctx); err != nil {
		return err
	}
	for _, r := range p.ranges() {
		if err := p.readRange(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// readRange reads what is new in a range of UIDs, in windows whose listing stays small; they grow where UIDs are sparse.
func (p *pass) readRange(ctx context.Context, r window) error {
	if !p.large(r) {
		_, err := p.readWindow(ctx, r)
		return err
	}
	width := uint64(searchWindow)
	for from := uint64(r.from); from <= uint64(r.to); {
		to := min(from+width-1, uint64(r.to))
		listed, err := p.readWindow(ctx, window{uint32(from), uint32(to), r.since})
		if err != nil {
			return err
		}
		from = to + 1
		if listed < searchWindow/4 {
			width *= 2
		} else {
			width = searchWindow
		}
	}
	return nil
}

// large reports whether more messages can be in a range than one listing should have.
func (p *pass) large(r window) bool {
	return p.f.examined.NumMessages > searchWhole && r.to != 0 && r.to-r.from >= searchWhole
}

// readWindow reads what is new in one range. After reading so much that a message which shows late could have fallen out
// of the Position's window, it lists the range once more.
//
// It returns how many messages there are in it.
func (p *pass) readWindow(ctx context.Context, w window) (n int, err error) {
	listed, err := p.list(ctx, w)
	if err != nil {
		return 0, err
	}
	crash.At("list.done")
	before := p.pos
	if err := p.fetchAll(ctx, slices.DeleteFunc(slices.Clone(listed), before.Settled)); err != nil {
		return 0, err
	}
	if p.pos.Low-before.Low < windowSize/2 {
		return len(listed), nil
	}
	again, err := p.list(ctx, window{max(w.from, before.Low+1), p.pos.High(), w.since})
	if err != nil {
		return 0, err
	}
	late := slices.DeleteFunc(again, func(uid uint32) bool {
		_, known := slices.BinarySearch(listed, uid)
		return known || before.Settled(uid)
	})
	for _, uid := range late {
		p.pos.remember(uid, time.Now())
	}
	return len(listed), p.fetchAll(ctx, late)
}

func (p *pass) fetchAll(ctx context.Context, uids []uint32) error {
	for chunk := range slices.Chunk(uids, fetchChunk) {
		if p.s.halted.Load() {
			return errHalted
		}
		start := time.Now()
		if err := p.fetch(ctx, chunk); err != nil {
			return err
		}
		if err := p.s.pace(ctx, time.Since(start)); err != nil {
			return err
		}
	}
	return nil
}

// window is a range of UIDs to list; to is 0 for no end.
type window struct {
	from, to uint32
	since    time.Time
}

// ranges cuts what lies above Low where what is wanted changes.
func (p *pass) ranges() []window {
	from := p.pos.Low + 1
	if from == 0 {
		return nil // all UIDs there can be are settled
	}
	var rs []window
	if since := p.pos.wanted(); !since.IsZero() && from < p.pos.Next {
		rs = append(rs, window{from, p.pos.Next - 1, since})
		from = p.pos.Next
	}
	if known := (window{from: from, to: max(uint32(p.f.examined.UIDNext), 1) - 1}); known.to > from && p.large(known) {
		rs = append(rs, known)
		from = known.to + 1
	}
	return append(rs, window{from: from})
}

// readLost asks again for the messages that Low has passed although they did not come.
func (p *pass) readLost(ctx context.Context) error {
	old := p.pos.lostBelow()
	if len(old) == 0 {
		return nil
	}
	var set imap.UIDSet
	for _, uid := range old {
		set.AddNum(imap.UID(uid))
	}
	uids, err := p.search(ctx, set, time.Time{})
	if err != nil {
		return err
	}
	for _, uid := range old {
		if slices.Contains(uids, uid) {
			continue
		}
		// Deleted, most likely; but a listing can miss one, and this is the last that we know of it.
		gone, err := p.pos.lose(uid, time.Now())
		if err != nil {
			return err
		}
		if gone {
			p.pos.forget(uid)
		}
	}
	return p.fetch(ctx, slices.DeleteFunc(uids, func(uid uint32) bool { return !slices.Contains(old, uid) }))
}

// forgetDeleted takes those of lost off the list that are not listed any more. They lie above Low, so that they are holes
// like others from then on.
func (p *pass) forgetDeleted(lost, listed []uint32) {
	for _, uid := range lost {
		if _, there := slices.BinarySearch(listed, uid); !there {
			p.pos.forget(uid)
			p.pos.N++
		}
	}
}

// list returns the UIDs of a window, ascending.
func (p *pass) list(ctx context.Context, w window) ([]uint32, error) {
	var set imap.UIDSet
	set.AddRange(imap.UID(w.from), imap.UID(w.to))
	uids, err := p.search(ctx, set, w.since)
	if err != nil {
		return nil, err
	}
	outside := func(uid uint32) bool { return uid < w.from || w.to != 0 && uid > w.to || p.absurd(uid) }
	p.forgetDeleted(slices.DeleteFunc(p.pos.lostAbove(), outside), uids)
	// QUIRK(any): star. n:* matches the last message although its UID is below n.
	return slices.DeleteFunc(uids, outside), nil
}

// absurd reports whether a UID lies so far beyond UIDNEXT that it must be a mistake. Believing it would move the Position
// past all mail to come.
func (p *pass) absurd(uid uint32) bool {
	next := uint32(p.f.examined.UIDNext)
	return next != 0 && uid > next && uid-next > 1<<24
}

// search asks for the existing UIDs of a set, ascending.
func (p *pass) search(ctx context.Context, set imap.UIDSet, since time.Time) ([]uint32, error) {
	err := p.s.do(ctx, "SEARCH", func() error {
		_, err := p.s.client.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{set}, Since: since}, nil).Wait()
		return err
	})
	return p.s.filter.takeFound(), err
}
