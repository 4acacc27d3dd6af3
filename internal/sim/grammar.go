package sim

import (
	"errors"
	"strconv"
	"strings"
)

// The limits of what a client may send.
const (
	maxLine    = 1 << 20
	maxLiteral = 64 << 20
	maxNesting = 32
)

// A node is one argument of a command: a list, or a string in one of its three forms.
type node struct {
	text   string
	list   []node
	isList bool
	quoted bool // or a literal: not an atom
}

// atom returns the upper-case text, for comparing it with a keyword.
func (n node) atom() string {
	if n.isList || n.quoted {
		return ""
	}
	return strings.ToUpper(n.text)
}

// A command is what a client sent, without its line ends.
type command struct {
	tag  string
	verb string // upper case, without UID
	uid  bool
	args []node
	line string // its first line, for reports
	size int
}

var errSyntax = errors.New("syntax error")

// parser takes the pieces of a command: lines, and the literals between them.
type parser struct {
	open [][]node // the lists that are open; the first is the command
}

func newParser() *parser { return &parser{open: [][]node{nil}} }

func (p *parser) add(n node) {
	top := len(p.open) - 1
	p.open[top] = append(p.open[top], n)
}

// literal is what the end of a line announces.
type literal struct {
	size int
	sync bool // the client waits for a continuation
}

// line takes one line without its end. It returns the literal that must follow, if one does.
func (p *parser) line(line string) (*literal, error) {
	for i := 0; i < len(line); {
		switch c := line[i]; c {
		case ' ':
			i++
		case '(':
			if len(p.open) > maxNesting {
				return nil, errSyntax
			}
			p.open = append(p.open, nil)
			i++
		case ')':
			top := len(p.open) - 1
			if top == 0 {
				return nil, errSyntax
			}
			list := p.open[top]
			p.open = p.open[:top]
			p.add(node{list: list, isList: true})
			i++
		case '"':
			text, n, err := quoted(line[i:])
			if err != nil {
				return nil, err
			}
			p.add(node{text: text, quoted: true})
			i += n
		case '{':
			return announced(line[i:])
		default:
			n := atomLength(line[i:])
			p.add(node{text: line[i : i+n]})
			i += n
		}
	}
	return nil, nil
}

// data takes the literal that a line announced.
func (p *parser) data(b []byte) { p.add(node{text: string(b), quoted: true}) }

// end returns the arguments, the tag and the verb among them.
func (p *parser) end() ([]node, error) {
	if len(p.open) != 1 {
		return nil, errSyntax
	}
	return p.open[0], nil
}

// quoted reads a quoted string and returns how long it was with its quotes.
func quoted(s string) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), i + 1, nil
		case '\\':
			if i++; i == len(s) {
				return "", 0, errSyntax
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, errSyntax
}

// announced reads {n} or {n+} at the end of a line.
func announced(s string) (*literal, error) {
	digits, ok := strings.CutSuffix(s[1:], "}")
	if !ok {
		return nil, errSyntax
	}
	digits, nonsync := strings.CutSuffix(digits, "+")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > maxLiteral {
		return nil, errSyntax
	}
	return &literal{size: n, sync: !nonsync}, nil
}

// atomLength returns the length of the atom at the start of s, which is not empty. Brackets, as in BODY[HEADER.FIELDS
// (Date)], hold whatever they like.
func atomLength(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ', '(', ')', '"':
			return i
		case '[':
			end := strings.IndexByte(s[i:], ']')
			if end < 0 {
				return len(s)
			}
			i += end
		}
	}
	return len(s)
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quote writes a string as a quoted string.
func quote(s string) string { return `"` + escaper.Replace(s) + `"` }

// isAtom reports whether a string needs no quotes.
func isAtom(s string) bool {
	return s != "" && !strings.ContainsAny(s, " (){%*\"\\]\x7f") && strings.IndexFunc(s, func(r rune) bool { return r < ' ' }) < 0
}

// A numberSet is a set such as 1,5:7,9:*.
type numberSet []struct{ from, to uint32 } // 0 is *

func parseSet(s string) (numberSet, error) {
	var set numberSet
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, ":")
		a, err := setNumber(from)
		if err != nil {
			return nil, err
		}
		b := a
		if isRange {
			if b, err = setNumber(to); err != nil {
				return nil, err
			}
		}
		set = append(set, struct{ from, to uint32 }{a, b})
	}
	return set, nil
}

func setNumber(s string) (uint32, error) {
	if s == "*" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, errSyntax
	}
	return uint32(n), nil
}

// has reports whether the set has n, where last is what * stands for. A range whose end is below its start counts all the
// same: 9:* has the last number even if that is 5.
func (s numberSet) has(n, last uint32) bool {
	for _, r := range s {
		from, to := r.from, r.to
		if from == 0 {
			from = last
		}
		if to == 0 {
			to = last
		}
		if min(from, to) <= n && n <= max(from, to) {
			return true
		}
	}
	return false
}

// ranges writes ascending numbers as a set.
func ranges(numbers []uint32) string {
	var b strings.Builder
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(numbers[i]), 10))
		if j > i {
			b.WriteByte(':')
			b.WriteString(strconv.FormatUint(uint64(numbers[j]), 10))
		}
		i = j + 1
	}
	return b.String()
}
