package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The states in which a command may come.
type stage int

const (
	anytime stage = iota
	beforeLogin
	loggedIn
	inFolder
)

type handler struct {
	stage stage
	run   func(*session, *command)
}

// handlers are the commands that the servers know; a dialect leaves some of them out.
var handlers map[string]handler

func init() {
	handlers = map[string]handler{
		"CAPABILITY":   {anytime, (*session).capability},
		"NOOP":         {anytime, (*session).noop},
		"LOGOUT":       {anytime, (*session).logout},
		"ID":           {anytime, (*session).identify},
		"AUTHENTICATE": {beforeLogin, (*session).authenticate},
		"LOGIN":        {beforeLogin, (*session).password},
		"NAMESPACE":    {loggedIn, (*session).namespace},
		"ENABLE":       {loggedIn, (*session).enable},
		"LIST":         {loggedIn, (*session).list},
		"XLIST":        {loggedIn, (*session).list},
		"LSUB":         {loggedIn, (*session).list},
		"STATUS":       {loggedIn, (*session).status},
		"SELECT":       {loggedIn, (*session).open},
		"EXAMINE":      {loggedIn, (*session).open},
		"APPEND":       {loggedIn, (*session).append},
		"IDLE":         {loggedIn, (*session).idle},
		"CHECK":        {inFolder, (*session).noop},
		"CLOSE":        {inFolder, (*session).leave},
		"UNSELECT":     {inFolder, (*session).leave},
		"SEARCH":       {inFolder, (*session).search},
		"FETCH":        {inFolder, (*session).fetch},
		"STORE":        {inFolder, (*session).storeFlags},
		"COPY":         {inFolder, (*session).copy},
		"MOVE":         {inFolder, (*session).move},
		"EXPUNGE":      {inFolder, (*session).expunge},
	}
}

// maxPoliteCommand is the longest command that clients of Exchange should send.
const maxPoliteCommand = 8000

// carryOut answers one command, or does what the fault that it trips says.
func (s *session) carryOut(c *command) {
	s.w.tracef("%s C: %s", s.id, redact(c))
	if s.account != nil {
		s.account.count(func(st *Stats) { s.note(st, c) })
		if !s.token.live(s.w.now()) && !s.w.now().Before(s.token.expires) {
			s.say(s.d.byeExpired)
			if s.d.afterExpired != "" {
				s.tag(c, s.d.afterExpired)
			}
			s.bye("")
			return
		}
	}
	h, known := handlers[c.verb]
	switch {
	case s.d.maxCommand > 0 && c.size > s.d.maxCommand:
		s.tag(c, s.d.tooLong)
		return
	case !known:
		s.tag(c, s.d.badVerb)
		return
	case !s.allows(h.stage):
		s.tag(c, s.d.badState)
		return
	}
	s.fault = s.trip(c.verb)
	if !s.before() {
		return
	}
	switch f := s.fault; {
	case f != nil && f.Answer != "":
		s.tag(c, fill(f.Answer, "id", s.id))
	case s.denies(c):
	default:
		if s.selected != nil && c.verb != "IDLE" && c.verb != "LOGOUT" {
			s.update(c.uid || h.stage != inFolder)
		}
		h.run(s, c)
	}
	if !s.over {
		s.after()
	}
}

func (s *session) allows(g stage) bool {
	switch g {
	case beforeLogin:
		return s.account == nil
	case loggedIn:
		return s.account != nil
	case inFolder:
		return s.selected != nil
	default:
		return true
	}
}

func (s *session) trip(verb string) *Fault {
	if s.account == nil {
		return s.srv.fault(verb)
	}
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	return s.account.faults.take(verb, s.w.now())
}

// before does the part of the fault that comes before the answer. It reports false when the session is over.
func (s *session) before() bool {
	f := s.fault
	if f == nil {
		return true
	}
	if f.Delay != 0 && !s.pause(f) {
		s.over = true
		return false
	}
	if f.Messages > 0 {
		return true
	}
	for _, line := range f.Before {
		s.say(line)
	}
	if f.Drop && f.Answer == "" && f.Done == "" {
		s.drop()
		return false
	}
	return true
}

// pause waits as long as the fault says, or until the connection ends.
func (s *session) pause(f *Fault) bool {
	s.flush()
	s.ask(-1) // a reader that waits notices when the client goes
	return s.w.sleep(f.Delay, s.ended)
}

