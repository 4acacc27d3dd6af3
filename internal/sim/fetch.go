package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bodyItem is a BODY[...] that a client asked for.
type bodyItem struct {
	name    string // as it stands in the answer
	section string // upper case: "", HEADER, TEXT, HEADER.FIELDS, HEADER.FIELDS.NOT
	fields  []string
	partial bool
	from, n int
	peek    bool
}

// fetchItems is what a FETCH asks for.
type fetchItems struct {
	want   map[string]bool // FLAGS, UID, ...
	bodies []bodyItem
	since  uint64 // CHANGEDSINCE
}

// asks reads the items of a FETCH; ok is false for what the dialect does not know.
func (s *session) asks(args []node) (f fetchItems, ok bool) {
	f.want = make(map[string]bool)
	for _, n := range items(args[0]) {
		switch item := n.atom(); {
		case slices.Contains([]string{"FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE", "BODYSTRUCTURE"}, item):
			f.want[item] = true
		case s.d.gmailItems && slices.Contains([]string{"X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS"}, item),
			s.d.condstore && item == "MODSEQ":
			f.want[item] = true
		case item == "RFC822":
			f.bodies = append(f.bodies, bodyItem{name: item})
		case item == "RFC822.HEADER":
			f.bodies = append(f.bodies, bodyItem{name: item, section: "HEADER", peek: true})
		case item == "RFC822.TEXT":
			f.bodies = append(f.bodies, bodyItem{name: item, section: "TEXT"})
		case strings.HasPrefix(item, "BODY[") || strings.HasPrefix(item, "BODY.PEEK["):
			b, good := parseBody(item)
			if !good {
				return f, false
			}
			f.bodies = append(f.bodies, b)
		default:
			return f, false
		}
	}
	if len(args) > 1 {
		m := args[1].list
		if !s.d.condstore || len(m) != 2 || m[0].atom() != "CHANGEDSINCE" {
			return f, false
		}
		since, err := strconv.ParseUint(m[1].text, 10, 64)
		f.since, f.want["MODSEQ"] = since, true
		return f, err == nil
	}
	return f, len(f.want)+len(f.bodies) > 0
}

// parseBody reads BODY[section]<from.n>. Sections of MIME parts are not simulated.
func parseBody(item string) (b bodyItem, ok bool) {
	item, b.peek = strings.CutPrefix(item, "BODY.PEEK[")
	if !b.peek {
		item = strings.TrimPrefix(item, "BODY[")
	}
	section, rest, closed := strings.Cut(item, "]")
	if !closed {
		return b, false
	}
	b.name = "BODY[" + section + "]"
	b.section = section
	if name, fields, has := strings.Cut(section, " "); has {
		b.section = name
		b.fields = strings.Fields(strings.Trim(fields, "()"))
	}
	if !slices.Contains([]string{"", "HEADER", "TEXT", "HEADER.FIELDS", "HEADER.FIELDS.NOT"}, b.section) {
		return b, false
	}
	if rest == "" {
		return b, true
	}
	from, n, found := strings.Cut(strings.Trim(rest, "<>"), ".")
	var err1, err2 error
	b.from, err1 = strconv.Atoi(from)
	b.n, err2 = strconv.Atoi(n)
	b.partial = true
	b.name += fmt.Sprintf("<%d>", b.from)
	return b, found && err1 == nil && err2 == nil && b.from >= 0 && b.n > 0
}

// of returns the octets of a message that the item asks for.
func (b bodyItem) of(raw []byte) []byte {
	header, text := raw, []byte(nil)
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 {
		header, text = raw[:i+4], raw[i+4:]
	}
	switch b.section {
	case "HEADER":
		raw = header
	case "TEXT":
		raw = text
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		raw = b.pick(header)
	}
	if b.partial {
		raw = raw[min(b.from, len(raw)):]
		raw = raw[:min(b.n, len(raw))]
	}
	return raw
}

// pick returns the header fields that HEADER.FIELDS names, or the others.
func (b bodyItem) pick(header []byte) []byte {
	var out []byte
	keep := false
	for line := range bytes.Lines(header) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, found := strings.Cut(string(line), ":")
			named := slices.ContainsFunc(b.fields, func(f string) bool { return strings.EqualFold(f, strings.TrimSpace(name)) })
			keep = found && named == (b.section == "HEADER.FIELDS")
		}
		if keep {
			out = append(out, line...)
		}
	}
	return append(out, "\r\n"...)
}

// place is a message with its sequence number.
type place struct {
	seq int
	e   *entry
}

// resolve returns the messages of a set that the client may see now, ascending. They are good until the next call.
func (s *session) resolve(set numberSet, uid bool) []place {
	now := s.w.now()
	seen := s.seen[:0]
	s.look(func(*folder) {
		for i, e := range s.view {
			if e.listed(now) && !e.gone {
				seen = append(seen, place{i + 1, e})
			}
		}
	})
	last := uint32(len(s.view))
	if uid {
		last = 0
		if len(seen) > 0 {
			last = seen[len(seen)-1].e.uid
		}
	}
	s.seen = seen
	return slices.DeleteFunc(seen, func(p place) bool {
		n := uint32(p.seq)
		if uid {
			n = p.e.uid
		}
		return !set.has(n, last)
	})
}

