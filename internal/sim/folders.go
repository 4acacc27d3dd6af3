package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// folderName writes a folder's name as the dialect does.
func (s *session) folderName(name string) string {
	if s.bareNames { // control characters stay as they are, too
		return strings.ReplaceAll(encodeName(strings.ReplaceAll(name, "\t", "\x00")), encodeName("\x00"), "\t")
	}
	name = encodeName(name)
	if s.d.quoteFolders || !isAtom(name) {
		return quote(name)
	}
	return name
}

// named returns the folder that an argument of c names. If there is none, or no mail can be in it, c is answered so.
func (s *session) named(c *command, n node) *folder {
	s.account.mu.Lock()
	f := s.account.folder(decodeName(n.text))
	if f != nil && f.noselect() {
		f = nil
	}
	s.account.mu.Unlock()
	if f == nil {
		s.tag(c, fill(s.d.noFolder, "folder", n.text))
	}
	return f
}

func (s *session) namespace(c *command) {
	s.say(`* NAMESPACE (("" "/")) NIL NIL`)
	s.ok(c)
}

func (s *session) enable(c *command) {
	var names []string
	for _, n := range c.args {
		names = append(names, n.atom())
	}
	switch {
	case s.d.provider == Gmail && slices.Contains(names, "UTF8=ACCEPT"):
		s.say("* ENABLED UTF8=ACCEPT")
	case s.d.provider == Gmail:
		s.say("* ENABLED")
	case s.account.quirk().Rev2:
		s.rev2 = true
		s.say("* ENABLED IMAP4rev2")
	default:
		s.tag(c, s.d.badVerb)
		return
	}
	s.ok(c)
}

// list answers LIST, XLIST and LSUB. The special-use attributes are always there.
func (s *session) list(c *command) {
	if c.verb == "XLIST" && s.d.provider != Gmail || c.verb == "LSUB" && s.account.quirk().Rev2 {
		s.tag(c, s.d.badVerb)
		return
	}
	args := c.args
	if len(args) > 0 && args[0].isList { // selection options
		args = args[1:]
	}
	if len(args) < 2 || !s.d.listReturn && (len(args) > 2 || len(args) < len(c.args)) {
		s.tag(c, s.d.badArg)
		return
	}
	s.bareNames = s.account.quirk().BareNames
	returns, statusItems := listReturns(args[2:])
	verb := "LIST"
	if c.verb == "LSUB" {
		verb = "LSUB"
	}
	pattern := decodeName(args[0].text + args[1].text)
	if args[1].text == "" {
		s.say("* " + verb + ` (\Noselect) "/" "/"`)
		s.ok(c)
		return
	}
	for _, line := range s.listLines(verb, pattern, returns, statusItems) {
		s.say(line)
	}
	s.ok(c)
}

// listReturns reads RETURN (... STATUS (...)).
func listReturns(args []node) (returns bool, statusItems []node) {
	if len(args) != 2 || args[0].atom() != "RETURN" {
		return false, nil
	}
	for i, n := range args[1].list {
		if n.atom() == "STATUS" && i+1 < len(args[1].list) {
			statusItems = args[1].list[i+1].list
		}
	}
	return true, statusItems
}

func (s *session) listLines(verb, pattern string, returns bool, statusItems []node) []string {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	var lines []string
	for _, f := range s.account.folders {
		if !matches(pattern, f.name) {
			continue
		}
		attrs := f.attrs
		if returns && f.noselect() {
			attrs = `\HasChildren \NonExistent \Subscribed`
		}
		lines = append(lines, fmt.Sprintf(`* %s (%s) "/" %s`, verb, attrs, s.folderName(f.name)))
		if len(statusItems) > 0 && !f.noselect() {
			lines = append(lines, s.statusLine(f, statusItems))
		}
	}
	return lines
}

// matches reports whether a name matches a LIST pattern: * is anything, % anything in one level.
func matches(pattern, name string) bool {
	if strings.EqualFold(pattern, "INBOX") {
		pattern = "INBOX"
	}
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*', '%':
			for j := 0; j <= len(name); j++ {
				if matches(pattern[i+1:], name[j:]) {
					return true
				}
				if c == '%' && j < len(name) && name[j] == '/' {
					return false
				}
			}
			return false
		default:
			if name == "" || name[0] != c {
				return false
			}
			name = name[1:]
		}
	}
	return name == ""
}

func (s *session) status(c *command) {
	if len(c.args) != 2 || !c.args[1].isList {
		s.tag(c, s.d.badArg)
		return
	}
	f := s.named(c, c.args[0])
	if f == nil {
		return
	}
	s.account.mu.Lock()
	line := s.statusLine(f, c.args[1].list)
	s.account.mu.Unlock()
	s.say(line)
	s.ok(c)
}

