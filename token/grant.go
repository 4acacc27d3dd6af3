package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State says where a grant stands.
type State string

// The states of a grant.
const (
	Absent      State = "absent"       // there is none
	Idle        State = "idle"         // nobody is renewing it
	Refreshing  State = "refreshing"   // By is renewing it; this is the lock and the intent in one
	NeedsPerson State = "needs_person" // the provider refused it; see Problem
)

// record is what the store holds of a mailbox, one key for each.
//
// Grant is readable by anybody; the others are sealed. Each is bound (as associated data) to the mailbox, to its own name
// and to the very bytes of Grant, which hold the revision that counts the writes of this record. So a field cannot be moved
// to another mailbox, into another field or into another revision of the record, and no byte of Grant can be changed either.
//
// A whole record that is put back as it once was is told by Over: the store lets nobody write over a revision that is not
// the present one, and says which one a record was written over; for a record of the past that is another than it holds.
// What is left is a store that is put back as a whole, or one from which the key was removed without a trace before its
// very first record was written again. For these Revision is there: every Manager remembers the highest it has seen and
// refuses a later write that holds a lower one.
type record struct {
	V          int             `json:"v"`
	Grant      json.RawMessage `json:"grant"`
	Refresh    string          `json:"refresh"`
	Access     string          `json:"access"`
	Configured string          `json:"configured"` // see seen
}

const recordVersion = 3

// seen is what is remembered of the refresh tokens that were ever configured. It is sealed: whoever could read a hash of
// what somebody configured by mistake, such as a password, could find it out by guessing.
type seen struct {
	Trying   string    `json:"trying,omitempty"`   // Refreshing: the fingerprint of the one that is tried; the stored one is not sent
	Imported []string  `json:"imported,omitempty"` // the fingerprints of those that were taken over or refused, newest last
	Declined *declined `json:"declined,omitempty"` // the one that was tried last, if it was not taken over
}

// grant is the content of a record. Fields are only ever added.
type grant struct {
	Revision uint64 `json:"revision"` // of the record: each write has a higher one than the last
	Over     uint64 `json:"over"`     // the store's revision that this record was written over; 0: there was none
	State    State  `json:"state"`

	By          string    `json:"by,omitempty"`          // Refreshing: the session that does it
	Attempt     uint64    `json:"attempt"`               // counts the exchanges
	Interrupted bool      `json:"interrupted,omitempty"` // an answer to this refresh token may have been lost
	Expiry      time.Time `json:"expiry,omitzero"`       // of the access token
	ObtainedAt  time.Time `json:"obtained_at,omitzero"`  // the access token
	Refused     bool      `json:"refused,omitempty"`     // a server refused the access token before its expiry
	RefreshAt   time.Time `json:"refresh_at,omitzero"`   // when this refresh token was obtained
	RefreshEnds time.Time `json:"refresh_ends,omitzero"` // when it ends, if the provider said so

	ImportedAt time.Time `json:"imported_at,omitzero"` // when the last configured refresh token was taken over

	Failures  int       `json:"failures,omitempty"`    // in a row
	NotBefore time.Time `json:"not_before,omitzero"`   // no exchange before; with NeedsPerson and zero: none at all
	Problem   *Problem  `json:"problem,omitempty"`     // of the last exchange, if it failed
	Kind      string    `json:"problem_of,omitempty"`  // whose the problem is, such as OfOwner
	Scope     string    `json:"scope,omitempty"`       // as granted
	Client    string    `json:"client_name,omitempty"` // the OAuth client that renewed it last

	refresh, access Secret
	seen            `json:"-"`
	stored          uint64 // the store's revision that this was read at; 0: not stored
	value           []byte // as it is being written
	renewed         bool   // it is what the provider has just granted
}

const maxImported = 16

// encode seals g for the store.
func (g *grant) encode(k *Keyring, mailbox string) ([]byte, error) {
	g.Over = g.stored
	plain, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("encode the grant of mailbox %s: %w", mailbox, err)
	}
	seen, err := json.Marshal(g.seen)
	if err != nil {
		return nil, fmt.Errorf("encode the grant of mailbox %s: %w", mailbox, err)
	}
	value, err := json.Marshal(record{
		V: recordVersion, Grant: plain,
		Refresh:    k.seal(g.refresh, fieldBinding(mailbox, "refresh", plain)),
		Access:     k.seal(g.access, fieldBinding(mailbox, "access", plain)),
		Configured: k.seal(NewSecret(string(seen)), fieldBinding(mailbox, "configured", plain)),
	})
	if err != nil {
		return nil, fmt.Errorf("encode the grant of mailbox %s: %w", mailbox, err)
	}
	return value, nil
}

