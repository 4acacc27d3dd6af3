package state

import (
	"errors"
	"io/fs"
	"testing"
)

// Whatever was done to a record of positions, it is known for damaged: each byte changed in each bit, cut short anywhere,
// zeroed, emptied, or another mailbox's.
func TestDamagedPositions(t *testing.T) {
	b := newBroker(t)
	s, ctx := b.store(b.url()), t.Context()
	folders := map[string]string{"INBOX": "p1;71;12;13;14;0;0;;", "Entwürfe/[Gmail]": "p1;9;1;2;3;0;0;_w;"}
	revision, err := s.SavePositions(ctx, "sales", folders, `{"tail":12}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SavePositions(ctx, "support", folders, "", 0); err != nil {
		t.Fatal(err)
	}
	sound, _, err := s.get(ctx, key(tablePositions, "sales"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, _, err := s.get(ctx, key(tablePositions, "support"))
	if err != nil {
		t.Fatal(err)
	}
	var damaged [][]byte
	for i := range sound {
		for bit := range 8 {
			flipped := append([]byte(nil), sound...)
			flipped[i] ^= 1 << bit
			damaged = append(damaged, flipped)
		}
		damaged = append(damaged, sound[:i], append(append([]byte(nil), sound[:i]...), make([]byte, len(sound)-i)...))
	}
	damaged = append(damaged, foreign, []byte("null"), []byte("{}"), []byte(`{"positions":{"INBOX":"p1;71;0;1;1;0;0;;"}}`), append(sound, ' '))
	missed := 0
	for _, value := range damaged {
		var damage *DamagedError
		if _, err := readPositions("sales", value); !errors.As(err, &damage) || !errors.Is(err, fs.ErrInvalid) {
			missed++
		}
	}
	t.Logf("%d of %d damaged records were known for what they are", len(damaged)-missed, len(damaged))
	if missed > 0 {
		t.Errorf("%d of %d damaged records were taken", missed, len(damaged))
	}

	// The record can be written anew: its revision is known.
	if revision, err = s.set(ctx, key(tablePositions, "sales"), foreign, revision); err != nil {
		t.Fatal(err)
	}
	_, _, got, err := s.Positions(ctx, "sales")
	if !errors.Is(err, fs.ErrInvalid) || got != revision {
		t.Fatalf("Positions of a foreign record: revision %d (want %d), %v", got, revision, err)
	}
	if _, err := s.SavePositions(ctx, "sales", folders, "", got); err != nil {
		t.Fatal(err)
	}
}
