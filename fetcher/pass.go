package fetcher

import (
	"context"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailflume/mailflume/internal/crash"
)

// pass is one pass over one folder.
type pass struct {
	s     *Session
	f     *folder
	pos   Position
	told  uint64 // the N of the last Position that was yielded
	yield func(Message, error) bool

	missed  bool   // something listed did not come, of late
	written bool   // what is read now were drafts before
	gone    bool   // the folder is not read: it cannot be, or is left out
	fresh   bool   // begun by this look: all that there is is backfill
	newborn bool   // the folder was made, or named so, after the mailbox was first seen
	last    uint32 // the UID with which the backfill is complete; 0 if not known
}

// run reads what is new.
func (p *pass) run(ctx context.Context) error {
	if err := p.s.examine(ctx, p.f); err != nil {
		return err
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	if p.f.first == 0 {
		p.f.first = p.pos.High() + 1
		if next := uint32(p.f.examined.UIDNext); next != 0 {
			p.f.first = next
		}
	}
	if p.fresh {
		p.fresh = false // EXAMINE has just said that nothing is new
		return p.mark()
	}
	if err := p.read(ctx); err != nil {
		return err
	}
	return p.mark()
}

// mark yields the Position if it has moved since the last message.
func (p *pass) mark() error {
	if p.missed {
		p.s.lookAgain()
	}
	if p.pos.N == p.told {
		return nil
	}
	return p.emit(Message{Kind: KindMark})
}

// begin brings the Position in line with the folder: it finds the start point of one that is new, and the beginning of
// one whose UIDVALIDITY changed, or should have.
func (p *pass) begin(ctx context.Context) error {
	validity := p.f.examined.UIDValidity
	switch {
	case p.pos.IsZero():
		return p.start(ctx, validity)
	case validity == 0: // a server that forgot to say it once would otherwise cost a new listing
		return nil
	case validity == p.pos.UIDValidity:
		again, err := p.reissued(ctx)
		if err != nil {
			return err
		}
		if again {
			break
		}
		if uint64(p.pos.High())+windowSize+1 < uint64(p.pos.Next) {
			p.pos.split() // an earlier version kept no backfill apart
			p.pos.N++
		}
		return nil
	}
	next, err := p.next(ctx)
	if err != nil {
		return err
	}
	crash.At("uidvalidity.changed")
	was := p.pos
	p.pos = Position{UIDValidity: validity, Next: next, N: was.N + 1, known: was.known, seen: was.seen, since: was.since, relist: true}
	p.begun()
	p.f.first, p.f.back, p.last = next, 0, 0
	return p.emit(Message{Kind: KindReset, Was: was.UIDValidity})
}

// reissued reports whether the server gives UIDs to messages that others had before: UIDNEXT was one of those that were read, as the
// server had no message from there on, and now it has one that is newer than all that was read.
//
// QUIRK(any): reissued UIDs. A folder that was restored from a backup may keep its UIDVALIDITY, against RFC 3501, section 2.3.1.1
// (chatmail/core tells of servers that decrease UIDNEXT). That UIDNEXT goes back says nothing yet: where it is made from the
// highest UID that there is, it does so whenever the newest message is deleted, and a server may show an old state for a while.
func (p *pass) reissued(ctx context.Context) (is bool, err error) {
	next, back, high := p.f.said, p.f.back, p.pos.High()
	if p.f.said = 0; next == 0 || next > high && back == 0 {
		return false, nil
	}
	from := next
	if back != 0 {
		from = min(back, next)
	}
	var set imap.UIDSet
	set.AddRange(imap.UID(from), imap.UID(high))
	uids, err := p.search(ctx, set, time.Time{})
	if err != nil {
		return false, err
	}
	p.f.back = 0
	if next <= high && !slices.ContainsFunc(uids, func(uid uint32) bool { return uid >= next && uid <= high }) {
		p.f.back = next
	}
	again := slices.DeleteFunc(uids, func(uid uint32) bool { return uid < back || uid >= next || !p.pos.Settled(uid) })
	if back == 0 || len(again) == 0 {
		return false, nil
	}
	return p.anyNewer(ctx, again[max(0, len(again)-fetchChunk):])
}

// surelyNewer is how much later than all that was read a message must have arrived to be none of it, whatever our clock says.
const surelyNewer = 5 * time.Minute

// anyNewer reports whether one of these messages arrived after all that was read.
func (p *pass) anyNewer(ctx context.Context, uids []uint32) (is bool, err error) {
	if p.pos.seen == 0 {
		return false, nil
	}
	seen := time.Unix(p.pos.seen, 0)
	err = p.stream(ctx, uids, &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true}, func(m fetched) error {
		is = is || m.items.date.Sub(seen) > surelyNewer
		return nil
	})
	return is, p.refusedOnly(err)
}

func (p *pass) start(ctx context.Context, validity uint32) error {
	next, err := p.next(ctx)
	if err != nil {
		return err
	}
	p.pos = Position{UIDValidity: validity, Next: next, N: 1}
	start := p.s.cfg.Start
	if p.newborn && !start.All {
		start.Since = earliest(start.Since, time.Now().Add(-newbornSince))
	}
	switch {
	case start.All:
		p.begun()
	case !start.Since.IsZero():
		p.pos.since = dayOf(start.Since)
		p.begun()
	default:
		p.pos.Low = next - 1
		p.pos.note(time.Now(), time.Now())
	}
	return p.emit(Message{Kind: KindMark})
}

// newbornSince is how long before the look that finds it a folder may have been made whose mail is all new: longer than most
// outages. A folder that was given another name has older mail.
const newbornSince = 7 * 24 * time.Hour

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// begun makes all that there is the backfill.
func (p *pass) begun() {
	p.pos.split()
	p.fresh = p.pos.Behind()
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
		m.Backfill = m.UID < p.pos.Next && !p.written
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
	if m.hasDraftMark() && !p.written {
		p.pos.keepDraft(m.UID)
	}
	if m.UID == p.last && p.pos.Behind() {
		p.pos.join()
	}
	p.pos.note(m.InternalDate, time.Now())
	if m.UID >= p.pos.Next && !p.written {
		p.s.arrived()
	}
	return p.emit(m)
}

// read finds what is new and reads it, in ascending order.
func (p *pass) read(ctx context.Context) error {
	select {
	case <-p.s.exists: // what it announced is listed from here on, or is late
	default:
	}
	later := p.pos.postponed(time.Now())
	if err := p.readLost(ctx, slices.DeleteFunc(p.pos.lostOf(true), func(uid uint32) bool { return slices.Contains(later, uid) })); err != nil {
		return err
	}
	if err := p.readDrafts(ctx); err != nil {
		return err
	}
	for _, r := range p.ranges() {
		if err := p.readRange(ctx, r, nil); err != nil {
			return err
		}
	}
	return nil
}
