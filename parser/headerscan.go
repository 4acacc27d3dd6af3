package parser

import (
	"bytes"
	"slices"
	"sync"
)

// headerScan reads one header block and copes with what real mail does to it.
type headerScan struct {
	raw    []byte
	pos    int
	part   bool  // of a part: its first blank line ends it, nothing is skipped before it
	walk   *walk // knows the boundaries, which end a header too; nil outside a message
	limits Limits
	notes  notes

	header header
	bytes  int
	dashes int  // lines that start with "--"
	end    int  // where the value of the last field ends
	open   bool // the last field was kept, so that a folded line can be added to it
}

// fieldRoom is where fields are collected until it is known how many there are.
var fieldRoom = sync.Pool{New: func() any { f := make([]field, 0, 64); return &f }}

// scan returns the header and where the body starts.
func (s *headerScan) scan() (h header, body int) {
	const usual = 64
	if s.walk != nil && s.walk.room != nil && cap(s.walk.room.fields)-len(s.walk.room.fields) >= usual {
		return s.scanInto(&s.walk.room.fields)
	}
	room := fieldRoom.Get().(*[]field)
	s.header = header{raw: s.raw, fields: (*room)[:0]}
	body = s.lines()
	if len(s.header.fields) > 0 {
		h = s.header
		h.fields = slices.Clone(h.fields)
	}
	const most = 1000
	if cap(s.header.fields) <= most {
		*room = s.header.fields
		fieldRoom.Put(room)
	}
	return h, body
}

// scanInto is scan with the fields where there is room for them, as far as it goes.
func (s *headerScan) scanInto(room *[]field) (h header, body int) {
	used := len(*room)
	s.header = header{raw: s.raw, fields: (*room)[used:]}
	body = s.lines()
	if end := used + len(s.header.fields); end <= cap(*room) {
		*room = (*room)[:end]
	}
	h = s.header
	h.fields = slices.Clip(h.fields)
	return h, body
}

// lines reads the fields and returns where the body starts.
func (s *headerScan) lines() int {
	if !s.part {
		s.skipStart()
	}
	for s.pos < len(s.raw) {
		line, next := lineAt(s.raw, s.pos)
		dashed := len(line) > 1 && line[0] == '-' && line[1] == '-'
		if name, ok := strictName(line); ok && !dashed {
			s.add(s.pos, s.pos+len(name), s.pos+len(line))
			s.pos = next
			continue
		}
		switch {
		case blank(line):
			if !s.fold(line, next) {
				return next
			}
		case dashed && s.delimits(line):
			return s.pos
		case dashed && s.ownBoundary(line):
			s.notes.add(DefectHeaderNoBlank)
			return s.pos
		case folded(line) && len(s.header.fields) > 0:
			s.extend(s.pos + len(line))
		case !s.take(line, next):
			s.notes.add(DefectHeaderNoBlank)
			return s.pos
		}
		s.pos = next
	}
	return len(s.raw)
}

// delimits says whether a line is a boundary.
func (s *headerScan) delimits(line []byte) bool {
	if s.walk == nil {
		return false
	}
	_, _, ok := s.walk.match(line)
	return ok
}

// ownBoundary says whether a line is the boundary that this very header names: then the blank line between is missing.
func (s *headerScan) ownBoundary(line []byte) bool {
	const most = 8
	word := trimRight(line[2:])
	if s.dashes++; len(word) == 0 || s.dashes > most {
		return false
	}
	value, ok := s.header.first("Content-Type")
	if !ok || !bytes.Contains(value, word) {
		return false
	}
	m := parseMedia(value, s.limits.Params)
	return m.str("boundary") == string(word)
}

// skipStart skips what may stand before the header of a message: a byte order mark, blank lines, an mbox line. Without a
// header behind them the lines belong to the body.
func (s *headerScan) skipStart() {
	if bytes.HasPrefix(s.raw[s.pos:], []byte("\xef\xbb\xbf")) {
		s.notes.add(DefectHeaderBOM)
		s.pos += 3
	}
	end := s.pos // of the white space
	for end < len(s.raw) && isSpace(s.raw[end]) {
		end++
	}
	blanks := s.raw[s.pos:end]
	if start := s.pos + 1 + bytes.LastIndexByte(blanks, '\n'); start > s.pos && s.looksLikeField(start) {
		s.notes.add(DefectHeaderBlankStart)
		s.pos = start
	}
}

// looksLikeField says whether a header field, or an mbox line, starts at pos.
func (s *headerScan) looksLikeField(pos int) bool {
	if pos >= len(s.raw) {
		return false
	}
	line, _ := lineAt(s.raw, pos)
	_, kind := fieldName(bytes.TrimLeft(line, " \t"))
	return kind >= nameSpaced || mboxFrom(line)
}

// fold says whether a line of white space continues a field rather than ending the header.
func (s *headerScan) fold(line []byte, next int) bool {
	if len(line) == 0 || len(s.header.fields) == 0 || next >= len(s.raw) {
		return false
	}
	after, _ := lineAt(s.raw, next)
	if folded(after) && !blank(after) || s.mailFieldFollows(next) {
		s.extend(s.pos + len(line))
		return true
	}
	return false
}

