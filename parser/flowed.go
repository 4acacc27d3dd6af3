package parser

import "strings"

// flow says how the lines of a text part are broken (RFC 3676).
type flow struct {
	flowed bool // a space at the end of a line says that the next one continues it
	delete bool // that space is not part of the text
}

func flowOf(p *part) flow {
	if p.media.value != "text/plain" || !strings.EqualFold(p.media.str("format"), "flowed") {
		return flow{}
	}
	return flow{flowed: true, delete: strings.EqualFold(p.media.str("delsp"), "yes")}
}

// unwrap puts the lines of a flowed text together again, paragraph by paragraph.
func (f flow) unwrap(s string) string {
	if !f.flowed {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	depth, open := 0, false // of the line before, and whether it goes on
	for first := true; ; first = false {
		line, rest, more := strings.Cut(s, "\n")
		text := strings.TrimLeft(line, ">")
		quotes := len(line) - len(text)
		text = strings.TrimPrefix(text, " ") // a space protects what would look like a quote
		signature := text == "-- "
		if !open || quotes != depth || signature {
			if !first {
				out.WriteByte('\n')
			}
			if quotes > 0 {
				out.WriteString(line[:quotes])
				out.WriteByte(' ')
			}
		}
		depth, open = quotes, strings.HasSuffix(text, " ") && !signature
		if open && f.delete {
			text = text[:len(text)-1]
		}
		out.WriteString(text)
		if s = rest; !more {
			return out.String()
		}
	}
}