// decode opens what encode made. The error is a *SealError.
func decode(k *Keyring, mailbox string, value []byte) (*grant, error) {
	var r record
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields() // what stands outside Grant is not bound
	if err := dec.Decode(&r); err != nil || r.V != recordVersion || dec.More() {
		return nil, &SealError{
			Mailbox: mailbox, Reason: "it is not a record that this version knows",
			Hint: "The record was damaged, or written by another version of this program; use that version, or " + forget,
		}
	}
	g := new(grant)
	var err error
	open := func(sealed, field string) (text Secret) {
		if err == nil {
			text, err = k.open(sealed, fieldBinding(mailbox, field, r.Grant))
		}
		return text
	}
	var seen Secret
	g.refresh, g.access, seen = open(r.Refresh, "refresh"), open(r.Access, "access"), open(r.Configured, "configured")
	if err != nil {
		var sealed *SealError
		if errors.As(err, &sealed) {
			sealed.Mailbox = mailbox
		}
		return nil, err
	}
	if err := errors.Join(json.Unmarshal(r.Grant, g), json.Unmarshal([]byte(seen.Reveal()), &g.seen)); err != nil {
		return nil, fmt.Errorf("decode the grant of mailbox %s: %w", mailbox, err)
	}
	return g, nil
}

func fieldBinding(mailbox, field string, plain []byte) []byte {
	return binding([]byte(mailbox), []byte(field), plain)
}

// next returns a copy of g to be changed and written over it. The revision follows the clock where it can, so that a
// record that is made anew after an erasure does not look like an old one.
func (g *grant) next(now time.Time) *grant {
	n := *g
	n.value, n.renewed = nil, false
	n.Imported = slices.Clone(g.Imported)
	n.Revision = max(g.Revision+1, uint64(max(now.UnixMilli(), 0)))
	return &n
}

// take makes g the grant of a configured refresh token, whatever it was before.
func (g *grant) take(refresh Secret, fingerprint string, now time.Time) {
	*g = grant{
		Revision: g.Revision, stored: g.stored, Attempt: g.Attempt, State: Idle,
		RefreshAt: now, ImportedAt: now, seen: seen{Imported: g.Imported}, refresh: refresh,
	}
	g.remember(fingerprint)
}

// remember notes that a configured refresh token was dealt with.
func (g *grant) remember(fingerprint string) {
	g.Imported = append(g.Imported, fingerprint)
	if n := len(g.Imported); n > maxImported {
		g.Imported = g.Imported[n-maxImported:]
	}
}

// fingerprintOf tells configured refresh tokens apart without keeping them.
func fingerprintOf(mailbox string, refresh Secret) string {
	sum := sha256.Sum256(binding([]byte(mailbox), []byte("imported"), []byte(refresh.Reveal())))
	return hex.EncodeToString(sum[:16])
}

const (
	early       = 10 * time.Minute // renew when less is left
	earlyJitter = 2 * time.Minute  // more or less
)

// earliness is how long before its expiry the access token is renewed. It differs from mailbox to mailbox and from token to
// token, so that a common start does not become a common renewal, and it is the same for all replicas. A token that lives
// shortly is used for three quarters of its life at least.
func (g *grant) earliness(mailbox string) time.Duration {
	sum := sha256.Sum256(binding([]byte(mailbox), []byte(g.ObtainedAt.Format(time.RFC3339Nano))))
	jitter := time.Duration(binary.BigEndian.Uint64(sum[:])%uint64(2*earlyJitter)) - earlyJitter
	return min(early+jitter, g.life()/4)
}

// longestHold is how long anything that an endpoint says, or that we make of it, can hold an exchange back.
const longestHold = 24 * time.Hour

// waits reports whether it is too early for an exchange. An end that is further away than any wait can be was written by
// somebody whose clock was ahead, and must not hold the grant until then.
func (g *grant) waits(now time.Time) bool {
	return now.Before(g.NotBefore) && g.NotBefore.Sub(now) <= longestHold
}

func (g *grant) life() time.Duration { return g.Expiry.Sub(g.ObtainedAt) }

// fresh reports whether the access token can be handed out without a thought of renewing it. rejected is a token that a
// server has refused.
func (g *grant) fresh(mailbox string, rejected Secret, now time.Time) bool {
	return g.good(rejected, now) && now.Before(g.Expiry.Add(-g.earliness(mailbox)))
}

// good reports whether the access token still works, as far as we know. What is left must suffice to log in.
func (g *grant) good(rejected Secret, now time.Time) bool {
	if g.access.IsZero() || g.State == NeedsPerson || g.Refused || !rejected.IsZero() && g.access.Equal(rejected) {
		return false
	}
	return now.Before(g.Expiry.Add(-min(20*time.Second, g.life()/10)))
}
