package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// life is one session of a replica, from its first heartbeat until it leaves or finds that it was deleted.
//
// One goroutine, run, changes it, and holds the mutex of the replica meanwhile. All I/O is done by goroutines that hand
// it a function to call when they are done.
type life struct {
	r     *Replica
	id    string
	own   func(ctx context.Context, mailbox string)
	tend  func() (context.Context, context.CancelFunc) // the ctx of a mailbox: ends with the ctx of Run
	call  func() (context.Context, context.CancelFunc) // the ctx of a call: ends with the life
	done  <-chan struct{}                              // closed when the life is over
	todo  chan func()
	slots chan struct{} // bounds the owner records being written
	io    sync.WaitGroup
	view  *view
	says  []func() // what is to be logged once the mutex is free

	// The heartbeat.
	revision uint64                   // of our session's record; 0 before the first heartbeat
	beats    uint64                   // how many heartbeats were begun
	sent     map[uint64]time.Duration // when, until they come back
	lastSent time.Duration
	next     time.Duration // when the next one is due
	beating  bool          // one is under way
	acked    uint64        // revision of the last one that was acknowledged
	missing  time.Duration // since when an acknowledged one has not come back through the watch; 0 if it has
	rewatch  chan struct{} // one slot: begin a new watch
	failure  error         // of the last heartbeat
	lapsed   bool          // the session is not valid, or about to be so
	ended    bool          // the session was deleted
	leaving  bool          // the ctx of Run has ended
	leftAt   time.Duration // when the last call of own returned, while leaving

	// The mailboxes.
	mine      map[string]bool      // those that are to be ours
	stale     bool                 // mine is to be computed anew
	unclaimed map[string]unclaimed // by mailbox
	workers   map[string]*worker   // by mailbox, where something goes on
	running   int                  // calls of own
	later     map[string]bool      // look at these again after the next heartbeat
	looking   map[string]bool      // sessions that are being looked up or deleted
}

// leaveLimit bounds how long a replica that leaves goes on freeing what it owned: deleting the session frees the rest.
const leaveLimit = 750 * time.Millisecond

// ownerWrites is how many owner records may be under way at once.
const ownerWrites = 32

func newLife(r *Replica, own func(ctx context.Context, mailbox string)) *life {
	// Other libraries' unique ids share a prefix within a process; a session id must not be cut from one.
	id := rand.Text()
	return &life{
		r: r, id: id, own: own, view: newView(id), todo: make(chan func()), slots: make(chan struct{}, ownerWrites),
		sent: map[uint64]time.Duration{}, rewatch: make(chan struct{}, 1), lapsed: true,
		mine: map[string]bool{}, stale: true, workers: map[string]*worker{}, later: map[string]bool{}, looking: map[string]bool{},
	}
}

func (l *life) run(ctx context.Context) {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l.tend = func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
	l.call = func() (context.Context, context.CancelFunc) { return context.WithTimeout(base, l.r.timeout()) }
	l.done = base.Done()
	l.locked(func() {
		l.r.view, l.r.until = l.view, 0
		l.next = bootTime()
	})
	l.io.Go(func() { l.watch(base) })
	l.r.wake()
	timer := time.NewTimer(0)
	defer timer.Stop()
	stopping := ctx.Done()
	for over := false; !over; {
		var do func()
		select {
		case do = <-l.todo:
		case <-stopping:
			stopping, do = nil, l.leave
		case <-l.r.poke:
			do = l.poked
		case <-timer.C:
		}
		l.locked(func() {
			if do != nil {
				do()
			}
			if over = l.over(); !over {
				timer.Reset(l.tick() - bootTime())
			}
		})
	}
	cancel()
	l.io.Wait()
	l.locked(func() { l.r.until = 0 })
	if !l.ended {
		l.remove(context.WithoutCancel(ctx))
	}
}

// locked calls f with the mutex of the replica, and logs afterwards what f had to say.
func (l *life) locked(f func()) {
	l.r.mu.Lock()
	f()
	says := l.says
	l.says = nil
	l.r.mu.Unlock()
	for _, say := range says {
		say()
	}
}

func (l *life) say(level slog.Level, message string, args ...any) {
	args = append(args, "session", l.id)
	l.says = append(l.says, func() { l.r.log.Log(context.Background(), level, message, args...) })
}

// do does I/O in a goroutine of its own; what the work returns is called by run.
func (l *life) do(work func(ctx context.Context) func()) {
	l.io.Go(func() {
		ctx, cancel := l.call()
		defer cancel()
		l.post(work(ctx))
	})
}

// post hands run a function to call, unless the life is over.
func (l *life) post(f func()) {
	select {
	case l.todo <- f:
	case <-l.done:
	}
}

// over reports whether the life is over: nothing of ours goes on, or has any hope to end in order.
func (l *life) over() bool {
	switch {
	case l.running > 0 || !l.leaving && !l.ended:
		return false
	case l.ended:
		return true
	case l.leftAt == 0:
		l.leftAt = bootTime()
	}
	if bootTime() >= l.leftAt+leaveLimit {
		return true
	}
	if l.beating {
		return false // a first heartbeat might be stored only after remove has found nothing
	}
	for _, w := range l.workers {
		if w.phase != resting {
			return false
		}
	}
	return true
}

