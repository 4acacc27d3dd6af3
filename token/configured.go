package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// configured is a refresh token of the configuration that is to be tried beside the stored grant. It takes the stored one's
// place when the provider has accepted it, and not before: a typing error must not cost a mailbox that works. Each value is
// tried until the provider has answered, and refused once.
type configured struct {
	refresh Secret
	mark    string // its fingerprint
}

func (c configured) isZero() bool { return c.refresh.IsZero() }

// declined is a configured refresh token that was tried and not taken over. Its Mark is in grant.Imported as well once the
// provider has refused it.
type declined struct {
	Mark    string    `json:"mark"`
	Problem *Problem  `json:"problem,omitempty"`
	Tries   int       `json:"tries,omitempty"`
	Next    time.Time `json:"next,omitzero"` // not tried before
	Lost    bool      `json:"lost,omitempty"`
}

// due reports whether the configured refresh token of that mark is to be tried now.
func (g *grant) due(mark string, now time.Time) bool {
	d := g.Declined
	return !slices.Contains(g.Imported, mark) &&
		(d == nil || d.Mark != mark || !now.Before(d.Next) || d.Next.Sub(now) > longestHold)
}

// dead reports whether the stored grant is of no use any more, so that there is nothing to lose.
func (g *grant) dead() bool {
	return g.refresh.IsZero() || g.State == NeedsPerson && g.NotBefore.IsZero()
}

// trial is g with a configured refresh token in place of the stored one, to be exchanged under the lock that g is.
func (g *grant) trial(c configured) *grant {
	t := *g
	t.Imported = slices.Clone(g.Imported)
	t.take(c.refresh, c.mark, stamp(time.Now()))
	t.By = g.By
	return &t
}

// missed notes that a trial ended without an answer that anybody has seen: whoever began it died.
func (g *grant) missed() {
	d := declined{Mark: g.Trying, Lost: true}
	if g.Declined != nil && g.Declined.Mark == g.Trying {
		d = *g.Declined
		d.Lost = true
	}
	g.Declined = &d
}

// configuredDue returns the refresh token of the configuration if it is to be tried. The error says that it cannot be read.
func configuredDue(a Account, g *grant) (configured, error) {
	if a.Client.mints() {
		return configured{}, nil
	}
	refresh, err := configuredToken(a)
	if err != nil || refresh.IsZero() {
		return configured{}, err
	}
	c := configured{refresh: refresh, mark: fingerprintOf(a.Mailbox, refresh)}
	if !g.due(c.mark, time.Now()) {
		return configured{}, nil
	}
	return c, nil
}

// errSettled says that somebody else has dealt with the configured refresh token.
var errSettled = errors.New("the configured refresh token is taken over already")

// try exchanges a configured refresh token under the lock held, and saves what came of it: the new grant, or the one that
// there was, with a note. It returns an error only if it could not be saved.
func (m *Manager) try(ctx context.Context, a Account, held *grant, c configured, secret Secret) error {
	trial := held.trial(c)
	got, failed := m.exchange(ctx, a, trial, secret)
	if failed == nil && lacksScope(a.Client, got.scope) {
		failed = scopeMissing(a, got, stamp(time.Now()))
	}
	var next *grant
	if failed == nil {
		next, _ = m.outcome(a, trial, secret, got, nil)
	} else {
		next = m.decline(a, held, c, failed)
	}
	err := m.save(ctx, a, next)
	if failed == nil && errors.Is(err, errLost) {
		// The intent was taken over, and the stored grant may have moved on. The new one takes its place all the same, unless
		// somebody has settled that meanwhile: what the provider has just given out must not be lost.
		err = m.overwrite(ctx, a, func(old, later *grant) error {
			if slices.Contains(old.Imported, c.mark) {
				return errSettled
			}
			revision, stored, attempt := later.Revision, later.stored, later.Attempt
			*later = *next
			later.Revision, later.stored, later.Attempt, later.value = revision, stored, attempt, nil
			return nil
		})
	}
	if errors.Is(err, errLost) || errors.Is(err, errSettled) {
		return nil // whoever took it over tries it again, if it has the same configuration
	}
	return err
}

// decline is the stored grant after a configured refresh token was tried in vain.
func (m *Manager) decline(a Account, held *grant, c configured, failed *verdict) *grant {
	now := stamp(time.Now())
	next := held.next(now)
	next.release()
	d := declined{Mark: c.mark}
	if held.Declined != nil && held.Declined.Mark == c.mark {
		d = *held.Declined
	}
	d.Tries++
	refused := failed.who == owner || failed.who == operator && failed.alone
	if refused && failed.refused && d.Lost {
		failed.problem.Sentence += lostAnswer
	}
	d.Problem, d.Lost = &failed.problem, d.Lost || failed.lost
	what := "the configured refresh token could not be tried; the stored grant is used"
	if refused {
		next.remember(c.mark)
		d.Next = time.Time{}
		what = "the configured refresh token was refused; the stored grant is used"
	} else {
		d.Next = now.Add(min(longestHold, max(firstWait<<min(d.Tries-1, 15), failed.retry)))
	}
	next.Declined = &d
	m.log.Warn(what, "mailbox", a.Mailbox, "client", a.Client.Name, "code", failed.problem.Code, "why", failed.problem.Sentence, "hint", failed.problem.Hint)
	return next
}

// release ends an intent without a word about the stored grant.
func (g *grant) release() {
	g.State, g.By, g.Trying = Idle, "", ""
	if g.Kind == OfOwner && g.Problem != nil {
		g.State = NeedsPerson
	}
}

// refusedToken says what became of the refresh token that is configured, if it is not the one that is used.
func (a Account) refusedToken(s Status) (Problem, bool) {
	d := s.declined
	if d == nil || d.Problem == nil || a.Client.mints() {
		return Problem{}, false
	}
	if refresh, err := configuredToken(a); err != nil || refresh.IsZero() || fingerprintOf(a.Mailbox, refresh) != d.Mark {
		return Problem{}, false // another one is configured by now
	}
	p := *d.Problem
	if p.Code != "" {
		p.Detail = p.Code + ": " + p.Detail
	}
	if d.Next.IsZero() {
		p.Code = CodeConfiguredRefused
		p.Sentence = fmt.Sprintf("The refresh token that is now configured for %s was refused, so the grant that it had before is still used. %s", s.Mailbox, p.Sentence)
		p.Hint = "Put the right refresh token where login.refresh_token points, or take it out: it is not tried again. (mailflume token import " + s.Mailbox + " tries one at once, and says what is wrong.)"
		return p, true
	}
	p.Code = CodeConfiguredUntried
	p.Sentence = fmt.Sprintf("The refresh token that is now configured for %s could not be tried yet, so the grant that it had before is still used. %s", s.Mailbox, p.Sentence)
	p.Hint = "It is tried again by itself. " + p.Hint
	return p, true
}

// What Forecast says of a configured refresh token, beside what ends before long.
const (
	CodeConfiguredRefused = "refresh_token_refused"
	CodeConfiguredUntried = "refresh_token_untried"
)

// Ahead reports whether a warning of Forecast is of something that will stop before long, and not of something that nobody uses.
func (p Problem) Ahead() bool {
	return p.Code != CodeConfiguredRefused && p.Code != CodeConfiguredUntried
}