// after does the part of the fault that comes after the answer.
func (s *session) after() bool {
	f := s.fault
	if f == nil {
		return true
	}
	for _, line := range f.After {
		s.say(line)
	}
	if f.Call != nil {
		s.flush()
		f.Call()
	}
	if f.Drop {
		s.drop()
	}
	return !s.over
}

// drop ends the connection without a word.
func (s *session) drop() {
	s.flush()
	s.conn.Close()
	s.over = true
}

// denies answers for a session that is not connected to its mailbox.
func (s *session) denies(c *command) bool {
	if s.denials < 0 || c.verb == "CAPABILITY" || c.verb == "ID" || c.verb == "LOGOUT" {
		return false
	}
	s.tag(c, s.d.notConnected)
	if s.denials++; s.denials >= 2 {
		s.bye(s.d.byeNotConnected)
	}
	return true
}

// note counts a command and reports what the house forbids.
func (s *session) note(st *Stats, c *command) {
	st.Commands[c.verb]++
	st.Longest = max(st.Longest, c.size)
	report := func(rule string) {
		line := c.line
		if len(line) > 120 {
			line = line[:120] + "..."
		}
		st.Violations = append(st.Violations, rule+": "+line)
	}
	if s.d.maxCommand > 0 && c.size > maxPoliteCommand {
		report("command of more than 8,000 octets")
	}
	switch c.verb {
	case "ENABLE":
		report("ENABLE")
	case "SEARCH":
		if len(c.args) > 0 && c.args[0].atom() == "RETURN" {
			report("SEARCH RETURN")
		}
	case "FETCH":
		if len(c.args) < 2 {
			break
		}
		for _, n := range items(c.args[1]) {
			item := n.atom()
			switch {
			case strings.HasPrefix(item, "BODY["), item == "RFC822", item == "RFC822.TEXT":
				report("FETCH without PEEK")
			case item == "BODY", item == "BODYSTRUCTURE", item == "ENVELOPE":
				report("FETCH " + item)
			}
		}
	}
}

// items returns the elements of a list, or what is no list by itself.
func items(n node) []node {
	if n.isList {
		return n.list
	}
	return []node{n}
}

// redact returns a command's line without credentials.
func redact(c *command) string {
	if c.verb == "LOGIN" || c.verb == "AUTHENTICATE" {
		words := strings.Fields(c.line)
		return strings.Join(words[:min(len(words), 3)], " ") + " ..."
	}
	return c.line
}

// tag sends a tagged answer.
func (s *session) tag(c *command, text string) { s.say(c.tag + " " + text) }

// ok sends the tagged answer of a command that was carried out.
func (s *session) ok(c *command, pairs ...string) {
	text, found := s.d.ok[c.verb]
	if !found {
		text = s.d.ok[""]
	}
	if s.fault != nil && s.fault.Done != "" {
		text = s.fault.Done
	}
	s.tag(c, fill(text, append(pairs, "verb", c.verb, "id", s.id)...))
}

// update tells the client what changed in the folder: EXPUNGE, if it may come now, and EXISTS.
func (s *session) update(expunge bool) {
	var now []*entry
	s.look(func(f *folder) {
		for _, e := range f.entries {
			if e.counted() || s.knows(e) {
				now = append(now, e)
			}
		}
	})
	known := len(s.view)
	if expunge {
		for i := 0; i < len(s.view); {
			if s.gone(s.view[i]) {
				s.say(fmt.Sprintf("* %d EXPUNGE", i+1))
				s.view = slices.Delete(s.view, i, i+1)
				known--
				continue
			}
			i++
		}
	} else {
		for _, e := range s.view {
			if s.gone(e) {
				now = append(now, e)
			}
		}
		slices.SortFunc(now, byUID)
	}
	if s.view = now; len(now) > known {
		s.say(fmt.Sprintf("* %d EXISTS", len(now)))
	}
}

// knows reports whether the client has been told of the entry.
func (s *session) knows(e *entry) bool {
	i, found := slices.BinarySearchFunc(s.view, e, byUID)
	return found && s.view[i] == e
}

func byUID(a, b *entry) int { return cmp.Compare(a.uid, b.uid) }

// look calls do with the selected folder under the account's lock.
func (s *session) look(do func(*folder)) {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	do(s.selected)
}

func (s *session) gone(e *entry) (gone bool) {
	s.look(func(*folder) { gone = e.gone })
	return gone
}
