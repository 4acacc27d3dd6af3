package token

import (
	"context"
	"time"
)

// Status is what page and CLI show of a grant. It holds no token.
type Status struct {
	Mailbox     string    `json:"mailbox"`
	State       State     `json:"state"`
	Expiry      time.Time `json:"expiry,omitzero"`      // of the access token
	RenewedAt   time.Time `json:"renewedAt,omitzero"`   // the access token
	RefreshAt   time.Time `json:"refreshAt,omitzero"`   // since when we hold this refresh token
	RefreshEnds time.Time `json:"refreshEnds,omitzero"` // when it ends, if the provider said so
	ConnectedAt time.Time `json:"connectedAt,omitzero"` // when the configured refresh token was taken over
	Interrupted bool      `json:"interrupted"`          // an answer of the provider may have been lost
	By          string    `json:"by,omitempty"`         // the session that is renewing
	RetryAt     time.Time `json:"retryAt,omitzero"`     // the endpoint is not asked before
	Scope       string    `json:"scope,omitempty"`      // as granted
	Problem     *Problem  `json:"problem,omitempty"`    // of the last exchange, if it failed
	ProblemOf   string    `json:"problemOf,omitempty"`  // who must act on it: OfOwner, OfOperator or OfNobody

	Warnings []Problem `json:"warnings,omitempty"` // see Account.Forecast; Manager.Status leaves it empty

	declined *declined // the configured refresh token that was tried last, if it was not taken over
}

// Whose a problem is.
const (
	OfOwner    = "owner"    // the mailbox's owner must act
	OfOperator = "operator" // whoever runs the OAuth client must
	OfNobody   = "nobody"   // it passes by itself
)

// Broken reports whether somebody must act before the grant can be renewed.
func (s Status) Broken() bool { return s.State == NeedsPerson || s.ProblemOf == OfOperator }

// RefreshAge is how old the refresh token is; 0 if there is none. Microsoft's die 90 days after they were issued.
func (s Status) RefreshAge(now time.Time) time.Duration {
	if s.RefreshAt.IsZero() {
		return 0
	}
	return now.Sub(s.RefreshAt)
}

// Status tells how the grant of a mailbox stands. It asks the store only, never the provider. The error is an
// *UnavailableError, or a *SealError.
func (m *Manager) Status(ctx context.Context, mailbox string) (Status, error) {
	g, err := m.read(ctx, mailbox)
	if err != nil {
		return Status{Mailbox: mailbox}, err
	}
	return Status{
		Mailbox: mailbox, State: g.State, Expiry: g.Expiry, RenewedAt: g.ObtainedAt, RefreshAt: g.RefreshAt, RefreshEnds: g.RefreshEnds,
		ConnectedAt: g.ImportedAt, Interrupted: g.Interrupted, By: g.By, RetryAt: g.NotBefore, Scope: g.Scope, Problem: g.Problem, ProblemOf: g.Kind,
		declined: g.Declined,
	}, nil
}
