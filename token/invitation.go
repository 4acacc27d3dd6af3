package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"time"
)

// MaxInvitation is how long an Invitation may be good.
const MaxInvitation = 7 * day

// Invitation lets somebody sign in for one mailbox, once and for a while, wherever they are. It is a text for a link, sealed
// with the keys that every replica has, so nobody else can make one, change one or read one.
type Invitation struct {
	Mailbox string    `json:"mailbox"`
	Expect  string    `json:"expect"` // the address that has to sign in
	Ends    time.Time `json:"ends"`
	Number  string    `json:"number"` // tells it from all others
}

const invitationPurpose = "invitation"

// Invite makes an invitation that is good for life, and returns it with its text, which an URL can hold.
func (k *Keyring) Invite(mailbox, expect string, life time.Duration) (Invitation, string) {
	i := Invitation{Mailbox: mailbox, Expect: expect, Ends: time.Now().Add(min(life, MaxInvitation)).UTC().Truncate(time.Second), Number: rand.Text()}
	text, err := json.Marshal(i)
	if err != nil {
		panic(err) // there is nothing in it that could fail
	}
	return i, base64.RawURLEncoding.EncodeToString([]byte(k.Seal(invitationPurpose, string(text))))
}

// Invitation reads what Invite made. The error is a *ConsentError: it is none of ours, or its time is over.
func (k *Keyring) Invitation(text string) (Invitation, error) {
	i, err := k.Invited(text)
	if err == nil && !time.Now().Before(i.Ends) {
		return Invitation{}, refuse("link_expired", "The time of this link is over.", askForLink)
	}
	return i, err
}

// Invited is Invitation for a sign-in that was begun in time.
func (k *Keyring) Invited(text string) (i Invitation, err error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil {
		var opened string
		if opened, err = k.Open(invitationPurpose, string(sealed)); err == nil {
			err = json.Unmarshal([]byte(opened), &i)
		}
	}
	if err != nil {
		return Invitation{}, refuse("unknown_link", "This link was not made by us, or not all of it was copied.", askForLink)
	}
	return i, nil
}

const askForLink = "Ask whoever sent it to you for another: mailflume connect NAME --link makes one."

// Spent reports whether somebody has signed in with the invitation. The error is an *UnavailableError.
func (i Invitation) Spent(ctx context.Context, p Pending) (bool, error) {
	spent, err := p.Kept(ctx, i.key())
	if err != nil {
		return false, pendingError(err)
	}
	return spent, nil
}

// Spend uses the invitation up: of several callers, on any replica, one may go on. For the others the error is a
// *ConsentError.
func (i Invitation) Spend(ctx context.Context, p Pending) error {
	err := p.Keep(ctx, i.key(), []byte("spent"), max(time.Until(i.Ends), 0)+2*pendingLife) // a sign-in may have begun at its end
	switch {
	case errors.Is(err, fs.ErrExist):
		return LinkSpent()
	case err != nil:
		return pendingError(err)
	}
	return nil
}

// GiveBack lets the invitation be used after all: the sign-in that spent it came to nothing.
func (i Invitation) GiveBack(ctx context.Context, p Pending) error {
	if _, err := p.Take(ctx, i.key()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pendingError(err)
	}
	return nil
}

// LinkSpent says that an invitation was used before.
func LinkSpent() error {
	return refuse("link_used", "Somebody has signed in with this link already; it is good once.", "If that was you, all is done. If not, tell whoever sent you the link: only the account that it is for could be connected with it.")
}

func (i Invitation) key() string {
	sum := sha256.Sum256([]byte("mailflume link " + i.Number))
	return hex.EncodeToString(sum[:])
}
