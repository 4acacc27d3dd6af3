package parser

import (
	"bytes"
	"slices"

	"github.com/emersion/go-message/mail"
)

// field is one header field: views of the message.
type field struct {
	name  []byte
	value []byte // after the colon up to the last line break, folds as they are
	at    int    // where the name starts in the bytes that were scanned
	start int    // where the value starts
}

// header is a header block in order.
type header struct {
	fields []field
}

// first returns the unfolded value of the first field of that name, as for Content-Type.
func (h header) first(name string) ([]byte, bool) {
	for _, f := range h.fields {
		if is(f.name, name) {
			return unfold(f.value), true
		}
	}
	return nil, false
}

// last returns the unfolded value of the last field of that name: what RFC 8621, section 4.1.2, makes of a field that
// stands twice.
func (h header) last(name string) ([]byte, bool) {
	for _, f := range slices.Backward(h.fields) {
		if is(f.name, name) {
			return unfold(f.value), true
		}
	}
	return nil, false
}

func (h header) count(name string) int {
	n := 0
	for _, f := range h.fields {
		if is(f.name, name) {
			n++
		}
	}
	return n
}

func (h header) has(name string) bool { return h.count(name) > 0 }

// message returns the header as the type of go-message, which knows how to read and write it.
func (h header) message() mail.Header {
	var out mail.Header
	for _, f := range slices.Backward(h.fields) {
		raw := make([]byte, 0, len(f.name)+len(f.value)+3)
		raw = append(append(append(raw, f.name...), ':'), f.value...)
		out.AddRaw(append(raw, "\r\n"...))
	}
	return out
}

func is(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range len(want) { // no two characters that names have differ in that bit alone, but for letters
		if name[i]|0x20 != want[i]|0x20 {
			return false
		}
	}
	return true
}

// unfold takes the line breaks out of a value and trims it. It copies only a value that is folded.
func unfold(value []byte) []byte {
	if bytes.IndexByte(value, '\n') < 0 {
		return bytes.Trim(value, " \t\r")
	}
	out := make([]byte, 0, len(value))
	for len(value) > 0 {
		line, rest, more := bytes.Cut(value, []byte{'\n'})
		out = append(out, bytes.TrimRight(line, "\r")...)
		if more && len(rest) > 0 && rest[0] != ' ' && rest[0] != '\t' {
			out = append(out, ' ')
		}
		value = rest
	}
	return bytes.Trim(out, " \t")
}

// line returns where the line at pos ends and the next one starts, and the line without its break.
func lineAt(raw []byte, pos int) (line []byte, next int) {
	end := bytes.IndexByte(raw[pos:], '\n')
	if end < 0 {
		return bytes.TrimRight(raw[pos:], "\r"), len(raw)
	}
	return bytes.TrimRight(raw[pos:pos+end], "\r"), pos + end + 1
}

// nameKind says what stands before the first colon of a line.
type nameKind int

const (
	nameNone   nameKind = iota // no colon, or nothing before it
	nameOdd                    // spaces, controls or 8-bit characters in it
	nameSpaced                 // a proper name and white space before the colon
	nameStrict
)

// fieldName looks at the start of a line for a field name. It reads no further than the colon, and no further than a name
// can be long.
func fieldName(line []byte) (name []byte, kind nameKind) {
	const longest = 1000
	colon := bytes.IndexByte(line[:min(len(line), longest)], ':')
	if colon <= 0 {
		return nil, nameNone
	}
	name = bytes.TrimRight(line[:colon], " \t")
	if len(name) == 0 {
		return nil, nameNone
	}
	kind = nameStrict
	if len(name) < colon {
		kind = nameSpaced
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return name, nameOdd
		}
	}
	return name, kind
}

func blank(line []byte) bool { return len(bytes.Trim(line, " \t\r")) == 0 }

// allBlank is blank for several lines.
func allBlank(text []byte) bool {
	for _, c := range text {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

func folded(line []byte) bool { return len(line) > 0 && (line[0] == ' ' || line[0] == '\t') }

// mboxFrom says whether a line is the "From " line that mbox files put before a message.
func mboxFrom(line []byte) bool {
	line = bytes.TrimPrefix(line, []byte{'>'})
	rest, ok := bytes.CutPrefix(line, []byte("From "))
	return ok && !bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte{':'})
}
