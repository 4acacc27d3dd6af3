package fetcher

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
)

// scanner reads the values of one response, over the literals in it.
type scanner struct {
	f     *filter
	line  []byte
	pos   int
	depth int
}

func (p *scanner) end() bool { return p.pos >= len(p.line) }

func (p *scanner) peek() byte {
	if p.end() {
		return 0
	}
	return p.line[p.pos]
}

func (p *scanner) spaces() {
	for p.peek() == ' ' {
		p.pos++
	}
}

// atLiteral reports whether a literal begins here: {n} with nothing after it.
func (p *scanner) atLiteral() bool {
	at := p.line[p.pos:]
	at = bytes.TrimPrefix(at, []byte("~"))
	if len(at) == 0 || at[0] != '{' {
		return false
	}
	_, ok := trailingLiteral(at)
	return ok && bytes.IndexByte(at, '}') == len(at)-1
}

// literalSize steps over the announcement of the literal at which the scanner stands.
func (p *scanner) literalSize() int64 {
	n, _ := trailingLiteral(p.line[p.pos:])
	p.pos = len(p.line)
	return n
}

// nextLine continues after a literal.
func (p *scanner) nextLine() (err error) {
	p.line, err = p.f.readLine()
	p.pos = 0
	return err
}

// inline reads a literal into memory.
func (p *scanner) inline() (string, error) {
	n := p.literalSize()
	if n > maxInline {
		return "", &LimitError{What: "literal that is no message"}
	}
	p.f.room -= int(n)
	b := make([]byte, n)
	if _, err := io.ReadFull(p.f.br, b); err != nil {
		return "", err
	}
	p.f.advanced()
	if err := p.f.noteText(len(b)); err != nil {
		return "", err
	}
	return string(b), p.nextLine()
}

// nstring reads a quoted string, a literal, or an atom. NIL is not ok.
func (p *scanner) nstring() (s string, ok bool, err error) {
	switch {
	case p.atLiteral():
		s, err = p.inline()
		return s, err == nil, err
	case p.peek() == '"':
		return p.quoted(), true, nil
	}
	s = p.atom()
	if strings.EqualFold(s, "NIL") {
		return "", false, nil
	}
	return s, s != "", nil
}

func (p *scanner) quoted() string {
	var b []byte
	for p.pos++; !p.end(); p.pos++ {
		switch c := p.line[p.pos]; c {
		case '"':
			p.pos++
			return string(b)
		case '\\':
			if p.pos++; p.end() {
				return string(b)
			}
			b = append(b, p.line[p.pos])
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// atom reads up to a space or parenthesis.
func (p *scanner) atom() string {
	start := p.pos
	for !p.end() && !strings.ContainsRune(" ()", rune(p.line[p.pos])) {
		p.pos++
	}
	return string(p.line[start:p.pos])
}

// key reads the name of a FETCH item; BODY[HEADER.FIELDS (A B)]<0> is one.
func (p *scanner) key() string {
	start := p.pos
	p.atom()
	at := p.line[start:]
	if open := bytes.IndexByte(at[:p.pos-start], '['); open >= 0 {
		if end := bytes.IndexByte(at, ']'); end >= 0 && start+end >= p.pos {
			p.pos = start + end
			p.atom()
		}
	}
	return strings.ToUpper(string(p.line[start:p.pos]))
}

// enter and leave bound the nesting of lists.
func (p *scanner) enter() error {
	p.pos++
	if p.depth++; p.depth > maxDepth {
		return &LimitError{What: "nesting of more than " + strconv.Itoa(maxDepth) + " lists"}
	}
	return nil
}

func (p *scanner) leave() {
	p.pos++
	p.depth--
}

// strings reads a list of strings or atoms; NIL, as list or as member, is nothing.
func (p *scanner) strings() (list []string, err error) {
	if p.peek() != '(' {
		s, ok, err := p.nstring()
		if ok {
			list = append(list, s)
		}
		return list, err
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	for {
		p.spaces()
		switch {
		case p.end():
			return list, nil
		case p.peek() == ')':
			p.leave()
			return list, nil
		case p.peek() == '(':
			if err := p.skip(); err != nil {
				return nil, err
			}
		default:
			s, ok, err := p.nstring()
			if err != nil {
				return nil, err
			}
			if ok {
				list = append(list, s)
			}
		}
	}
}

// flags reads a list of flags or attributes and drops those that go-imap refuses.
func (p *scanner) flags() ([]string, error) {
	all, err := p.strings()
	if err != nil {
		return nil, err
	}
	return few(slices.DeleteFunc(all, func(s string) bool { return !isFlag(s) }), maxFlags), nil
}

// few returns the first of many strings, without the very long ones.
func few(all []string, most int) []string {
	all = slices.DeleteFunc(all, func(s string) bool { return len(s) > maxLabel })
	return slices.Clip(slices.Clone(all[:min(len(all), most)]))
}

func isFlag(s string) bool {
	s = strings.TrimPrefix(s, `\`)
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	})
}

// skip steps over one value of any kind.
func (p *scanner) skip() error {
	switch {
	case p.atLiteral():
		n := p.literalSize()
		if err := p.f.discard(n, false); err != nil {
			return err
		}
		return p.nextLine()
	case p.peek() == '"':
		p.quoted()
	case p.peek() == '(':
		base := p.depth
		if err := p.enter(); err != nil {
			return err
		}
		for p.depth > base {
			p.spaces()
			switch {
			case p.end():
				p.depth = base
			case p.peek() == ')':
				p.leave()
			case p.peek() == '(':
				if err := p.enter(); err != nil {
					return err
				}
			default:
				if err := p.skip(); err != nil {
					return err
				}
			}
		}
	case p.peek() == ')':
		p.pos++
	default:
		if p.atom() == "" && !p.end() {
			p.pos++
		}
	}
	return nil
}

// skipAll steps over the rest of the response.
func (p *scanner) skipAll() error {
	for p.spaces(); !p.end(); p.spaces() {
		if err := p.skip(); err != nil {
			return err
		}
	}
	return nil
}
