package parser

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// charsetAliases are the names of real mail that neither the WHATWG nor IANA lists, and those it is right to read as a
// larger charset.
var charsetAliases = map[string]encoding.Encoding{
	"cp932":            japanese.ShiftJIS,
	"x-sjis-cp932":     japanese.ShiftJIS,
	"sjis-win":         japanese.ShiftJIS,
	"shiftjis":         japanese.ShiftJIS,
	"x-shift-jis":      japanese.ShiftJIS,
	"x-shift_jis":      japanese.ShiftJIS,
	"cp936":            simplifiedchinese.GB18030,
	"gb2312":           simplifiedchinese.GB18030, // a subset of it, and what calls itself gb2312 often is more
	"euc-cn":           simplifiedchinese.GB18030,
	"x-euc-cn":         simplifiedchinese.GB18030,
	"euccn":            simplifiedchinese.GB18030,
	"cp949":            korean.EUCKR,
	"uhc":              korean.EUCKR,
	"euckr":            korean.EUCKR,
	"x-euc-kr":         korean.EUCKR,
	"cp950":            traditionalchinese.Big5,
	"big5hkscs":        traditionalchinese.Big5,
	"hz-gb-2312":       simplifiedchinese.HZGB2312,
	"hz":               simplifiedchinese.HZGB2312,
	"iso-2022-jp-1":    japanese.ISO2022JP,
	"iso-2022-jp-2":    japanese.ISO2022JP,
	"iso-2022-jp-3":    japanese.ISO2022JP,
	"iso-2022-jp-ms":   japanese.ISO2022JP,
	"cp50220":          japanese.ISO2022JP,
	"cp50221":          japanese.ISO2022JP,
	"cp50222":          japanese.ISO2022JP,
	"jis":              japanese.ISO2022JP,
	"cp51932":          japanese.EUCJP,
	"eucjp":            japanese.EUCJP,
	"eucjp-ms":         japanese.EUCJP,
	"eucjp-win":        japanese.EUCJP,
	"iso-8859-1":       charmap.Windows1252, // what the WHATWG lists as well: these are found faster here
	"windows-1252":     charmap.Windows1252,
	"windows-1251":     charmap.Windows1251,
	"iso-8859-15":      charmap.ISO8859_15,
	"iso-8859-2":       charmap.ISO8859_2,
	"koi8-r":           charmap.KOI8R,
	"iso-2022-jp":      japanese.ISO2022JP,
	"shift_jis":        japanese.ShiftJIS,
	"latin":            charmap.Windows1252,
	"ansi":             charmap.Windows1252,
	"x-ansi":           charmap.Windows1252,
	"ansi_x3.110-1983": charmap.Windows1252, // a teletex charset by its name, Latin-1 by those who write it
	"8859-1":           charmap.Windows1252,
	"x-mac-roman":      charmap.Macintosh,
	"macroman":         charmap.Macintosh,
	"mac-roman":        charmap.Macintosh,
	"x-macintosh":      charmap.Macintosh,
	"utf-16le":         unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"utf-16be":         unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"ucs-2":            unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"iso-10646-ucs-2":  unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf-16":           unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"unicode":          unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"csunicode":        unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"unicodefeff":      unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"unicodefffe":      unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf-32":           utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
	"utf-32be":         utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
	"utf-32le":         utf32.UTF32(utf32.LittleEndian, utf32.UseBOM),
	"ucs-4":            utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
	"iso-10646-ucs-4":  utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
}

// wideLabels are those of charsetAliases that name UTF-16.
var wideLabels = set("utf-16", "utf-16le", "utf-16be", "ucs-2", "iso-10646-ucs-2", "unicode", "csunicode", "unicodefeff", "unicodefffe")

// charset is what a label means.
type charset struct {
	kind charsetKind
	enc  encoding.Encoding // of charsetTable
	wide bool              // UTF-16
	kr   bool              // ISO-2022-KR: enc once the shifts are taken out
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
	if label == "" || label == "utf-8" || label == "us-ascii" {
		return charset{kind: charsetUTF8}
	}
	label = cleanLabel(label)
	cs := listed(label)
	if cs.kind == charsetUnknown {
		if again := respell(label); again != label {
			return listed(again)
		}
	}
	return cs
}

