package state

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A sign-in is taken once, whoever asks, and is gone when its time is over.
func TestSignInsAreTakenOnce(t *testing.T) {
	b := newBroker(t)
	stores := []*Store{b.store(b.url()), b.store(b.url())}
	ctx := t.Context()
	if err := stores[0].Keep(ctx, "k", []byte("sealed"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"k": true, "other": false} {
		if kept, err := stores[1].Kept(ctx, id); err != nil || kept != want {
			t.Errorf("%s is kept: %v, %v", id, kept, err)
		}
	}
	if err := stores[1].Keep(ctx, "k", []byte("other"), time.Minute); !errors.Is(err, fs.ErrExist) {
		t.Errorf("kept twice: %v", err)
	}
	var wg sync.WaitGroup
	var got atomic.Int32
	for i := range 10 {
		wg.Go(func() {
			switch value, err := stores[i%2].Take(ctx, "k"); {
			case err == nil && string(value) == "sealed":
				got.Add(1)
			case !errors.Is(err, fs.ErrNotExist):
				t.Errorf("%q, %v", value, err)
			}
		})
	}
	wg.Wait()
	if n := got.Load(); n != 1 {
		t.Errorf("%d got it", n)
	}
	if kept, err := stores[1].Kept(ctx, "k"); err != nil || kept {
		t.Errorf("what was taken is kept: %v, %v", kept, err)
	}
	if err := stores[0].Keep(ctx, "k", []byte("again"), time.Minute); err != nil {
		t.Errorf("what was taken cannot be kept again: %v", err)
	}
	if err := stores[1].Keep(ctx, "k", []byte("other"), time.Minute); !errors.Is(err, fs.ErrExist) {
		t.Errorf("kept twice: %v", err)
	}
	if grants, err := stores[0].Grants(ctx); err != nil || len(grants) != 0 {
		t.Errorf("it is among the grants: %v, %v", grants, err)
	}
	if err := stores[0].Keep(ctx, "short", []byte("x"), time.Second); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, _, err := stores[1].get(ctx, key(tableSignIns, "short")); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is still there")
		}
	}
	if _, err := stores[0].Take(ctx, "short"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("taken when its time was over: %v", err)
	}
}

func TestGrantsAreWatched(t *testing.T) {
	b := newBroker(t)
	s := b.store(b.url())
	ctx, stop := context.WithCancel(t.Context())
	if _, err := s.Set(ctx, "before", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	seen, ended := make(chan string, 10), make(chan error, 1)
	go func() { ended <- s.WatchGrants(ctx, func(id string) { seen <- id }) }()
	first := <-seen
	if err := s.Keep(ctx, "no grant", []byte("x"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(ctx, "after: a/b", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if got := []string{first, <-seen}; !slices.Equal(got, []string{"before", "after: a/b"}) {
		t.Errorf("%q", got)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
