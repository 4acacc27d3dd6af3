package parser

import (
	"bytes"
	"slices"
	"strings"
)

// openBoundary is the boundary of a multipart that is open. Its level is its place among them, from 1.
type openBoundary struct {
	hash uint64
	text string
}

// boundaryHash lets a line be compared with many boundaries at once.
func boundaryHash[T string | []byte](text T) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	hash := uint64(offset)
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * prime
	}
	return hash
}

// delimiter is a boundary line: of which level, and where the text before it ends and the text after it starts.
type delimiter struct {
	level   int // -1: there is none up to the end
	closing bool
	before  int
	after   int
}

// match says which open multipart a line starting with "--" delimits.
func (w *walk) match(line []byte) (level int, closing, ok bool) {
	if len(w.open) == 0 {
		return 0, false, false
	}
	exact := line[2:]
	text := trimRight(exact)
	if level, ok = w.opened(text, exact); ok {
		return level, false, true
	}
	if text, ok = bytes.CutSuffix(text, []byte("--")); !ok {
		return 0, false, false
	}
	level, ok = w.opened(trimRight(text), text)
	return level, ok, ok
}

// opened returns the innermost level of a boundary. exact is the boundary with the white space at its end.
func (w *walk) opened(text, exact []byte) (level int, ok bool) {
	if level = w.find(text); level == 0 && w.spaced > 0 && len(exact) > len(text) {
		level = w.find(exact)
	}
	return level, level > 0
}

// find returns the innermost level at which a boundary is open, or 0.
func (w *walk) find(text []byte) int {
	if w.lengths>>(len(text)&63)&1 == 0 {
		return 0
	}
	hash := boundaryHash(text)
	for i := len(w.open) - 1; i >= 0; i-- {
		if w.open[i].hash == hash && w.open[i].text == string(text) {
			return i + 1
		}
	}
	return 0
}

// next finds the first boundary line from pos, which is the start of a line.
func (w *walk) next(pos int) delimiter {
	none := delimiter{level: -1, before: len(w.raw), after: len(w.raw)}
	if len(w.open) == 0 {
		return none
	}
	for start := pos; pos < len(w.raw); {
		if !bytes.HasPrefix(w.raw[pos:], []byte("--")) {
			if pos = dashesAt(w.raw, pos); pos < 0 {
				break
			}
		}
		line, after := lineAt(w.raw, pos)
		if level, closing, ok := w.match(line); ok {
			before := pos
			if before > start && w.raw[before-1] == '\n' {
				before--
				if before > start && w.raw[before-1] == '\r' {
					before--
				}
			}
			return delimiter{level: level, closing: closing, before: before, after: after}
		}
		pos = after
	}
	return none
}

// dashesAt returns where the next line that starts with "--" starts, or -1. It looks for the dashes rather than for the
// line breaks: base64 has none.
func dashesAt(raw []byte, pos int) int {
	for {
		i := bytes.IndexByte(raw[pos:], '-')
		if i < 0 || pos+i+1 >= len(raw) {
			return -1
		}
		pos += i + 1
		if raw[pos] == '-' && pos > 1 && raw[pos-2] == '\n' {
			return pos - 1
		}
		for pos < len(raw) && raw[pos] == '-' {
			pos++
		}
	}
}

// push opens a boundary and returns its level.
func (w *walk) push(text string) int {
	w.open = append(w.open, openBoundary{boundaryHash(text), text})
	w.lengths |= 1 << (len(text) & 63)
	if endsInSpace(text) {
		w.spaced++
	}
	return len(w.open)
}

func (w *walk) pop() {
	last := len(w.open) - 1
	if endsInSpace(w.open[last].text) {
		w.spaced--
	}
	w.open = w.open[:last]
	w.lengths = 0
	for _, b := range w.open {
		w.lengths |= 1 << (len(b.text) & 63)
	}
}

func endsInSpace(boundary string) bool {
	return strings.HasSuffix(boundary, " ") || strings.HasSuffix(boundary, "\t")
}

// boundary returns the boundary that a parameter means. White space at its end does not count, and gets lost on the way,
// unless the first line that could be it has the very same.
func (w *walk) boundary(param string, body int) string {
	trimmed := strings.TrimRight(param, " \t")
	if trimmed == param || trimmed == "" {
		return trimmed
	}
	level := w.push(trimmed)
	d := w.next(body)
	w.pop()
	line := bytes.TrimRight(w.raw[min(d.before, d.after):d.after], "\r\n")
	if d.level == level && bytes.HasSuffix(line, []byte("--"+param)) {
		return param
	}
	return trimmed
}

// outerHas says whether a multipart around the innermost one has the same boundary.
func (w *walk) outerHas(text string) bool {
	return slices.ContainsFunc(w.open[:len(w.open)-1], func(b openBoundary) bool { return b.text == text })
}

// guess looks for the first line that can be a boundary, near the start of a body: "--" and a word, with a header or a
// blank line behind it.
func (w *walk) guess(body, end int) string {
	const most, window, longest = 4, 64 << 10, 200
	if w.guesses++; w.guesses > most || body >= end {
		return ""
	}
	text := w.raw[body:min(end, body+window)]
	for pos := 0; pos < len(text); {
		line, next := lineAt(text, pos)
		pos = next
		word := trimRight(line)
		if !bytes.HasPrefix(word, []byte("--")) || len(word) < 3 || len(word) > longest || bytes.IndexByte(word, ' ') >= 0 ||
			len(bytes.Trim(word, "-")) == 0 {
			continue
		}
		if _, _, ok := w.match(word); ok {
			continue
		}
		if after, _ := lineAt(text, min(next, len(text))); blank(after) && next < len(text) || len(after) > 8 && bytes.EqualFold(after[:8], []byte("Content-")) {
			return string(word[2:])
		}
	}
	return ""
}
