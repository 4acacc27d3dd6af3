package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// LoadDeeds returns up to which sequence of a mailbox's chain what comes after publishing is done: under "" for all folders but
// those that are behind, and for each of these under its token. Revision is what SaveDeeds and ForgetDeeds want; it is 0 if
// there is no record. The error of one that cannot be read wraps fs.ErrInvalid.
func (s *Store) LoadDeeds(ctx context.Context, mailbox string) (done map[string]uint64, revision uint64, err error) {
	value, revision, err := s.get(ctx, key(tableDeeds, mailbox))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(value, &done); err != nil {
		return nil, revision, fmt.Errorf("deeds of mailbox %s: %w: %w", mailbox, fs.ErrInvalid, err)
	}
	return done, revision, nil
}

// SaveDeeds saves that record if its revision still is the given one, and returns the new one. Errors are those of Set.
func (s *Store) SaveDeeds(ctx context.Context, mailbox string, done map[string]uint64, revision uint64) (uint64, error) {
	value, err := json.Marshal(done)
	if err != nil {
		return 0, err
	}
	return s.set(ctx, key(tableDeeds, mailbox), value, revision)
}

// ForgetDeeds removes that record if its revision still is the given one. Errors are those of Set.
func (s *Store) ForgetDeeds(ctx context.Context, mailbox string, revision uint64) error {
	return s.remove(ctx, key(tableDeeds, mailbox), revision)
}
