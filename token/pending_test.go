package token_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// shelf is a Pending in memory.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
	err    error
}

func (s *shelf) Keep(_ context.Context, key string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[key] != nil {
		return fs.ErrExist
	}
	s.values[key] = value
	return s.err
}

func (s *shelf) Take(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.values[key]
	if !ok {
		return nil, fmt.Errorf("key %s: %w", key, fs.ErrNotExist)
	}
	delete(s.values, key)
	return value, s.err
}

func (s *shelf) Kept(_ context.Context, key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.values[key]
	return ok, s.err
}

// A sign-in that another process finishes: once, in time, at the right address, for the same client, with the right key.
func TestResume(t *testing.T) {
	const redirect = "http://127.0.0.1:7777/callback"
	tests := []struct {
		name   string
		change func(l *lab, c *token.Consent, s *shelf)
		at     string
		code   string
	}{
		{name: "in order"},
		{name: "at another provider's address", at: "http://127.0.0.1:7777/other", code: "mixed_up"},
		{name: "not known", change: func(_ *lab, _ *token.Consent, s *shelf) { clear(s.values) }, code: "state_used"},
		{name: "moved to another sign-in", change: func(l *lab, c *token.Consent, s *shelf) {
			other := l.begin()
			l.must(other.Keep(l.Context(), s))
			var keys []string
			for k := range s.values {
				keys = append(keys, k)
			}
			s.values[keys[0]], s.values[keys[1]] = s.values[keys[1]], s.values[keys[0]]
		}, code: "not_ours"},
		{name: "client changed", change: func(l *lab, _ *token.Consent, _ *shelf) { l.account.Client.ID = "another" }, code: "client_changed"},
		{name: "store away", change: func(_ *lab, _ *token.Consent, s *shelf) { s.err = errors.New("no leader") }, code: "store_unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, s := newLab(t, sim.Gmail), &shelf{values: map[string][]byte{}}
			c := l.begin()
			answer := l.browse(c.URL())
			l.must(c.Keep(t.Context(), s))
			for key, value := range s.values {
				for _, secret := range []string{answer.Get("state"), "alice"} {
					if strings.Contains(key, secret) || bytes.Contains(value, []byte(secret)) {
						t.Errorf("%q is stored in clear", secret)
					}
				}
			}
			if tt.change != nil {
				tt.change(l, c, s)
			}
			at := redirect
			if tt.at != "" {
				at = tt.at
			}
			lookUp := func(string) (token.Account, error) { return l.account, nil }
			resumed, err := l.manager.Resume(t.Context(), s, token.NewSecret(answer.Get("state")), at, lookUp)
			if tt.code != "" {
				wants(t, err, tt.code, "")
				return
			}
			l.must(err)
			if resumed.Account().Mailbox != "alice" {
				t.Errorf("%+v", resumed.Account())
			}
			_, err = l.finish(c, answer)
			wants(t, err, "state_used", "")
			g, err := l.finish(resumed, answer)
			l.must(err)
			l.opens(g)
			_, err = l.manager.Resume(t.Context(), s, token.NewSecret(answer.Get("state")), at, lookUp)
			wants(t, err, "state_used", "good once")
		})
	}
}

func TestResumeTooLate(t *testing.T) {
	l, s := newLab(t, sim.Gmail), &shelf{values: map[string][]byte{}}
	c := l.begin()
	answer := l.browse(c.URL())
	c.Age(11 * time.Minute)
	l.must(c.Keep(t.Context(), s))
	resumed, err := l.manager.Resume(t.Context(), s, c.State(), "http://127.0.0.1:7777/callback", func(string) (token.Account, error) { return l.account, nil })
	l.must(err)
	_, err = l.finish(resumed, url.Values(answer))
	wants(t, err, "expired", "Begin again")
	if n := len(l.oauth.Requests()); n != 0 {
		t.Errorf("%d exchanges", n)
	}
}
