package parser

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html/atom"
)

// htmlText makes readable text of HTML in one pass, without building a tree: nothing is too deep for it. Paragraphs and
// table rows become lines, cells are set apart, quoted text is marked with ">" as in plain mail. own is the length of the
// text before a message that is quoted without such a mark.
func htmlText(source string) (text string, own int) {
	w := htmlWriter{}
	const share = 8 // about what is text in the HTML of mail
	w.out.Grow(len(source) / share)
	s := htmlScan{source: source}
	own = -1
	for {
		switch kind, words, tag := s.next(); kind {
		case htmlEnd:
			text = strings.TrimRight(w.out.String(), " \n")
			if own < 0 || own > len(text) {
				own = len(text)
			}
			return text, own
		case htmlWords:
			w.text(words)
		case htmlOpen:
			if skipped(tag) && !(tag == atom.Svg && strings.HasSuffix(s.attrs, "/")) {
				s.skipTo(tag)
				continue
			}
			if own < 0 && quotesBelow(tag, s.attrs) {
				own = w.out.Len()
			}
			w.start(tag)
		case htmlClose:
			w.end(tag)
		}
	}
}

// htmlWriter writes text with the breaks that tags ask for.
type htmlWriter struct {
	out     strings.Builder
	quote   int // depth of blockquotes
	above   int // its depth on the line above
	pre     int
	breaks  int  // line breaks that are due before the next text
	space   bool // a space is due
	written bool // something stands on the line
	bullet  bool // and that is the mark of a list's item, which its text stands beside
}

// quotesBelow says whether an element is what a mail program puts before or around the message that is replied to.
func quotesBelow(a atom.Atom, attrs string) bool {
	if a != atom.Div && a != atom.Hr && a != atom.Table {
		return false
	}
	for _, id := range []string{
		"divRplyFwdMsg", "appendonsend", "yahoo_quoted", "OutlookMessageHeader", "mail-editor-reference-message-container",
		"ms-outlook-mobile-reference-message", "stopSpelling", "protonmail_quote", "zmail_extra", "divRpF", `name="quote"`, "messageReplySection",
		"border-top:solid #E1E1E1", "border-top:solid #B5C4DF", // the line that Outlook draws above it
	} {
		if strings.Contains(attrs, id) {
			return true
		}
	}
	return false
}

// skipped says whether an element has no text to read in it.
func skipped(a atom.Atom) bool {
	switch a {
	case atom.Script, atom.Style, atom.Title, atom.Template, atom.Textarea, atom.Select, atom.Svg:
		return true
	}
	return false
}

// block says how many line breaks stand around an element; 0 if it stands in a line.
func block(a atom.Atom) int {
	switch a {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Ul, atom.Ol, atom.Blockquote, atom.Pre, atom.Dl:
		return 2
	case atom.Div, atom.Tr, atom.Li, atom.Table, atom.Tbody, atom.Thead, atom.Section, atom.Article, atom.Header, atom.Footer,
		atom.Center, atom.Address, atom.Dt, atom.Dd, atom.Form, atom.Fieldset, atom.Hr, atom.Body, atom.Html, atom.Main, atom.Nav,
		atom.Figure, atom.Figcaption, atom.Caption, atom.Option:
		return 1
	}
	return 0
}

func (w *htmlWriter) start(a atom.Atom) {
	if !w.bullet || a == atom.Li {
		w.breaks = max(w.breaks, block(a))
	}
	switch a {
	case atom.Br:
		w.lineBreak()
	case atom.Td, atom.Th:
		w.space = true
	case atom.Li:
		w.text("- ")
		w.bullet = true
	case atom.Pre:
		w.pre++
	case atom.Blockquote:
		w.quote++
	}
}

func (w *htmlWriter) end(a atom.Atom) {
	w.breaks = max(w.breaks, block(a))
	w.bullet = false
	switch a {
	case atom.Td, atom.Th:
		w.space = true
	case atom.Pre:
		w.pre = max(w.pre-1, 0)
	case atom.Blockquote:
		w.quote = max(w.quote-1, 0)
	}
}

// lineBreak is a <br>: it ends the line at once, so that several of them make empty lines.
func (w *htmlWriter) lineBreak() {
	const most = 3
	if w.breaks > 0 && !w.written || w.breaks >= most {
		w.breaks = min(w.breaks+1, most)
		return
	}
	w.breaks++
	w.space = false
}

// text writes text; white space is one space, but not in <pre>.
func (w *htmlWriter) text(s string) {
	if w.pre > 0 {
		for i, line := range strings.Split(s, "\n") {
			if i > 0 {
				w.lineBreak()
			}
			w.word(strings.TrimRight(line, "\r"))
		}
		return
	}
	for len(s) > 0 {
		if n := htmlSpace(s); n > 0 {
			w.space = true
			s = s[n:]
			continue
		}
		if end := plainRun(s); end > 0 {
			w.plain(s[:end])
			s = s[end:]
			continue
		}
		end := 1
		for end < len(s) && htmlSpace(s[end:]) == 0 {
			end++
		}
		w.word(s[:end])
		s = s[end:]
	}
}