// mailFieldFollows says whether the next line is a field, and it or one closely behind it is a field that mail has.
func (s *headerScan) mailFieldFollows(next int) bool {
	const window = 10
	for range window {
		if next >= len(s.raw) {
			break
		}
		line, after := lineAt(s.raw, next)
		name, ok := strictName(line)
		if !ok {
			break
		}
		if isMailField(name) {
			return true
		}
		next = after
	}
	return false
}

// take reads a line that is not folded as a field, or skips it. It says no if the line belongs to the body.
func (s *headerScan) take(line []byte, next int) bool {
	at := s.pos
	if folded(line) {
		trimmed := bytes.TrimLeft(line, " \t")
		at += len(line) - len(trimmed)
		line = trimmed
	}
	if mboxFrom(line) {
		s.notes.add(DefectHeaderMbox)
		s.open = false
		return true
	}
	name, kind := fieldName(line)
	switch kind {
	case nameStrict:
		if at == s.pos {
			s.add(at, at+len(name), at+len(line))
			return true
		}
	case nameSpaced:
	case nameOdd:
		if s.joins(line) {
			return s.join(line)
		}
		if !s.headerGoesOn(next) && !s.fieldFollows(next) {
			return false
		}
	case nameNone:
		if s.joins(line) {
			return s.join(line)
		}
		if s.fieldFollows(next) {
			if s.open && s.foldFollows(next) {
				return s.join(line)
			}
			s.notes.add(DefectHeaderGarbage)
			s.open = false
			return true
		}
		return false
	}
	s.notes.add(DefectHeaderName)
	s.add(at, at+len(name), at+len(line))
	return true
}

// headerGoesOn says whether what follows an odd line is still the header: a field, a folded line or its end.
func (s *headerScan) headerGoesOn(next int) bool {
	if next >= len(s.raw) {
		return len(s.header.fields) > 0
	}
	line, _ := lineAt(s.raw, next)
	_, kind := fieldName(line)
	return kind >= nameSpaced || folded(line) || (blank(line) && len(s.header.fields) > 0)
}

// fieldFollows says whether the header goes on behind a line that is no field: the next line is one, or a field that mail
// has follows closely, before any blank line. The lines between may be folded ones, or ones that lost their white space.
func (s *headerScan) fieldFollows(next int) bool {
	const window = 10
	for i := 0; i < window && next < len(s.raw); i++ {
		line, after := lineAt(s.raw, next)
		if blank(line) || bytes.HasPrefix(line, []byte("--")) && s.delimits(line) {
			return false
		}
		name, kind := fieldName(line)
		if kind >= nameSpaced && (i == 0 || isMailField(name)) || i == 0 && mboxFrom(line) {
			return true
		}
		next = after
	}
	return false
}

// foldFollows says whether the next line continues a field: then the one before it most likely does too, and has lost its
// white space.
func (s *headerScan) foldFollows(next int) bool {
	line, _ := lineAt(s.raw, next)
	rest := trim(line)
	return folded(line) && len(rest) > 0 && rest[0] != ':'
}

// joins says whether a line lost the white space before it: the last value ends in ";" and the line is name=value, or it ends
// within the angle brackets of an address and the line closes them.
func (s *headerScan) joins(line []byte) bool {
	if !s.open || len(s.header.fields) == 0 {
		return false
	}
	last := trim(s.header.value(s.header.fields[len(s.header.fields)-1]))
	if bytes.HasSuffix(last, []byte{';'}) {
		equals := bytes.IndexByte(line, '=')
		return equals > 0 && !bytes.ContainsAny(line[:equals], " \t:\"")
	}
	const longest = 300 // of an address
	last, line = last[max(0, len(last)-longest):], line[:min(len(line), longest)]
	open, closing := bytes.LastIndexByte(last, '<'), bytes.IndexByte(line, '>')
	return open >= 0 && closing > 0 && bytes.IndexByte(last[open:], '>') < 0 && !bytes.ContainsAny(line[:closing], " \t:<")
}

func (s *headerScan) join(line []byte) bool {
	s.notes.add(DefectHeaderJoined)
	s.extend(s.pos + len(line))
	return true
}

// add keeps a field: where its name starts and ends, and its line.
func (s *headerScan) add(at, nameEnd, end int) {
	h := &s.header
	s.open = len(h.fields) < s.limits.HeaderFields && s.bytes < s.limits.HeaderBytes
	if !s.open {
		s.notes.add(DefectLimitHeader)
		return
	}
	start := nameEnd + 1
	for s.raw[start-1] != ':' {
		start++
	}
	bit := nameBit(s.raw[at:nameEnd])
	if h.names.has(bit) {
		h.twice.add(bit)
	}
	h.names.add(bit)
	h.fields = append(h.fields, field{at: at, nameEnd: nameEnd, start: start, end: start})
	s.end = start
	s.extend(end)
}

// extend lets the value of the last field reach up to end.
func (s *headerScan) extend(end int) {
	if !s.open {
		return
	}
	if room := s.limits.HeaderBytes - s.bytes; end-s.end > room {
		s.notes.add(DefectLimitHeader)
		end = s.end + max(room, 0)
		s.open = false
	}
	s.bytes += end - s.end
	f := &s.header.fields[len(s.header.fields)-1]
	f.end = end
	s.end = end
}
