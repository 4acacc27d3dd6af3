package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/mailbox"
)

// fleet is what a configuration becomes: its mailboxes, their ids, and who carries them. When the configuration is read anew
// another one takes its place.
type fleet struct {
	config  *configs.Config
	ids     []string
	at      map[string]int // where the mailbox of an id is
	workers []*mailbox.Worker
}

// muster makes the fleet of a configuration. A mailbox for which nothing has changed keeps the worker that it has in old.
func (s *service) muster(ctx context.Context, c *core, config *configs.Config, old *fleet) (*fleet, error) {
	ids, err := identify(ctx, c.store, config)
	if err != nil {
		return nil, err
	}
	f := &fleet{config: config, ids: ids, at: make(map[string]int, len(ids)), workers: make([]*mailbox.Worker, len(ids))}
	for i, m := range config.Mailboxes {
		f.at[ids[i]] = i
		if j := old.find(ids[i]); j >= 0 && config.SameMailbox(m, old.config, old.config.Mailboxes[j]) {
			f.workers[i] = old.workers[j]
			continue
		}
		if f.workers[i], err = s.worker(c, config, m, ids[i]); err != nil {
			return nil, fmt.Errorf("mailbox %s: %w", m.Name, err)
		}
	}
	return f, nil
}

// find returns where the mailbox of an id is, or -1.
func (f *fleet) find(id string) int {
	if f == nil {
		return -1
	}
	if i, ok := f.at[id]; ok {
		return i
	}
	return -1
}

// entries returns how many mailboxes log in with the account of m.
func (f *fleet) entries(m configs.Mailbox) (n int) {
	for i := range f.config.Mailboxes {
		if other := &f.config.Mailboxes[i]; other.Host == m.Host && strings.EqualFold(other.User, m.User) {
			n++
		}
	}
	return n
}
