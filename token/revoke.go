package token

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
)

// Revocation is what became of a grant that was given up.
type Revocation struct {
	AtProvider bool   // the provider has revoked it
	None       bool   // there was nothing to give up
	Hint       string // what is left to do by hand
}

// CodeRevoked is the Problem.Code of a grant that Revoke has given up.
const CodeRevoked = "revoked_here"

// Revoke gives the mailbox's grant up: at the provider, where it has an endpoint for that, and then here. If the provider
// cannot be reached nothing is changed, so that it can be tried again. A renewal under way is waited for, and the refresh
// token that is revoked is the one that is there when the record is written. The record stays, without tokens, so that the
// configured refresh token is not taken over once more.
func (m *Manager) Revoke(ctx context.Context, a Account) (Revocation, error) {
	r := Revocation{None: true}
	var revoked Secret
	err := m.overwrite(ctx, a, func(old, next *grant) error {
		if old.State == Refreshing && !m.orphaned(a.Mailbox, old) {
			return errLost
		}
		refresh := givenUp(a, old)
		switch {
		case refresh.IsZero(), refresh.Equal(revoked):
		case a.Client.RevokeURL == "":
			r.None = false
			r.Hint = "Client " + a.Client.Name + " has no endpoint where a program can revoke a grant (endpoints.revoke), and Microsoft has none. There the owner removes the app at https://myapps.microsoft.com (work) or https://account.live.com/consent/Manage (personal), or an administrator revokes the sign-in sessions."
		default:
			if err := m.revokeAt(ctx, a, refresh); err != nil {
				return err
			}
			r.None, r.AtProvider, revoked = false, true, refresh
			crash.At("grant.revoked")
		}
		now := stamp(time.Now())
		*next = grant{
			Revision: next.Revision, stored: next.stored, Attempt: next.Attempt, seen: seen{Imported: next.Imported}, State: NeedsPerson, Kind: OfOwner,
			Client: a.Client.Name, Problem: &Problem{
				Code: CodeRevoked, At: now, Sentence: "The grant of " + a.Mailbox + " was given up with mailflume token revoke.",
				Hint: "To read the mailbox again: mailflume connect " + a.Mailbox,
			},
		}
		return nil
	})
	return r, err
}

// givenUp is the refresh token of a grant: the stored one, or the configured one that was not used yet.
func givenUp(a Account, g *grant) Secret {
	if !g.refresh.IsZero() {
		return g.refresh
	}
	configured, err := configuredToken(a)
	if err != nil || configured.IsZero() || slices.Contains(g.Imported, fingerprintOf(a.Mailbox, configured)) {
		return Secret{}
	}
	return configured
}

// revokeAt asks the provider (RFC 7009). A token that it does not know any more is as good as revoked.
func (m *Manager) revokeAt(ctx context.Context, a Account, refresh Secret) error {
	form := url.Values{"token": {refresh.Reveal()}, "token_type_hint": {"refresh_token"}}
	secret, err := a.Client.secret()
	if err == nil && a.Client.Credential == SharedSecret {
		form.Set("client_id", a.Client.ID)
		if !secret.IsZero() {
			form.Set("client_secret", secret.Reveal())
		}
	}
	rec, err := m.ask(ctx, a.Client.RevokeURL, form)
	if err == nil && rec.status == http.StatusOK {
		return nil
	}
	f := rec.refusal(ctx, err, refresh, secret)
	if f.status == http.StatusBadRequest && f.code == "invalid_token" {
		return nil
	}
	return f.explain(a.asked(a.Client.RevokeURL), stamp(time.Now()))
}
