package mailbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Owner decides which mailboxes this replica may carry; *state.Replica is one. Run calls own for each mailbox that it comes
// to own, in a goroutine of its own, ends that call's ctx when ownership ends, and gives the mailbox away only after own
// has returned. It returns when ctx ends. SetMailboxes says which mailboxes there are, before Run (which is given nil then) and at
// any time.
type Owner interface {
	Run(ctx context.Context, mailboxes []string, own func(ctx context.Context, mailbox string)) error
	SetMailboxes(mailboxes []string)
}

// Group is the set of workers of this process, one for each mailbox of the configuration. Its methods may be called from
// several goroutines.
type Group struct {
	mu    sync.Mutex // never held across I/O
	posts map[string]*post
	ids   []string
	owner Owner // nil before Run
}

// post is a mailbox's place for a worker.
type post struct {
	worker  *Worker
	relieve chan struct{} // closed when the worker is to stop, because another takes its place or none does
}

// NewGroup returns a group of the given workers.
func NewGroup(workers ...*Worker) *Group {
	g := &Group{posts: make(map[string]*post, len(workers))}
	g.Change(workers)
	return g
}

// Change replaces the workers. One that was there before goes on undisturbed; one that is not among the new ones stops, and
// only then does another begin with its mailbox.
func (g *Group) Change(workers []*Worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	posts := make(map[string]*post, len(workers))
	g.ids = make([]string, 0, len(workers))
	for _, w := range workers {
		id := w.c.Mailbox.ID
		g.ids = append(g.ids, id)
		posts[id] = g.posts[id]
		if posts[id] == nil || posts[id].worker != w {
			posts[id] = &post{worker: w, relieve: make(chan struct{})}
		}
	}
	for id, p := range g.posts {
		if posts[id] != p {
			close(p.relieve)
		}
	}
	g.posts = posts
	if g.owner != nil {
		g.owner.SetMailboxes(slices.Clone(g.ids))
	}
}

// Restart ends the session that a mailbox has, in order, and has its worker begin anew: what it logged in with must not be used
// any more.
func (g *Group) Restart(mailbox string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.posts[mailbox]; p != nil {
		g.posts[mailbox] = &post{worker: p.worker, relieve: make(chan struct{})}
		close(p.relieve)
	}
}

// Run runs the worker of each mailbox for as long as this replica owns it, until ctx ends.
func (g *Group) Run(ctx context.Context, owner Owner) error {
	g.mu.Lock()
	g.owner = owner
	owner.SetMailboxes(slices.Clone(g.ids))
	g.mu.Unlock()
	return owner.Run(ctx, nil, g.carry)
}

// carry runs the worker of a mailbox, and the one that takes its place, until ctx ends.
func (g *Group) carry(ctx context.Context, mailbox string) {
	for ctx.Err() == nil {
		g.mu.Lock()
		p := g.posts[mailbox]
		g.mu.Unlock()
		if p == nil {
			return // it is no longer in the list; the owner is about to learn of it
		}
		working, stop := context.WithCancel(ctx)
		unwatch := make(chan struct{})
		go func() {
			select {
			case <-p.relieve:
				stop()
			case <-unwatch:
			}
		}()
		p.worker.Run(working)
		close(unwatch)
		stop()
		select {
		case <-p.relieve:
		default:
			return
		}
	}
}

// Statuses returns what the workers are doing, in the order of the configuration.
func (g *Group) Statuses() []Status {
	g.mu.Lock()
	workers := make([]*Worker, 0, len(g.ids))
	for _, id := range g.ids {
		workers = append(workers, g.posts[id].worker)
	}
	g.mu.Unlock()
	statuses := make([]Status, 0, len(workers))
	for _, w := range workers {
		statuses = append(statuses, w.Status())
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
