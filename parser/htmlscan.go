package parser

import (
	"html"
	"strings"

	"golang.org/x/net/html/atom"
)

// htmlScan takes HTML apart into text and tags. It is not the tokenizer of x/net/html, which compares each attribute of a
// tag with those before it: 200,000 attributes, 400 KB, take it a second (v0.62.0). We need no attributes.
type htmlScan struct {
	source string
	pos    int
	attrs  string // of the last tag, as they stand
	// Nothing of that kind ends behind here, so it is not looked for again.
	noComment, noQuote bool
}

type htmlKind int

const (
	htmlEnd htmlKind = iota
	htmlWords
	htmlOpen
	htmlClose
)

// next returns the next piece: text with its entities resolved, or the name of a tag.
func (s *htmlScan) next() (kind htmlKind, words string, tag atom.Atom) {
	for s.pos < len(s.source) {
		rest := s.source[s.pos:]
		if rest[0] != '<' || len(rest) < 2 {
			return htmlWords, s.words(rest), 0
		}
		switch c := rest[1]; {
		case isLetter(c):
			return htmlOpen, "", s.tag(rest, 1)
		case c == '/' && len(rest) > 2 && isLetter(rest[2]):
			return htmlClose, "", s.tag(rest, 2)
		case c == '!' || c == '?' || c == '/':
			s.comment(rest)
		default:
			return htmlWords, s.words(rest), 0
		}
	}
	return htmlEnd, "", 0
}

// words takes text up to the next "<" that can start a tag.
func (s *htmlScan) words(rest string) string {
	end := 1
	for end < len(rest) {
		next := strings.IndexByte(rest[end:], '<')
		if next < 0 {
			end = len(rest)
			break
		}
		if end += next; end+1 < len(rest) && (isLetter(rest[end+1]) || strings.IndexByte("/!?", rest[end+1]) >= 0) {
			break
		}
		end++
	}
	s.pos += end
	return html.UnescapeString(rest[:end])
}

// comment skips a comment, a doctype or a processing instruction.
func (s *htmlScan) comment(rest string) {
	if strings.HasPrefix(rest, "<!--") && !s.noComment {
		if end := strings.Index(rest[2:], "-->"); end >= 0 {
			s.pos += end + 5
			return
		}
		s.noComment = true
	}
	s.pos += upTo(rest, ">")
}

// upTo returns the length of text up to and with an end, or all of it.
func upTo(text, end string) int {
	i := strings.Index(text, end)
	if i < 0 {
		return len(text)
	}
	return i + len(end)
}

// tag reads a tag whose name starts at the given place, and skips its attributes.
func (s *htmlScan) tag(rest string, start int) atom.Atom {
	const longest = 20
	end := start
	for end < len(rest) && end < start+longest && (isLetter(rest[end]) || rest[end] >= '0' && rest[end] <= '9') {
		end++
	}
	var low [longest]byte
	for i := start; i < end; i++ {
		low[i-start] = rest[i] | 0x20 // digits have that bit
	}
	name := atom.Lookup(low[:end-start])
	i := end
	for i < len(rest) && rest[i] != '>' {
		c := rest[i]
		i++
		if c != '=' {
			continue
		}
		for i < len(rest) && isSpace(rest[i]) {
			i++
		}
		if i < len(rest) && (rest[i] == '"' || rest[i] == '\'') && !s.noQuote {
			closing := strings.IndexByte(rest[i+1:], rest[i])
			if closing < 0 {
				s.noQuote = true
				continue
			}
			i += closing + 2
		}
	}
	s.attrs = rest[end:min(i, len(rest))]
	s.pos += min(i+1, len(rest))
	return name
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// skipTo moves behind the closing tag of an element whose content is no text to read.
func (s *htmlScan) skipTo(a atom.Atom) {
	rest := s.source[s.pos:]
	name := a.String()
	for i := 0; ; {
		next := strings.Index(rest[i:], "</")
		if next < 0 {
			s.pos = len(s.source)
			return
		}
		i += next + 2
		if len(rest)-i >= len(name) && strings.EqualFold(rest[i:i+len(name)], name) {
			s.pos += i - 2
			s.tag(s.source[s.pos:], 2)
			return
		}
	}
}
