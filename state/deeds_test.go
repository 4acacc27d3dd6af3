package state

import (
	"errors"
	"io/fs"
	"maps"
	"testing"
)

func TestDeeds(t *testing.T) {
	b := newBroker(t)
	s, ctx := b.store(b.url()), t.Context()
	check := func(want map[string]uint64, wantRevision uint64) {
		t.Helper()
		got, revision, err := s.LoadDeeds(ctx, "a b")
		if err != nil || !maps.Equal(got, want) || revision != wantRevision {
			t.Errorf("%v at %d, %v; want %v at %d", got, revision, err, want, wantRevision)
		}
	}
	check(nil, 0)
	first, err := s.SaveDeeds(ctx, "a b", map[string]uint64{"": 7}, 0)
	if err != nil {
		t.Fatal(err)
	}
	check(map[string]uint64{"": 7}, first)
	if _, err := s.SaveDeeds(ctx, "a b", map[string]uint64{"": 1}, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second record: %v", err)
	}
	second, err := s.SaveDeeds(ctx, "a b", map[string]uint64{"": 9, "INBOX": 8}, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetDeeds(ctx, "a b", first); !errors.Is(err, fs.ErrExist) {
		t.Errorf("forgotten at an old revision: %v", err)
	}
	if err := s.ForgetDeeds(ctx, "a b", second); err != nil {
		t.Fatal(err)
	}
	check(nil, 0)
	if _, err := s.SaveDeeds(ctx, "a b", map[string]uint64{"": 9}, 0); err != nil {
		t.Errorf("begun anew: %v", err)
	}
}
