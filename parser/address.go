package parser

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mailflume/mailflume/event"
)

// addressScan reads an address list (RFC 5322, section 3.4, and what real mail makes of it). One odd mailbox never costs
// the others: each is read as well as it can be.
type addressScan struct {
	text  []byte
	pos   int
	words words
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
	s := addressScan{text: value, words: w}
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

func isEncodedWord(phrase []byte) bool {
	return bytes.HasPrefix(phrase, []byte("=?")) && bytes.HasSuffix(phrase, []byte("?="))
}

// flushSurname reads a word without "@" before a comma as an address after all.
func (s *addressScan) flushSurname() {
	if s.surname != nil {
		phrase := s.surname
		s.surname = nil
		s.bare(phrase, nil)
	}
}

func (s *addressScan) angled(box mailbox, phrase []byte) {
	email := box.angle
	if len(email) > 0 && email[0] == '@' { // the obsolete route: <@a,@b:ann@example.org>
		if colon := bytes.IndexByte(email, ':'); colon >= 0 {
			email, s.odd = email[colon+1:], true
		}
	}
	name := s.words.decode(phrase)
	if name == "" {
		name = s.words.decode(box.comment)
	}
	address := s.email(email)
	if address == "" && strings.Contains(name, "@") && !strings.Contains(name, " ") {
		address, name, s.odd = name, "", true
	}
	s.add(name, address)
}

// bare reads a mailbox without angle brackets: ann@example.org, ann@example.org (Ann), Ann ann@example.org, MAILER-DAEMON.
func (s *addressScan) bare(phrase, comment []byte) {
	if bytes.IndexByte(phrase, '@') < 0 && bytes.Contains(phrase, []byte("=?")) {
		decoded := s.words.decode(phrase)
		s.odd = true
		if open := strings.IndexByte(decoded, '<'); open >= 0 && strings.Contains(decoded[open:], "@") {
			end := strings.IndexByte(decoded[open:], '>')
			if end < 0 {
				end = len(decoded) - open
			}
			s.add(strings.Trim(decoded[:open], " \""), decoded[open+1:open+end])
			return
		}
		if !strings.Contains(decoded, "@") {
			s.add(decoded, "")
			return
		}
		phrase = []byte(decoded)
	}
	name := s.words.decode(comment)
	if fields := spaced(phrase); len(fields) > 1 && phrase[0] != '"' && s.bareWords(fields, name) {
		return
	}
	s.odd = s.odd || bytes.IndexByte(phrase, '@') < 0
	s.add(name, s.email(phrase))
}

// bareWords reads words of which one is an address and the others are its name. If several are, the commas between them
// are missing, and the words before each are its name. It says no if none is.
func (s *addressScan) bareWords(fields [][]byte, name string) bool {
	found := 0
	for _, f := range fields {
		if isAddressWord(f) {
			found++
		}
	}
	if found == 0 {
		return false
	}
	s.odd = true
	start := 0
	for i, f := range fields {
		if !isAddressWord(f) {
			continue
		}
		around := fields[start:i:i]
		if found--; found == 0 {
			around = append(around, fields[i+1:]...)
		}
		s.add(cmpOr(s.words.decode(bytes.Join(around, []byte{' '})), name), s.email(f))
		start = i + 1
	}
	return true
}

// spaced returns the words of a phrase, or nothing if it is one.
func spaced(phrase []byte) [][]byte {
	if !slices.ContainsFunc(phrase, func(c byte) bool { return c <= ' ' || c >= utf8.RuneSelf }) {
		return nil
	}
	return bytes.Fields(phrase)
}

// isAddressWord says whether a word looks like an address. Spaces around the "@" itself do not count.
func isAddressWord(word []byte) bool {
	at := bytes.IndexByte(word, '@')
	return at > 0 && at < len(word)-1
}

// email cleans an address: no white space outside quotes, no comments, no mailto, no brackets around it.
func (s *addressScan) email(b []byte) string {
	b = trim(b)
	for len(b) > 0 && (b[0] == '<' || b[0] == '>') {
		b = trim(b[1:])
	}
	for len(b) > 0 && (b[len(b)-1] == '<' || b[len(b)-1] == '>') {
		b = trim(b[:len(b)-1])
	}
	if len(b) > 7 && bytes.EqualFold(b[:7], []byte("mailto:")) {
		b, s.odd = b[7:], true
	}
	if bytes.IndexByte(b, '(') >= 0 && bytes.IndexByte(b, '"') < 0 { // <ann(a comment)@example.org>
		b, s.odd = []byte(withoutComments(string(b))), true
	}
	if n := len(b) - 1; n > 0 && b[n] == ']' && (b[0] == '[' || bytes.IndexByte(b, '[') < 0) { // [ann@example.org]
		b, s.odd = bytes.TrimPrefix(b[:n], []byte{'['}), true
	}
	if bytes.Contains(b, []byte("=?")) {
		s.odd = true
		return s.words.decode(b)
	}
	address := s.words.decode(b)
	if strings.ContainsAny(address, " \t") && !strings.Contains(address, `"`) {
		s.odd = true
		if strings.Contains(address, "@") {
			address = strings.Join(strings.Fields(address), "")
		}
	}
	return address
}

func (s *addressScan) add(name, email string) {
	if name == "" && email == "" {
		return
	}
	s.odd = s.odd || !strings.Contains(email, "@")
	if s.list == nil {
		const many = 1000
		s.list = make([]event.EmailAddress, 0, min(many, 1+bytes.Count(s.text[s.pos:], []byte{','})))
	}
	a := event.EmailAddress{Email: email}
	if name != "" {
		a.Name = ptr(name)
	}
	s.list = append(s.list, a)
}

func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			i++
		}
		out = append(out, b[i])
	}
	return out
}
