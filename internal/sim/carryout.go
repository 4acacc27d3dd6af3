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
	stage   stage
	run     func(*session, *command)
	numbers bool // it names messages by sequence number unless UID stands before it
}

// handlers are the commands that the servers know; a dialect leaves some of them out.
var handlers map[string]handler

func init() {
	handlers = map[string]handler{
		"CAPABILITY":   {anytime, (*session).capability, false},
		"NOOP":         {anytime, (*session).noop, false},
		"LOGOUT":       {anytime, (*session).logout, false},
		"ID":           {anytime, (*session).identify, false},
		"AUTHENTICATE": {beforeLogin, (*session).authenticate, false},
		"LOGIN":        {beforeLogin, (*session).password, false},
		"NAMESPACE":    {loggedIn, (*session).namespace, false},
		"ENABLE":       {loggedIn, (*session).enable, false},
		"LIST":         {loggedIn, (*session).list, false},
		"XLIST":        {loggedIn, (*session).list, false},
		"LSUB":         {loggedIn, (*session).list, false},
		"STATUS":       {loggedIn, (*session).status, false},
		"SELECT":       {loggedIn, (*session).open, false},
		"EXAMINE":      {loggedIn, (*session).open, false},
		"CREATE":       {loggedIn, (*session).createFolder, false},
		"APPEND":       {loggedIn, (*session).append, false},
		"IDLE":         {loggedIn, (*session).idle, false},
		"CHECK":        {inFolder, (*session).noop, false},
		"CLOSE":        {inFolder, (*session).leave, false},
		"UNSELECT":     {inFolder, (*session).leave, false},
		"SEARCH":       {inFolder, (*session).search, true},
		"FETCH":        {inFolder, (*session).fetch, true},
		"STORE":        {inFolder, (*session).storeFlags, true},
		"COPY":         {inFolder, (*session).copy, true},
		"MOVE":         {inFolder, (*session).move, true},
		"EXPUNGE":      {inFolder, (*session).expunge, false},
	}
}

// maxPoliteCommand is the longest command that clients of Exchange should send.
const maxPoliteCommand = 8000

// carryOut answers one command, or does what the fault that it trips says.
func (s *session) carryOut(c *command) {
	if s.w.trace != nil {
		s.w.tracef("%s C: %s", s.id, redact(c))
	}
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
	case !known, s.account != nil && s.lacks(c):
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
			s.update(c.uid || !h.numbers)
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
		s.end(len(f.Before) > 0)
		return false
	}
	return true
}

// end ends the session: when something was said before, so that the client can read it.
func (s *session) end(said bool) {
	if said {
		s.bye("")
		return
	}
	s.drop()
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
		s.end(true)
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
	if !c.uid && handlers[c.verb].numbers {
		report("sequence numbers")
	}
	switch c.verb {
	case "ENABLE":
		report("ENABLE")
	case "EXPUNGE":
		if !c.uid {
			report("EXPUNGE of what others marked")
		}
	case "CLOSE":
		if !s.readOnly {
			report("CLOSE, which expunges")
		}
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
	if strings.Contains(text, "{") {
		text = fill(text, append(pairs, "verb", c.verb, "id", s.id)...)
	}
	s.tag(c, text)
}

// update tells the client what changed in the folder: EXPUNGE, if it may come now, EXISTS, and flags.
func (s *session) update(expunge bool) {
	now := s.scratch[:0]
	var gone []int // sequence numbers
	same := false
	s.look(func(f *folder) {
		if same = s.viewed == s.account.changes; same {
			return
		}
		for _, e := range f.entries {
			if e.counted() || s.knows(e) {
				now = append(now, e)
			}
		}
		s.viewed = s.account.changes
		for i, e := range s.view {
			switch {
			case !e.gone:
			case expunge:
				gone = append(gone, i+1)
			default:
				now = append(now, e)
				s.viewed = 0 // to be told later
			}
		}
	})
	if same {
		return
	}
	for n, seq := range gone {
		s.say(fmt.Sprintf("* %d EXPUNGE", seq-n))
	}
	if !expunge {
		slices.SortFunc(now, byUID)
	}
	known := len(s.view) - len(gone)
	if s.view, s.scratch = now, s.view; len(now) > known {
		s.say(fmt.Sprintf("* %d EXISTS", len(now)))
	}
	s.tellFlags()
}

// tellFlags tells the client which flags others have changed. What else the providers say of such a message is not documented.
func (s *session) tellFlags() {
	var lines []string
	s.look(func(*folder) {
		for i, e := range s.view {
			if e.msg.flagged > s.flagged && !e.gone {
				lines = append(lines, fmt.Sprintf("* %d FETCH (FLAGS (%s))", i+1, strings.Join(e.msg.flags, " ")))
			}
		}
		s.flagged = s.account.modseq
	})
	for _, line := range lines {
		s.say(line)
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
