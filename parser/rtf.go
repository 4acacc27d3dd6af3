package parser

import (
	"strings"
	"unicode/utf16"
)

// rtfReader reads the text of RTF, or the HTML that Outlook has wrapped in it ([MS-OXRTFEX]).
type rtfReader struct {
	data []byte
	pos  int
	most int // bytes of output

	out     strings.Builder
	pending []byte   // text in the charset of a font
	units   []uint16 // characters that are told by number
	ignore  int      // characters that stand for such a one, for readers that know no numbers

	html     bool        // HTML is wrapped in it
	codePage int         // of the whole
	fonts    map[int]int // the code page of each font
	first    int         // the font where none is chosen

	group  rtfGroup
	groups []rtfGroup // around this one
	deeper int        // groups below the deepest that are kept apart
}

// rtfGroup is what a pair of braces keeps to itself.
type rtfGroup struct {
	skip   bool // nothing in it is text
	fonts  bool // it is the table of fonts
	hidden bool // \htmlrtf: it is there for readers that do not unwrap HTML
	star   bool // the next word says what the group is for
	font   int
	spare  int // \uc
}

// rtfText returns the text of RTF, at most so many bytes, and whether it is HTML.
func rtfText(data []byte, most int) (text string, isHTML bool) {
	r := rtfReader{data: data, most: most, fonts: make(map[int]int), group: rtfGroup{spare: 1, font: -1}}
	for r.pos < len(data) && r.out.Len() <= most {
		r.next()
	}
	r.flush()
	return cutText(r.out.String(), most), r.html
}

// next reads a brace, a control word or text up to one.
func (r *rtfReader) next() {
	const deepest = 500
	switch c := r.data[r.pos]; {
	case c == '{':
		r.brace()
		if len(r.groups) == deepest {
			r.deeper++
			return
		}
		r.groups = append(r.groups, r.group)
	case c == '}':
		r.brace()
		if r.deeper > 0 {
			r.deeper--
		} else if last := len(r.groups) - 1; last >= 0 {
			r.group, r.groups = r.groups[last], r.groups[:last]
		}
	case c == '\\':
		r.pos++
		r.control()
	case c == '\r' || c == '\n':
		r.pos++
	default:
		end := r.pos + 1
		for end < len(r.data) && strings.IndexByte("{}\\\r\n", r.data[end]) < 0 {
			end++
		}
		r.bytes(r.data[r.pos:end])
		r.pos = end
	}
}

// brace ends the text before it, and the search for what stands for a number.
func (r *rtfReader) brace() {
	r.flush()
	r.ignore = 0
	r.pos++
}

// control reads what stands behind a backslash.
func (r *rtfReader) control() {
	if r.pos >= len(r.data) {
		return
	}
	c := r.data[r.pos]
	if isLetter(c) {
		start := r.pos
		for r.pos < len(r.data) && isLetter(r.data[r.pos]) {
			r.pos++
		}
		const longest = 32
		word := r.data[start:min(r.pos, start+longest)]
		number, given := r.number()
		r.word(word, number, given)
		return
	}
	r.pos++
	switch c {
	case '\'':
		if r.pos+1 < len(r.data) {
			if hi, lo := unhex(r.data[r.pos]), unhex(r.data[r.pos+1]); hi >= 0 && lo >= 0 {
				r.pos += 2
				r.bytes([]byte{byte(hi<<4 | lo)})
			}
		}
	case '*':
		r.group.star = true
	case '~':
		r.write("\u00a0")
	case '_':
		r.write("\u2011")
	case '\\', '{', '}':
		r.bytes([]byte{c})
	case '\r', '\n':
		r.write("\n")
	}
}

// number reads the number behind a control word, and the space that ends the word.
func (r *rtfReader) number() (n int, given bool) {
	sign := 1
	if r.pos+1 < len(r.data) && r.data[r.pos] == '-' && isDigit(r.data[r.pos+1]) {
		sign = -1
		r.pos++
	}
	const most = 1 << 30
	for ; r.pos < len(r.data) && isDigit(r.data[r.pos]); r.pos++ {
		n, given = min(10*n+int(r.data[r.pos]-'0'), most), true
	}
	if r.pos < len(r.data) && r.data[r.pos] == ' ' {
		r.pos++
	}
	return sign * n, given
}

// word does what a control word says.
func (r *rtfReader) word(word []byte, n int, given bool) {
	g := &r.group
	if g.star {
		g.star = false
		g.skip = g.skip || string(word) != "htmltag"
		return
	}
	switch string(word) {
	case "bin":
		r.pos += max(0, min(n, len(r.data)-r.pos))
	case "fonttbl":
		g.fonts = true
	case "colortbl", "stylesheet", "info", "pict", "object", "header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf":
		g.skip = true
	case "fromhtml":
		r.html = !given || n == 1
	case "ansicpg":
		r.codePage = n
	case "deff":
		r.first = n
	case "f":
		r.flush()
		g.font = n
	case "fcharset":
		if page, ok := rtfCharsets[n]; ok && g.fonts && len(r.fonts) < 1000 {
			r.fonts[g.font] = page
		}
	case "plain":
		r.flush()
		g.font = -1
	case "htmlrtf":
		r.flush()
		g.hidden = !given || n != 0
	case "uc":
		g.spare = max(0, min(n, 10))
	case "u":
		r.unit(uint16(n))
	default:
		if text, ok := rtfWords[string(word)]; ok {
			r.write(text)
		}
	}
}

// rtfWords are the control words that stand for text.
var rtfWords = map[string]string{
	"par": "\n", "line": "\n", "sect": "\n", "page": "\n", "row": "\n", "tab": "\t", "cell": "\t",
	"lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•", "endash": "–", "emdash": "—",
	"enspace": "\u2002", "emspace": "\u2003",
}

// rtfCharsets are the code pages of the charsets of fonts, but for those that are the same as that of the whole.
var rtfCharsets = map[int]int{
	77: 10000, 128: 932, 129: 949, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256, 186: 1257, 204: 1251, 222: 874, 238: 1250,
}

// silent says whether what is read is no text.
func (r *rtfReader) silent() bool { return r.group.skip || r.group.fonts || r.group.hidden }

// bytes takes text in the charset of the font.
func (r *rtfReader) bytes(text []byte) {
	skipped := min(r.ignore, len(text))
	r.ignore -= skipped
	if text = text[skipped:]; len(text) == 0 || r.silent() {
		return
	}
	if len(r.units) > 0 {
		r.flush()
	}
	r.pending = append(r.pending, text...)
}

// unit takes a character, or half of one, that is told by its number.
func (r *rtfReader) unit(n uint16) {
	r.ignore = r.group.spare
	if r.silent() {
		return
	}
	if len(r.pending) > 0 {
		r.flush()
	}
	r.units = append(r.units, n)
}

func (r *rtfReader) write(text string) {
	if r.ignore > 0 {
		r.ignore--
		return
	}
	if !r.silent() {
		r.flush()
		r.out.WriteString(text)
	}
}

// flush decodes what waits for more of its kind.
func (r *rtfReader) flush() {
	if len(r.pending) > 0 {
		font := r.group.font
		if font < 0 {
			font = r.first
		}
		page, ok := r.fonts[font]
		if !ok {
			page = r.codePage
		}
		r.out.WriteString(decodeText(r.pending, codePageLabel(page), "windows-1252").value)
		r.pending = r.pending[:0]
	}
	if len(r.units) > 0 {
		r.out.WriteString(string(utf16.Decode(r.units)))
		r.units = r.units[:0]
	}
}
