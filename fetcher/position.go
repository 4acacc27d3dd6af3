package fetcher

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// windowSize is how many UIDs after Low a Position tells apart. A message that shows late is found if no more than so
// many UIDs were read past it.
const windowSize = 1024

// Position says how far a folder was read. It is a value: comparing, copying and keeping it is safe.
//
// A UID is settled if its message was yielded, or need not be. Every UID up to Low is settled; of the windowSize UIDs
// after it, window has one bit each. A UID that is not settled although a higher one is, is a hole: mostly a message that
// was deleted, sometimes one that the server has not shown yet, so holes are looked for on each pass until they fall out
// of the window. A message that the server lists and does not hand out is lost: it is asked for again, in the window or
// out of it, until it comes or is given up.
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
}

// lost is a message that is listed and not handed out.
type lost struct {
	uid   uint32
	tries uint16
	first int64 // Unix seconds
}

// maxLost is how many messages of a folder can be lost at once. With more, it is the server that is ill.
const maxLost = 64

// When to give up a message that the server lists and does not hand out.
const (
	lostTries = 3
	lostAfter = 15 * time.Minute
)

// IsZero reports whether p is the Position of a folder never read.
func (p Position) IsZero() bool { return p == Position{} }

// Settled reports whether a UID needs no more attention.
func (p Position) Settled(uid uint32) bool {
	if uid <= p.Low {
		return !p.isLost(uid)
	}
	i := uid - p.Low - 1
	return i < windowSize && p.window[i/64]&(1<<(i%64)) != 0
}

// High returns the highest settled UID.
func (p Position) High() uint32 {
	for i := len(p.window) - 1; i >= 0; i-- {
		if p.window[i] != 0 {
			return p.Low + uint32(i*64+bits.Len64(p.window[i]))
		}
	}
	return p.Low
}

// Gaps returns the UIDs below High that are not settled, ascending.
func (p Position) Gaps() []uint32 {
	gaps := p.lostBelow()
	for i := range p.High() - p.Low {
		if uid := p.Low + 1 + i; !p.Settled(uid) {
			gaps = append(gaps, uid)
		}
	}
	return gaps
}

// lostBelow returns the lost UIDs that Low has passed, ascending.
func (p Position) lostBelow() []uint32 {
	var uids []uint32
	for _, l := range p.lostOnes() {
		if l.uid <= p.Low {
			uids = append(uids, l.uid)
		}
	}
	return uids
}

// lostAbove returns the lost UIDs that Low has not passed, ascending.
func (p Position) lostAbove() []uint32 {
	var uids []uint32
	for _, l := range p.lostOnes() {
		if l.uid > p.Low {
			uids = append(uids, l.uid)
		}
	}
	return uids
}

// settle marks a UID as done. If it lies beyond the window, Low follows and the holes that it passes are settled too.
func (p *Position) settle(uid uint32) {
	p.N++
	p.forget(uid)
	if uid <= p.Low {
		return
	}
	if uid-p.Low > windowSize {
		p.shift(uid - p.Low - windowSize)
	}
	i := uid - p.Low - 1
	p.window[i/64] |= 1 << (i % 64)
	p.advance()
}

// advance moves Low over the settled UIDs that follow it.
func (p *Position) advance() {
	n := 0
	for _, w := range p.window {
		ones := bits.TrailingZeros64(^w)
		n += ones
		if ones < 64 {
			break
		}
	}
	p.shift(uint32(n))
}

// shift moves Low by n and the window with it.
func (p *Position) shift(n uint32) {
	p.Low += n
	if n >= windowSize {
		p.window = [len(p.window)]uint64{}
		return
	}
	words, rest := int(n/64), n%64
	for i := range p.window {
		var w uint64
		if i+words < len(p.window) {
			w = p.window[i+words] >> rest
		}
		if rest > 0 && i+words+1 < len(p.window) {
			w |= p.window[i+words+1] << (64 - rest)
		}
		p.window[i] = w
	}
}

