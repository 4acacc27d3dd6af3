package parser

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"
)

// text is decoded text and what was wrong with it.
type text struct {
	value  string // valid UTF-8
	defect string // one of the charset defects, or ""
}

// decodeText turns bytes into valid UTF-8. What is no UTF-8 and has no usable label is taken for the hint, a charset that
// the message uses elsewhere, else for what detect finds, else for Windows-1252, in which every byte means something.
func decodeText(b []byte, label, hint string) text {
	cs := findCharset(label)
	switch cs.kind {
	case charsetUTF7:
		return decodeUTF7(b)
	case charsetTable:
		t := decodeTable(b, cs)
		if t.defect != "" {
			if value, ok := mislabelled(b, cs); ok {
				return text{value, DefectCharsetWrong}
			}
		}
		return t
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	defect := ""
	if cs.kind == charsetUnknown {
		defect = DefectCharsetUnknown
	}
	if escapesJapanese(b) {
		if t := decodeTable(b, charset{enc: japanese.ISO2022JP}); t.defect == "" {
			return t
		}
	}
	if utf8.Valid(b) {
		if defect != "" && isASCII(b) {
			defect = "" // whatever the label means, these bytes are plain
		}
		return text{string(b), defect}
	}
	return text{guess(b, hint), cmpOr(defect, DefectCharsetWrong)}
}

// mislabelled decodes bytes that are not of the charset which their label names, and clearly of another.
func mislabelled(b []byte, cs charset) (value string, ok bool) {
	if bytes.IndexByte(b, 0) < 0 && !isASCII(b) && utf8.Valid(b) {
		return string(b), true
	}
	if cs.enc == japanese.ISO2022JP && bytes.IndexByte(b, 0x1b) < 0 { // it writes no 8-bit byte, those two write no escape
		for _, try := range [...]charset{{enc: japanese.ShiftJIS}, {enc: japanese.EUCJP}} {
			if t := decodeTable(b, try); t.defect == "" {
				return t.value, true
			}
		}
	}
	return "", false
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// guess decodes bytes that are no UTF-8.
func guess(b []byte, hint string) string {
	if nearlyUTF8(b) {
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	if cs := findCharset(hint); cs.kind == charsetTable && !cs.wide {
		if t := decodeTable(b, cs); t.defect == "" {
			return t.value
		}
	}
	if cs, ok := detect(b); ok {
		if t := decodeTable(b, cs); t.defect == "" {
			return t.value
		}
	}
	return decodeTable(b, charset{enc: charmap.Windows1252}).value
}

// nearlyUTF8 says whether bytes are UTF-8 but for a few that are broken, for example cut off at the end.
func nearlyUTF8(b []byte) bool {
	good, bad := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			bad++
		case n > 1:
			good++
		}
		b = b[n:]
	}
	return good > 4*bad
}

// decodeTable decodes with a table of x/text.
func decodeTable(b []byte, cs charset) text {
	if cs.wide {
		return decodeWide(b, cs)
	}
	if cs.kr {
		b = unshift(b)
	}
	if table, ok := cs.enc.(*charmap.Charmap); ok {
		return decodeBytes(b, table)
	}
	out, err := cs.enc.NewDecoder().Bytes(b)
	value := strings.ToValidUTF8(string(out), "\ufffd")
	if err != nil || strings.Contains(value, "\ufffd") {
		return text{value, DefectCharsetBroken}
	}
	return text{value: value}
}

// decodeBytes decodes a charset of one byte a character.
func decodeBytes(b []byte, table *charmap.Charmap) text {
	hasASCII := table.DecodeByte('a') == 'a' // all but EBCDIC
	if hasASCII && isASCII(b) {
		return text{value: string(b)}
	}
	var t text
	var out strings.Builder
	out.Grow(len(b) + len(b)/8)
	for i := 0; i < len(b); i++ {
		if hasASCII {
			n := asciiRun(b[i:])
			out.Write(b[i : i+n])
			if i += n; i == len(b) {
				break
			}
		}
		r := table.DecodeByte(b[i])
		if r == utf8.RuneError {
			t.defect = DefectCharsetBroken
		}
		out.WriteRune(r)
	}
	t.value = out.String()
	return t
}

// decodeWide decodes UTF-16. Without a byte order mark the zero bytes of ASCII letters tell the order.
func decodeWide(b []byte, cs charset) text {
	if len(b) < 2 || b[0] != 0xfe && b[0] != 0xff {
		even, odd := 0, 0
		for i, c := range b[:min(len(b), 1000)] {
			if c == 0 && i%2 == 0 {
				even++
			} else if c == 0 {
				odd++
			}
		}
		switch {
		case odd > even:
			cs.enc = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
		case even > odd:
			cs.enc = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
		case even == 0 && utf8.Valid(b): // it is no UTF-16 at all
			return text{string(b), DefectCharsetWrong}
		}
	}
	out, err := cs.enc.NewDecoder().Bytes(b[:len(b)&^1])
	value := strings.ToValidUTF8(strings.TrimPrefix(string(out), "\ufeff"), "\ufffd")
	if err != nil || strings.Contains(value, "\ufffd") {
		return text{value, DefectCharsetBroken}
	}
	return text{value: value}
}

// unshift makes EUC-KR of ISO-2022-KR (RFC 1557): between SO and SI the letters are those of KS C 5601, and "ESC $ ) C" at
// the start says so.
func unshift(b []byte) []byte {
	const shiftOut, shiftIn = 0x0e, 0x0f
	out := make([]byte, 0, len(b))
	high := byte(0)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == shiftOut:
			high = 0x80
		case c == shiftIn || c == '\n': // a line ends what the shift before forgot to
			if high = 0; c == '\n' {
				out = append(out, c)
			}
		case c == 0x1b && bytes.HasPrefix(b[i:], []byte("\x1b$)C")):
			i += len("$)C")
		case c > ' ':
			out = append(out, c|high)
		default:
			out = append(out, c)
		}
	}
	return out
}

func isASCII(b []byte) bool { return asciiRun(b) == len(b) }

// asciiRun returns how many bytes of ASCII b starts with. It looks at eight at a time.
func asciiRun(b []byte) int {
	const eight, highBits = 8, 0x8080808080808080
	n := 0
	for n+eight <= len(b) && binary.LittleEndian.Uint64(b[n:])&highBits == 0 {
		n += eight
	}
	for n < len(b) && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// escapesJapanese says whether unlabelled bytes switch to JIS X 0208 as ISO-2022-JP does.
func escapesJapanese(b []byte) bool {
	return bytes.IndexByte(b, 0x1b) >= 0 && (bytes.Contains(b, []byte("\x1b$B")) || bytes.Contains(b, []byte("\x1b$@")))
}
