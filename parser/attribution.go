package parser

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// attribution says how many lines from i on introduce a quote, as "On Monday, Ann wrote:" does, or 0. all says that what
// follows is the other message to the end, though it is not marked: then date and author are both named.
func attribution(lines textLines, i int) (n int, all bool) {
	var date, author bool
	for n := 0; n < longestAttribution && i+n < lines.count(); n++ {
		line := lines.trimmed(i + n)
		if line == "" || len(line) > longestLine || quotedLine(line) {
			return 0, false
		}
		date, author = date || hasDate(line), author || hasAddress(line)
		if n == 0 && !date && !author && !opensAttribution(line) {
			return 0, false
		}
		end := closesAttribution(line, date && author)
		if end == endsOpen && !(date && author) {
			continue
		}
		quote := quoteFollows(lines, i+n+1)
		if end == endsOpen && !quote {
			continue
		}
		verb := end != endsVerb && (quote || date) && verbIn(lines, i, i+n)
		if end == endsColon && verb {
			end = endsVerb
		}
		switch {
		case end == endsVerb && quote, end == endsColon && quote && (date || author):
			return n + 1, false
		case end != endsOpen && date && author, end == endsVerb && date && opensDate(lines.trimmed(i)):
			return n + 1, i+n+1 < lines.count() && !quote
		case end == endsOpen && quote && verb && i+n+1 < lines.count():
			return n + 1, false // the colon was lost to a break of the line
		}
	}
	return 0, false
}

// longestAttribution is how many lines an introduction has at most.
const longestAttribution = 4

// marksAttribution says whether a line can end an introduction: it has a colon at its end, or an address in it.
func marksAttribution(line string) bool {
	_, colon := cutEnd(line)
	return colon || strings.IndexByte(line, '@') >= 0
}

// cutEnd takes off what stands behind the last word of an introduction: white space, the marks of a quote, of emphasis or
// of the direction of writing, dashes, and the colon.
func cutEnd(line string) (words string, colon bool) {
	for line != "" {
		switch c := line[len(line)-1]; {
		case isSpace(c) || c == '>' || c == '*':
			line = line[:len(line)-1]
		case c == ':':
			line, colon = line[:len(line)-1], true
		case c == '-' && strings.HasSuffix(line, " ---"), c == '-' && strings.HasSuffix(line, "----"): // Zoho
			line = strings.TrimRight(line, "-")
		case c < utf8.RuneSelf:
			return line, colon
		default:
			r, size := utf8.DecodeLastRuneInString(line)
			if r != '：' && !unicode.IsSpace(r) && !unicode.Is(unicode.Cf, r) {
				return line, colon
			}
			line, colon = line[:len(line)-size], colon || r == '：'
		}
	}
	return line, colon
}

// opensAttribution says whether a line starts as an introduction does.
func opensAttribution(line string) bool {
	if startsWith(openWords, line) || len(line) > 4 && isDigit(line[0]) {
		return true
	}
	end := closesAttribution(line, false)
	return end == endsVerb || end == endsColon && hasVerb(line)
}

// opensDate says whether a line starts with a date, or with a word that stands before one.
func opensDate(line string) bool { return isDigit(line[0]) || startsWith(openWords, line) }

// How a line ends, if it is an introduction.
const (
	endsOpen  = iota // as any other
	endsColon        // with a colon
	endsVerb         // with "wrote", a colon behind it or not
)

// closesAttribution says how a line ends. full says that it names date and author.
func closesAttribution(line string, full bool) int {
	end, colon := cutEnd(line)
	if !colon && !full {
		return endsOpen
	}
	if wrote(end) {
		return endsVerb
	}
	if colon {
		return endsColon
	}
	return endsOpen
}

// wrote says whether a line ends with one of wroteWords.
func wrote(line string) bool {
	if line == "" {
		return false
	}
	c := line[len(line)-1]
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	words := wroteWords[c]
	if len(words) == 0 {
		return false
	}
	return slices.ContainsFunc(words, func(word string) bool {
		return len(line) >= len(word) && strings.EqualFold(line[len(line)-len(word):], word)
	})
}

// verbIn says whether one of the lines from first to last has a verb before the name.
func verbIn(lines textLines, first, last int) bool {
	for i := first; i <= last; i++ {
		if hasVerb(lines.at(i)) {
			return true
		}
	}
	return false
}

// hasVerb says whether a verb stands before the name, as some languages have it.
func hasVerb(line string) bool {
	for {
		_, rest, more := strings.Cut(line, " ")
		if !more {
			return false
		}
		if startsWith(verbWords, rest) {
			return true
		}
		line = rest
	}
}

// hasDate says whether a year or the time of a day stands in a line.
func hasDate(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			continue
		}
		n := digits(s[i:])
		if n == 4 && (s[i:i+2] == "19" || s[i:i+2] == "20") {
			return true
		}
		if rest := s[i+n:]; n <= 2 && len(rest) > 2 && rest[0] == ':' && digits(rest[1:]) == 2 {
			return true
		}
		i += n
	}
	return false
}

// hasAddress says whether an address stands in a line.
func hasAddress(s string) bool {
	at := strings.IndexByte(s, '@')
	return at > 0 && at+1 < len(s) && s[at-1] != ' ' && (s[at+1] >= utf8.RuneSelf || isLetter(s[at+1]) || isDigit(s[at+1]))
}

// quoteFollows says whether the next line that is not empty is quoted, or there is none.
func quoteFollows(lines textLines, i int) bool {
	for skipped := 0; i < lines.count() && skipped < 5; i, skipped = i+1, skipped+1 {
		if line := lines.trimmed(i); line != "" {
			return quotedLine(line)
		}
	}
	return i >= lines.count()
}