// isLost reports whether a UID was asked for in vain before.
func (p *Position) isLost(uid uint32) bool {
	_, is := p.findLost(uid)
	return is
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
		return false, &ServerError{Command: "FETCH", Text: fmt.Sprintf("more than %d messages are listed and not handed out", maxLost)}
	}
	all := p.lostOnes()
	i, _ := p.findLost(uid)
	l := &all[i]
	l.tries = min(l.tries+1, 1000)
	l.first = min(l.first, max(now.Unix(), 0)) // a clock that went back must not make it wait for a day
	p.setLost(all)
	return l.tries >= lostTries && now.Unix()-l.first >= int64(lostAfter/time.Second), nil
}

// remember puts a UID on the list of lost ones, where Low does not pass it. It returns false if there is no room.
func (p *Position) remember(uid uint32, now time.Time) bool {
	p.N++
	i, is := p.findLost(uid)
	if is {
		return true
	}
	all := p.lostOnes()
	if len(all) >= maxLost {
		return false
	}
	p.setLost(slices.Insert(all, i, lost{uid: uid, first: now.Unix()}))
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

func dayOf(t time.Time) int32 {
	return int32(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// positionVersion begins the text of a Position; it changes with its form.
const positionVersion = "p1"

// String returns p as a compact text without spaces, for ParsePosition:
//
//	p1;<uidvalidity>;<low>;<next>;<n>;<since>;<relist>;<window>;<lost>;<known>;<seen>
//
// relist is 0 or 1; window is base64url of its bytes, the lowest UID in the lowest bit of the first, without trailing zero bytes; lost is
// uid.tries.first of each, with commas between. The last two are left out if both are 0. Numbers are decimal.
func (p Position) String() string {
	var win []byte
	for _, w := range p.window {
		for i := range 8 {
			win = append(win, byte(w>>(8*i)))
		}
	}
	for len(win) > 0 && win[len(win)-1] == 0 {
		win = win[:len(win)-1]
	}
	relist := 0
	if p.relist {
		relist = 1
	}
	text := fmt.Sprintf("%s;%d;%d;%d;%d;%d;%d;%s;%s", positionVersion, p.UIDValidity, p.Low, p.Next, p.N, p.since, relist,
		base64.RawURLEncoding.EncodeToString(win), p.lost)
	if p.known == 0 && p.seen == 0 {
		return text
	}
	return fmt.Sprintf("%s;%d;%d", text, p.known, p.seen)
}

// ParsePosition reads what String wrote. It refuses everything else.
func ParsePosition(s string) (Position, error) {
	var p Position
	fields := strings.Split(s, ";")
	if fields[0] != positionVersion {
		return p, fmt.Errorf("position %q: unknown version", clip(s))
	}
	if len(fields) != 9 && len(fields) != 11 {
		return p, fmt.Errorf("position %q: %d fields", clip(s), len(fields))
	}
	var errs []error
	num := func(s string, bits int) uint64 {
		n, err := strconv.ParseUint(s, 10, bits)
		errs = append(errs, err)
		return n
	}
	p.UIDValidity = uint32(num(fields[1], 32))
	p.Low = uint32(num(fields[2], 32))
	p.Next = uint32(num(fields[3], 32))
	p.N = num(fields[4], 64)
	p.since = int32(num(fields[5], 31))
	p.relist = num(fields[6], 1) == 1
	win, err := base64.RawURLEncoding.Strict().DecodeString(fields[7])
	errs = append(errs, err)
	if len(win) > windowSize/8 {
		errs = append(errs, errors.New("window too large"))
		win = nil
	}
	for i, b := range win {
		p.window[i/8] |= uint64(b) << (8 * (i % 8))
	}
	all, err := parseLost(fields[8])
	errs = append(errs, err)
	if len(fields) == 11 {
		p.known, p.seen = int64(num(fields[9], 62)), int64(num(fields[10], 62))
	}
	p.setLost(all)
	if err := errors.Join(errs...); err != nil {
		return Position{}, fmt.Errorf("position %q: %w", clip(s), err)
	}
	if p.String() != s {
		return Position{}, fmt.Errorf("position %q: not in its plain form", clip(s))
	}
	return p, nil
}
