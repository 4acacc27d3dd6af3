package parser

import (
	"bytes"
	"slices"

	"github.com/mailflume/mailflume/event"
)

// addressScan reads an address list (RFC 5322, section 3.4, and what real mail makes of it). One odd mailbox never costs
// the others: each is read as well as it can be.
type addressScan struct {
	text  []byte
	pos   int
	words words
	limit int  // how many there can be
	odd   bool // something is not as the standard wants it

	open   bool // no encoded word ends behind here
	parens bool // a "(" is not closed, so it and those behind it are letters
	quotes bool // the same with a quote

	list    []event.EmailAddress
	box     mailbox
	surname []byte // "Lee" of "Lee, Ann <ann@example.org>"
}

// mailbox is an address as far as it was read.
type mailbox struct {
	phrase  []byte // words and quoted strings, with the white space between them
	comment []byte
	angle   []byte // between angle brackets
	angled  bool
	before  int // how much of the phrase stands before the angle brackets
}

// parseAddresses returns the mailboxes of a list; groups are flattened.
func parseAddresses(value []byte, w words, limit int) (list []event.EmailAddress, odd bool) {
	s := addressScan{text: value, words: w, limit: limit}
	for s.pos < len(s.text) {
		if len(s.list) >= limit {
			w.notes.add(DefectLimitAddresses)
			return s.list[:limit], s.odd
		}
		switch c := s.text[s.pos]; c {
		case ',', ';':
			s.pos++
			s.finish(c)
		case ':':
			s.group()
		case '"':
			s.quoted()
		case '(':
			s.comment()
		case '<':
			s.angle()
		case '=':
			s.word()
		case '>':
			s.pos++
			if len(s.box.phrase) == 0 {
				s.box.phrase = append(s.box.phrase, c)
			}
		default:
			s.letters()
		}
	}
	s.finish(0)
	if len(s.list) > limit {
		w.notes.add(DefectLimitAddresses)
		s.list = s.list[:limit]
	}
	return s.list, s.odd
}

// letters takes what has no meaning of its own. Most phrases are one such piece: it is not copied.
func (s *addressScan) letters() {
	end := s.pos + 1
	for end < len(s.text) && !specialInAddress[s.text[end]] {
		end++
	}
	piece := s.text[s.pos:end:end]
	s.pos = end
	if len(s.box.phrase) == 0 {
		s.box.phrase = piece
		return
	}
	s.box.phrase = append(s.box.phrase, piece...)
}

var specialInAddress = [256]bool{',': true, ';': true, ':': true, '"': true, '(': true, '<': true, '>': true, '=': true}

// group takes "name:" off, if it is the name of a group and not a part of something else.
func (s *addressScan) group() {
	s.pos++
	phrase := bytes.TrimSpace(s.box.phrase)
	if len(phrase) >= 6 && bytes.EqualFold(phrase[len(phrase)-6:], []byte("mailto")) {
		// "mailto:ann@example.org", "Ann [mailto:ann@example.org]"
		const longest = 500
		name := bytes.TrimRight(phrase[:len(phrase)-6], " \t[(")
		s.box.phrase, s.odd = nil, true
		if len(name) > 0 && len(name) <= longest {
			s.box.phrase = append(slices.Clip(name), ' ')
		}
		return
	}
	if s.box.angled || len(phrase) == 0 || bytes.IndexByte(phrase, '@') >= 0 {
		s.odd = true
		s.box.phrase = append(s.box.phrase, ':')
		return
	}
	s.box = mailbox{}
	s.surname = nil
}

// word takes an encoded word whole: a comma, a colon or a quote in it separates nothing.
func (s *addressScan) word() {
	size := 1
	if !s.open && bytes.HasPrefix(s.text[s.pos:], []byte("=?")) {
		_, n, open := parseWord(s.text[s.pos:])
		s.open = open
		size = max(n, 1)
	}
	s.box.phrase = append(s.box.phrase, s.text[s.pos:s.pos+size]...)
	s.pos += size
}

