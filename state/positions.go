package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"unicode/utf8"

	"github.com/mailflume/mailflume/internal/crash"
)

// positions is the record of tablePositions. It names its mailbox and carries a checksum, so that a record which is not
// what was written, or which another mailbox wrote, is known as such.
type positions struct {
	Mailbox   string            `json:"mailbox"`
	Positions map[string]string `json:"positions"` // by folder name
	Note      string            `json:"note,omitempty"`
	Sum       string            `json:"sum,omitempty"` // of the record without it
}

// encode returns the record as it is written.
func (p positions) encode() ([]byte, error) {
	p.Sum = ""
	plain, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plain)
	p.Sum = hex.EncodeToString(sum[:16])
	return json.Marshal(p)
}

// DamagedError says that the record of a mailbox's positions is not what was written. It wraps fs.ErrInvalid, for callers
// that do not import this package.
type DamagedError struct {
	Mailbox string
	Why     string // a part of a sentence
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the record of the positions of mailbox %s is damaged: %s", e.Mailbox, e.Why)
}

// Is makes every DamagedError an fs.ErrInvalid.
func (e *DamagedError) Is(target error) bool { return target == fs.ErrInvalid }

// Positions returns the saved position of each folder of a mailbox, what was noted beside them, and the revision to pass to
// SavePositions. A mailbox without a record has no positions and revision 0. A record that is not as it was written is a
// *DamagedError; the revision is right even so.
func (s *Store) Positions(ctx context.Context, mailbox string) (folders map[string]string, note string, revision uint64, err error) {
	value, revision, err := s.get(ctx, key(tablePositions, mailbox))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, "", 0, nil
	}
	if err != nil {
		return nil, "", 0, err
	}
	p, err := readPositions(mailbox, value)
	return p.Positions, p.Note, revision, err
}

// readPositions takes nothing but what encode writes, to the byte.
func readPositions(mailbox string, value []byte) (positions, error) {
	var p positions
	damaged := func(why string) (positions, error) { return positions{}, &DamagedError{Mailbox: mailbox, Why: why} }
	if len(bytes.Trim(value, "\x00")) == 0 {
		return damaged("it is empty")
	}
	if json.Unmarshal(value, &p) != nil {
		return damaged("it cannot be read")
	}
	if again, err := p.encode(); err != nil || !bytes.Equal(again, value) {
		return damaged("its checksum is wrong")
	}
	if p.Mailbox != mailbox {
		return damaged("it is that of another mailbox")
	}
	if p.Positions == nil {
		p.Positions = map[string]string{}
	}
	return p, nil
}

// SavePositions saves the positions of a mailbox, and a note of the caller's beside them, if its record's revision still is
// the given one, and returns the new one. It writes even what did not change: that is how a new owner fences the one before.
// Errors are those of Set.
func (s *Store) SavePositions(ctx context.Context, mailbox string, folders map[string]string, note string, revision uint64) (uint64, error) {
	for folder, position := range folders {
		if !utf8.ValidString(folder) || !utf8.ValidString(position) {
			return 0, fmt.Errorf("save the positions of mailbox %s: folder %q: not valid UTF-8", mailbox, folder)
		}
	}
	if !utf8.ValidString(mailbox) || !utf8.ValidString(note) {
		return 0, fmt.Errorf("save the positions of mailbox %q: not valid UTF-8", mailbox)
	}
	value, err := positions{Mailbox: mailbox, Positions: folders, Note: note}.encode()
	if err != nil {
		return 0, err
	}
	crash.Soon("checkpoint.put.sent")
	revision, err = s.set(ctx, key(tablePositions, mailbox), value, revision)
	crash.At("checkpoint.put.acked")
	return revision, err
}
