package fetcher

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Position says how far a folder was read. It is a value: comparing, copying and keeping it is safe.
//
// A UID is settled if its message was yielded, or need not be. Every UID up to Low is settled; of the windowSize UIDs
// after it, window has one bit each. A UID that is not settled although a higher one is, is a hole: mostly a message that
// was deleted, sometimes one that the server has not shown yet, so holes are looked for on each pass until they fall out
// of the window. A message that the server lists and does not hand out is lost: it is asked for again, in the window or
// out of it, until it comes or is given up. A draft is settled and remembered: it may become a message (see drafts.go).
//
// What was there from the beginning, the backfill, is read after what is new. While there is some, Low and window are about
// it alone, and ahead is about what is new: of the UIDs from Next on it is as far as Low and window are of all UIDs
// otherwise.
//
// The zero Position is that of a folder never read.
type Position struct {
	UIDValidity uint32 // 0 if the server has none
	Low         uint32 // every UID up to it is settled, except the lost ones
	Next        uint32 // the UIDNEXT when the folder was first seen; a lower UID is backfill
	N           uint64 // grows with every change: of two Positions, the higher N is the newer

	relist bool  // what lies below Next is listed again, because UIDVALIDITY changed
	known  int64 // Unix seconds: what arrived before that was dealt with; 0 if that cannot be said
	seen   int64 // Unix seconds: when the newest settled message arrived; it becomes known once all below Next is settled
	since  int32 // days from 1970: what lies below Next and arrived earlier is not wanted; 0 if all of it is
	window [windowSize / 64]uint64
	lost   string // the lost messages as String writes them, "" for none: a Position stays small and comparable
	ahead  span   // while there is backfill to read; zero otherwise
}

// lost is a message that is listed and not handed out.
type lost struct {
	uid   uint32
	tries uint16 // in vain; from cutBase on, those at which the whole FETCH failed
	first int64  // Unix seconds
}

// cutBase tells the tries at which a FETCH failed, or its connection, from those that brought no body: they may have another
// reason than the message.
const cutBase = 1 << 15

// maxLost is how many messages of a folder can be lost at once. With more, it is the server that is ill.
const maxLost = 64

var errManyLost = fmt.Errorf("the server hands out none of more than %d messages that it lists", maxLost)

// When to give up a message that the server lists and does not hand out.
const (
	lostTries = 3
	lostAfter = 15 * time.Minute
)

// When to give up a message at which FETCH fails: longer than most outages.
const (
	cutTries = 10
	cutAfter = 8 * time.Hour
)

// IsZero reports whether p is the Position of a folder never read.
func (p Position) IsZero() bool { return p == Position{} }

// Behind reports whether there is backfill to read: mail that was there when the folder was first seen.
func (p Position) Behind() bool { return p.ahead != span{} }

// base is the span of the lowest UIDs: all of them, or those of the backfill.
func (p *Position) base() span { return span{p.Low, p.window} }

func (p *Position) setBase(s span) { p.Low, p.window = s.low, s.window }

// spanOf returns the span that a range of UIDs belongs to.
func (p *Position) spanOf(w window) span {
	if p.isAhead(w.from) {
		return p.ahead
	}
	return p.base()
}

// isAhead reports whether a UID is one that ahead is about.
func (p *Position) isAhead(uid uint32) bool { return p.Behind() && uid >= p.Next }

// Settled reports whether a UID needs no more attention.
func (p Position) Settled(uid uint32) bool {
	switch {
	case p.passed(uid):
		return !p.isLost(uid)
	case p.isAhead(uid):
		return p.ahead.has(uid)
	}
	return p.base().has(uid)
}

// passed reports whether the low mark that a UID belongs to has reached it, so that no listing asks for it any more.
func (p *Position) passed(uid uint32) bool {
	if p.isAhead(uid) {
		return uid <= p.ahead.low
	}
	return uid <= p.Low
}

// High returns the highest settled UID.
func (p Position) High() uint32 {
	if p.Behind() {
		return p.ahead.high()
	}
	return p.base().high()
}

