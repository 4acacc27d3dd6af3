// Package vault is what the token.Managers of tests share: a store in memory, a key, and sessions that never die.
package vault

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/token"
)

// Store is a token.Store in memory, made by New.
type Store struct {
	mu     sync.Mutex
	values map[string]value
	seq    uint64
}

type value struct {
	text     []byte
	at, over uint64
}

// New returns an empty Store.
func New() *Store { return &Store{values: map[string]value{}} }

// Get implements token.Store.
func (s *Store) Get(_ context.Context, key string) (text []byte, revision, over uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok {
		return nil, 0, 0, fs.ErrNotExist
	}
	return v.text, v.at, v.over, nil
}

// Set implements token.Store.
func (s *Store) Set(_ context.Context, key string, text []byte, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[key].at != revision {
		return 0, fs.ErrExist
	}
	s.seq++
	s.values[key] = value{text: text, at: s.seq, over: revision}
	return s.seq, nil
}

// Session is a token.Session of that id.
type Session string

// ID implements token.Session.
func (s Session) ID() string { return string(s) }

// Remaining implements token.Session.
func (Session) Remaining() time.Duration { return 10 * time.Second }

// Alive implements token.Session.
func (Session) Alive(string) bool { return true }

// Managers returns n managers that share a store and a key, as replicas do. transport leads to token endpoints; it may be nil.
func Managers(t testing.TB, n int, transport http.RoundTripper) []*token.Manager {
	t.Helper()
	key := token.NewKey()
	keys, err := token.NewKeyring(func() (string, error) { return key, nil })
	if err != nil {
		t.Fatal(err)
	}
	store := New()
	all := make([]*token.Manager, n)
	for i := range all {
		all[i], err = token.New(token.Config{Store: store, Session: Session(fmt.Sprintf("s%d", i)), Keys: keys, Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
