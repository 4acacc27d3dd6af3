package parser

import (
	"bytes"
	"slices"

	"github.com/emersion/go-message/mail"
)

// field is one header field: where it stands in the bytes that were scanned.
type field struct {
	at, nameEnd int // the name
	start, end  int // the value: after the colon up to the last line break, folds as they are
}

// header is a header block in order: views of the message.
type header struct {
	raw    []byte
	fields []field
	names  nameSet // most names that are asked for are not there
	twice  nameSet // those that may stand more than once
}

// nameSet holds a bit for each name that may be in it.
type nameSet [4]uint64

func nameBit[T string | []byte](name T) uint8 {
	return uint8(len(name))<<4 ^ (name[0]|0x20)<<1 ^ (name[len(name)-1] | 0x20)
}

func (s *nameSet) add(bit uint8) { s[bit>>6] |= 1 << (bit & 63) }

func (s *nameSet) has(bit uint8) bool { return s[bit>>6]>>(bit&63)&1 != 0 }

func (h *header) name(f field) []byte { return h.raw[f.at:f.nameEnd] }

func (h *header) value(f field) []byte { return h.raw[f.start:f.end] }

func (h *header) named(f field, name string) bool {
	return f.nameEnd-f.at == len(name) && is(h.name(f), name)
}

// first returns the unfolded value of the first field of that name, as for Content-Type.
func (h *header) first(name string) ([]byte, bool) {
	if !h.names.has(nameBit(name)) {
		return nil, false
	}
	for i := range h.fields {
		if f := h.fields[i]; h.named(f, name) {
			return unfold(h.value(f)), true
		}
	}
	return nil, false
}

// last returns the unfolded value of the last field of that name: what RFC 8621, section 4.1.2, makes of a field that
// stands twice.
func (h *header) last(name string) ([]byte, bool) {
	if !h.names.has(nameBit(name)) {
		return nil, false
	}
	for i := len(h.fields) - 1; i >= 0; i-- {
		if f := h.fields[i]; h.named(f, name) {
			return unfold(h.value(f)), true
		}
	}
	return nil, false
}

func (h *header) count(name string) int {
	n := 0
	if !h.names.has(nameBit(name)) {
		return 0
	}
	for _, f := range h.fields {
		if h.named(f, name) {
			n++
		}
	}
	return n
}

func (h *header) has(name string) bool { return h.count(name) > 0 }

// repeats says whether there are several fields of that name.
func (h *header) repeats(name string) bool { return h.twice.has(nameBit(name)) && h.count(name) > 1 }

// message returns the header as the type of go-message, which knows how to read and write it.
func (h header) message() mail.Header {
	var out mail.Header
	for _, f := range slices.Backward(h.fields) {
		name, value := h.name(f), h.value(f)
		raw := make([]byte, 0, len(name)+len(value)+3)
		raw = append(append(append(raw, name...), ':'), value...)
		out.AddRaw(append(raw, "\r\n"...))
	}
	return out
}

func is[T string | []byte](name T, want string) bool {
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
		return trim(value)
	}
	out := make([]byte, 0, len(value))
	for len(value) > 0 {
		line, rest, more := bytes.Cut(value, []byte{'\n'})
		for len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		out = append(out, line...)
		if more && len(rest) > 0 && rest[0] != ' ' && rest[0] != '\t' {
			out = append(out, ' ')
		}
		value = rest
	}
	return trim(out)
}

// line returns where the line at pos ends and the next one starts, and the line without its break.
func lineAt(raw []byte, pos int) (line []byte, next int) {
	line, next = raw[pos:], len(raw)
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line, next = line[:end], pos+end+1
	}
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line, next
}

// nameKind says what stands before the first colon of a line.
type nameKind int

const (
	nameNone   nameKind = iota // no colon, or nothing before it
	nameOdd                    // spaces, controls or 8-bit characters in it
	nameSpaced                 // a proper name and white space before the colon
	nameStrict
)

// longestFieldName is how long a field name can be, with its colon.
const longestFieldName = 1000

// strictName returns the proper name, with its colon right behind it, that a line starts with. It reads no further than the
// name.
func strictName[T string | []byte](line T) (name T, ok bool) {
	line = line[:min(len(line), longestFieldName)]
	end := 0
	for end < len(line) && nameBytes[line[end]] {
		end++
	}
	return line[:end], end > 0 && end < len(line) && line[end] == ':'
}

// nameBytes are the bytes that may stand in a field name (RFC 5322, section 3.6.8).
var nameBytes = func() (set byteSet) {
	for c := byte('!'); c < 0x7f; c++ {
		set[c] = c != ':'
	}
	return set
}()

// fieldName looks at the start of a line for a field name. It reads no further than the colon, and no further than a name
// can be long.
func fieldName[T string | []byte](line T) (name T, kind nameKind) {
	name, ok := strictName(line)
	if ok {
		return name, nameStrict
	}
	line = line[:min(len(line), longestFieldName)]
	proper := len(name)
	colon := proper
	for colon < len(line) && line[colon] != ':' {
		colon++
	}
	if colon == len(line) {
		return line[:0], nameNone
	}
	name = trimRight(line[:colon])
	switch len(name) {
	case 0:
		return name, nameNone
	case proper:
		return name, nameSpaced
	}
	return name, nameOdd
}

// blank says whether there is nothing but white space in a line, or in several.
func blank(text []byte) bool {
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
	if len(line) == 0 || line[0] != 'F' && line[0] != '>' {
		return false
	}
	line = bytes.TrimPrefix(line, []byte{'>'})
	rest, ok := bytes.CutPrefix(line, []byte("From "))
	return ok && !bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte{':'})
}
