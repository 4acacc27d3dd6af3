package parser

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// charsetAliases are the names of real mail that neither the WHATWG nor IANA lists.
var charsetAliases = map[string]encoding.Encoding{
	"cp932":           japanese.ShiftJIS,
	"ms932":           japanese.ShiftJIS,
	"x-sjis-cp932":    japanese.ShiftJIS,
	"cp936":           simplifiedchinese.GB18030,
	"ms936":           simplifiedchinese.GB18030,
	"gb2312":          simplifiedchinese.GB18030, // a subset of it, and what calls itself gb2312 often is more
	"gbk":             simplifiedchinese.GB18030,
	"gb_2312-80":      simplifiedchinese.GB18030,
	"x-gbk":           simplifiedchinese.GB18030,
	"cp949":           korean.EUCKR,
	"ms949":           korean.EUCKR,
	"uhc":             korean.EUCKR,
	"x-windows-949":   korean.EUCKR,
	"cp950":           traditionalchinese.Big5,
	"big5hkscs":       traditionalchinese.Big5,
	"hz-gb-2312":      simplifiedchinese.HZGB2312,
	"hz":              simplifiedchinese.HZGB2312,
	"iso-2022-jp-1":   japanese.ISO2022JP,
	"iso-2022-jp-2":   japanese.ISO2022JP,
	"iso-2022-jp-ms":  japanese.ISO2022JP,
	"cp50220":         japanese.ISO2022JP,
	"cp50221":         japanese.ISO2022JP,
	"cp51932":         japanese.EUCJP,
	"eucjp":           japanese.EUCJP,
	"eucjp-ms":        japanese.EUCJP,
	"iso-8859-1":      charmap.Windows1252, // what the WHATWG lists as well: these are found faster here
	"windows-1252":    charmap.Windows1252,
	"windows-1251":    charmap.Windows1251,
	"iso-8859-15":     charmap.ISO8859_15,
	"iso-8859-2":      charmap.ISO8859_2,
	"koi8-r":          charmap.KOI8R,
	"iso-2022-jp":     japanese.ISO2022JP,
	"shift_jis":       japanese.ShiftJIS,
	"latin-1":         charmap.Windows1252,
	"latin":           charmap.Windows1252,
	"ansi":            charmap.Windows1252,
	"8859-1":          charmap.Windows1252,
	"x-mac-roman":     charmap.Macintosh,
	"macroman":        charmap.Macintosh,
	"mac-roman":       charmap.Macintosh,
	"x-macintosh":     charmap.Macintosh,
	"utf-16le":        unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"utf-16be":        unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"ucs-2":           unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"iso-10646-ucs-2": unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf-16":          unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
}

// charset is what a label means.
type charset struct {
	kind charsetKind
	enc  encoding.Encoding // of charsetTable
	wide bool              // UTF-16
}

type charsetKind int

const (
	charsetUTF8    charsetKind = iota // UTF-8, ASCII or no label
	charsetTable                      // decoded by enc
	charsetUTF7                       // RFC 2152
	charsetUnknown                    // nobody knows the label
)

// findCharset looks a label up the way real mail writes it.
func findCharset(label string) charset {
	label = cleanLabel(label)
	switch label {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "iso-646-us", "unicode-1-1-utf-8", "7bit", "8bit", "utf-8-bom", "utf8mb4", "646", "us_ascii":
		return charset{kind: charsetUTF8}
	case "utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7", "unicode-2-0-utf-7":
		return charset{kind: charsetUTF7}
	}
	wide := strings.HasPrefix(label, "utf-16") || strings.Contains(label, "ucs-2")
	if enc, ok := charsetAliases[label]; ok {
		return charset{kind: charsetTable, enc: enc, wide: wide}
	}
	for _, try := range []string{label, respell(label)} {
		if enc, err := htmlindex.Get(try); err == nil && enc != encoding.Replacement {
			if enc == unicode.UTF8 {
				return charset{kind: charsetUTF8}
			}
			return charset{kind: charsetTable, enc: enc}
		}
		if enc, err := ianaindex.MIME.Encoding(try); err == nil && enc != nil {
			return charset{kind: charsetTable, enc: enc}
		}
	}
	return charset{kind: charsetUnknown}
}

// cleanLabel takes off what does not belong to a label: quotes, comments, a language tag (RFC 2231, section 5).
func cleanLabel(label string) string {
	if known, ok := commonWords[label]; ok || label == "" {
		return known
	}
	label = strings.Trim(label, " \t\r\n\"'`;,<>=")
	if i := strings.IndexAny(label, "* \t;("); i >= 0 {
		label = label[:i]
	}
	return lower(strings.Trim(label, "\"'"))
}

// respell turns the spellings of known families into the one that is listed: cp-1252, win1251, iso8859_15, iso-8859-1-i.
func respell(label string) string {
	digits := strings.TrimLeft(label, "abcdefghijklmnopqrstuvwxyz-_")
	family := strings.Trim(label[:len(label)-len(digits)], "-_")
	switch family {
	case "cp", "win", "windows", "x-cp", "ms", "ms-ansi", "x-windows", "microsoft-cp":
		if strings.HasPrefix(digits, "125") || digits == "874" {
			return "windows-" + digits
		}
		if len(digits) == 3 {
			return "ibm" + digits
		}
	case "iso", "x-iso", "charset-iso", "is":
		digits = strings.ReplaceAll(digits, "_", "-")
		if rest, ok := strings.CutPrefix(digits, "8859"); ok {
			return "iso-8859-" + strings.TrimLeft(rest, "-")
		}
	case "koi":
		return "koi8-" + strings.TrimLeft(digits, "8-_")
	case "utf":
		return "utf-" + strings.TrimLeft(digits, "-_")
	}
	return label
}

// text is decoded text and what was wrong with it.
type text struct {
	value  string // valid UTF-8
	defect string // one of the charset defects, or ""
}

// decodeText turns bytes into valid UTF-8. What is no UTF-8 and has no usable label is taken for the hint, a charset that
// the message uses elsewhere, else for Windows-1252, in which every byte means something.
func decodeText(b []byte, label, hint string) text {
	cs := findCharset(label)
	switch cs.kind {
	case charsetUTF7:
		return decodeUTF7(b)
	case charsetTable:
		return decodeTable(b, cs)
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
	if table, ok := cs.enc.(*charmap.Charmap); ok && table.DecodeByte('a') == 'a' && isASCII(b) {
		return text{value: string(b)}
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
	var t text
	var out strings.Builder
	out.Grow(len(b) + len(b)/8)
	for _, c := range b {
		r := table.DecodeByte(c)
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

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// escapesJapanese says whether unlabelled bytes switch to JIS X 0208 as ISO-2022-JP does.
func escapesJapanese(b []byte) bool {
	return bytes.IndexByte(b, 0x1b) >= 0 && (bytes.Contains(b, []byte("\x1b$B")) || bytes.Contains(b, []byte("\x1b$@")))
}
