package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong with a configuration. It never holds a secret.
type Mistake struct {
	File string // the file, or "environment"
	Line int    // 0 if it has none
	Path string // such as mailboxes[0].login.client, or the name of an environment variable
	What string // what is wrong
	Fix  string // what to do about it
}

// String returns "file:line: path: what is wrong; how to fix it" on one line.
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d", m.Line)
	}
	b.WriteString(": ")
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.What)
	if m.Fix != "" {
		b.WriteString("; " + m.Fix)
	}
	return b.String()
}

// Error is every mistake of a configuration, in the order of its lines; those of the environment come last.
type Error struct{ Mistakes []Mistake }

// Error returns one line a mistake.
func (e *Error) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// environmentFile stands for the file of a mistake that an environment variable makes.
const environmentFile = "environment"

func sortMistakes(all []Mistake) {
	slices.SortStableFunc(all, func(a, b Mistake) int {
		inEnv := func(m Mistake) int {
			if m.File == environmentFile {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(inEnv(a), inEnv(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
	})
}

// flaw is a mistake that does not know yet where it is.
type flaw struct{ what, fix string }

func (f *flaw) Error() string { return f.what + "; " + f.fix }

func flawf(fix, what string, args ...any) *flaw { return &flaw{fmt.Sprintf(what, args...), fix} }
