package fetcher

import (
	"context"
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// errHalted ends a pass, but not its Session.
var errHalted = errors.New("the pass was halted")

// Halt ends the pass that is under way as soon as the answer that it reads is complete: what is yielded until then may be
// thrown away, since the next pass yields it again. It may be called from any goroutine, while a pass is under way.
func (s *Session) Halt() { s.halted.Store(true) }

// Skip leaves a watched folder out of the next pass, which reads no more than a moment's backfill then: the folder may have mail
// that waits. It is not for the time of a pass.
func (s *Session) Skip(folder string) { s.skipped = append(s.skipped, folder) }

// Survey returns which UIDs of a range exist now in a watched folder and are not marked as \Deleted, ascending, and under which
// UIDVALIDITY. It is not for the time of a pass. A *FolderError means that the folder cannot be opened, and says whether that is so
// because there is none any more.
//
// A client without MOVE copies a message and marks it as \Deleted where it was; some leave it so for days (RFC 6851, section 1).
func (s *Session) Survey(ctx context.Context, name string, from, to uint32) (validity uint32, uids []uint32, err error) {
	i := slices.IndexFunc(s.folders, func(f *folder) bool { return f.name == name })
	if i < 0 {
		return 0, nil, &FolderError{Folder: name, Text: "is not watched"}
	}
	s.selected = nil // a folder that is open may not have been told yet what went
	p := &pass{s: s, f: s.folders[i]}
	if err := s.examine(ctx, p.f); err != nil {
		return 0, nil, err
	}
	var set imap.UIDSet
	set.AddRange(imap.UID(from), imap.UID(to))
	uids, err = p.find(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{set}, NotFlag: []imap.Flag{imap.FlagDeleted}})
	uids = slices.DeleteFunc(uids, func(uid uint32) bool { return uid < from || uid > to })
	return p.f.examined.UIDValidity, uids, err
}
