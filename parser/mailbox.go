package parser

import (
	"bytes"
	"strings"

	"github.com/mailflume/mailflume/event"
)

func isEncodedWord(phrase []byte) bool {
	return bytes.HasPrefix(phrase, []byte("=?")) && bytes.HasSuffix(phrase, []byte("?="))
}

func (s *addressScan) angled(box mailbox, phrase []byte) {
	email := box.angle
	if len(email) > 0 && email[0] == '@' { // the obsolete route: <@a,@b:ann@example.org>
		if colon := bytes.IndexByte(email, ':'); colon >= 0 {
			email, s.odd = email[colon+1:], true
		}
	}
	if bytes.HasSuffix(email, []byte(":;")) { // <undisclosed-recipients:;>, a group of nobody
		s.odd = true
		return
	}
	name := s.words.decode(phrase)
	if box.comment != nil { // it stood between words
		name = singleSpaced(name)
	}
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
	if bytes.IndexByte(phrase, '@') < 0 && isAddressWord(comment) && isVisible(comment) { // Ann Lee (ann@example.org)
		s.odd = true
		s.add(s.words.decode(phrase), s.email(comment))
		return
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
		if len(s.list) > s.limit {
			break
		}
		around := fields[start:i:i]
		if found--; found == 0 {
			around = append(around, fields[i+1:]...)
		}
		s.add(cmpOr(s.words.decode(bytes.Join(around, []byte{' '})), name), s.email(bytes.Trim(f, ",;")))
		start = i + 1
	}
	return true
}

// spaced returns the words of a phrase, or nothing if it is one.
func spaced(phrase []byte) [][]byte {
	if isVisible(phrase) {
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
	if isPlainAddress(b) {
		return string(b)
	}
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
	if strings.IndexByte(address, ' ') >= 0 && !strings.Contains(address, `"`) {
		s.odd = true
		if strings.Contains(address, "@") {
			address = strings.Join(strings.Fields(address), "")
		}
	}
	return address
}

// isPlainAddress says whether an address is to be read as it stands.
func isPlainAddress(b []byte) bool {
	for _, c := range b {
		if c != '@' && !isToken(c) {
			return false
		}
	}
	return true
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
