package sim

import (
	"bytes"
	"fmt"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// criterion says whether a message matches one SEARCH key. It runs with the account's lock held.
type criterion func(place) bool

// searcher reads the keys of a SEARCH.
type searcher struct {
	s    *session
	args []node
	seen []place // all that the client may see
}

func (s *session) search(c *command) {
	if s.rev2 { // how it fails is not documented
		s.tag(c, s.d.badArg)
		return
	}
	args := c.args
	esearch := false
	if len(args) > 1 && args[0].atom() == "RETURN" {
		if !s.d.esearch {
			s.tag(c, s.d.badArg)
			return
		}
		esearch, args = true, args[2:]
	}
	if len(args) > 1 && args[0].atom() == "CHARSET" {
		if s.d.badCharset != "" && args[1].atom() != "US-ASCII" {
			s.tag(c, s.d.badCharset)
			return
		}
		args = args[2:]
	}
	everything := numberSet{{1, 0}}
	p := &searcher{s: s, args: args, seen: s.resolve(everything, true)}
	matches, err := p.all()
	if err != nil || len(args) == 0 {
		s.tag(c, s.d.badArg)
		return
	}
	s.result(c, s.find(p.seen, matches, c.uid), esearch)
	s.ok(c)
}

// find returns the numbers of the messages that match, and lets what was set to happen after a SEARCH happen.
func (s *session) find(seen []place, matches criterion, uid bool) []uint32 {
	var found []uint32
	s.look(func(f *folder) {
		for _, p := range seen {
			switch {
			case !matches(p):
			case uid:
				found = append(found, p.e.uid)
			default:
				found = append(found, uint32(p.seq))
			}
		}
		for _, e := range slices.Backward(f.entries) { // one of them may be taken out
			if e.hide > 0 {
				if e.hide--; e.hide == 0 {
					s.account.touch(e.msg)
				}
			}
			if e.vanishing {
				s.account.drop(f, e)
			}
		}
	})
	return found
}

func (s *session) result(c *command, found []uint32, esearch bool) {
	if esearch {
		line := fmt.Sprintf("* ESEARCH (TAG %s)", quote(c.tag))
		if c.uid {
			line += " UID"
		}
		if len(found) > 0 {
			line += " ALL " + ranges(found)
		}
		s.say(line)
		return
	}
	var b strings.Builder
	b.WriteString("* SEARCH")
	for _, n := range found {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatUint(uint64(n), 10))
	}
	s.say(b.String())
}