// statusLine writes what STATUS says about a folder; it wants the account's lock held.
func (s *session) statusLine(f *folder, wanted []node) string {
	exists, unseen := 0, 0
	for _, e := range f.entries {
		if !e.counted() {
			continue
		}
		exists++
		if !slices.Contains(e.msg.flags, `\Seen`) {
			unseen++
		}
	}
	var b strings.Builder
	for _, n := range wanted {
		var value uint64
		switch n.atom() {
		case "MESSAGES":
			value = uint64(exists)
		case "RECENT":
		case "UIDNEXT":
			value = uint64(f.uidNext)
		case "UIDVALIDITY":
			value = uint64(f.validity)
		case "UNSEEN":
			value = uint64(unseen)
		case "HIGHESTMODSEQ":
			value = s.account.modseq
		case "APPENDLIMIT":
			value = 35651584
		default:
			continue
		}
		fmt.Fprintf(&b, " %s %d", n.atom(), value)
	}
	return fmt.Sprintf("* STATUS %s (%s)", s.folderName(f.name), strings.TrimPrefix(b.String(), " "))
}

// open answers SELECT and EXAMINE. A failed one closes the folder that was open.
func (s *session) open(c *command) {
	s.close()
	if len(c.args) == 0 || len(c.args) > 1 && !s.allowsSelect(c.args[1:]) {
		s.tag(c, s.d.badArg)
		return
	}
	f := s.named(c, c.args[0])
	if f == nil {
		return
	}
	if slices.Contains(s.account.quirk().Shut, f.name) {
		s.tag(c, "NO "+c.verb+" failed.")
		return
	}
	s.readOnly = c.verb == "EXAMINE"
	permanent := s.d.permanent
	if s.readOnly {
		permanent = ""
	}
	var pairs []string
	s.account.mu.Lock()
	s.selected, s.viewed, s.flagged = f, s.account.changes, s.account.modseq
	s.view = make([]*entry, 0, len(f.entries)+8)
	first := 0
	for _, e := range f.entries {
		if !e.counted() {
			continue
		}
		s.view = append(s.view, e)
		if first == 0 && !slices.Contains(e.msg.flags, `\Seen`) {
			first = len(s.view)
		}
	}
	pairs = []string{
		"keywords", s.d.keywords, "permanent", permanent, "first", strconv.Itoa(first),
		"exists", strconv.Itoa(len(s.view)), "uidvalidity", fmt.Sprint(f.validity), "uidnext", fmt.Sprint(f.uidNext),
		"modseq", fmt.Sprint(s.account.modseq), "folder", f.name,
	}
	s.account.mu.Unlock()
	for _, line := range s.d.selectLines {
		if line == "{unseen}" {
			if line = s.d.unseenLine; first == 0 {
				continue
			}
		}
		s.say(fill(line, pairs...))
	}
	s.ok(c, pairs...)
}

// allowsSelect reports whether the dialect knows the parameters of SELECT.
func (s *session) allowsSelect(params []node) bool {
	return s.d.condstore && len(params) == 1 && len(params[0].list) == 1 && params[0].list[0].atom() == "CONDSTORE"
}

func (s *session) close() {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	s.selected, s.view, s.viewed = nil, nil, 0
}

// leave answers CLOSE and UNSELECT.
func (s *session) leave(c *command) {
	if c.verb == "CLOSE" && !s.readOnly {
		s.look(func(f *folder) {
			for _, e := range slices.Clone(f.entries) {
				if slices.Contains(e.msg.flags, `\Deleted`) {
					s.account.drop(f, e)
				}
			}
		})
	}
	s.close()
	s.ok(c)
}

// idle pushes what changes until the client says DONE.
func (s *session) idle(c *command) {
	f := s.fault
	silent := f != nil && f.Silent
	pushes := s.selected != nil && !silent
	if pushes && s.account.quirk().EarlyExists {
		s.update(true)
	}
	s.say(s.d.idling)
	began := s.w.now()
	defer func() {
		d := s.w.now().Sub(began)
		s.account.count(func(st *Stats) { st.Idles = append(st.Idles, d) })
	}()
	var dies <-chan time.Time
	if f != nil && f.IdleFor > 0 {
		t := time.NewTimer(f.IdleFor)
		defer t.Stop()
		dies = t.C
	}
	for {
		if pushes {
			s.update(true)
		}
		line, err := s.wait(-1, s.notify, dies)
		switch {
		case err != nil:
			s.over = true
			return
		case line == nil:
			if f != nil && f.IdleFor > 0 && !s.w.now().Before(began.Add(f.IdleFor)) {
				s.drop()
				return
			}
		case strings.EqualFold(string(line), "DONE"):
			s.ok(c)
			return
		default:
			s.tag(c, s.d.badSyntax)
			return
		}
	}
}
