package parser

import "strings"

// textLines are the lines of a text. It holds where they start, which takes a quarter of the room of the lines themselves:
// a text can be nothing but line breaks.
type textLines struct {
	text   string
	starts []int32 // of each line, and where one behind the last would start
}

func splitLines(s string) textLines {
	lines := textLines{text: s, starts: make([]int32, 1, 2+strings.Count(s, "\n"))}
	for at := 0; ; {
		end := strings.IndexByte(s[at:], '\n')
		if end < 0 {
			lines.starts = append(lines.starts, int32(len(s)+1))
			return lines
		}
		at += end + 1
		lines.starts = append(lines.starts, int32(at))
	}
}

// slice returns some of the lines.
func (l textLines) slice(first, end int) textLines { return textLines{l.text, l.starts[first : end+1]} }

func (l textLines) count() int { return len(l.starts) - 1 }

// span returns where a line starts and ends.
func (l textLines) span(i int) (from, to int) { return int(l.starts[i]), int(l.starts[i+1]) - 1 }

func (l textLines) at(i int) string {
	from, to := l.span(i)
	return l.text[from:to]
}

// trimmed returns a line without the white space around it.
func (l textLines) trimmed(i int) string { return strings.TrimSpace(l.at(i)) }
