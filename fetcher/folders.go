package fetcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/mailflume/mailflume/internal/crash"
)

// notMail are folders that Exchange shows although no mail is in them, in English; they do not help in a hint.
var notMail = []string{"Calendar", "Contacts", "Conversation History", "Journal", "Notes", "Outbox", "Sync Issues", "Tasks"}

// resolve finds the folders of the configuration on the server: by name, or by special use if they begin with a
// backslash. No folder is watched that was not asked for.
func (s *Session) resolve(ctx context.Context) error {
	if len(s.cfg.Folders) == 1 && strings.EqualFold(s.cfg.Folders[0], "INBOX") {
		s.folders = []*folder{{name: "INBOX"}} // it always exists, whatever LIST says
		return nil
	}
	var all []*imap.ListData
	err := s.do(ctx, "LIST", func() (err error) {
		all, err = s.client.List("", "*", nil).Collect()
		return err
	})
	if err != nil {
		return err
	}
	for _, want := range s.cfg.Folders {
		name, ok := find(all, want)
		if !ok {
			return &FolderError{Folder: want, Text: "does not exist", Hint: "the mailbox has " + namesOf(all)}
		}
		if !slices.ContainsFunc(s.folders, func(f *folder) bool { return f.name == name }) {
			s.folders = append(s.folders, &folder{name: name, sent: holdsSent(all, name)})
		}
	}
	return nil
}

// find returns the name on the server of the folder that want names.
func find(all []*imap.ListData, want string) (name string, ok bool) {
	if strings.EqualFold(want, "INBOX") || strings.EqualFold(want, `\Inbox`) {
		return "INBOX", true
	}
	for _, f := range all {
		if !selectable(f) {
			continue
		}
		if f.Mailbox == want {
			return f.Mailbox, true
		}
		if strings.HasPrefix(want, `\`) && slices.ContainsFunc(f.Attrs, func(a imap.MailboxAttr) bool { return strings.EqualFold(string(a), want) }) {
			return f.Mailbox, true
		}
	}
	return "", false
}

// holdsSent says whether a folder is the one for what was sent.
func holdsSent(all []*imap.ListData, name string) bool {
	return slices.ContainsFunc(all, func(f *imap.ListData) bool {
		return f.Mailbox == name && slices.ContainsFunc(f.Attrs, func(a imap.MailboxAttr) bool { return strings.EqualFold(string(a), `\Sent`) })
	})
}

// sentByOwner says whether a message of this folder is what the mailbox's owner sent. What one sends to oneself is in INBOX
// too, and so it has arrived.
//
// QUIRK(gmail): labels. All Mail holds what was sent, under the label \Sent (developers.google.com/workspace/gmail/imap/imap-extensions).
func (f *folder) sentByOwner(labels []string) bool {
	has := func(label string) bool {
		return slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(l, label) })
	}
	return f.name != "INBOX" && (f.sent || has(`\Sent`) && !has(`\Inbox`))
}

func selectable(f *imap.ListData) bool {
	return !slices.Contains(f.Attrs, imap.MailboxAttrNoSelect) && !slices.Contains(f.Attrs, imap.MailboxAttrNonExistent)
}

// specialUses are the attributes by which a folder can be asked for.
var specialUses = []imap.MailboxAttr{
	imap.MailboxAttrAll, imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrFlagged,
	imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash, imap.MailboxAttrImportant,
}

// namesOf lists folders for a person, those first that are mail.
func namesOf(all []*imap.ListData) string {
	const most = 30
	names := []string{"INBOX"}
	for _, f := range all {
		if !selectable(f) || f.Mailbox == "INBOX" || slices.Contains(notMail, f.Mailbox) {
			continue
		}
		name := clip(f.Mailbox)
		for _, a := range f.Attrs {
			if slices.Contains(specialUses, a) {
				name += " (" + string(a) + ")"
			}
		}
		names = append(names, name)
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// examine opens a folder for reading. The one that IDLE watches stays open between two passes, for a while: its
// UIDVALIDITY cannot change for a session that has it open, and what is new is announced.
func (s *Session) examine(ctx context.Context, f *folder) error {
	if s.selected == f && f == s.folders[0] && time.Since(s.examinedAt) < s.cfg.IdleRefresh*9/10 {
		return nil
	}
	s.selected = nil
	err := s.do(ctx, "EXAMINE", func() error {
		data, err := s.client.Select(f.name, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err == nil {
			f.examined = *data
		}
		return err
	})
	var refused *ServerError
	if errors.As(err, &refused) && s.dead == nil && !passing(refused.Text) {
		return &FolderError{Folder: f.name, Text: refused.Text, Hint: "check that it exists, and that this account may read it"}
	}
	if err != nil {
		return err
	}
	crash.At("folder.selected")
	s.selected, s.examinedAt = f, time.Now()
	s.arrivals.open(f.examined.NumMessages)
	return nil
}
