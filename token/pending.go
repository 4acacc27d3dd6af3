package token

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Pending keeps sign-ins while the browser is away at the provider, so that it may come back to any replica.
type Pending interface {
	// Keep keeps value under key for about life. If there is one already the error wraps fs.ErrExist.
	Keep(ctx context.Context, key string, value []byte, life time.Duration) error

	// Take returns the value and removes it: of several callers one gets it. If there is none the error wraps
	// fs.ErrNotExist.
	Take(ctx context.Context, key string) (value []byte, err error)

	// Kept reports whether there is a value.
	Kept(ctx context.Context, key string) (bool, error)
}

// pendingLife is how long a sign-in is kept. It is longer than the sign-in is good for, so that one who comes late is told
// so, and not that nobody knows of it.
const pendingLife = 2 * consentLife

// pending is what is kept of a Consent, sealed.
type pending struct {
	Mailbox  string    `json:"mailbox"`
	Client   string    `json:"client"` // see Client.key
	Redirect string    `json:"redirect"`
	Expect   string    `json:"expect"`
	Verifier string    `json:"verifier"`
	Nonce    string    `json:"nonce"`
	Begun    time.Time `json:"begun"`
	Link     string    `json:"link,omitempty"` // see Consent.By
}

// State is what the answer must bring back, to be kept by the browser that was sent away, too.
func (c *Consent) State() Secret { return c.state }

// Keep hands the Consent over to whoever resumes it: it cannot be finished here any more.
func (c *Consent) Keep(ctx context.Context, p Pending) error {
	c.mu.Lock()
	c.used = true
	c.mu.Unlock()
	text, err := json.Marshal(pending{
		Mailbox: c.account.Mailbox, Client: c.account.Client.key(), Redirect: c.redirect, Expect: c.expect,
		Verifier: c.verifier.Reveal(), Nonce: c.nonce, Begun: stamp(c.begun), Link: c.link,
	})
	if err != nil {
		return fmt.Errorf("keep a sign-in: %w", err)
	}
	key := pendingKey(c.state)
	value := c.manager.keys.seal(NewSecret(string(text)), pendingBinding(key))
	if err := p.Keep(ctx, key, []byte(value), pendingLife); err != nil {
		return pendingError(err)
	}
	return nil
}

// Resume takes up the sign-in that belongs to state, once. account returns the account of a mailbox; redirect is where the
// answer came to: one that was meant for another provider's address is refused.
func (m *Manager) Resume(ctx context.Context, p Pending, state Secret, redirect string, account func(mailbox string) (Account, error)) (*Consent, error) {
	key := pendingKey(state)
	value, err := p.Take(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse("state_used", "This sign-in was finished before, or is not known.", "Begin again: each link is good once, and for ten minutes.")
	case err != nil:
		return nil, pendingError(err)
	}
	text, err := m.keys.open(string(value), pendingBinding(key))
	var kept pending
	if err != nil || json.Unmarshal([]byte(text.Reveal()), &kept) != nil {
		return nil, refuse("not_ours", "The record of this sign-in cannot be opened.", "All replicas need the same sealing_key. Begin again.")
	}
	if kept.Redirect != redirect {
		return nil, refuse("mixed_up", "The answer came to the address of another provider than the one that was asked.",
			"Begin again; if it happens again, somebody tried to mix up two providers: see which page sent you here.")
	}
	a, err := account(kept.Mailbox)
	if err != nil {
		return nil, err
	}
	if a.Client.key() != kept.Client {
		return nil, refuse("client_changed", "The client of the mailbox was changed while somebody signed in.", "Begin again.")
	}
	return &Consent{
		manager: m, account: a, redirect: kept.Redirect, expect: kept.Expect, state: state,
		verifier: NewSecret(kept.Verifier), nonce: kept.Nonce, begun: kept.Begun, link: kept.Link,
	}, nil
}

// By notes the text of the Invitation that the sign-in was begun with.
func (c *Consent) By(link string) { c.link = link }

// Link is the text of the Invitation that the sign-in was begun with; empty if there was none.
func (c *Consent) Link() string { return c.link }

// Account is the account that the sign-in is for.
func (c *Consent) Account() Account { return c.account }

// pendingKey is a hash, so that who can read the keys of the store cannot finish a sign-in.
func pendingKey(state Secret) string {
	sum := sha256.Sum256([]byte("mailflume sign-in " + state.Reveal()))
	return hex.EncodeToString(sum[:])
}

func pendingBinding(key string) []byte { return binding([]byte("sign-in"), []byte(key)) }

func pendingError(err error) error {
	return &UnavailableError{Wait: time.Second, Err: err, Problem: Problem{
		Code: "store_unavailable", At: time.Now(), Sentence: "The sign-in cannot be kept in the store.",
		Hint: "Begin again in a moment; if that does not help, check NATS.",
	}}
}

// Seal seals text that somebody else keeps for a while, such as a browser, bound to a purpose.
func (k *Keyring) Seal(purpose, text string) string {
	return k.seal(NewSecret(text), binding([]byte("kept elsewhere"), []byte(purpose)))
}

// Open returns what Seal sealed for the same purpose. The error is a *SealError.
func (k *Keyring) Open(purpose, value string) (string, error) {
	text, err := k.open(value, binding([]byte("kept elsewhere"), []byte(purpose)))
	return text.Reveal(), err
}
