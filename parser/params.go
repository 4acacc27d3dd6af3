package parser

import (
	"bytes"
	"slices"
	"strings"
)

// param is one parameter of a Content-Type or Content-Disposition. Its value is still in its charset.
type param struct {
	name     string // lower case, without the marks of RFC 2231
	value    []byte
	charset  string // of RFC 2231; empty if it names none
	extended bool   // RFC 2231: never holds encoded words
}

// media is a value with parameters: "type/subtype; name=value" or "attachment; name=value".
type media struct {
	value  string // lower case
	params []param
	repair bool // the field is not as the standard wants it
	more   bool // it had more parameters than the limit
	twice  bool // a parameter stands twice
}

// get returns a parameter, the RFC 2231 form before the plain one, or nil.
func (m *media) get(name string) *param {
	var plain *param
	for i := range m.params {
		p := &m.params[i]
		switch {
		case p.name != name:
		case p.extended:
			return p
		case plain == nil:
			plain = p
		}
	}
	return plain
}

// word returns the lower case of a word. The words that nearly all mail uses take no memory.
func word(b []byte) string {
	if known, ok := commonWords[string(b)]; ok {
		return known
	}
	return lower(string(b))
}

var commonWords = func() map[string]string {
	words := make(map[string]string)
	for _, w := range []string{
		"text/plain", "text/html", "multipart/mixed", "multipart/alternative", "multipart/related", "multipart/report", "multipart/signed",
		"message/rfc822", "message/delivery-status", "application/octet-stream", "application/pdf", "image/png", "image/jpeg", "image/gif",
		"boundary", "charset", "name", "filename", "format", "delsp", "type", "method", "report-type", "protocol", "micalg", "size",
		"delivery-status", "disposition-notification", "feedback-report",
		"utf-8", "us-ascii", "iso-8859-1", "windows-1252", "flowed", "attachment", "inline", "7bit", "8bit", "base64", "quoted-printable",
	} {
		words[w], words[strings.ToUpper(w)] = w, w
	}
	return words
}()

func (m *media) str(name string) string {
	p := m.get(name)
	if p == nil {
		return ""
	}
	value := bytes.TrimSpace(p.value)
	if known, ok := commonWords[string(value)]; ok && known == string(value) {
		return known
	}
	return string(value)
}

// parseMedia reads an unfolded value.
func parseMedia(value []byte, limit int) media { return readMedia(value, limit, nil) }

// readMedia is parseMedia with the parameters where there is room for them, as far as it goes. It never loses a parameter
// because of what stands beside it.
func readMedia(value []byte, limit int, room []param) media {
	var m media
	s := paramScan{text: value}
	head := s.head()
	if bytes.IndexByte(head, '/') >= 0 && bytes.IndexByte(head, ' ') >= 0 { // "text / html"
		head = bytes.ReplaceAll(bytes.ReplaceAll(head, []byte(" /"), []byte{'/'}), []byte("/ "), []byte{'/'})
	}
	if validHead(head) {
		m.value = word(head)
	} else {
		s.repair = true
		m.value = strings.ToValidUTF8(word(cleanHead(head)), "\ufffd")
	}
	m.params = room[:0:len(room)]
	if n := bytes.Count(value, []byte{'='}); n > len(room) {
		m.params = make([]param, 0, min(n, limit))
	}
	var segments []segment
	for n := 0; ; n++ {
		name, v, ok := s.next()
		if !ok {
			break
		}
		if n >= limit {
			m.more = true
			break
		}
		if star := bytes.IndexByte(name, '*'); star > 0 {
			segments = append(segments, newSegment(name, star, v))
			continue
		}
		m.params = append(m.params, param{name: word(name), value: v})
	}
	m.twice = contradict(m.params)
	if segments != nil {
		m.params = append(m.params, joinSegments(segments)...)
	}
	m.repair = s.repair
	return m
}