func (s *session) fetch(c *command) {
	if len(c.args) < 2 {
		s.tag(c, s.d.badArg)
		return
	}
	set, err := parseSet(c.args[0].text)
	ask, ok := s.asks(c.args[1:])
	if err != nil || !ok {
		s.tag(c, s.d.badArg)
		return
	}
	if c.uid {
		ask.want["UID"] = true
	}
	stop := 0
	if s.fault != nil {
		stop = s.fault.Messages
	}
	for i, p := range s.resolve(set, c.uid) {
		if stop > 0 && i == stop || !s.send(p, ask) {
			break
		}
	}
	switch {
	case s.over:
	case stop > 0:
		for _, line := range s.fault.Before {
			s.say(line)
		}
		if s.fault.Drop {
			s.bye("")
			return
		}
		s.ok(c)
	default:
		s.ok(c)
	}
}

// send sends one message and reports false if it ended the session.
func (s *session) send(p place, ask fetchItems) bool {
	values, bodies, skip := s.render(p.e, ask)
	if skip {
		return true
	}
	lead := fmt.Sprintf("* %d FETCH (", p.seq)
	for _, name := range s.d.fetchOrder {
		if name != "BODY" {
			if v := values[name]; v != "" {
				s.raw([]byte(lead + name + " " + v))
				lead = " "
			}
			continue
		}
		for i, b := range bodies {
			if !s.account.spend(len(b)) {
				return s.overBudget(lead)
			}
			s.raw(fmt.Appendf(nil, "%s%s {%d}\r\n", lead, ask.bodies[i].name, len(b)))
			lead = " "
			if f := s.fault; f != nil && f.Cut {
				s.raw(b[:min(f.CutAt, len(b))])
				s.drop()
				return false
			}
			if s.raw(b); s.failed != nil {
				s.over = true
				return false
			}
		}
	}
	if s.w.trace != nil {
		s.w.tracef("%s S: * %d FETCH (UID %d, %d bodies)", s.id, p.seq, p.e.uid, len(bodies))
	}
	s.raw([]byte(")\r\n"))
	return true
}

// overBudget ends the session that has downloaded too much. What the client has of the message by now must end before.
func (s *session) overBudget(lead string) bool {
	if lead == " " {
		s.raw([]byte(")\r\n"))
	}
	s.bye(s.d.byeOverquota)
	return false
}

// render collects under the account's lock what a FETCH sends of a message.
func (s *session) render(e *entry, ask fetchItems) (values map[string]string, bodies [][]byte, skip bool) {
	a := s.account
	a.mu.Lock()
	defer a.mu.Unlock()
	m := e.msg
	if e.gone || m.modseq <= ask.since {
		return nil, nil, true
	}
	if e.holes != 0 {
		if e.holes > 0 {
			e.holes--
		}
		return nil, nil, true
	}
	raw := m.raw
	if a.quirks.NewBoundary {
		a.renders++
		raw = newBoundary(raw, a.renders)
	}
	for _, b := range ask.bodies {
		bodies = append(bodies, b.of(raw))
		if !b.peek && !s.readOnly && !slices.Contains(m.flags, `\Seen`) {
			m.flags = append(slices.Clip(m.flags), `\Seen`)
			ask.want["FLAGS"] = true
			a.touch(m)
		}
	}
	size := m.size
	if size == 0 {
		size = len(m.raw) + len(m.raw)*a.quirks.SizeSkew/100
	}
	modseq := m.modseq
	if a.quirks.ZeroModSeq {
		modseq = 0
	}
	all := map[string]string{
		"UID":          strconv.FormatUint(uint64(e.uid), 10),
		"FLAGS":        "(" + strings.Join(m.flags, " ") + ")",
		"RFC822.SIZE":  strconv.Itoa(size),
		"INTERNALDATE": quote(m.date.Format(s.d.dateLayout)),
		"MODSEQ":       fmt.Sprintf("(%d)", modseq),
		"X-GM-MSGID":   strconv.FormatUint(m.id, 10),
		"X-GM-THRID":   strconv.FormatUint(m.thread, 10),
		"X-GM-LABELS":  "(" + a.labelList(m, s.selected) + ")",
	}
	if ask.want["BODYSTRUCTURE"] {
		all["BODYSTRUCTURE"] = cmp.Or(a.quirks.Structure, structure(raw))
	}
	if m.noDate {
		delete(all, "INTERNALDATE")
	}
	for name := range all {
		if !ask.want[name] {
			delete(all, name)
		}
	}
	return all, bodies, false
}

// labelList writes the labels of a message as its folder shows them.
func (a *Account) labelList(m *message, from *folder) string {
	var words []string
	if a.quirks.ListNilLabel {
		words = append(words, "NIL")
	}
	for _, l := range m.labels(from) {
		if strings.HasPrefix(l, `\`) && a.quirks.UnquotedSysLabel {
			words = append(words, l)
		} else {
			words = append(words, quote(encodeName(l)))
		}
	}
	return strings.Join(words, " ")
}

// newBoundary gives a multipart message another boundary of the same length, as Exchange does when it writes a message
// anew at each fetch.
func newBoundary(raw []byte, n int) []byte {
	_, rest, found := bytes.Cut(raw, []byte(`boundary="`))
	boundary, _, closed := bytes.Cut(rest, []byte(`"`))
	suffix := fmt.Sprintf("%06d", n%1000000)
	if !found || !closed || len(boundary) < len(suffix) {
		return raw
	}
	return bytes.ReplaceAll(raw, boundary, append(bytes.Clone(boundary[:len(boundary)-len(suffix)]), suffix...))
}