// Gaps returns the UIDs that are not settled although a higher one of the same kind, backfill or not, is; ascending.
func (p Position) Gaps() []uint32 {
	gaps := slices.Concat(p.lostOf(true), p.base().holes(), p.ahead.holes())
	slices.Sort(gaps)
	return gaps
}

// lostOf returns the lost UIDs that are passed, or those that are not, ascending.
func (p *Position) lostOf(passed bool) []uint32 {
	var uids []uint32
	for _, l := range p.lostOnes() {
		if !l.isDraft() && p.passed(l.uid) == passed {
			uids = append(uids, l.uid)
		}
	}
	return uids
}

// settle marks a UID as done.
func (p *Position) settle(uid uint32) {
	p.N++
	p.forget(uid)
	if p.isAhead(uid) {
		p.ahead.settle(uid)
		return
	}
	s := p.base()
	s.settle(uid)
	p.setBase(s)
}

// split makes what lies below Next the backfill, if there can be any.
func (p *Position) split() {
	if p.Behind() || p.Next < 2 || p.base().high() >= p.Next-1 {
		return
	}
	p.ahead = span{low: p.Next - 1}
}

// join ends the backfill. Of the highest UIDs the holes that one window has room for are remembered.
func (p *Position) join() {
	ahead, s := p.ahead, p.base()
	p.ahead = span{}
	p.N++
	high := ahead.high()
	if high-s.low > windowSize {
		s.shift(high - s.low - windowSize)
	}
	for uid := max(p.Next, s.low+1); uid <= high; uid++ {
		if ahead.has(uid) {
			i := uid - s.low - 1
			s.window[i/64] |= 1 << (i % 64)
		}
	}
	s.advance()
	p.setBase(s)
}

// isLost reports whether a UID was asked for in vain before.
func (p *Position) isLost(uid uint32) bool {
	i, is := p.findLost(uid)
	return is && !p.lostOnes()[i].isDraft()
}

// triesOf returns how often a UID was asked for in vain.
func (p *Position) triesOf(uid uint32) int {
	if i, is := p.findLost(uid); is {
		return int(p.lostOnes()[i].tries)
	}
	return 0
}

// findLost returns where a UID is, or would be, among the lost ones.
func (p *Position) findLost(uid uint32) (i int, is bool) {
	return slices.BinarySearchFunc(p.lostOnes(), uid, func(l lost, uid uint32) int { return cmp.Compare(l.uid, uid) })
}

// lostOnes returns the lost messages, ascending.
func (p *Position) lostOnes() []lost {
	all, _ := parseLost(p.lost)
	return all
}

func (p *Position) setLost(all []lost) {
	var b []byte
	for i, l := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%d.%d.%d", l.uid, l.tries, l.first)
	}
	p.lost = string(b)
}

func parseLost(s string) (all []lost, err error) {
	if s == "" {
		return nil, nil
	}
	for one := range strings.SplitSeq(s, ",") {
		part := strings.Split(one, ".")
		if len(part) != 3 {
			return nil, fmt.Errorf("lost %q", clip(one))
		}
		uid, err1 := strconv.ParseUint(part[0], 10, 32)
		tries, err2 := strconv.ParseUint(part[1], 10, 16)
		first, err3 := strconv.ParseUint(part[2], 10, 62)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		if uid == 0 || len(all) > 0 && uint32(uid) <= all[len(all)-1].uid || len(all) == maxLost {
			return nil, fmt.Errorf("lost %q: zero, not ascending, or too many", clip(one))
		}
		all = append(all, lost{uint32(uid), uint16(tries), int64(first)})
	}
	return all, nil
}

// lose books one more try in vain. It returns true if the message should be given up, and an error if there are too many
// of them.
func (p *Position) lose(uid uint32, now time.Time) (giveUp bool, err error) {
	if !p.remember(uid, now) {
		return false, errManyLost
	}
	tries, age := p.book(uid, 0, now)
	return tries >= lostTries && age >= lostAfter, nil
}