// htmlSpace returns how many bytes of white space a text starts with, one character at most.
func htmlSpace(s string) int {
	switch c := s[0]; {
	case c > ' ' && c != 0xc2 && c != 0xe2:
		return 0
	case isSpace(c) || c == '\f':
		return 1
	case strings.HasPrefix(s, "\u00a0"):
		return len("\u00a0")
	case strings.HasPrefix(s, figureSpace):
		return len(figureSpace)
	}
	return 0
}

// figureSpace is as wide as a digit. What fills the preview of a newsletter is made of it.
const figureSpace = "\u2007"

// plainRun returns the length of the ASCII words that a text starts with, one space between each: what can be written as it
// stands.
func plainRun(s string) int {
	n, last := 0, plainWeight[' ']
	for n < len(s) {
		weight := plainWeight[s[n]]
		if weight+last < 2 {
			break
		}
		n, last = n+1, weight
	}
	if n > 0 && s[n-1] == ' ' {
		n--
	}
	return n
}

// plainWeight says which neighbours belong to a run: those that weigh 2 or more together, a letter beside a letter or a space. It
// takes one comparison a letter: a processor that compares with the space by itself guesses wrong at the end of each word.
var plainWeight = func() (table [256]int8) {
	for c := range table {
		switch {
		case c > ' ' && c < utf8.RuneSelf:
			table[c] = 2
		case c != ' ':
			table[c] = -2
		}
	}
	return table
}()

// plain writes letters that are all visible, after the breaks and the space that are due.
func (w *htmlWriter) plain(s string) {
	w.due()
	w.out.WriteString(s)
	w.space, w.written, w.bullet = false, true, false
}

// word writes letters without those that nobody sees.
func (w *htmlWriter) word(s string) {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || s[i] == 0 {
			s = visible(s)
			break
		}
	}
	if s != "" {
		w.plain(s)
	}
}

// visible takes out what nobody sees: soft hyphens, and spaces without a width that only hide from filters. Persian and the
// languages of India spell with one of them.
func visible(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	last := rune(0)
	for i, r := range s {
		if hidden(r) && !spells(r, last, s[i+utf8.RuneLen(r):]) {
			continue
		}
		out.WriteRune(r)
		last = r
	}
	return out.String()
}

// spells says whether a hidden character belongs to the spelling of the word that it stands in.
func spells(r, before rune, behind string) bool {
	next, _ := utf8.DecodeRuneInString(behind)
	return r == nonJoiner && joins(before) && joins(next)
}

const nonJoiner = '\u200c'

// hidden says whether nobody sees a character: a soft hyphen, a space or a joiner without a width.
func hidden(r rune) bool {
	switch r {
	case 0, '\u00ad', '\u034f', '\u200b', nonJoiner, '\u2060', '\ufeff':
		return true
	}
	return false
}

// joins says whether a letter is of a script in which a non-joiner changes how words look.
func joins(r rune) bool {
	const arabic = 0x600
	return r >= arabic && (unicode.IsLetter(r) || unicode.IsMark(r))
}

// due writes the breaks, the marks of a quote or the space before a word.
func (w *htmlWriter) due() {
	const quoteMarks, deepest = ">>>>>>>>", 8
	if w.breaks > 0 && w.out.Len() > 0 {
		for i := range w.breaks {
			if i > 0 {
				w.out.WriteString(quoteMarks[:min(w.quote, w.above, deepest)])
			}
			w.out.WriteByte('\n')
		}
		w.written = false
	}
	w.breaks = 0
	w.above = w.quote
	if !w.written {
		if w.quote > 0 {
			w.out.WriteString(quoteMarks[:min(w.quote, deepest)])
			w.out.WriteByte(' ')
		}
	} else if w.space {
		w.out.WriteByte(' ')
	}
}

// htmlCharset returns how to read HTML that is labelled so, or not at all: what it says of itself counts if there is no
// label, or the bytes are not of the one there is. UTF-8 tells itself.
func htmlCharset(source []byte, label, hint string) (useLabel, useHint string) {
	kind := findCharset(label).kind
	if kind == charsetTable || kind == charsetUTF7 {
		return label, hint
	}
	switch valid := utf8.Valid(source); {
	case label == "" && (!valid || isASCII(source)):
		return metaCharset(source), hint
	case label != "" && !valid:
		return label, cmpOr(metaCharset(source), hint)
	}
	return label, hint
}

// metaCharset finds the charset that HTML names in its head, for a part that names none.
func metaCharset(source []byte) string {
	const window = 2048
	head := bytes.ToLower(source[:min(len(source), window)])
	for {
		i := bytes.Index(head, []byte("<meta"))
		if i < 0 {
			return ""
		}
		head = head[i+5:]
		tag, _, _ := bytes.Cut(head, []byte{'>'})
		if _, value, ok := bytes.Cut(tag, []byte("charset=")); ok {
			value = bytes.TrimLeft(value, `"' `)
			if end := bytes.IndexAny(value, `"' ;/>`); end >= 0 {
				value = value[:end]
			}
			if label := string(value); findCharset(label).kind == charsetTable && !findCharset(label).wide {
				return label
			}
			return ""
		}
	}
}
