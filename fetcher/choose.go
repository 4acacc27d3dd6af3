package fetcher

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// catalog is what a server says of its folders.
type catalog struct {
	all      []*imap.ListData
	spaces   namespaces
	exchange bool
}

// choice is what Config.Folders comes to on a server.
type choice struct {
	folders []*folder
	missing []string // what was asked for by name or special use and is not there
}

// equal reports whether two choices mean the same folders. A server may list them in another order each time.
func (c choice) equal(o choice) bool {
	byName := func(folders []*folder) []*folder {
		return slices.SortedFunc(slices.Values(folders), func(a, b *folder) int { return strings.Compare(a.name, b.name) })
	}
	same := func(a, b *folder) bool { return a.name == b.name && a.sent == b.sent }
	return slices.EqualFunc(byName(c.folders), byName(o.folders), same) && slices.Equal(c.missing, o.missing)
}

// choose finds the folders that are wanted, in the order in which they are: a name, a special use such as \Sent, a pattern,
// in which * stands for anything and % for anything without the delimiter (RFC 3501, section 6.3.8), or one of these after an
// exclamation mark, which is not wanted. In names and patterns / stands for the server's delimiter.
func (c catalog) choose(wants []string) choice {
	var out choice
	for _, want := range wants {
		if strings.HasPrefix(want, "!") {
			continue
		}
		found := c.find(want)
		if len(found) == 0 && !isPattern(want) {
			out.missing = append(out.missing, want)
		}
		for _, f := range found {
			known := slices.ContainsFunc(out.folders, func(o *folder) bool { return o.name == f.name })
			if !known && !c.excluded(f.name, wants) {
				out.folders = append(out.folders, f)
			}
		}
	}
	return out
}

// isInbox reports whether INBOX is meant, which may be written in upper and lower case (RFC 3501, section 5.1).
func isInbox(want string) bool {
	return strings.EqualFold(want, "INBOX") || strings.EqualFold(want, `\Inbox`)
}

func isPattern(want string) bool { return strings.ContainsAny(want, "*%") }

// Overlap reports whether two entries of Config.Folders may mean the same folder, as far as can be told without the server.
func Overlap(a, b string) bool {
	for _, name := range []*string{&a, &b} {
		if isInbox(*name) {
			*name = "INBOX"
		}
	}
	return a == b || glob(a, b) || glob(b, a)
}

