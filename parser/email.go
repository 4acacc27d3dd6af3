package parser

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailflume/mailflume/event"
)

// single are the fields that may stand once (RFC 5322, section 3.6).
var single = [...]string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "In-Reply-To", "References"}

// fields fills in what the header of the message says (RFC 8621, section 4.1.2 and 4.1.3).
func (b *builder) fields(h header) {
	e := &b.mail.Email
	e.Headers = b.rawFields(h)
	b.duplicates(h)
	e.MessageID = b.ids(h, "Message-ID")
	e.InReplyTo = b.ids(h, "In-Reply-To")
	e.References = b.ids(h, "References")
	e.Sender = b.addresses(h, "Sender")
	e.From = b.addresses(h, "From")
	e.To = b.addresses(h, "To")
	e.Cc = b.addresses(h, "Cc")
	e.Bcc = b.addresses(h, "Bcc")
	e.ReplyTo = b.addresses(h, "Reply-To")
	if value, ok := h.last("Subject"); ok {
		subject := b.words("").decode(value)
		e.Subject = &subject
	}
	if value, ok := h.last("Date"); ok {
		t, ok := properDate(string(value))
		odd := false
		if !ok {
			t, odd, ok = parseDate(validText(value))
		}
		switch {
		case !ok:
			b.defects.add(DefectDateUnreadable, "")
		case odd:
			b.defects.add(DefectDate, "")
			e.SentAt = &t
		default:
			e.SentAt = &t
		}
	}
}

// duplicates notes the fields that may stand once and stand twice.
func (b *builder) duplicates(h header) {
	for _, name := range single {
		if h.repeats(name) {
			b.defects.addDetail(DefectHeaderDuplicate, "", name)
		}
	}
}

// rawFields returns the fields as they stand. One string holds them all, if it needs no repair.
func (b *builder) rawFields(h header) []event.EmailHeader {
	out := make([]event.EmailHeader, 0, len(h.fields))
	if len(h.fields) == 0 {
		return out
	}
	first, last := h.fields[0], h.fields[len(h.fields)-1]
	base, end := first.at, last.end
	block := b.lines[base:end]
	if !utf8.Valid(block) || bytes.IndexByte(block, 0) >= 0 {
		for _, f := range h.fields {
			out = append(out, event.EmailHeader{Name: validText(h.name(f)), Value: validText(h.value(f))})
		}
		return out
	}
	text := string(block)
	for _, f := range h.fields {
		out = append(out, event.EmailHeader{Name: text[f.at-base : f.nameEnd-base], Value: text[f.start-base : f.end-base]})
	}
	return out
}

// validText makes bytes valid UTF-8 as RFC 8621, section 4.1.2.1, says it for the raw form of a field.
func validText(b []byte) string {
	if isASCII(b) && bytes.IndexByte(b, 0) < 0 {
		return string(b)
	}
	return strings.ReplaceAll(strings.ToValidUTF8(string(b), "\ufffd"), "\x00", "")
}

func (b *builder) ids(h header, name string) []string {
	value, ok := h.last(name)
	if !ok {
		return nil
	}
	ids, odd := messageIDs(value)
	if odd {
		b.defects.addDetail(DefectMessageID, "", name)
	}
	return ids
}

func (b *builder) addresses(h header, name string) []event.EmailAddress {
	value, ok := h.last(name)
	if !ok {
		return nil
	}
	list, odd := parseAddresses(value, b.words(""), b.limits.Addresses)
	if odd {
		b.defects.addDetail(DefectAddress, "", name)
	}
	if list == nil { // the field is there, but empty: null would say that it is not
		list = []event.EmailAddress{}
	}
	return list
}

// maxPreview is the longest preview, in characters (RFC 8621, section 4.1.4).
const maxPreview = 256

// preview returns the start of a text on one line.
func preview(s string) string {
	const window = 4 << 10 // a text can start with a lot of white space
	s = cutText(s, window)
	var out [4 * maxPreview]byte
	end, n := 0, 0 // in bytes, in characters
	space := false
	for s != "" && n < maxPreview {
		r, size := utf8.DecodeRuneInString(s)
		if r <= ' ' || r >= utf8.RuneSelf && unicode.IsSpace(r) {
			space = n > 0
			s = s[size:]
			continue
		}
		if r >= utf8.RuneSelf && hidden(r) {
			if last, _ := utf8.DecodeLastRune(out[:end]); space || !spells(r, last, s[size:]) {
				s = s[size:]
				continue
			}
		}
		if space {
			out[end] = ' '
			end, n, space = end+1, n+1, false
		}
		if n == maxPreview {
			break
		}
		letters := 1
		if run := plainRun(s[:min(len(s), maxPreview-n)]); run > 0 {
			size, letters = run, run
		}
		end += copy(out[end:], s[:size])
		n += letters
		s = s[size:]
	}
	return string(out[:end])
}