// contradict says whether a known parameter stands twice, with two values.
func contradict(params []param) bool {
	if len(params) < 2 {
		return false
	}
	var firsts [len(knownParams)]*param
	for i := range params {
		p := &params[i]
		which := slices.Index(knownParams[:], p.name)
		switch {
		case which < 0:
		case firsts[which] == nil:
			firsts[which] = p
		case !bytes.Equal(firsts[which].value, p.value):
			return true
		}
	}
	return false
}

// paramScan takes a value with parameters apart.
type paramScan struct {
	text   []byte
	pos    int
	repair bool
	open   bool // a quote is not closed, so none behind it is
}

// head returns what stands before the parameters. A value that starts with a parameter has no head.
func (s *paramScan) head() []byte {
	end := bytes.IndexByte(s.text, ';')
	if end < 0 {
		end = len(s.text)
	}
	head := s.text[:end]
	if bytes.IndexByte(head, '=') >= 0 {
		s.repair = true
		// "text/plain charset=utf-8", "text/plain,charset=utf-8": no semicolon. "boundary=x": the head is missing.
		stop := bytes.IndexAny(bytes.TrimLeft(head, " \t"), " \t,:")
		lead := len(head) - len(bytes.TrimLeft(head, " \t"))
		if stop < 0 || bytes.IndexByte(head[:lead+stop], '=') >= 0 {
			return nil
		}
		head = head[:lead+stop]
		end = len(head)
		for end < len(s.text) && (s.text[end] == ',' || s.text[end] == ':') {
			end++
		}
	}
	s.pos = end
	return bytes.TrimSpace(stripComment(head))
}

// validHead says whether there is nothing in a head but tokens and a slash.
func validHead(head []byte) bool {
	for _, c := range head {
		if !isToken(c) && c != '/' {
			return false
		}
	}
	return true
}

// cleanHead takes off a head what real mail puts around it: "text/html" in quotes, "text/html," "Content-Type: text/html",
// "text/html utf-8".
func cleanHead(head []byte) []byte {
	const around = " \t\"',:;"
	for _, word := range bytes.FieldsFunc(head, func(r rune) bool { return strings.ContainsRune(around, r) }) {
		if validType(string(word)) {
			return word
		}
	}
	return bytes.Trim(head, around)
}

// next returns the next parameter.
func (s *paramScan) next() (name, value []byte, ok bool) {
	for {
		for s.pos < len(s.text) && (s.text[s.pos] == ';' || s.text[s.pos] == ',' || isSpace(s.text[s.pos])) {
			s.pos++
		}
		if s.pos >= len(s.text) {
			return nil, nil, false
		}
		start := s.pos
		for s.pos < len(s.text) && s.text[s.pos] != '=' && s.text[s.pos] != ';' {
			s.pos++
		}
		name = bytes.TrimSpace(stripComment(s.text[start:s.pos]))
		if s.pos >= len(s.text) || s.text[s.pos] == ';' || len(name) == 0 {
			s.repair = s.repair || len(name) > 0
			if name, value, ok := bytes.Cut(name, []byte{':'}); ok && isKnownParam(name) { // "charset: utf-8"
				return name, bytes.Trim(value, " \t\""), true
			}
			if s.pos < len(s.text) && s.text[s.pos] == '=' {
				s.repair = true
				s.pos++
				s.value()
			}
			continue
		}
		if last := lastWord(name); len(last) < len(name) { // "foo charset": a word too much
			s.repair = true
			name = last
		}
		s.pos++
		return name, s.value(), true
	}
}

// lastWord returns what stands behind the last space or tab.
func lastWord(b []byte) []byte {
	for i := len(b); i > 0; i-- {
		if c := b[i-1]; c == ' ' || c == '\t' {
			return b[i:]
		}
	}
	return b
}

