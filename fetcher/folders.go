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

// mostFolders bounds how many folders of one mailbox are watched: each is looked at, one by one, at every poll.
const mostFolders = 500

// relistEvery is how often the server is asked for its folders again, if they may have become others than those that are
// watched; or Config.Poll, if that is longer.
const relistEvery = 5 * time.Minute

// resolve finds the folders of the configuration on the server. No folder is watched that was not asked for. Some that are
// not there do not keep the others from being watched.
func (s *Session) resolve(ctx context.Context) error {
	if len(s.cfg.Folders) == 1 && strings.EqualFold(s.cfg.Folders[0], "INBOX") {
		s.chosen = choice{folders: []*folder{{name: "INBOX"}}}
		s.folders = s.chosen.folders
		return nil
	}
	c, err := s.list(ctx)
	if err != nil {
		return err
	}
	s.chosen = c.choose(s.cfg.Folders)
	s.folders = s.chosen.folders
	switch n := len(s.folders); {
	case n > mostFolders:
		return &FolderError{
			Folder: strings.Join(s.cfg.Folders, ", "), Text: fmt.Sprintf("means %d folders, more than %d", n, mostFolders),
			Hint: "name fewer folders, or give their mail a mailbox entry of its own",
		}
	case n > 0:
	case len(s.chosen.missing) > 0:
		return s.absent(c)
	default:
		return &FolderError{Folder: strings.Join(s.cfg.Folders, ", "), Text: "means none of the folders", Hint: "the mailbox has " + namesOf(c), Missing: true}
	}
	if len(s.chosen.missing) > 0 {
		s.missing = s.absent(c)
	}
	return nil
}

// absent says that a folder which is named does not exist.
func (s *Session) absent(c catalog) *FolderError {
	return &FolderError{Folder: s.chosen.missing[0], Text: "does not exist", Hint: "the mailbox has " + namesOf(c), Missing: true}
}

// list asks for the folders of the mailbox, and for those of others that the configuration names.
func (s *Session) list(ctx context.Context) (catalog, error) {
	s.listed = time.Now()
	c := catalog{spaces: s.spaces, exchange: s.exchange}
	patterns := []string{"*"}
	for _, want := range s.cfg.Folders {
		if prefix := s.spaces.foreign(want); prefix != "" && !slices.Contains(patterns, prefix+"*") {
			patterns = append(patterns, prefix+"*") // which the plain * may leave out
		}
	}
	for _, pattern := range patterns {
		var some []*imap.ListData
		err := s.do(ctx, "LIST", func() (err error) {
			some, err = s.client.List("", pattern, nil).Collect()
			return err
		})
		if err != nil {
			return catalog{}, err
		}
		c.all = append(c.all, some...)
	}
	return c, nil
}

// relist reports whether the folders that the configuration means have changed. It asks the server from time to time only,
// and not at all where they cannot change.
func (s *Session) relist(ctx context.Context) (changed bool, err error) {
	if time.Since(s.listed) < max(relistEvery, s.cfg.Poll) || !slices.ContainsFunc(s.cfg.Folders, isPattern) && s.missing == nil {
		return false, nil
	}
	c, err := s.list(ctx)
	if err != nil {
		return false, err
	}
	return !c.choose(s.cfg.Folders).equal(s.chosen), nil
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

// namesOf lists folders for a person, without those of Exchange that are not mail.
func namesOf(c catalog) string {
	const most = 30
	names := []string{"INBOX"}
	for _, f := range c.all {
		if !selectable(f) || f.Mailbox == "INBOX" || isNotMail(f) {
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
	if s.selected == f && f == s.watched && time.Since(s.examinedAt) < s.cfg.IdleRefresh*9/10 {
		return nil
	}
	s.selected = nil
	err := s.do(ctx, "EXAMINE", func() error {
		data, err := s.client.Select(f.name, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err == nil {
			f.examined, f.said = *data, uint32(data.UIDNext)
		}
		return err
	})
	var refused *ServerError
	if errors.As(err, &refused) && s.dead == nil && !passing(refused.Text) {
		return &FolderError{
			Folder: f.name, Text: refused.Text, Hint: "check that it exists, and that this account may read it",
			Missing: isMissing(refused.Text),
		}
	}
	if err != nil {
		return err
	}
	crash.At("folder.selected")
	s.selected, s.examinedAt = f, time.Now()
	s.arrivals.open(f.examined.NumMessages)
	return nil
}
