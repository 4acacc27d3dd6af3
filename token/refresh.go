package token

import (
	"context"
	"errors"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
)

const (
	saveTimeout = 30 * time.Second // of all tries to save
	savePause   = 500 * time.Millisecond
	lostPause   = 20 * time.Millisecond

	othersWait    = 20 * time.Second      // how long a call waits for another replica's renewal
	othersPoll    = 50 * time.Millisecond // at first, then longer
	othersPollMax = time.Second
	stuckAfter    = time.Minute // an intent that stands unchanged for so long is over: an exchange takes exchangeTimeout at most
)

// renew is one flight: it returns an access token, and goes through the five steps if the stored one does not do.
func (m *Manager) renew(ctx context.Context, a Account, rejected Secret) (Secret, error) {
	poll, deadline := othersPoll, time.Time{}
	refused := uint64(0) // the attempt at which the provider refused the stored grant, if it was read again since
	turn := m.turn(a.Client)
	defer turn.giveBack()
	for {
		g, c, err := m.load(ctx, a, refused)
		if err != nil {
			return Secret{}, err
		}
		if usable(a, g, rejected) && c.isZero() {
			return g.access, nil
		}
		if g.State == Refreshing && !m.orphaned(a.Mailbox, g) {
			if g.good(rejected, time.Now()) {
				return g.access, nil
			}
			turn.giveBack() // it may take long
			if deadline.IsZero() {
				deadline = time.Now().Add(othersWait)
			}
			if err := pause(ctx, min(poll, time.Until(deadline))); err != nil || !time.Now().Before(deadline) {
				return Secret{}, m.busy(a, g)
			}
			poll = min(poll*3/2, othersPollMax)
			continue
		}
		secret, err := m.mayExchange(ctx, a, g, c)
		if err != nil {
			return m.fallBack(a, g, rejected, err)
		}
		if !turn.free() {
			if c.isZero() && g.good(rejected, time.Now()) {
				return g.access, nil // it is renewed early; there is time
			}
			if err := turn.take(ctx); err != nil {
				return m.fallBack(a, g, rejected, crowded(a, err))
			}
			deadline = time.Time{}
			continue // meanwhile another replica may have done it
		}
		held, err := m.lock(ctx, a, g, rejected, c)
		if errors.Is(err, errLost) {
			_ = pause(ctx, lostPause) // if the flight's time is up, load says so
			continue
		}
		if err != nil {
			return m.fallBack(a, g, rejected, err)
		}
		turn.use()
		if !c.isZero() {
			if err := m.try(ctx, a, held, c, secret); err != nil {
				return m.fallBack(a, held, rejected, err)
			}
			continue
		}
		got, failed := m.exchange(ctx, a, held, secret)
		if failed != nil && failed.who == owner && refused == 0 && m.changed(ctx, a, held) {
			refused = held.Attempt
			continue
		}
		m.struck(a, failed)
		next, problem := m.outcome(a, held, secret, got, failed)
		if err := m.save(ctx, a, next); errors.Is(err, errLost) {
			continue // somebody took the intent over: what is stored is newer than ours
		} else if err != nil {
			return Secret{}, err
		}
		if problem != nil {
			return m.fallBack(a, next, rejected, problem)
		}
		return next.access, nil
	}
}

// lock is the first step: it writes our intent over g, at the revision that g was read at, so that only one replica goes
// on and nothing that it knows is out of date. errLost if another was faster.
func (m *Manager) lock(ctx context.Context, a Account, g *grant, rejected Secret, c configured) (*grant, error) {
	held := g.next(time.Now())
	if g.State == Refreshing {
		if g.Trying == "" {
			held.Interrupted = true
		} else {
			held.missed()
		}
		m.log.Warn("taking over an interrupted renewal", "mailbox", a.Mailbox, "of", g.By, "attempt", g.Attempt)
	}
	held.State, held.By, held.Trying = Refreshing, m.session.ID(), c.mark
	held.Attempt++
	held.Refused = g.Refused || !rejected.IsZero() && g.access.Equal(rejected)
	err := m.put(ctx, a.Mailbox, held)
	crash.At("token.locked")
	return held, err
}