// cut books a FETCH that failed at a message, sure if it certainly was the message's fault. It returns true if the message
// should be given up.
func (p *Position) cut(uid uint32, sure bool, now time.Time) (giveUp bool) {
	if !p.remember(uid, now) {
		return false
	}
	tries, age := p.book(uid, cutBase, now)
	return tries >= cutTries && age >= cutAfter || sure && tries >= lostTries && age >= lostAfter
}

// book counts a try of a lost message, from base on. It returns how many there were of this kind, and since when.
func (p *Position) book(uid uint32, base uint16, now time.Time) (tries uint16, age time.Duration) {
	all := p.lostOnes()
	i, _ := p.findLost(uid)
	l := &all[i]
	if l.tries > 0 && (l.tries >= cutBase) != (base == cutBase) || l.isDraft() {
		l.tries, l.first = 0, now.Unix() // what it was before does not count
	}
	l.first = min(l.first, max(now.Unix(), 0)) // a clock that went back must not make it wait for a day
	most := time.Duration(1000)
	if base == cutBase {
		most = min(most, lostTries+l.age(now)/lostAfter) // see due
	}
	l.tries = base + min(l.tries&(cutBase-1)+1, uint16(most))
	p.setLost(all)
	return l.tries - base, l.age(now)
}

func (l lost) age(now time.Time) time.Duration {
	return time.Duration(now.Unix()-l.first) * time.Second
}

// postponed returns the lost messages at which FETCH has failed for so long that others go first, those first at which it did
// so least often.
func (p *Position) postponed(now time.Time) (uids []uint32) {
	all := slices.DeleteFunc(p.lostOnes(), func(l lost) bool {
		return l.isDraft() || l.tries < cutBase+lostTries || l.age(now) < lostAfter
	})
	slices.SortStableFunc(all, func(a, b lost) int { return int(a.tries) - int(b.tries) })
	for _, l := range all {
		uids = append(uids, l.uid)
	}
	return uids
}

// due returns those of the postponed messages whose turn it is: since FETCH may end the session, each has one within lostAfter.
func (p *Position) due(now time.Time) []uint32 {
	return slices.DeleteFunc(p.postponed(now), func(uid uint32) bool {
		i, _ := p.findLost(uid)
		l := p.lostOnes()[i]
		turns := time.Duration(l.tries - cutBase - lostTries)
		return turns <= cutAfter/lostAfter && l.age(now) < (turns+1)*lostAfter
	})
}

// remember puts a UID on the list of lost ones, where no low mark passes it. It returns false if there is no room. A draft must
// make room for it.
func (p *Position) remember(uid uint32, now time.Time) bool {
	p.N++
	i, is := p.findLost(uid)
	if is {
		return true
	}
	if len(p.lostOnes()) >= maxLost {
		if !p.forgetOldestDraft() {
			return false
		}
		i, _ = p.findLost(uid)
	}
	p.setLost(slices.Insert(p.lostOnes(), i, lost{uid: uid, first: now.Unix()}))
	return true
}

// forget takes a UID off the lost ones.
func (p *Position) forget(uid uint32) {
	if i, is := p.findLost(uid); is {
		p.setLost(slices.Delete(p.lostOnes(), i, i+1))
	}
}

// note notes when a settled message arrived. A date that is yet to come counts as now.
func (p *Position) note(date, now time.Time) {
	p.seen = max(p.seen, min(date.Unix(), now.Unix()))
	if uint64(p.Low)+1 >= uint64(p.Next) {
		p.known = max(p.known, p.seen)
	}
}

// boundary returns the time before which all that arrived was dealt with, zero if that cannot be said.
func (p Position) boundary() time.Time {
	if p.known == 0 {
		return time.Time{}
	}
	return time.Unix(p.known, 0).UTC()
}

// wanted returns the day from which on backfill is wanted, zero if all of it is.
func (p Position) wanted() time.Time {
	if p.since == 0 {
		return time.Time{}
	}
	return time.Unix(int64(p.since)*86400, 0).UTC()
}

// dayOf returns the day of wanted: 0 if no mail is older.
func dayOf(t time.Time) int32 {
	return int32(max(0, time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix()/86400))
}
