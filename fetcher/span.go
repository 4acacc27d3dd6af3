package fetcher

import "math/bits"

// windowSize is how many UIDs after its low mark a span tells apart. A message that shows late is found if no more than so
// many UIDs were read past it.
const windowSize = 1024

// span says which UIDs are settled of those that are read in ascending order: every one up to low, and of the windowSize
// after it those whose bit is set.
type span struct {
	low    uint32
	window [windowSize / 64]uint64
}

// has reports whether a UID is settled.
func (s span) has(uid uint32) bool {
	if uid <= s.low {
		return true
	}
	i := uid - s.low - 1
	return i < windowSize && s.window[i/64]&(1<<(i%64)) != 0
}

// high returns the highest settled UID.
func (s span) high() uint32 {
	for i := len(s.window) - 1; i >= 0; i-- {
		if s.window[i] != 0 {
			return s.low + uint32(i*64+bits.Len64(s.window[i]))
		}
	}
	return s.low
}

// holes returns the UIDs below high that are not settled, ascending.
func (s span) holes() (uids []uint32) {
	for i := range s.high() - s.low {
		if uid := s.low + 1 + i; !s.has(uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// settle marks a UID as done. If it lies beyond the window, low follows and the holes that it passes are settled too.
func (s *span) settle(uid uint32) {
	if uid <= s.low {
		return
	}
	if uid-s.low > windowSize {
		s.shift(uid - s.low - windowSize)
	}
	i := uid - s.low - 1
	s.window[i/64] |= 1 << (i % 64)
	s.advance()
}

// advance moves low over the settled UIDs that follow it.
func (s *span) advance() {
	n := 0
	for _, w := range s.window {
		ones := bits.TrailingZeros64(^w)
		n += ones
		if ones < 64 {
			break
		}
	}
	s.shift(uint32(n))
}

// shift moves low by n and the window with it.
func (s *span) shift(n uint32) {
	s.low += n
	if n >= windowSize {
		s.window = [len(s.window)]uint64{}
		return
	}
	words, rest := int(n/64), n%64
	for i := range s.window {
		var w uint64
		if i+words < len(s.window) {
			w = s.window[i+words] >> rest
		}
		if rest > 0 && i+words+1 < len(s.window) {
			w |= s.window[i+words+1] << (64 - rest)
		}
		s.window[i] = w
	}
}
