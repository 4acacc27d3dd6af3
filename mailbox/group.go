package mailbox

import (
	"context"
	"fmt"
)

// Owner decides which mailboxes this replica may carry; *state.Replica is one. Run calls own for each mailbox that it comes
// to own, in a goroutine of its own, ends that call's ctx when ownership ends, and gives the mailbox away only after own
// has returned. It returns when ctx ends.
type Owner interface {
	Run(ctx context.Context, mailboxes []string, own func(ctx context.Context, mailbox string)) error
}

// Group is the set of workers of this process, one for each mailbox of the configuration.
type Group struct {
	workers map[string]*Worker
	ids     []string
}

// NewGroup returns a group of the given workers.
func NewGroup(workers ...*Worker) *Group {
	g := &Group{workers: make(map[string]*Worker, len(workers))}
	for _, w := range workers {
		g.workers[w.c.Mailbox.ID] = w
		g.ids = append(g.ids, w.c.Mailbox.ID)
	}
	return g
}

// Run runs the worker of each mailbox for as long as this replica owns it, until ctx ends.
func (g *Group) Run(ctx context.Context, owner Owner) error {
	return owner.Run(ctx, g.ids, func(ctx context.Context, mailbox string) {
		g.workers[mailbox].Run(ctx)
	})
}

// Statuses returns what the workers are doing, in the order of the configuration.
func (g *Group) Statuses() []Status {
	statuses := make([]Status, 0, len(g.ids))
	for _, id := range g.ids {
		statuses = append(statuses, g.workers[id].Status())
	}
	return statuses
}

// Unready returns what whoever runs this program must mend before all mailboxes can be read, or nil. What only the owner
// of a mailbox can mend is no reason.
func (g *Group) Unready() error {
	for _, s := range g.Statuses() {
		if s.Who == Operator {
			return fmt.Errorf("mailbox %s: %s", s.Mailbox.Name, s.Sentence)
		}
	}
	return nil
}