func (s *addressScan) quoted() {
	s.pos++
	if s.quotes {
		return
	}
	end := s.pos
	for end < len(s.text) && s.text[end] != '"' {
		if s.text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s.text) {
		s.quotes, s.odd = true, true
		return
	}
	if !s.box.angled {
		if local := end+1 < len(s.text) && s.text[end+1] == '@'; local { // "ann lee"@example.org
			s.box.phrase = append(s.box.phrase, s.text[s.pos-1:end+1]...)
		} else {
			piece := unescape(s.text[s.pos:end:end])
			if len(s.box.phrase) > 0 {
				piece = append(s.box.phrase, piece...)
			}
			s.box.phrase = piece
		}
	}
	s.pos = end + 1
}

func (s *addressScan) comment() {
	s.pos++
	if s.parens {
		s.box.phrase = append(s.box.phrase, '(')
		return
	}
	depth, end := 1, s.pos
	for ; end < len(s.text); end++ {
		switch s.text[end] {
		case '\\':
			end++
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			break
		}
	}
	if depth > 0 {
		s.parens, s.odd = true, true
		return
	}
	if s.box.comment == nil {
		s.box.comment = unescape(s.text[s.pos:end])
	}
	if len(s.box.phrase) > 0 {
		s.box.phrase = append(s.box.phrase, ' ')
	}
	s.pos = end + 1
}

// angle reads what stands between angle brackets. Without the closing one it ends at the next comma.
func (s *addressScan) angle() {
	s.pos++
	start, end := s.pos, s.pos
	inQuotes, inWord := false, false
scan:
	for ; end < len(s.text); end++ {
		switch c := s.text[end]; {
		case c == '"':
			inQuotes = !inQuotes && bytes.IndexByte(s.text[end+1:min(len(s.text), end+300)], '"') >= 0
		case inQuotes:
		case c == '>' || c == '<' && end > start:
			break scan
		case c == '?' && s.text[end-1] == '=':
			inWord = true
		case c == ',' && s.text[start] != '@' && !inWord:
			break scan
		}
	}
	inner := bytes.TrimSpace(s.text[start:end])
	s.pos = end
	if end < len(s.text) && s.text[end] == '>' {
		s.pos = end + 1
	} else {
		s.odd = true
	}
	if s.box.angled {
		s.odd = true
		if bytes.IndexByte(inner, '@') < 0 || bytes.EqualFold(inner, s.box.angle) {
			return
		}
		if bytes.IndexByte(s.box.angle, '@') >= 0 {
			s.another()
		} else if len(s.box.phrase) == 0 { // <Ann Lee <ann@example.org>>
			s.box.phrase = slices.Clip(s.box.angle)
		}
	}
	if len(inner) == 0 && end < len(s.text) && s.text[end] == '<' {
		return
	}
	s.box.angle, s.box.angled, s.box.before = inner, true, len(s.box.phrase)
}

// another ends a mailbox where the comma behind it is missing: "Ann <ann@example.org> Bob <bob@example.org>".
func (s *addressScan) another() {
	next := mailbox{phrase: bytes.Clone(s.box.phrase[s.box.before:])}
	s.box.phrase = slices.Clip(s.box.phrase[:s.box.before])
	s.finish(',')
	s.box = next
}

// finish turns what was read into a mailbox. sep is what stands behind it.
func (s *addressScan) finish(sep byte) {
	box := s.box
	s.box = mailbox{}
	phrase := bytes.TrimSpace(box.phrase)
	if sep == ';' {
		s.odd = s.odd || len(s.surname) > 0
	}
	switch {
	case box.angled:
		if s.surname != nil {
			phrase = append(append(append([]byte{}, s.surname...), ", "...), phrase...)
			s.surname = nil
			s.odd = true
		}
		s.angled(box, phrase)
	case len(phrase) == 0 && len(box.comment) == 0:
		s.flushSurname()
	case sep == ',' && bytes.IndexByte(phrase, '@') < 0 && len(phrase) > 0 && !isEncodedWord(phrase):
		s.flushSurname()
		s.surname = phrase
		return
	default:
		s.flushSurname()
		s.bare(phrase, box.comment)
	}
	if sep != ',' {
		s.flushSurname()
	}
}

// flushSurname reads a word without "@" before a comma as an address after all.
func (s *addressScan) flushSurname() {
	if s.surname != nil {
		phrase := s.surname
		s.surname = nil
		s.bare(phrase, nil)
	}
}
