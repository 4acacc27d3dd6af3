package broker

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// Grants is what package token needs of package state: a store with compare-and-set, and the session of a replica that is
// the only one. It is safe for concurrent use.
type Grants struct {
	mu     sync.Mutex
	seq    uint64
	values map[string]grant
}

type grant struct {
	value          []byte
	revision, over uint64
}

// NewGrants returns an empty store.
func NewGrants() *Grants { return &Grants{values: map[string]grant{}} }

// Get is the Get of token.Store.
func (g *Grants) Get(_ context.Context, key string) (value []byte, revision, over uint64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.values[key]
	if !ok {
		return nil, 0, 0, fmt.Errorf("grant of %s: %w", key, fs.ErrNotExist)
	}
	return v.value, v.revision, v.over, nil
}

// Set is the Set of token.Store.
func (g *Grants) Set(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if was := g.values[key].revision; was != revision {
		return 0, fmt.Errorf("the grant of %s is at revision %d, not %d: %w", key, was, revision, fs.ErrExist)
	}
	g.seq++
	g.values[key] = grant{value, g.seq, revision}
	return g.seq, nil
}

// ID is the name of the session.
func (g *Grants) ID() string { return "only" }

// Remaining is how long the session is good for.
func (g *Grants) Remaining() time.Duration { return time.Minute }

// Alive is true.
func (g *Grants) Alive(string) bool { return true }
