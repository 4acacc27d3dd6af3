package configs

import (
	"fmt"
	"strings"

	"github.com/mailflume/mailflume/fetcher"
)

// After is what to do to a message in its mailbox once its event is stored.
type After struct {
	Seen    bool   `mapstructure:"seen"`
	Flag    bool   `mapstructure:"flag"`
	Keyword string `mapstructure:"keyword"`
	Label   string `mapstructure:"label"` // Gmail
	Move    string `mapstructure:"move"`  // a folder's name, or a special use such as \Trash
	Delete  bool   `mapstructure:"delete"`
}

// Action returns what package fetcher is to do to the published messages of a mailbox.
func (m Mailbox) Action() fetcher.Action {
	return fetcher.Action(m.After)
}

var afterFields = []field{
	{key: "seen", kind: boolean, show: "true", doc: "Mark it as read."},
	{key: "flag", kind: boolean, show: "true", doc: "Flag it; Gmail shows a star."},
	{key: "keyword", kind: keyword, show: "published", doc: "Set a keyword (a flag of your own), where the server keeps those. Outlook does not."},
	{key: "label", kind: labelKind, show: "Published", doc: "For gmail: add a label. It is made if it is missing."},
	{
		key: "move", kind: folder, show: "Published",
		doc: "Move it to a folder, by name (made if it is missing) or by special use. If that folder is watched too, it is not published again.",
	},
	{
		key: "delete", kind: boolean, show: "true",
		doc: "Delete it, in place of move. On Gmail it goes to the trash; elsewhere it is gone.",
	},
}

// checkAfter fills in what is to be done to published messages, and refuses what contradicts itself or cannot be.
func checkAfter(c *Config, r *reader, at string, m *Mailbox) {
	where, whose := at+".after", "this mailbox"
	if !r.set(where) {
		m.After, where, whose = c.After, "after", "mailbox "+quote(m.Name)
	}
	a := m.After
	say := func(key, what, fix string) {
		if path := where + key; r.sound(path, where) {
			r.say(path, what, fix)
		}
	}
	switch {
	case a.Delete && a.Move != "":
		say(".delete", "a message cannot be both moved and deleted", "keep one: move or delete")
	case a.Label != "" && m.Provider != "" && m.Provider != "gmail":
		say(".label", fmt.Sprintf("%s is of provider %s, and only gmail has labels", whose, m.Provider), "use move or flag, or give gmail mailboxes an after of their own")
	case a.Keyword != "" && m.Provider == "outlook":
		say(".keyword", whose+" is of provider outlook, which keeps no keywords", "use flag or move")
	case a.Move != "" && len(m.Folders) == 1 && strings.EqualFold(a.Move, m.Folders[0]):
		say(".move", "moves the messages of "+whose+" to where they are", "name another folder")
	}
}
