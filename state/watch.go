package state

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// watch shows run every change of a session or an owner, in the order of the stream, until the life is over. A watch
// that shows nothing (its consumer is gone with the server that held it) is replaced when run asks for it, which is
// sooner than the client notices.
func (l *life) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.watchOnce(ctx); err != nil && ctx.Err() == nil {
			l.r.log.Debug("the watch over sessions and owners ended", "error", err, "session", l.id)
		}
		select {
		case <-l.done:
		case <-time.After(l.r.pause()):
		}
	}
}

func (l *life) watchOnce(ctx context.Context) error {
	w, end, err := l.r.store.watch(ctx, l.r.timeout(), tableSessions+".*", tableOwners+".*")
	if err != nil {
		return err
	}
	defer end()
	select {
	case <-l.rewatch: // it was meant for the watch before
	default:
	}
	l.post(func() {
		now := bootTime()
		l.view.reopened(now)
		if l.missing != 0 {
			l.missing = now
		}
	})
	for {
		select {
		case <-l.done:
			return nil
		case <-l.rewatch:
			return context.DeadlineExceeded
		case e, ok := <-w.Updates():
			if !ok {
				return context.Canceled
			}
			l.post(func() { l.seen(e) })
		}
	}
}

// seen takes in what the watch showed; nil means that it has shown all there was when it began.
func (l *life) seen(e jetstream.KeyValueEntry) {
	var c change
	if e == nil {
		l.view.complete = true
	} else {
		c = l.view.apply(e, bootTime(), l.r.outage())
	}
	switch {
	case c.ended:
		l.end()
		return
	case c.owned:
		l.reconcile(c.owner)
		return
	case c.members:
		l.stale = true
	}
	if c.echo {
		l.echoed()
	}
	if c.echo || e == nil {
		l.inspect()
	}
	l.renew()
}

// echoed takes in that one of our heartbeats came back: we have seen all that was written before it.
func (l *life) echoed() {
	if l.view.echo >= l.acked {
		l.missing = 0
	}
	sent := l.sent[l.view.echoBeat]
	for beat := range l.sent {
		if beat <= l.view.echoBeat {
			delete(l.sent, beat)
		}
	}
	if sent != 0 {
		for _, id := range l.view.silent(sent, l.r.silence()) {
			l.convict(id)
		}
	}
	l.view.forget()
	l.findLeft(bootTime())
	later := l.later
	l.later = map[string]bool{}
	for mailbox := range later {
		if w := l.workers[mailbox]; w != nil && w.phase == resting {
			delete(l.workers, mailbox)
		}
		l.reconcile(mailbox)
	}
}

// inspect looks for sessions of processes that ended on this machine, and for those that the watch before showed and
// this one does not.
func (l *life) inspect() {
	if !l.view.ready() {
		return
	}
	for id, s := range l.view.sessions {
		switch {
		case id == l.id || l.looking[id]:
		case s.watch != l.view.watch:
			l.lookUp(id)
		case l.r.self.near(s.Process):
			l.looking[id] = true
			revision, other := s.revision, s.Process
			l.do(func(ctx context.Context) func() {
				if !l.r.self.outlived(other) {
					return func() { delete(l.looking, id) }
				}
				return l.kill(ctx, id, revision, "its process has ended")
			})
		}
	}
}

// convict ends a session that was silent for too long.
func (l *life) convict(id string) {
	switch s := l.view.sessions[id]; {
	case s.expired:
		l.view.end(id)
		l.stale = true
	case !l.looking[id]:
		l.looking[id] = true
		revision := s.revision
		l.do(func(ctx context.Context) func() {
			return l.kill(ctx, id, revision, "it was silent for longer than its lease")
		})
	}
}

// kill deletes a session at the revision at which it was found dead: if it has written a heartbeat since, this fails.
func (l *life) kill(ctx context.Context, id string, revision uint64, why string) func() {
	err := l.r.store.remove(ctx, key(tableSessions, id), revision)
	return func() {
		delete(l.looking, id)
		if err == nil {
			l.say(slog.LevelInfo, "ended the session of another replica: "+why, "ended", id)
		}
	}
}

// lookUp reads a session that the watch does not show.
func (l *life) lookUp(id string) {
	if l.looking[id] || l.view.gone[id] || id == l.id {
		return
	}
	l.looking[id] = true
	l.do(func(ctx context.Context) func() {
		last, err := l.r.store.last(ctx, key(tableSessions, id))
		return func() {
			delete(l.looking, id)
			if err == nil && l.view.applyRead(id, last, bootTime()) {
				l.stale = true
				l.renew()
			}
		}
	})
}
