package fetcher

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// notEOF turns the end of the connection into an error that no reader takes for the end of its data.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cutWord splits s at its first space.
func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(s, " ")
	return word, strings.TrimLeft(rest, " ")
}

// cutCode splits a response text into its response code, without brackets, and what follows it.
func cutCode(text string) (code, rest string, ok bool) {
	if !strings.HasPrefix(text, "[") {
		return "", text, false
	}
	code, rest, ok = strings.Cut(text[1:], "]")
	if !ok {
		return "", text, false
	}
	return code, strings.TrimLeft(rest, " "), true
}

// quote returns s as an IMAP quoted string. s has no line breaks.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// clip shortens a text of the server for an error message and takes out what a terminal or a log could stumble over.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}

// trailingLiteral returns the n of a line that ends in {n} or {n+}.
func trailingLiteral(line []byte) (n int64, ok bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, false
	}
	end := len(line) - 1
	if line[end-1] == '+' {
		end--
	}
	start := end
	for start > 0 && line[start-1] >= '0' && line[start-1] <= '9' {
		start--
	}
	if start == end || start == 0 || line[start-1] != '{' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(line[start:end]), 10, 64)
	if err != nil {
		return 1<<63 - 1, true // more than anyone can send
	}
	return n, true
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
