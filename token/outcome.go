package token

import (
	"time"
)

const (
	firstWait   = 5 * time.Second // after a failure of the endpoint, doubled each time
	longestWait = 100 * time.Second
	clientRetry = 5 * time.Minute // how often what the operator must mend is tried again with the same secret
)

// lostAnswer is said when that may be why a refresh token is refused.
const lostAnswer = " An answer to an earlier renewal was lost: a provider that takes each refresh token only once does not forgive that."

// outcome is what the record becomes after the exchange, and what the callers are told if it failed.
func (m *Manager) outcome(a Account, held *grant, secret Secret, got answer, failed *verdict) (*grant, error) {
	now := stamp(time.Now())
	next := held.next(now)
	next.State, next.By, next.Trying, next.Client = Idle, "", "", a.Client.Name
	next.Problem, next.Kind, next.NotBefore = nil, "", time.Time{}
	if failed == nil {
		m.clearFault(a.Client)
		next.Interrupted, next.Refused, next.Failures, next.renewed = false, false, 0, true
		next.access, next.ObtainedAt, next.Expiry, next.Scope = got.access, now, now.Add(got.life), got.scope
		if !got.refresh.IsZero() {
			next.refresh, next.RefreshAt, next.RefreshEnds = got.refresh, now, time.Time{}
		}
		if got.refreshLife > 0 {
			next.RefreshEnds = now.Add(got.refreshLife)
		}
		if !lacksScope(a.Client, got.scope) {
			return next, nil
		}
		failed = scopeMissing(a, got, now)
	}
	if p := held.Problem; p != nil && p.Code == failed.problem.Code {
		failed.problem.At = p.At
	}
	next.Problem = &failed.problem
	next.Interrupted = held.Interrupted || failed.lost
	switch failed.who {
	case owner:
		next.State, next.Kind, next.Failures = NeedsPerson, OfOwner, 0
		retry := failed.retry
		if retry == 0 && a.Client.mints() {
			retry = adminRetry // nobody can bring another refresh token
		}
		if retry > 0 {
			next.NotBefore = now.Add(retry)
		}
		if held.Interrupted && failed.refused {
			next.Problem.Sentence += lostAnswer
		}
		return next, grantError(a.Mailbox, next)
	case operator:
		next.Kind = OfOperator
		if failed.alone {
			next.NotBefore = now.Add(clientRetry)
			return next, &ClientError{Client: a.Client.Name, Problem: failed.problem, Err: failed.err}
		}
		return next, m.setFault(a.Client, secret, now, failed)
	default:
		next.Kind = OfNobody
		next.Failures++
		wait := max(backoff(next.Failures), failed.retry)
		next.NotBefore = now.Add(wait)
		if failed.away {
			wait = min(wait, askAgain) // to see whether it is back: that is no exchange
		}
		return next, &UnavailableError{Problem: failed.problem, Wait: wait, Err: failed.err}
	}
}

// backoff is the least time between two exchanges of a grant while the endpoint fails. It waits for nothing: whoever asks
// earlier is told so. An hour of outage costs 40 exchanges at most, whatever the callers and the replicas do.
func backoff(failures int) time.Duration {
	return min(firstWait<<min(failures-1, 10), longestWait)
}

func scopeMissing(a Account, got answer, now time.Time) *verdict {
	return &verdict{who: owner, retry: adminRetry, problem: Problem{
		Code: "scope_missing", At: now, Detail: clean("granted: "+got.scope, nil),
		Sentence: "The grant of " + a.Mailbox + " does not include access to mail.",
		Hint:     "Sign in again and leave every box ticked; the scopes of client " + a.Client.Name + " must be those for IMAP of one provider only.",
	}}
}

func grantError(mailbox string, g *grant) *GrantError {
	e := &GrantError{Mailbox: mailbox, Interrupted: g.Interrupted, RetryAt: g.NotBefore}
	if g.Problem != nil {
		e.Problem = *g.Problem
	}
	return e
}

// clientFault is a client that its provider refuses.
type clientFault struct {
	secret Secret
	until  time.Time
	err    *ClientError
}

// fault returns what the provider said of the client, unless its secret is another by now or it is time to try again.
func (m *Manager) fault(c Client, secret Secret, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.faults[c.key()]
	if f == nil || !f.secret.Equal(secret) || !now.Before(f.until) {
		return nil
	}
	return f.err
}

func (m *Manager) setFault(c Client, secret Secret, now time.Time, v *verdict) error {
	err := &ClientError{Client: c.Name, Problem: v.problem, Err: v.err}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[c.key()] = &clientFault{secret: secret, until: now.Add(clientRetry), err: err}
	return err
}

func (m *Manager) clearFault(c Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.faults, c.key())
}