// load is the second step: it reads the record, opens it, and looks for another refresh token in the configuration. That is
// returned, to be tried; where there is nothing to lose, since the stored grant is dead or was refused at the attempt given,
// it is taken over (in memory; the lock writes it). Without a record there is nothing to lock, so load comes before as well as
// after the lock: lock's compare-and-set proves that nothing has changed since.
func (m *Manager) load(ctx context.Context, a Account, refused uint64) (*grant, configured, error) {
	g, err := m.read(ctx, a.Mailbox)
	if err != nil {
		return nil, configured{}, err
	}
	if g, err = m.finish(ctx, a, g); err != nil {
		return nil, configured{}, err
	}
	c, err := configuredDue(a, g)
	switch {
	case err != nil && g.State == Absent:
		return nil, c, &ClientError{Client: a.Client.Name, Err: err, Problem: Problem{
			Code: "refresh_token_unreadable", At: time.Now(),
			Sentence: "The configured refresh token of mailbox " + a.Mailbox + " cannot be read.",
			Hint:     "Check the file or the environment variable that it refers to.",
		}}
	case err != nil:
		m.log.Warn("the configured refresh token cannot be read; the stored grant is used", "mailbox", a.Mailbox, "error", err)
	case c.isZero() && g.State == Absent && !a.Client.mints():
		return nil, c, &GrantError{Mailbox: a.Mailbox, Problem: Problem{
			Code: "no_grant", At: time.Now(), Sentence: "Mailbox " + a.Mailbox + " was never connected.",
			Hint: "Connect it on the status page, or run mailflume connect " + a.Mailbox + " (or mailflume token import " + a.Mailbox + " if you have a refresh token).",
		}}
	case c.isZero():
	case g.dead() || g.State == Refreshing && g.Attempt == refused:
		g.take(c.refresh, c.mark, stamp(time.Now()))
		m.log.Info("taking over the configured refresh token", "mailbox", a.Mailbox)
		return g, configured{}, nil
	}
	return g, c, nil
}

// usable is the third step: another replica may have renewed the grant, or there was no need.
func usable(a Account, g *grant, rejected Secret) bool {
	return g.fresh(a.Mailbox, rejected, time.Now())
}

// exchange is the fourth step: it asks the token endpoint. It runs on the flight's context, which no caller can cancel,
// for exchangeTimeout at most and only while our session is valid: after that another replica may take the intent over.
func (m *Manager) exchange(ctx context.Context, a Account, g *grant, secret Secret) (answer, *verdict) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	ctx, stop := m.whileValid(ctx, g.By)
	defer stop()
	params, err := a.params(g, secret, time.Now())
	if err != nil {
		return answer{}, &verdict{who: operator, err: err, problem: unreadable(a.Client, time.Now())}
	}
	got, failed := post(ctx, m.http, a.Client, secret, params, g.access)
	if failed == nil {
		crash.At("token.response.read")
		return got, nil
	}
	v := classify(a, g, failed, stamp(time.Now()))
	return answer{}, &v
}

// save is the fifth step: it writes next over the intent. While the store does not answer it goes on trying; what then
// still could not be saved is kept in memory, for finish. errLost if the intent was taken over meanwhile.
func (m *Manager) save(ctx context.Context, a Account, next *grant) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	for {
		err := m.put(ctx, a.Mailbox, next)
		switch {
		case err == nil && next.renewed && next.Problem == nil:
			crash.At("token.persisted")
			m.log.Info("grant renewed", "mailbox", a.Mailbox, "client", a.Client.Name, "expiry", next.Expiry, "attempt", next.Attempt)
			return nil
		case err == nil:
			return nil
		case errors.Is(err, errLost):
			m.log.Warn("the renewal was taken over before it was saved", "mailbox", a.Mailbox, "attempt", next.Attempt)
			return err
		}
		if pause(ctx, savePause) != nil {
			m.mu.Lock()
			m.unsaved[a.Mailbox] = next
			m.mu.Unlock()
			return err
		}
	}
}

// finish saves what an earlier flight of this process was granted and could not save, if the record g still waits for it,
// and returns what is stored then.
func (m *Manager) finish(ctx context.Context, a Account, g *grant) (*grant, error) {
	m.mu.Lock()
	next := m.unsaved[a.Mailbox]
	m.mu.Unlock()
	if next == nil {
		return g, nil
	}
	if g.State != Absent && g.stored < next.stored {
		return nil, storeError(a.Mailbox, "read", errors.New("the store answers with an old record"))
	}
	m.mu.Lock()
	delete(m.unsaved, a.Mailbox)
	m.mu.Unlock()
	if g.State == Absent || g.stored > next.stored {
		return g, nil
	}
	switch err := m.save(ctx, a, next); {
	case errors.Is(err, errLost):
		return m.read(ctx, a.Mailbox)
	case err != nil:
		return nil, err
	}
	return next, nil
}