// all reads the rest of the keys: a message must match every one.
func (p *searcher) all() (criterion, error) {
	var keys []criterion
	for len(p.args) > 0 {
		k, err := p.key()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return func(m place) bool {
		for _, k := range keys {
			if !k(m) {
				return false
			}
		}
		return true
	}, nil
}

func (p *searcher) next() (node, error) {
	if len(p.args) == 0 {
		return node{}, errSyntax
	}
	n := p.args[0]
	p.args = p.args[1:]
	return n, nil
}

// flagKeys are the keys that look at one flag.
var flagKeys = map[string]string{
	"SEEN": `\Seen`, "ANSWERED": `\Answered`, "FLAGGED": `\Flagged`, "DELETED": `\Deleted`, "DRAFT": `\Draft`, "RECENT": `\Recent`,
}

func (p *searcher) key() (criterion, error) {
	n, err := p.next()
	if err != nil {
		return nil, err
	}
	if n.isList {
		return (&searcher{p.s, n.list, p.seen}).all()
	}
	word := n.atom()
	if flag, ok := flagKeys[word]; ok {
		return func(m place) bool { return slices.Contains(m.e.msg.flags, flag) }, nil
	}
	if flag, ok := flagKeys[strings.TrimPrefix(word, "UN")]; ok {
		return func(m place) bool { return !slices.Contains(m.e.msg.flags, flag) }, nil
	}
	switch word {
	case "ALL", "OLD":
		return func(place) bool { return true }, nil
	case "NEW":
		return func(place) bool { return false }, nil
	case "NOT":
		k, err := p.key()
		return func(m place) bool { return !k(m) }, err
	case "OR":
		a, err := p.key()
		if err != nil {
			return nil, err
		}
		b, err := p.key()
		return func(m place) bool { return a(m) || b(m) }, err
	case "UID":
		arg, err := p.next()
		if err != nil {
			return nil, err
		}
		return p.set(arg.text, true)
	}
	if word != "" && (word[0] == '*' || word[0] >= '0' && word[0] <= '9') {
		return p.set(word, false)
	}
	return p.keyWithArgument(word)
}

func (p *searcher) set(text string, uid bool) (criterion, error) {
	set, err := parseSet(text)
	if err != nil {
		return nil, err
	}
	last := uint32(len(p.s.view))
	if uid {
		last = 0
		if len(p.seen) > 0 {
			last = p.seen[len(p.seen)-1].e.uid
		}
	}
	return func(m place) bool {
		if uid {
			return set.has(m.e.uid, last)
		}
		return set.has(uint32(m.seq), last)
	}, nil
}

func (p *searcher) keyWithArgument(word string) (criterion, error) {
	arg, err := p.next()
	if err != nil {
		return nil, err
	}
	switch word {
	case "SINCE", "BEFORE", "ON", "SENTSINCE", "SENTBEFORE", "SENTON":
		return dateKey(word, arg.text)
	case "LARGER", "SMALLER", "MODSEQ", "X-GM-MSGID", "X-GM-THRID":
		return p.numberKey(word, arg.text)
	case "KEYWORD", "UNKEYWORD":
		if !p.s.d.searchKeyword {
			return nil, errSyntax
		}
		return func(m place) bool { return slices.Contains(m.e.msg.flags, arg.text) == (word == "KEYWORD") }, nil
	case "X-GM-LABELS":
		if !p.s.d.gmailItems {
			return nil, errSyntax
		}
		return func(m place) bool { return slices.Contains(m.e.msg.labels(p.s.selected), decodeName(arg.text)) }, nil
	case "HEADER":
		value, err := p.next()
		return headerKey(arg.text, value.text), err
	case "SUBJECT", "FROM", "TO", "CC", "BCC":
		return headerKey(word, arg.text), nil
	case "TEXT", "BODY":
		lower := bytes.ToLower([]byte(arg.text))
		return func(m place) bool { return bytes.Contains(bytes.ToLower(m.e.msg.raw), lower) }, nil
	}
	return nil, errSyntax
}

func dateKey(word, text string) (criterion, error) {
	day, err := time.Parse("_2-Jan-2006", text)
	if err != nil {
		return nil, errSyntax
	}
	when, sent := strings.CutPrefix(word, "SENT")
	return func(m place) bool {
		t := m.e.msg.date
		if sent {
			parsed, err := mail.ReadMessage(bytes.NewReader(m.e.msg.raw))
			if err != nil {
				return false
			}
			if t, err = parsed.Header.Date(); err != nil {
				return false
			}
		}
		// The day in the message's own zone counts.
		own := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		switch when {
		case "SINCE":
			return !own.Before(day)
		case "BEFORE":
			return own.Before(day)
		default:
			return own.Equal(day)
		}
	}, nil
}

func (p *searcher) numberKey(word, text string) (criterion, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strings.HasPrefix(word, "X-GM-") && !p.s.d.gmailItems || word == "MODSEQ" && !p.s.d.condstore {
		return nil, errSyntax
	}
	return func(m place) bool {
		switch msg := m.e.msg; word {
		case "LARGER":
			return uint64(len(msg.raw)) > n
		case "SMALLER":
			return uint64(len(msg.raw)) < n
		case "MODSEQ":
			return msg.modseq >= n
		case "X-GM-MSGID":
			return msg.id == n
		default:
			return msg.thread == n
		}
	}, nil
}

func headerKey(name, value string) criterion {
	return func(m place) bool {
		parsed, err := mail.ReadMessage(bytes.NewReader(m.e.msg.raw))
		if err != nil {
			return false
		}
		return slices.ContainsFunc(parsed.Header[textproto.CanonicalMIMEHeaderKey(name)], func(v string) bool {
			return strings.Contains(strings.ToLower(v), strings.ToLower(value))
		})
	}
}
