package main

import (
	"context"
	"slices"
	"time"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// watchGrants has a mailbox tried at once when somebody has connected it, here, on another replica or by a command, ends its
// session when somebody has given its grant up, and keeps what the metrics say of its grant in step. It ends with ctx.
func (c *core) watchGrants(ctx context.Context) {
	taken := make(map[string]time.Time)
	_ = mailbox.Retry(ctx, c.foresight.service.log, "watch the grants", func(ctx context.Context) error { // it ends with ctx alone
		return c.store.WatchGrants(ctx, func(id string) {
			f := c.fleet.Load()
			i := f.find(id)
			if i < 0 || f.workers[i].Status().State == mailbox.StateElsewhere {
				return
			}
			s, err := c.tokens.Status(ctx, id)
			if err != nil {
				return // whoever needs the grant says it
			}
			if account, ok := f.config.Account(f.config.Mailboxes[i], id); ok {
				s.Warnings = account.Forecast(s, time.Now())
			}
			c.foresight.heard(s)
			if s.Problem != nil && s.Problem.Code == token.CodeRevoked && f.workers[i].Status().State != mailbox.StateParked {
				c.group.Restart(id)
			}
			// A renewal is no news to a worker that waits: it may be its own, and be refused again.
			if s.State != token.NeedsPerson && !s.ConnectedAt.Equal(taken[id]) {
				taken[id] = s.ConnectedAt
				f.workers[i].Wake()
			}
		})
	})
}

// heard takes over how a grant stands.
func (f *foresight) heard(s token.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grants.List, f.news = with(f.grants.List, s), with(f.news, s)
}

// with returns a list in which s is what is known of its mailbox.
func with(list []token.Status, s token.Status) []token.Status {
	list = slices.Clone(list)
	at := slices.IndexFunc(list, func(o token.Status) bool { return o.Mailbox == s.Mailbox })
	if at < 0 {
		return append(list, s)
	}
	list[at] = s
	return list
}
