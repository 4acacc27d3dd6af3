package state

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ReplicaConfig says who this replica is and how long it may be unheard of.
type ReplicaConfig struct {
	Name  string        // shown to people; empty: the host's name
	Lease time.Duration // 0 means DefaultLease

	// Visitor keeps a session, so that others wait for what it has begun, and takes no mailboxes.
	Visitor bool

	// Lock names a lock that this process, and no other, holds for as long as it lives: that of the directory of the
	// embedded server. Whoever had it before has ended, and nobody needs to wait for its lease. It may be empty.
	Lock string
}

// DefaultLease outlasts the election of a new leader in the NATS cluster, during which no heartbeat can be written.
const DefaultLease = 15 * time.Second

// Replica shares the mailboxes with the other replicas that use the same bucket. Its methods may be called by several
// goroutines, and do not block, but Run.
//
// It keeps a session: a record with an id that is never used again, rewritten three times per lease. The session is
// valid for two thirds of the lease after the last heartbeat that was acknowledged was sent, on the boot-time clock. The
// other replicas delete it when they have seen no heartbeat for a lease and a third while their own came back to them,
// or at once if they can prove that its process has ended: on the same machine, or by the lock that they hold now.
// Heartbeat and deletion are writes at the same revision, so one of them fails. Whatever a session owned is then free; a
// replica that leaves in order frees it itself.
//
// Replicas that do not have the same list of mailboxes, as while a new configuration reaches them one after the other, share
// them all the same; see unclaimed.
type Replica struct {
	store *Store
	log   *slog.Logger
	name  string
	lease time.Duration
	visit bool
	self  process
	since time.Time
	poke  chan struct{} // one slot: the list of mailboxes changed, or somebody asked about a session

	mu        sync.Mutex // never held across I/O
	mailboxes []string
	list      string // listSum of mailboxes
	changed   bool   // the list of mailboxes
	view      *view
	until     time.Duration   // when the session's validity ends
	asked     map[string]bool // sessions to look up
}

// NewReplica returns a replica that does nothing before Run.
func NewReplica(s *Store, c ReplicaConfig, log *slog.Logger) *Replica {
	r := &Replica{
		store: s, log: log, name: c.Name, lease: cmp.Or(c.Lease, DefaultLease), visit: c.Visitor, self: thisProcess(), since: time.Now().UTC(),
		poke: make(chan struct{}, 1), view: newView(""), asked: map[string]bool{},
	}
	r.name, r.self.Lock = cmp.Or(r.name, r.self.Host), c.Lock
	return r
}

// The times that follow from the lease: between heartbeats; from sending one to the end of the validity it gives; from
// its last change to the death of a session; between two of our own that come back, above which the silence of others
// says nothing; before the end of validity, to stop in; for one call; and between calls that fail.
func (r *Replica) interval() time.Duration { return r.lease / 3 }
func (r *Replica) validity() time.Duration { return r.lease - r.lease/3 }
func (r *Replica) silence() time.Duration  { return r.lease + r.lease/3 }
func (r *Replica) outage() time.Duration   { return r.interval() * 3 / 2 }
func (r *Replica) guard() time.Duration    { return r.lease / 15 }
func (r *Replica) timeout() time.Duration  { return min(r.interval()/2, 5*time.Second) }
func (r *Replica) pause() time.Duration    { return max(r.interval()/10, 20*time.Millisecond) }

// Run shares the mailboxes, or for nil those of SetMailboxes, until ctx ends. It calls own for each mailbox that it comes to
// own, in a goroutine of its own; ends that call's ctx when ownership ends, when it is about to become doubtful, and when ctx
// ends; and gives the mailbox away only after own has returned. Should own return by itself it is called again a heartbeat
// later. When ctx ends, Run waits for all of them, frees what it owned and returns nil. While the bucket cannot be reached it
// owns nothing and goes on trying. It may be called once at a time.
func (r *Replica) Run(ctx context.Context, mailboxes []string, own func(ctx context.Context, mailbox string)) error {
	if mailboxes != nil {
		r.SetMailboxes(mailboxes)
	}
	former := ""
	for ctx.Err() == nil {
		l := newLife(r, own)
		if former != "" {
			l.view.end(former) // nobody knows better than we do
		}
		l.run(ctx)
		former = l.id
	}
	return nil
}

// SetMailboxes replaces the list of mailboxes. Those that are no longer in it are given up.
func (r *Replica) SetMailboxes(mailboxes []string) {
	list := listSum(mailboxes)
	r.mu.Lock()
	r.mailboxes, r.list, r.changed = slices.Clone(mailboxes), list, true
	r.mu.Unlock()
	r.wake()
}

func (r *Replica) wake() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// ID returns the id of the present session, empty before the first.
func (r *Replica) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.self
}

// Valid reports whether the session is valid: nobody else may have taken what it owns.
func (r *Replica) Valid() bool { return r.Remaining() > 0 }

// Remaining returns for how long the session stays valid if no further heartbeat can be written, 0 if it is not valid.
func (r *Replica) Remaining() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, r.until-bootTime())
}

// Alive reports false only if it is certain that the session has ended. It does not block: about a session it has not
// heard of it says true and looks it up in the bucket, so ask again.
func (r *Replica) Alive(id string) bool {
	r.mu.Lock()
	gone := r.view.gone[id]
	s, known := r.view.sessions[id]
	ask := !gone && (!known || s.watch != r.view.watch)
	if ask {
		r.asked[id] = true
	}
	r.mu.Unlock()
	if ask {
		r.wake()
	}
	return !gone
}

// Owners returns the session that owns each mailbox, as far as is known here. Mailboxes that nobody owns are not in it;
// the session may have ended.
func (r *Replica) Owners() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	owners := make(map[string]string, len(r.view.owners))
	for mailbox, o := range r.view.owners {
		if o.session != "" {
			owners[mailbox] = o.session
		}
	}
	return owners
}

// Peer is a replica as another one sees it.
type Peer struct {
	ID        string // of its session
	Name      string
	Host      string
	PID       int
	Since     time.Time     // when the process began
	Silent    time.Duration // since its last heartbeat was seen
	Leaving   bool          // it is giving its mailboxes away
	Mailboxes int           // how many it owns
}

// Replicas returns the replicas that are alive as far as is known here, this one among them, sorted by name.
func (r *Replica) Replicas() []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	owned := make(map[string]int)
	for _, o := range r.view.owners {
		owned[o.session]++
	}
	now := bootTime()
	peers := make([]Peer, 0, len(r.view.sessions))
	for id, s := range r.view.sessions {
		if s.expired {
			continue
		}
		peers = append(peers, Peer{
			ID: id, Name: s.Name, Host: s.Process.Host, PID: s.Process.PID, Since: s.Since, Silent: now - s.changed,
			Leaving: s.Leaving, Mailboxes: owned[id],
		})
	}
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return peers
}
