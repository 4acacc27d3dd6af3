package token

import (
	"fmt"
	"time"
)

const (
	secretNotice  = 30 * day // before a client's secret or certificate expires
	refreshNotice = 2 * day  // before a refresh token ends whose end the provider has told
)

// Mints reports whether the mailbox's access tokens come without anybody having signed in.
func (a Account) Mints() bool { return a.Client.mints() }

// Forecast says what will stop the mailbox before long, while there is time to act: as far as the provider, the
// configuration or what is known of the provider tells. It also says if the configured refresh token is not the one that is
// used, since the provider refused it (see Problem.Ahead).
func (a Account) Forecast(s Status, now time.Time) []Problem {
	var list []Problem
	warn := func(code, sentence, hint string) {
		list = append(list, Problem{Code: code, Sentence: sentence, Hint: hint, At: stamp(now)})
	}
	if ends := a.Client.Ends(); !ends.IsZero() && now.Add(secretNotice).After(ends) {
		what, verb := "secret", "expires"
		if a.Client.Credential == Certificate {
			what = "certificate"
		}
		if now.After(ends) {
			verb = "has expired"
		}
		warn("secret_expires", fmt.Sprintf("The %s of client %s %s on %s, and all its mailboxes stop then.", what, a.Client.Name, verb, ends.Format(time.DateOnly)),
			"Create a new one in the provider's console now, configure it, and set secret_expires anew; both are good until then.")
	}
	if p, ok := a.refusedToken(s); ok {
		list = append(list, p)
	}
	if s.State == NeedsPerson || s.State == Absent || a.Client.mints() {
		return list
	}
	signIn := "Sign in again before that: mailflume connect " + s.Mailbox
	switch held := s.RefreshAge(now); {
	case !s.RefreshEnds.IsZero() && now.Add(refreshNotice).After(s.RefreshEnds):
		hint := signIn
		if life := s.RefreshEnds.Sub(s.RefreshAt); life < 8*day {
			hint = "Set the OAuth consent screen of client " + a.Client.Name + " to In production (or Internal), else this comes back every 7 days. " + signIn
		}
		warn("refresh_token_ends", fmt.Sprintf("The refresh token of %s ends on %s.", s.Mailbox, s.RefreshEnds.Format(time.DateOnly)), hint)
	case a.Client.Idle > 0 && a.unused(s, now) > a.Client.Idle*5/6:
		warn("refresh_token_ages", fmt.Sprintf("The refresh token of %s was not used or replaced for %d days; the provider lets it die after %d.", s.Mailbox, a.unused(s, now)/day, a.Client.Idle/day),
			"See why mailflume does not renew it (mailflume check "+s.Mailbox+"), or sign in again: mailflume connect "+s.Mailbox)
	case a.Client.Rotates && held > 30*day && now.Sub(s.RenewedAt) < day:
		warn("refresh_token_kept", fmt.Sprintf("The provider has not replaced the refresh token of %s for %d days, although it is in use.", s.Mailbox, held/day),
			"Check that the scopes of client "+a.Client.Name+" include offline_access; "+signIn)
	}
	return list
}

// unused is for how long the provider has counted the refresh token as idle.
func (a Account) unused(s Status, now time.Time) time.Duration {
	if s.RenewedAt.After(s.RefreshAt) && !a.Client.Rotates {
		return now.Sub(s.RenewedAt)
	}
	return s.RefreshAge(now)
}

// Ends is when the client's secret or certificate expires; zero if nobody says it.
func (c Client) Ends() time.Time {
	if !c.SecretEnds.IsZero() || c.Credential != Certificate || c.Secret == nil {
		return c.SecretEnds
	}
	secret, err := c.secret()
	if err != nil {
		return time.Time{}
	}
	pair, err := parseCertificate(secret)
	if err != nil {
		return time.Time{}
	}
	return pair.cert.NotAfter
}
