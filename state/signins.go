package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Keep keeps a value under a key for about life, in whole seconds. If there is one under it the error wraps fs.ErrExist.
func (s *Store) Keep(ctx context.Context, id string, value []byte, life time.Duration) error {
	_, err := s.setWith(ctx, key(tableSignIns, id), value, 0, nats.Header{
		jetstream.MsgTTLHeader: {strconv.Itoa(int(life/time.Second)) + "s"},
	})
	return err
}

// Take returns the value that Keep kept and removes it. Of several callers, here and in other processes, one gets it; for
// the others, and when its time is over, the error wraps fs.ErrNotExist.
func (s *Store) Take(ctx context.Context, id string) ([]byte, error) {
	k := key(tableSignIns, id)
	value, revision, err := s.get(ctx, k)
	if err != nil {
		return nil, err
	}
	switch err := s.remove(ctx, k, revision); {
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("take %s: somebody else was faster: %w", k, fs.ErrNotExist)
	case err != nil:
		return nil, err // it may be gone: whoever asks begins again
	}
	return value, nil
}

// Kept reports whether there is a value that Keep kept.
func (s *Store) Kept(ctx context.Context, id string) (bool, error) {
	_, _, err := s.get(ctx, key(tableSignIns, id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// WatchGrants calls changed with the key of every grant that is written, those that are there at first included, until
// ctx ends or the watch does; then it returns why.
func (s *Store) WatchGrants(ctx context.Context, changed func(id string)) error {
	w, end, err := s.watch(ctx, openLimit, tableGrants+".*")
	if err != nil {
		return fmt.Errorf("watch the grants: %w", err)
	}
	defer end()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.Updates():
			if !ok {
				return fmt.Errorf("watch the grants: %w", context.Canceled)
			}
			if e == nil {
				continue // those that were there at first end here
			}
			if _, id, ok := splitKey(e.Key()); ok {
				changed(id)
			}
		}
	}
}