// value reads what stands behind "=".
func (s *paramScan) value() []byte {
	for s.pos < len(s.text) && isSpace(s.text[s.pos]) {
		s.pos++
	}
	if s.pos < len(s.text) && s.text[s.pos] == '"' {
		if !s.open {
			return s.quoted()
		}
		s.pos++
	}
	start := s.pos
	for s.pos < len(s.text) && s.text[s.pos] != ';' {
		if isSpace(s.text[s.pos]) && s.knownParamAt(s.pos) {
			s.repair = true
			break
		}
		s.pos++
	}
	value := bytes.TrimSpace(s.text[start:s.pos])
	if s.pos < len(s.text) && s.text[s.pos] != ';' { // "charset=utf-8, format=flowed"
		value = bytes.TrimRight(value, ",")
	}
	if len(value) > 1 && value[len(value)-1] == '"' && bytes.IndexByte(value[:len(value)-1], '"') < 0 {
		s.repair = true
		value = value[:len(value)-1]
	}
	return value
}

// quoted reads a quoted value. A quote ends it if a semicolon, the end or another parameter follows.
func (s *paramScan) quoted() []byte {
	s.pos++
	if end := bytes.IndexByte(s.text[s.pos:], '"'); end >= 0 && bytes.IndexByte(s.text[s.pos:s.pos+end], '\\') < 0 && s.quoteEnds(s.pos+end+1) {
		value := s.text[s.pos : s.pos+end]
		s.pos += end + 1
		return value
	}
	var value []byte
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c == '\\' && s.pos+1 < len(s.text) && (s.text[s.pos+1] == '"' || s.text[s.pos+1] == '\\') {
			value = append(value, s.text[s.pos+1])
			s.pos += 2
			continue
		}
		if c == '"' {
			if s.quoteEnds(s.pos + 1) {
				s.pos++
				return value
			}
			s.repair = true
		}
		value = append(value, c)
		s.pos++
	}
	s.repair, s.open = true, true
	// The closing quote is missing: the value ends at the first semicolon, if there is one.
	if before, _, found := bytes.Cut(value, []byte{';'}); found {
		s.pos -= len(value) - len(before)
		s.pos = max(s.pos, 0)
		value = before
	}
	return bytes.TrimRight(value, " \t\"")
}

func (s *paramScan) quoteEnds(pos int) bool {
	at := pos
	for at < len(s.text) && isSpace(s.text[at]) {
		at++
	}
	if at >= len(s.text) || s.text[at] == ';' || s.text[at] == '(' {
		return true
	}
	// charset="utf-8" format=flowed: a semicolon is missing, or a comma stands in its place.
	for at < len(s.text) && (s.text[at] == ',' || isSpace(s.text[at])) {
		at++
	}
	if at >= len(s.text) {
		s.repair = true
		return true
	}
	word := at
	for word < len(s.text) && word < at+40 && isToken(s.text[word]) {
		word++
	}
	ends := word > at && word < len(s.text) && s.text[word] == '='
	s.repair = s.repair || ends
	return ends
}

// knownParams are the parameters that are looked for where a semicolon is missing.
var knownParams = [...]string{"boundary", "charset", "name", "filename", "format", "type", "delsp", "method", "report-type", "size", "creation-date", "protocol"}

func isKnownParam(name []byte) bool {
	return slices.ContainsFunc(knownParams[:], func(known string) bool { return is(bytes.TrimSpace(name), known) })
}

func (s *paramScan) knownParamAt(space int) bool {
	at := space + 1
	for _, name := range knownParams {
		if end := at + len(name); end < len(s.text) && bytes.EqualFold(s.text[at:end], []byte(name)) &&
			(s.text[end] == '=' || s.text[end] == '*') {
			return true
		}
	}
	return false
}

// stripComment takes a trailing "(comment)" off.
func stripComment(text []byte) []byte {
	if open := bytes.IndexByte(text, '('); open >= 0 {
		return text[:open]
	}
	return text
}
