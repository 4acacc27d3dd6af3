// Package token keeps each mailbox's OAuth grant fresh under a lock shared by all replicas.
//
// A Manager hands out access tokens. When one runs out it renews the grant in five steps, each a method: lock (the
// grant's record itself goes from idle to refreshing by compare-and-set), load, usable (did another replica do it?),
// exchange (away from the caller's context) and save (compare-and-set). Nothing is used before it is saved. In one
// process all callers of a mailbox share one flight through these steps; between processes the record decides.
//
// # When a process dies
//
// A record that says refreshing is the intent of a session. If that session is dead the next one takes the intent over
// and marks it interrupted: the provider may have answered, and the answer is lost. A provider that lets a refresh token
// be used again (Microsoft, Google) never notices. One that does not answers invalid_grant, and the grant needs a person:
// said once, and not tried again.
//
// # When a grant needs a person
//
// That is a state of the record, so no replica asks the provider again. It ends when another refresh token is configured
// (it is looked for at each call), or, for causes that an administrator removes without a new sign-in, by one try an hour.
//
// # When another refresh token is configured
//
// It is tried beside the stored grant, under the same lock, and takes its place when the provider has accepted it. Until then,
// and if it is refused, the stored grant is used. A hash of it stays in the record, sealed, so that no replica tries it again.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Store keeps one value for each key durably, with compare-and-set. The keys are ids of mailboxes.
type Store interface {
	// Get returns the value, its revision, and the revision that it was written over: not as the value says, but as the
	// store compared it then. If there is none the error wraps fs.ErrNotExist, and revision is what Set wants to create it.
	// A stale answer costs a turn, never a token: Set then finds another revision.
	Get(ctx context.Context, key string) (value []byte, revision, over uint64, err error)

	// Set writes value if the key is still at revision and returns its new revision, which is higher. If it is not, the
	// error wraps fs.ErrExist. After any other error the value may have been written, and the caller reads again.
	Set(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
}

// Session is this replica's place among the others.
type Session interface {
	ID() string               // of the present session; a new one after its death, and no id is used twice
	Remaining() time.Duration // how long nobody will declare it dead; zero or less: it has lapsed

	// Alive reports whether the session of that id lives. It returns false only if its death is certain: not while the view
	// of the sessions is incomplete.
	Alive(id string) bool
}

// Config is what a Manager needs. Store, Session and Keys are required.
type Config struct {
	Store     Store
	Session   Session
	Keys      *Keyring
	Transport http.RoundTripper // for token endpoints; http.DefaultTransport if nil
	Log       *slog.Logger      // never sees a token
}

// Manager hands out access tokens and renews grants. It is safe for concurrent use.
type Manager struct {
	store   Store
	session Session
	keys    *Keyring
	http    *http.Client
	log     *slog.Logger

	mu      sync.Mutex // guards what follows; never held across I/O
	closed  bool
	flights map[string]*flight      // by mailbox
	unsaved map[string]*grant       // by mailbox: granted, and not saved yet
	highest map[string]mark         // by mailbox: the newest record seen
	intents map[string]intent       // by mailbox: somebody else's, since when we see it
	faults  map[string]*clientFault // by Client.key
	paces   map[string]*pace        // by Client.host
	outages map[string]*outage      // by Client.host
	failed  map[string]failedAt     // by mailbox
}

// flight is one renewal that all callers of a mailbox in this process share.
type flight struct {
	done     chan struct{} // closed when access and err are set
	rejected Secret
	access   Secret
	err      error
}

// ErrClosed says that the Manager was closed.
var ErrClosed = errors.New("the token manager is closed")

// New returns a Manager.
func New(c Config) (*Manager, error) {
	if c.Store == nil || c.Session == nil || c.Keys == nil {
		return nil, errors.New("token: Store, Session and Keys are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Manager{
		store: c.Store, session: c.Session, keys: c.Keys, http: newHTTPClient(c.Transport), log: c.Log,
		flights: map[string]*flight{}, unsaved: map[string]*grant{}, highest: map[string]mark{},
		intents: map[string]intent{}, faults: map[string]*clientFault{},
		paces: map[string]*pace{}, outages: map[string]*outage{}, failed: map[string]failedAt{},
	}, nil
}

// Source returns the tokens of one account.
func (m *Manager) Source(a Account) (*Source, error) {
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("mailbox %s: %w", a.Mailbox, err)
	}
	return &Source{manager: m, account: a}, nil
}

// Token returns an access token that works, renewing the grant if need be. rejected is the access token that the server
// has just refused, or empty: if the stored one is still that, the grant is renewed once more, and never twice for one
// token. ctx bounds the caller's wait and not the renewal, which goes on without it and is saved.
//
// The error is a *GrantError (a person must act), a *ClientError or *SealError (the operator), an *UnavailableError
// (time), or the context's.
func (m *Manager) Token(ctx context.Context, a Account, rejected string) (string, error) {
	bad := NewSecret(rejected)
	for {
		if ctx.Err() != nil {
			return "", fmt.Errorf("wait for the token of mailbox %s: %w", a.Mailbox, context.Cause(ctx))
		}
		f, err := m.board(ctx, a, bad)
		if err != nil {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the token of mailbox %s: %w", a.Mailbox, context.Cause(ctx))
		case <-f.done:
		}
		// A flight of somebody who did not know that the token is bad may bring back just that token.
		if f.err == nil && !bad.IsZero() && f.access.Equal(bad) && !f.rejected.Equal(bad) {
			continue
		}
		return f.access.Reveal(), f.err
	}
}

// flightTimeout bounds a flight whatever hangs: waiting for another replica, an exchange, and a store that comes back late.
const flightTimeout = 90 * time.Second

// board returns the mailbox's flight, and starts it if there is none.
func (m *Manager) board(ctx context.Context, a Account, rejected Secret) (*flight, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.flights[a.Mailbox]; ok {
		return f, nil
	}
	if m.closed {
		return nil, ErrClosed
	}
	f := &flight{done: make(chan struct{}), rejected: rejected}
	m.flights[a.Mailbox] = f
	go m.fly(context.WithoutCancel(ctx), a, f)
	return f, nil
}

// fly renews the grant for all who wait for f. Callers that give up do not end it: the endpoint might have answered by
// then, and what it granted would be lost.
func (m *Manager) fly(ctx context.Context, a Account, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, flightTimeout)
	defer cancel()
	f.access, f.err = m.renew(ctx, a, f.rejected)
	m.mu.Lock()
	delete(m.flights, a.Mailbox)
	m.mu.Unlock()
	close(f.done)
}

// Close refuses new calls and waits for the renewals under way, so that what was granted is saved.
func (m *Manager) Close(ctx context.Context) error {
	for {
		m.mu.Lock()
		m.closed = true
		var f *flight
		for _, f = range m.flights {
			break
		}
		m.mu.Unlock()
		if f == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the renewal of grants: %w", context.Cause(ctx))
		case <-f.done:
		}
	}
}