// mayExchange says whether it is time to ask the endpoint, and reads the client's secret for it. What the stored grant waits
// for does not hold up the trial of another refresh token.
func (m *Manager) mayExchange(ctx context.Context, a Account, g *grant, c configured) (Secret, error) {
	now := time.Now()
	waits := c.isZero() && g.waits(now)
	if c.isZero() && g.State == NeedsPerson && (g.NotBefore.IsZero() || waits) {
		return Secret{}, grantError(a.Mailbox, g)
	}
	if waits && g.Kind == OfOperator && g.Problem != nil {
		return Secret{}, &ClientError{Client: a.Client.Name, Problem: *g.Problem}
	}
	if waits {
		back, away := m.isBack(ctx, a)
		if !back {
			e := &UnavailableError{Wait: g.NotBefore.Sub(now)}
			if away {
				e.Wait = min(e.Wait, askAgain)
			}
			if g.Problem != nil {
				e.Problem = *g.Problem
			}
			return Secret{}, e
		}
	}
	secret, err := a.Client.secret()
	if err != nil {
		return Secret{}, &ClientError{Client: a.Client.Name, Err: err, Problem: unreadable(a.Client, now)}
	}
	if err := m.fault(a.Client, secret, now); err != nil {
		return Secret{}, err
	}
	if m.session.Remaining() <= 0 {
		return Secret{}, &UnavailableError{Wait: time.Second, Problem: Problem{
			Code: "session_lapsed", At: now, Sentence: "This replica's session has lapsed, so that it may not renew grants.",
			Hint: "Nothing to do if it passes; else check the connection to NATS.",
		}}
	}
	return secret, nil
}

// unreadable says that the client has nothing to prove itself with.
func unreadable(c Client, now time.Time) Problem {
	what := map[Credential]string{SharedSecret: "secret", Certificate: "certificate", ServiceKey: "service account's key"}[c.Credential]
	return Problem{
		Code: "secret_unreadable", At: now, Sentence: "The " + what + " of the OAuth client cannot be read.",
		Hint: "Check the file or the environment variable that the " + what + " of client " + c.Name + " refers to.",
	}
}

// fallBack returns the access token that we have, if it still works and time or the operator will heal err; else err.
func (m *Manager) fallBack(a Account, g *grant, rejected Secret, err error) (Secret, error) {
	var needsPerson *GrantError
	if errors.As(err, &needsPerson) || !g.good(rejected, time.Now()) {
		return Secret{}, err
	}
	m.log.Warn("the grant could not be renewed; its access token still works", "mailbox", a.Mailbox, "expiry", g.Expiry, "error", err)
	return g.access, nil
}

// busy is said when another replica has been renewing for too long.
func (m *Manager) busy(a Account, g *grant) error {
	return &UnavailableError{Wait: 5 * time.Second, Problem: Problem{
		Code: "busy", At: time.Now(), Sentence: "Another replica (" + g.By + ") is renewing the grant of mailbox " + a.Mailbox + " and does not finish.",
		Hint: "Nothing to do: it is taken over when that replica is dead, or after a minute.",
	}}
}

// changed reports whether the record is not our intent any more, or another refresh token is configured by now: then the
// refusal was an answer to a token of the past. It is the one re-read before a grant is given up.
func (m *Manager) changed(ctx context.Context, a Account, held *grant) bool {
	now, c, err := m.load(ctx, a, 0)
	return err == nil && (now.By != held.By || now.Attempt != held.Attempt || !c.isZero())
}

// left returns how long the session of that id is ours and valid.
func (m *Manager) left(id string) time.Duration {
	left := m.session.Remaining()
	if m.session.ID() != id {
		return 0
	}
	return max(left, 0)
}

// whileValid returns a context that ends when our session lapses. A session that is renewed meanwhile goes on.
func (m *Manager) whileValid(parent context.Context, id string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	// The channel hands the timer to the function that it runs, which may come first.
	own := make(chan *time.Timer, 1)
	t := time.AfterFunc(m.left(id), func() {
		t := <-own
		if left := m.left(id); left > 0 && ctx.Err() == nil {
			own <- t
			t.Reset(left)
			return
		}
		cancel(errLapsed)
	})
	own <- t
	return ctx, func() { t.Stop(); cancel(nil) }
}

var errLapsed = errors.New("this replica's session lapsed during the exchange")

// intent is the renewal of another session, and since when we see it stand.
type intent struct {
	by      string
	attempt uint64
	since   time.Time
}

// orphaned reports whether nobody works on the intent of g any more: its session is dead, or it is our own of an earlier
// flight, or it stands so long that its exchange is over and its session did not manage to save.
func (m *Manager) orphaned(mailbox string, g *grant) bool {
	if g.By == m.session.ID() || !m.session.Alive(g.By) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.intents[mailbox]
	if seen.by != g.By || seen.attempt != g.Attempt {
		seen = intent{by: g.By, attempt: g.Attempt, since: time.Now()}
		m.intents[mailbox] = seen
	}
	return time.Since(seen.since) > stuckAfter
}

func configuredToken(a Account) (Secret, error) {
	if a.RefreshToken == nil {
		return Secret{}, nil
	}
	text, err := a.RefreshToken()
	return NewSecret(text), err
}

// stamp is a time as a record holds it.
func stamp(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Millisecond) }

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
