package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// target reads a set and returns its messages; it has answered when ok is false.
func (s *session) target(c *command, args int) (places []place, ok bool) {
	if len(c.args) < args {
		s.tag(c, s.d.badArg)
		return nil, false
	}
	set, err := parseSet(c.args[0].text)
	if err != nil {
		s.tag(c, s.d.badArg)
		return nil, false
	}
	if s.readOnly && c.verb != "COPY" {
		s.tag(c, s.d.badState)
		return nil, false
	}
	return s.resolve(set, c.uid), true
}

// storeFlags answers STORE of flags and, on Gmail, of labels.
func (s *session) storeFlags(c *command) {
	places, ok := s.target(c, 3)
	if !ok {
		return
	}
	item := c.args[1].atom()
	item, silent := strings.CutSuffix(item, ".SILENT")
	what := strings.TrimLeft(item, "+-")
	if what != "FLAGS" && (what != "X-GM-LABELS" || !s.d.gmailItems) {
		s.tag(c, s.d.badArg)
		return
	}
	var words []string
	for _, arg := range c.args[2:] {
		for _, n := range items(arg) {
			words = append(words, n.text)
		}
	}
	for _, p := range places {
		s.look(func(f *folder) {
			if what == "FLAGS" {
				s.account.storeFlags(p.e.msg, item[0], s.keepable(words))
				s.flagged = s.account.modseq
				return
			}
			s.account.storeLabels(p.e.msg, item[0], words)
		})
	}
	ask := fetchItems{want: map[string]bool{what: true, "UID": c.uid}}
	if !silent {
		for _, p := range places {
			s.send(p, ask)
		}
	}
	if what == "FLAGS" && s.archives(words, item[0]) {
		for _, p := range places {
			s.look(func(f *folder) { s.account.drop(f, p.e) })
		}
		s.update(true)
	}
	s.ok(c)
}

// archives reports whether a STORE takes messages out of the folder at once: Gmail's auto-expunge.
func (s *session) archives(flags []string, how byte) bool {
	return s.d.autoExpunge && !s.account.quirk().NoAutoExpunge && how != '-' && !s.selected.isAll() &&
		slices.ContainsFunc(flags, func(f string) bool { return strings.EqualFold(f, `\Deleted`) })
}

// keepable returns the flags that the dialect keeps: Exchange ignores keywords that it does not know.
func (s *session) keepable(flags []string) []string {
	if strings.Contains(s.d.permanent, `\*`) {
		return flags
	}
	known := strings.Fields(s.d.permanent)
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool {
		return !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, f) })
	})
}

// storeFlags wants the account's lock held.
func (a *Account) storeFlags(m *message, how byte, flags []string) {
	old := m.flags
	switch how {
	case '+':
		m.flags = slices.Clone(old)
		for _, f := range flags {
			if !slices.Contains(m.flags, f) {
				m.flags = append(m.flags, f)
			}
		}
	case '-':
		m.flags = slices.DeleteFunc(slices.Clone(old), func(f string) bool { return slices.Contains(flags, f) })
	default:
		m.flags = slices.Clone(flags)
	}
	a.touch(m)
	m.flagged = a.modseq
	if a.provider != Gmail {
		return
	}
	switch was, is := slices.Contains(old, `\Flagged`), slices.Contains(m.flags, `\Flagged`); {
	case is && !was:
		a.addLabel(m, `\Starred`)
	case was && !is:
		a.removeLabel(m, `\Starred`)
	}
}

func (a *Account) storeLabels(m *message, how byte, labels []string) {
	for i, l := range labels {
		labels[i] = decodeName(l)
	}
	if how == 'X' {
		for _, l := range m.labels(nil) {
			if !slices.Contains(labels, l) {
				a.removeLabel(m, l)
			}
		}
	}
	for _, l := range labels {
		if how == '-' {
			a.removeLabel(m, l)
		} else {
			a.addLabel(m, l)
		}
	}
	a.touch(m)
}

