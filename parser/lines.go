package parser

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textLines are the lines of a text.
type textLines struct {
	text  string
	spans []lineSpan
}

// lineSpan is where a line stands: small offsets, since a text can be nothing but line breaks.
type lineSpan struct {
	start, end int32
	from, to   int32 // the same without the white space around it
}

// splitLines returns the lines of a text. They take up the room that is given, as far as it goes.
func splitLines(s string, room []lineSpan) textLines {
	lines := textLines{text: s, spans: slices.Grow(room[:0], 1+strings.Count(s, "\n"))}
	for start := 0; start <= len(s); {
		line := s[start:]
		if end := strings.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
		from := start
		end := start + len(line)
		if line != "" {
			if c := line[0]; c <= ' ' || c >= utf8.RuneSelf {
				line = strings.TrimLeftFunc(line, unicode.IsSpace)
				from = end - len(line)
			}
		}
		if line != "" {
			if c := line[len(line)-1]; c <= ' ' || c >= utf8.RuneSelf {
				line = strings.TrimRightFunc(line, unicode.IsSpace)
			}
		}
		lines.spans = append(lines.spans, lineSpan{int32(start), int32(end), int32(from), int32(from + len(line))})
		start = end + 1
	}
	return lines
}

// slice returns some of the lines.
func (l textLines) slice(first, end int) textLines { return textLines{l.text, l.spans[first:end]} }

// upTo returns the lines of the first n bytes of the text.
func (l textLines) upTo(n int) textLines {
	if len(l.text) <= n {
		return l
	}
	return splitLines(cutText(l.text, n), nil)
}

func (l textLines) count() int { return len(l.spans) }

// at returns a line without its break.
func (l textLines) at(i int) string {
	span := &l.spans[i]
	return l.text[span.start:span.end]
}

// trimmed returns a line without the white space around it.
func (l textLines) trimmed(i int) string {
	span := &l.spans[i]
	return l.text[span.from:span.to]
}
