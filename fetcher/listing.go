package fetcher

import (
	"context"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailflume/mailflume/internal/crash"
)

// readRange reads what is new in a range of UIDs, in windows whose listing stays small; they grow where UIDs are sparse.
func (p *pass) readRange(ctx context.Context, r window, between func(context.Context) error) error {
	if !p.large(r) {
		_, err := p.readWindow(ctx, r, between)
		return err
	}
	width := uint64(searchWindow)
	for from := uint64(r.from); from <= uint64(r.to); {
		to := min(from+width-1, uint64(r.to))
		listed, err := p.readWindow(ctx, window{uint32(from), uint32(to), r.since}, between)
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

// readWindow reads what is not settled in one range. After reading so much that a message which shows late could have
// fallen out of the Position's window, it lists the range once more. Between two reads it calls between, if that is not nil.
//
// It returns how many messages there are in the range.
func (p *pass) readWindow(ctx context.Context, w window, between func(context.Context) error) (n int, err error) {
	listed, err := p.list(ctx, w)
	if err != nil {
		return 0, err
	}
	crash.At("list.done")
	before := p.pos
	later := p.pos.postponed(time.Now())
	due := slices.DeleteFunc(slices.Clone(listed), func(uid uint32) bool { return before.Settled(uid) || slices.Contains(later, uid) })
	if between != nil && w.to == p.pos.Next-1 && len(due) > 0 {
		p.last = due[len(due)-1]
	}
	if err := p.fetchAll(ctx, due, between); err != nil {
		return 0, err
	}
	low, now := before.spanOf(w).low, p.pos.spanOf(w)
	if now.low-low < windowSize/2 {
		return len(listed), nil
	}
	to := now.high()
	if w.to != 0 {
		to = min(to, w.to)
	}
	again, err := p.list(ctx, window{max(w.from, low+1), to, w.since})
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
	return len(listed), p.fetchAll(ctx, late, between)
}

func (p *pass) fetchAll(ctx context.Context, uids []uint32, between func(context.Context) error) error {
	for chunk := range slices.Chunk(uids, fetchChunk) {
		if p.s.halted.Load() {
			return errHalted
		}
		if err := p.fetch(ctx, chunk, between); err != nil {
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

// ranges cuts what is not backfill, and lies above the low mark, where what is wanted changes.
func (p *pass) ranges() []window {
	from := p.pos.Low + 1
	if p.pos.Behind() {
		from = p.pos.ahead.low + 1
	}
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

// readLost asks again for messages that did not come before, and that no listing need ask for.
func (p *pass) readLost(ctx context.Context, old []uint32) error {
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
	for _, uid := range old {
		if !slices.Contains(uids, uid) {
			continue
		}
		if err := p.fetch(ctx, []uint32{uid}, nil); err != nil {
			return err
		}
	}
	return nil
}

// forgetDeleted takes those of lost off the list that are not listed any more. No low mark has passed them, so that they are
// holes like others from then on.
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
	p.forgetDeleted(slices.DeleteFunc(p.pos.lostOf(false), outside), uids)
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
	return p.find(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{set}, Since: since})
}

// find asks for the existing UIDs of the messages that match, ascending.
func (p *pass) find(ctx context.Context, c *imap.SearchCriteria) ([]uint32, error) {
	err := p.s.do(ctx, "SEARCH", func() error {
		_, err := p.s.client.UIDSearch(c, nil).Wait()
		return err
	})
	return p.s.filter.takeFound(), err
}
