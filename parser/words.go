package parser

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// words decodes unstructured header text: encoded words (RFC 2047), raw UTF-8, raw bytes of the charset that the message
// uses (the hint).
type words struct {
	hint  string
	notes notes
}

// encodedWord is one "=?charset?B?text?=", or several of one charset that stand side by side.
type encodedWord struct {
	charset string
	base64  bool   // else the Q encoding
	text    []byte // of the last word, still encoded
	joined  bool   // that text is a copy, put together
	bytes   []byte // of the words before it
}

// add takes the word that stands behind. A sender that splits its base64 anywhere, and not between groups of four letters,
// means one text.
func (e *encodedWord) add(next encodedWord) {
	if e.base64 && next.base64 && cutInGroup(e.text) {
		if !e.joined {
			e.text, e.joined = slices.Clip(e.text), true
		}
		e.text = append(e.text, next.text...)
		return
	}
	e.decode()
	e.base64, e.text, e.joined = next.base64, next.text, false
}

// decode turns the last word into bytes.
func (e *encodedWord) decode() {
	var decoded []byte
	if e.base64 {
		decoded, _ = decodeAll(encodingBase64, e.text)
	} else {
		decoded = unquote(e.text)
	}
	if e.bytes == nil {
		e.bytes = decoded
		return
	}
	e.bytes = append(e.bytes, decoded...)
}

// decode returns valid UTF-8 without control characters. Words of the same charset that stand side by side are joined
// before they are decoded, because senders split characters between them.
func (w words) decode(b []byte) string {
	if isPlain(b) {
		return string(bytes.TrimSpace(b))
	}
	if bytes.IndexByte(b, '=') < 0 {
		return printable(w.plain(b))
	}
	var out strings.Builder
	var pending encodedWord // words that wait for a neighbour
	waiting := false
	flush := func() {
		if waiting {
			pending.decode()
			out.WriteString(w.word(pending))
			waiting = false
		}
	}
	rest := b // what is not written yet
	for from := 0; ; {
		next := bytes.Index(rest[from:], []byte("=?"))
		if next < 0 {
			break
		}
		start := from + next
		word, size, open := parseWord(rest[start:])
		if open {
			break // no word ends behind here
		}
		if size == 0 {
			from = start + 2
			continue
		}
		between := rest[:start]
		from = 0
		neighbours := waiting && blank(between)
		if neighbours && pending.charset == word.charset {
			pending.add(word)
		} else {
			flush()
			if !neighbours {
				out.WriteString(w.plain(between))
			}
			pending, waiting = word, true
		}
		rest = rest[start+size:]
	}
	flush()
	out.WriteString(w.plain(rest))
	return printable(out.String())
}

// parseWord reads an encoded word at the start of b. size is 0 if there is none; open says that nothing in b ends one.
func parseWord(b []byte) (word encodedWord, size int, open bool) {
	const longestCharset = 80
	head := b[2:min(len(b), 2+longestCharset+3)]
	q := bytes.IndexByte(head, '?')
	if q < 0 || q+2 >= len(head) || head[q+2] != '?' || bytes.IndexByte(head[:q], ' ') >= 0 {
		return word, 0, false
	}
	kind := head[q+1] | 0x20
	if kind != 'b' && kind != 'q' {
		return word, 0, false
	}
	start := 2 + q + 3
	end := wordEnd(b[start:], kind)
	if end < 0 {
		return word, 0, true
	}
	body := b[start : start+end]
	return encodedWord{charset: cleanLabel(string(head[:q])), base64: kind == 'b', text: body}, start + end + 2, false
}

// wordEnd returns where the text of an encoded word ends, or -1. In a Q word a "?" that should be encoded can stand before
// an "=" that encodes something: "What?=3F?=" goes on up to the second "?=".
func wordEnd(b []byte, kind byte) int {
	const longest = 100 // a word has 75 characters, by the standard
	end := bytes.Index(b, []byte("?="))
	for kind == 'q' && end >= 0 && end+3 < len(b) && unhex(b[end+2]) >= 0 && unhex(b[end+3]) >= 0 {
		rest := b[end+2 : min(len(b), end+2+longest)]
		next := bytes.Index(rest, []byte("?="))
		if next < 0 || bytes.ContainsAny(rest[:next], " \t") || bytes.Contains(rest[:next], []byte("=?")) {
			break
		}
		end += 2 + next
	}
	return end
}

// cutInGroup says whether base64 ends in the middle of a byte: bits of its last letter belong to one that is not there.
func cutInGroup(text []byte) bool {
	if len(text) == 0 || base64Value[text[len(text)-1]] >= 64 {
		return false
	}
	last := base64Value[text[len(text)-1]]
	switch len(text) % 4 {
	case 1:
		return true
	case 2:
		return last&0xf != 0
	case 3:
		return last&0x3 != 0
	}
	return false
}

// unquote decodes the Q encoding: quoted-printable in which an underscore is a space.
func unquote(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(b) && unhex(b[i+1]) >= 0 && unhex(b[i+2]) >= 0:
			out = append(out, byte(unhex(b[i+1])<<4|unhex(b[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

func (w words) word(e encodedWord) string {
	t := decodeText(e.bytes, e.charset, w.hint)
	if t.defect != "" {
		w.notes.add(DefectHeaderWord)
	}
	return t.value
}

func (w words) plain(b []byte) string {
	if utf8.Valid(b) && !escapesJapanese(b) {
		return string(b)
	}
	t := decodeText(b, "", w.hint)
	if t.defect != "" {
		w.notes.add(DefectHeaderCharset)
	}
	return t.value
}

// isPlain says whether header text is ASCII to be read as it stands: no encoded word, no control character.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f || c == '=' {
			return false
		}
	}
	return true
}

// printable takes the control characters out: line breaks and tabs become spaces, the others go.
func printable(s string) string {
	clean := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			clean = false
			break
		}
	}
	if !clean {
		s = strings.Map(func(r rune) rune {
			switch {
			case r == '\n' || r == '\r' || r == '\t':
				return ' '
			case r < ' ' || r == 0x7f:
				return -1
			}
			return r
		}, s)
	}
	return strings.TrimSpace(s)
}