// listed looks up a label that is spelled properly.
func listed(label string) charset {
	switch label {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "iso-646-us", "unicode-1-1-utf-8", "7bit", "8bit", "utf-8-bom", "utf8mb4", "646", "us_ascii",
		"x-ascii", "usascii":
		return charset{kind: charsetUTF8}
	case "utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7", "unicode-2-0-utf-7":
		return charset{kind: charsetUTF7}
	case "iso-2022-kr", "csiso2022kr":
		return charset{kind: charsetTable, enc: korean.EUCKR, kr: true}
	}
	if enc, ok := charsetAliases[label]; ok {
		return charset{kind: charsetTable, enc: enc, wide: wideLabels[label]}
	}
	if enc, err := htmlindex.Get(label); err == nil && enc != encoding.Replacement && enc != charmap.XUserDefined {
		switch enc {
		case unicode.UTF8:
			return charset{kind: charsetUTF8}
		case simplifiedchinese.GBK:
			enc = simplifiedchinese.GB18030
		}
		return charset{kind: charsetTable, enc: enc}
	}
	if enc, err := ianaindex.MIME.Encoding(label); err == nil && enc != nil {
		return charset{kind: charsetTable, enc: enc}
	}
	return charset{kind: charsetUnknown}
}

// cleanLabel takes off what does not belong to a label: quotes, comments, a language tag (RFC 2231, section 5), another
// "charset=", and the escape that quoted-printable makes of an equals sign.
func cleanLabel(label string) string {
	switch label {
	case "", "utf-8", "us-ascii", "iso-8859-1":
		return label
	}
	if known, ok := commonWords[label]; ok {
		return known
	}
	if _, ok := charsetAliases[label]; ok {
		return label
	}
	const around = " \t\r\n\"'`;,<>="
	label = lower(strings.Trim(label, around))
	label = strings.TrimPrefix(strings.TrimPrefix(label, "charset="), "3d")
	label = strings.Trim(label, around)
	if i := strings.IndexAny(label, "* \t;("); i >= 0 {
		label = label[:i]
	}
	return strings.Trim(label, "\"',")
}

// respell turns the spellings of known families into the one that is listed: cp-1252, win1251, iso8859_15, iso-8859-1-i.
func respell(label string) string {
	digits := strings.TrimLeft(label, "abcdefghijklmnopqrstuvwxyz-_")
	family := strings.Trim(label[:len(label)-len(digits)], "-_")
	switch family {
	case "cp", "win", "windows", "x-cp", "ms", "ms-ansi", "x-windows", "windows-cp", "microsoft-cp", "ibm", "x-ibm", "dos", "x-ms-cp":
		return codePage(digits, label)
	case "iso", "x-iso", "charset-iso", "is":
		digits = strings.ReplaceAll(digits, "_", "-")
		if rest, ok := strings.CutPrefix(digits, "8859"); ok {
			return "iso-8859-" + strings.TrimLeft(rest, "-")
		}
	case "latin", "x-latin":
		if digits == "9" || digits == "0" {
			return "iso-8859-15"
		}
		return "latin" + digits
	case "koi":
		return "koi8-" + strings.TrimLeft(digits, "8-_")
	case "utf":
		return "utf-" + strings.TrimLeft(digits, "-_")
	case "gb", "x-gb", "csgb":
		if strings.HasPrefix(digits, "2312") || strings.HasPrefix(digits, "18030") {
			return "gb18030"
		}
	case "big", "x-big", "bg", "cn-big", "zh_tw-big", "zh-tw-big":
		if strings.HasPrefix(digits, "5") {
			return "big5"
		}
	case "ks_c", "ks-c", "ksc", "ks", "x-ksc":
		if strings.HasPrefix(digits, "5601") || strings.HasPrefix(digits, "1001") {
			return "euc-kr"
		}
	case "tis", "x-tis":
		return "windows-874"
	}
	return label
}

// codePage is the charset of a code page of Microsoft or IBM, or the label if there is none.
func codePage(digits, label string) string {
	switch n, _ := atoi(digits); {
	case n == 874, n >= 1250 && n <= 1258:
		return "windows-" + digits
	case n == 932, n == 936, n == 949, n == 950:
		return "cp" + digits
	case n == 1200:
		return "utf-16le"
	case n >= 10_000 && n < 1<<16:
		return codePageLabel(n)
	case len(digits) == 3:
		return "ibm" + digits
	}
	return label
}
