package main

import (
	"context"
	"sync"
	"time"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

const (
	lookFirst = 30 * time.Second // when the mailboxes are shared out
	lookEvery = 5 * time.Minute
	sayEvery  = 24 * time.Hour // what will stop before long, while it is so
)

// foresight looks after the grants of the mailboxes that this replica carries, and says ahead of time which will end: log,
// event, metrics. It asks the store only.
type foresight struct {
	service *service
	core    *core
	said    map[string]time.Time

	mu     sync.Mutex // guards what the metrics show
	grants web.Grants
	news   []token.Status // heard while look is looking: newer than what it has seen
}

// run looks now and then, until ctx ends.
func (f *foresight) run(ctx context.Context, tokens *token.Manager) {
	next := time.NewTimer(lookFirst)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			f.look(ctx, tokens, time.Now())
			next.Reset(lookEvery)
		}
	}
}

func (f *foresight) look(ctx context.Context, tokens *token.Manager, now time.Time) {
	f.mu.Lock()
	f.news = nil
	f.mu.Unlock()
	grants := web.Grants{SecretEnds: map[string]time.Time{}}
	fleet := f.core.fleet.Load()
	for i, m := range fleet.config.Mailboxes {
		account, ok := fleet.config.Account(m, fleet.ids[i])
		if !ok || ctx.Err() != nil {
			continue
		}
		if ends := account.Client.Ends(); !ends.IsZero() {
			grants.SecretEnds[account.Client.Name] = ends
		}
		if fleet.workers[i].Status().State == mailbox.StateElsewhere {
			continue
		}
		s, err := tokens.Status(ctx, fleet.ids[i])
		if err != nil {
			continue // whoever needs the grant says it
		}
		s.Warnings = account.Forecast(s, now)
		grants.List = append(grants.List, s)
		for _, w := range s.Warnings {
			f.warn(ctx, fleet.workers[i], account, w, now)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.news {
		grants.List = with(grants.List, s)
	}
	f.grants = grants
}

// warn says a warning once a day: that of a client for one of its mailboxes, not for each. Of what will stop there is an event,
// too.
func (f *foresight) warn(ctx context.Context, worker *mailbox.Worker, a token.Account, p token.Problem, now time.Time) {
	key := p.Code + " mailbox " + a.Mailbox
	if p.Code == "secret_expires" {
		key = p.Code + " client " + a.Client.Name
	}
	if at, ok := f.said[key]; ok && now.Sub(at) < sayEvery {
		return
	}
	f.said[key] = now
	if !p.Ahead() {
		f.service.log.Warn("the configured refresh token is not the one that is used", "mailbox", a.Mailbox, "client", a.Client.Name, "code", p.Code, "what", p.Sentence, "hint", p.Hint)
		return
	}
	f.service.log.Warn("this will stop before long", "mailbox", a.Mailbox, "client", a.Client.Name, "code", p.Code, "what", p.Sentence, "hint", p.Hint)
	worker.Expiring(ctx, p.Sentence, p.Hint)
}

func (f *foresight) shown() web.Grants {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grants
}

// warnings returns what the grants of this replica's mailboxes warn of, by mailbox.
func (f *foresight) warnings() map[string][]warning {
	of := make(map[string][]warning)
	for _, s := range f.shown().List {
		for _, p := range s.Warnings {
			of[s.Mailbox] = append(of[s.Mailbox], warning{Label: label(p), Sentence: p.Sentence, Hint: p.Hint})
		}
	}
	return of
}