// find returns the folders that one want names.
func (c catalog) find(want string) []*folder {
	if isInbox(want) {
		return []*folder{{name: "INBOX"}} // it always exists, whatever LIST says
	}
	for _, f := range c.all { // a folder of this very name is meant, even if it looks like something else
		if selectable(f) && f.Mailbox == want {
			return []*folder{c.folder(f, "")}
		}
	}
	var found []*folder
	for _, f := range c.all {
		if !selectable(f) {
			continue
		}
		switch {
		case strings.HasPrefix(want, `\`):
			if hasAttr(f, want) {
				return []*folder{c.folder(f, "")}
			}
		case isPattern(want):
			if c.ordinary(f, want) && c.matches(f.Mailbox, delimiterOf(f), want) {
				found = append(found, c.folder(f, want))
			}
		case c.matches(f.Mailbox, delimiterOf(f), want):
			return []*folder{c.folder(f, "")}
		}
	}
	if isPattern(want) && glob(want, "INBOX") && !slices.ContainsFunc(found, func(f *folder) bool { return f.name == "INBOX" }) {
		found = append(found, &folder{name: "INBOX", pattern: want})
	}
	// What comes first is watched by IDLE.
	slices.SortStableFunc(found, func(a, b *folder) int { return btoi(b.name == "INBOX") - btoi(a.name == "INBOX") })
	return found
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// named returns the name on the server of the one folder that want names.
func (c catalog) named(want string) (name string, ok bool) {
	found := c.find(want)
	if len(found) != 1 || found[0].pattern != "" {
		return "", false
	}
	return found[0].name, true
}

func (c catalog) folder(f *imap.ListData, pattern string) *folder {
	name := f.Mailbox
	if strings.EqualFold(name, "INBOX") {
		name = "INBOX"
	}
	return &folder{name: name, sent: hasAttr(f, `\Sent`), pattern: pattern}
}

// matches reports whether a folder is the one, or of those, that want says.
func (c catalog) matches(name, delimiter, want string) bool {
	return slices.ContainsFunc(c.spaces.forms(name, delimiter), func(form string) bool { return glob(want, form) })
}

// excluded reports whether a folder is not wanted.
func (c catalog) excluded(name string, wants []string) bool {
	return slices.ContainsFunc(wants, func(want string) bool {
		not, is := strings.CutPrefix(want, "!")
		if !is || name == "INBOX" && isInbox(not) {
			return is
		}
		i := slices.IndexFunc(c.all, func(f *imap.ListData) bool { return f.Mailbox == name })
		if i < 0 {
			return glob(not, name)
		}
		if strings.HasPrefix(not, `\`) {
			return hasAttr(c.all[i], not)
		}
		return c.matches(name, delimiterOf(c.all[i]), not)
	})
}

// special are the special uses whose folders no pattern means: what is in them is elsewhere too, or is nobody's news. They
// are watched where they are named.
var special = []string{`\All`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`}

// ordinary reports whether a pattern can mean a folder: one of the mailbox's own, or under the prefix that the pattern begins
// with, that holds mail.
func (c catalog) ordinary(f *imap.ListData, pattern string) bool {
	if slices.ContainsFunc(special, func(use string) bool { return hasAttr(f, use) }) {
		return false
	}
	if prefix := c.spaces.foreign(f.Mailbox); prefix != "" && !strings.HasPrefix(pattern, prefix) {
		return false
	}
	return !c.exchange || !isNotMail(f)
}

// isNotMail reports whether a folder of Exchange, or the one that it lies in, is for something else than mail.
func isNotMail(f *imap.ListData) bool {
	top, _, _ := strings.Cut(f.Mailbox, delimiterOf(f))
	return slices.Contains(notMail, top)
}

// notMail are folders that Exchange shows over IMAP although no mail is in them, under the names that they have in English,
// Danish, German, Spanish, French, Dutch, Russian, Swedish and Chinese. LIST does not tell what a folder is for.
//
// QUIRK(exchange): not mail. Calendar, Contacts and others are listed like mail folders, and clients hang on them
// (QuickMail#613, libremail#105; the names: exchangelib, exchangelib/folders/known_folders.py).
var notMail = []string{
	"Calendar", "Contacts", "Conversation History", "Journal", "Notes", "Outbox", "Sync Issues", "Tasks",
	"RSS Feeds", "RSS Subscriptions", "Birthdays", "Files",
	"Kalender", "Calendario", "Calendrier", "Agenda", "Календарь", "日历",
	"Kontaktpersoner", "Kontakte", "Contactos", "Contactpersonen", "Контакты", "Kontakter", "联系人",
	"Opgaver", "Aufgaben", "Tareas", "Tâches", "Taken", "Задачи", "Uppgifter", "任务",
	"Udbakke", "Postausgang", "Bandeja de salida", "Boîte d'envoi", "Postvak UIT", "Исходящие", "Utkorgen", "发件箱",
	"Noter", "Notizen",
}

func hasAttr(f *imap.ListData, attr string) bool {
	return slices.ContainsFunc(f.Attrs, func(a imap.MailboxAttr) bool { return strings.EqualFold(string(a), attr) })
}

func delimiterOf(f *imap.ListData) string {
	if f.Delim == 0 {
		return "\x00" // no name has it
	}
	return string(f.Delim)
}

// glob reports whether a name matches a pattern in which * stands for anything and % for anything without /. It takes time
// in proportion to both lengths.
func glob(pattern, name string) bool {
	reach := make([]bool, len(name)+1) // whether the pattern so far matches the first i bytes of name
	reach[0] = true
	for _, c := range []byte(pattern) {
		switch c {
		case '*', '%':
			for i := 1; i <= len(name); i++ {
				reach[i] = reach[i] || reach[i-1] && (c == '*' || name[i-1] != '/')
			}
		default:
			for i := len(name); i > 0; i-- {
				reach[i] = reach[i-1] && name[i-1] == c
			}
			reach[0] = false
		}
	}
	return reach[len(name)]
}
