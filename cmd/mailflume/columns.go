package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailflume/mailflume/token"
)

// width is that of a terminal.
const width = 80

// paragraph writes a text after its label, in lines that fit a terminal. It writes nothing for no text, and no control
// characters: a server wrote some of what is said.
func paragraph(w io.Writer, label, text string) {
	words := strings.Fields(strings.Map(visible, text))
	if len(words) == 0 {
		return
	}
	label = strings.Map(visible, label)
	line, indent := label+words[0], strings.Repeat(" ", min(utf8.RuneCountInString(label), width/2))
	for _, word := range words[1:] {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			fmt.Fprintln(w, line)
			line = indent + word
			continue
		}
		line += " " + word
	}
	fmt.Fprintln(w, line)
}

// advice writes what to do, in one line however long: it may hold a command, and a terminal lets a line that it has broken
// itself be copied as one.
func advice(w io.Writer, text string) {
	if text != "" {
		fmt.Fprintln(w, "  to do: "+strings.Map(visible, text))
	}
}

// visible leaves out what moves the cursor or turns the direction of a text.
func visible(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return ' '
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

// label is what a warning of a grant goes under.
func label(p token.Problem) string {
	if p.Ahead() {
		return "soon"
	}
	return "not used"
}

// clip returns at most n characters of a name.
func clip(s string, n int) string {
	s = strings.Map(visible, s)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// much says how large something is.
func much(n int64) string {
	size, unit := float64(n), "B"
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, larger
	}
	if size >= 100 || unit == "B" {
		return fmt.Sprintf("%.0f %s", size, unit)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}