// tick does what is due and returns when something will be due next, on the boot-time clock.
func (l *life) tick() time.Duration {
	now := bootTime()
	wake := time.Duration(math.MaxInt64)
	if !l.lapsed {
		at := l.r.until - l.r.guard()
		if now >= at {
			l.lapse("the session is about to lapse: no heartbeat could be written in time")
		} else {
			wake = at
		}
	}
	if l.missing != 0 {
		at := l.missing + max(l.r.interval()/2, time.Second)
		if now >= at {
			l.missing = now
			select {
			case l.rewatch <- struct{}{}:
			default:
			}
		} else {
			wake = min(wake, at)
		}
	}
	if l.leaving && l.leftAt != 0 {
		wake = min(wake, l.leftAt+leaveLimit)
	}
	if l.beating || l.ended {
		return wake
	}
	due := l.next
	if at := l.view.suspect(l.r.silence()); at > l.lastSent {
		due = min(due, at) // a heartbeat sent from then on is what convicts it
	}
	if now >= due {
		l.beat(now)
		return wake
	}
	return min(wake, due)
}

// beat sends a heartbeat.
func (l *life) beat(now time.Duration) {
	l.beating = true
	l.beats++
	beat, revision, leaving, list := l.beats, l.revision, l.leaving, l.r.list
	l.sent[beat], l.lastSent = now, now
	value, err := json.Marshal(session{
		Name: l.r.name, Since: l.r.since, Process: l.r.self, Leaving: leaving || l.r.visit, List: list, Beat: beat,
	})
	if err != nil {
		panic(err) // there is nothing in it that could fail
	}
	// The time to live only clears away what nobody is left to delete.
	ttl := nats.Header{jetstream.MsgTTLHeader: {max(10*l.r.lease, time.Second).Round(time.Second).String()}}
	l.do(func(ctx context.Context) func() {
		k := key(tableSessions, l.id)
		stored, err := l.r.store.write(ctx, k, value, revision, ttl)
		if !errors.Is(err, fs.ErrExist) {
			return func() { l.beaten(now, l.leaving != leaving || l.r.list != list, stored, err) }
		}
		last, readErr := l.r.store.last(ctx, k)
		return func() { l.refused(last, readErr) }
	})
}

// beaten takes in the answer to the heartbeat that was sent at the time given; outdated: what it said has changed since.
func (l *life) beaten(sent time.Duration, outdated bool, revision uint64, err error) {
	l.beating = false
	now := bootTime()
	if err != nil {
		level := slog.LevelDebug
		if l.lapsed && l.failure == nil {
			level = slog.LevelWarn // it will not be said by lapse
		}
		l.failure = err
		l.say(level, "no heartbeat could be written", "error", err)
		l.next = now + l.r.pause()
		return
	}
	l.revision, l.acked, l.failure = revision, revision, nil
	l.next = sent + l.r.interval()
	if outdated {
		l.next = now // the others are to know
	}
	if l.missing == 0 && l.view.echo < revision {
		l.missing = now
	}
	if l.ended {
		return
	}
	l.r.until = sent + l.r.validity()
	if l.lapsed && now < l.r.until-l.r.guard() {
		l.lapsed = false
		l.say(slog.LevelInfo, "the session is valid")
		l.reconcileAll()
	}
}

// refused takes in that a heartbeat was refused because the record is not what we thought. An earlier one may have been
// stored though its answer was lost; or another write was just under way; or the session was deleted.
func (l *life) refused(last record, err error) {
	l.beating = false
	l.next = bootTime()
	switch {
	case err != nil:
		l.next += l.r.pause()
	case last.revision == l.revision:
		l.next += 5 * time.Millisecond // nothing has changed; 0: there still is no record
	case last.revision == 0 || last.state != stored:
		l.end()
	default:
		l.revision = last.revision // ours: nobody else writes it. It extends nothing, the next one does.
	}
}

// end takes in that our session was deleted: all that it owned may belong to others now.
func (l *life) end() {
	if l.ended {
		return
	}
	l.ended = true
	l.r.until = 0
	l.lapse("the session was ended by another replica; beginning a new one")
}

// lapse stops everything before the session's validity ends. The mailboxes stay ours until somebody takes them.
func (l *life) lapse(why string) {
	l.say(slog.LevelWarn, why, "error", l.failure)
	l.lapsed = true
	for _, w := range l.workers {
		w.stop()
	}
}

// leave begins to give everything away.
func (l *life) leave() {
	l.leaving = true
	l.next = bootTime() // tell the others
	l.reconcileAll()
}

// poked looks at what SetMailboxes and Alive left for us.
func (l *life) poked() {
	if l.r.changed {
		l.stale, l.r.changed = true, false
		l.next = bootTime() // tell the others
	}
	for id := range l.r.asked {
		l.lookUp(id)
	}
	clear(l.r.asked)
	l.renew()
}

// remove deletes our session, which frees all that it still owns.
func (l *life) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	k := key(tableSessions, l.id)
	for range 3 {
		last, err := l.r.store.last(ctx, k)
		if err == nil && (last.revision == 0 || last.state != stored) {
			return
		}
		if err == nil {
			err = l.r.store.remove(ctx, k, last.revision)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrExist) {
			l.r.log.Warn("the session could not be deleted; the others will find out by its lease", "error", err, "session", l.id)
			return
		}
	}
}