func (s *session) copy(c *command) { s.transfer(c, false) }

func (s *session) move(c *command) { s.transfer(c, true) }

// transfer answers COPY and MOVE. The answer of either server to a change in a folder that is open for reading only is not
// documented.
func (s *session) transfer(c *command, away bool) {
	places, ok := s.target(c, 2)
	if !ok {
		return
	}
	to := s.named(c, c.args[1])
	if to == nil {
		return
	}
	var from, into []uint32
	var validity uint32
	for _, p := range places {
		s.look(func(f *folder) {
			if p.e.gone { // another session was faster
				return
			}
			var e *entry
			if away {
				e = s.account.move(f, p.e, to)
			} else {
				e = s.account.copyTo(p.e, to)
			}
			from, into, validity = append(from, p.e.uid), append(into, e.uid), to.validity
		})
	}
	code := fmt.Sprintf("[COPYUID %d %s %s]", validity, ranges(from), ranges(into))
	if away {
		switch odd := s.account.quirk().CopyUID; {
		case s.d.codesTagged || len(from) == 0:
		case odd != "":
			s.say(odd)
		default:
			s.say("* OK " + code)
		}
		s.update(true)
		if s.d.existsAtEnd {
			s.say(fmt.Sprintf("* %d EXISTS", len(s.view)))
		}
	}
	if len(from) > 0 && (!away || s.d.codesTagged) {
		s.tag(c, fill(s.d.copied, "code", code))
		return
	}
	s.ok(c)
}

// expunge answers EXPUNGE and UID EXPUNGE.
func (s *session) expunge(c *command) {
	set := numberSet{{1, 0}}
	if c.uid {
		var err error
		if len(c.args) == 0 {
			s.tag(c, s.d.badArg)
			return
		}
		if set, err = parseSet(c.args[0].text); err != nil {
			s.tag(c, s.d.badArg)
			return
		}
	}
	if s.readOnly {
		s.tag(c, s.d.badState)
		return
	}
	for _, p := range s.resolve(set, true) {
		s.look(func(f *folder) {
			if slices.Contains(p.e.msg.flags, `\Deleted`) {
				s.account.drop(f, p.e)
			}
		})
	}
	s.update(true)
	if s.d.existsAtEnd {
		s.say(fmt.Sprintf("* %d EXISTS", len(s.view)))
	}
	s.ok(c)
}

// append answers APPEND folder [flags] [date] literal.
func (s *session) append(c *command) {
	if len(c.args) < 2 {
		s.tag(c, s.d.badArg)
		return
	}
	f := s.named(c, c.args[0])
	if f == nil {
		return
	}
	m := Message{Raw: []byte(c.args[len(c.args)-1].text)}
	for _, n := range c.args[1 : len(c.args)-1] {
		if n.isList {
			for _, flag := range n.list {
				m.Flags = append(m.Flags, flag.text)
			}
			continue
		}
		date, err := time.Parse("_2-Jan-2006 15:04:05 -0700", n.text)
		if err != nil {
			s.tag(c, s.d.badArg)
			return
		}
		m.Date = date
	}
	s.account.mu.Lock()
	e := s.account.store(f, m)
	validity := f.validity
	s.account.mu.Unlock()
	if s.selected == f {
		s.update(true)
	}
	s.tag(c, fill(s.d.appended, "code", fmt.Sprintf("[APPENDUID %d %d]", validity, e.uid)))
}

// createFolder answers CREATE.
func (s *session) createFolder(c *command) {
	if len(c.args) != 1 || c.args[0].text == "" {
		s.tag(c, s.d.badArg)
		return
	}
	name := decodeName(c.args[0].text)
	s.account.mu.Lock()
	taken := s.account.folder(name) != nil
	if !taken {
		s.account.create(name)
	}
	s.account.mu.Unlock()
	if taken {
		s.tag(c, fill(s.d.taken, "folder", c.args[0].text))
		return
	}
	s.ok(c)
}
