package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"unicode/utf8"

	"github.com/mailflume/mailflume/internal/crash"
)

// positions is the record of tablePositions.
type positions struct {
	Positions map[string]string `json:"positions"` // by folder name
}

// Positions returns the saved position of each folder of a mailbox, and the revision to pass to SavePositions. A mailbox
// without a record has no positions and revision 0.
func (s *Store) Positions(ctx context.Context, mailbox string) (map[string]string, uint64, error) {
	value, revision, err := s.get(ctx, key(tablePositions, mailbox))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var p positions
	if err := json.Unmarshal(value, &p); err != nil {
		return nil, 0, fmt.Errorf("positions of mailbox %s: %w", mailbox, err)
	}
	if p.Positions == nil {
		p.Positions = map[string]string{}
	}
	return p.Positions, revision, nil
}

// SavePositions saves the positions of a mailbox if its record's revision still is the given one, and returns the new one.
// It writes even what did not change: that is how a new owner fences the one before. Errors are those of Set.
func (s *Store) SavePositions(ctx context.Context, mailbox string, folders map[string]string, revision uint64) (uint64, error) {
	for folder, position := range folders {
		if !utf8.ValidString(folder) || !utf8.ValidString(position) {
			return 0, fmt.Errorf("save the positions of mailbox %s: folder %q: not valid UTF-8", mailbox, folder)
		}
	}
	value, err := json.Marshal(positions{Positions: folders})
	if err != nil {
		return 0, err
	}
	crash.Soon("checkpoint.put.sent")
	revision, err = s.set(ctx, key(tablePositions, mailbox), value, revision)
	crash.At("checkpoint.put.acked")
	return revision, err
}
