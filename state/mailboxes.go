package state

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/mailflume/mailflume/internal/crash"
)

// worker is what goes on for one mailbox.
type worker struct {
	phase  phase
	cancel context.CancelFunc // while running
}

type phase int

const (
	writing phase = iota // its owner record is being written
	running              // own was called
	ending               // and its ctx was ended
	resting              // something went wrong; look again after the next heartbeat
)

// stop ends the ctx of own, if it runs.
func (w *worker) stop() {
	if w.phase == running {
		w.cancel()
		w.phase = ending
	}
}

// renew computes which mailboxes are to be ours, if that may have changed and can be known.
func (l *life) renew() {
	if !l.stale || !l.view.ready() {
		return
	}
	l.stale = false
	live := l.view.live()
	peers, before := l.peers(live), l.unclaimed
	l.unclaimed = map[string]unclaimed{}
	clear(l.mine)
	for _, mailbox := range l.r.mailboxes {
		if l.carrier(mailbox, live, peers, before[mailbox]) == l.id {
			l.mine[mailbox] = true
		}
	}
	l.reconcileAll()
}

// reconcileAll reconciles every mailbox that is ours or is to be.
func (l *life) reconcileAll() {
	for mailbox := range l.mine {
		l.reconcile(mailbox)
	}
	for mailbox, o := range l.view.owners {
		if o.session == l.id {
			l.reconcile(mailbox)
		}
	}
}

// reconcile takes the next step for a mailbox, unless one is being taken.
func (l *life) reconcile(mailbox string) {
	o := l.view.owners[mailbox]
	want := l.mine[mailbox] && !l.leaving && !l.ended
	switch w := l.workers[mailbox]; {
	case w != nil && !want:
		w.stop()
	case w != nil, l.ended:
	case o.session == l.id && !want:
		l.write(mailbox, o, owner{})
	case !want || l.lapsed:
	case o.session == l.id:
		l.start(mailbox)
	default:
		l.take(mailbox, o)
	}
}

// take takes a mailbox if it is free.
func (l *life) take(mailbox string, o seenOwner) {
	free, unknown := l.view.free(o)
	if free {
		l.write(mailbox, o, owner{Session: l.id})
		return
	}
	l.later[mailbox] = true
	switch {
	case unknown != "":
		l.lookUp(unknown)
	case l.view.gone[o.session]:
		l.next = bootTime() // only the heartbeat that proves that the view reaches beyond the record is missing
	}
}

// write writes the owner record of a mailbox, and goes on with it.
func (l *life) write(mailbox string, old seenOwner, o owner) {
	w := &worker{phase: writing}
	l.workers[mailbox] = w
	value, err := json.Marshal(o)
	if err != nil {
		panic(err) // there is nothing in it that could fail
	}
	l.io.Go(func() {
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
		case <-l.done:
			return
		}
		ctx, cancel := l.call()
		defer cancel()
		revision, err := l.r.store.set(ctx, key(tableOwners, mailbox), value, old.revision)
		l.post(func() {
			if err == nil {
				l.view.applyOwner(mailbox, seenOwner{session: o.Session, revision: revision})
			}
			moved := l.view.owners[mailbox].revision > old.revision
			if err == nil || errors.Is(err, fs.ErrExist) && moved {
				delete(l.workers, mailbox)
				l.reconcile(mailbox)
				return
			}
			l.say(slog.LevelDebug, "the owner of a mailbox could not be written", "mailbox", mailbox, "error", err)
			l.rest(mailbox, w)
		})
	})
}

// rest leaves a mailbox alone until the next heartbeat.
func (l *life) rest(mailbox string, w *worker) {
	w.phase = resting
	l.later[mailbox] = true
}

// start calls own for a mailbox that is ours.
func (l *life) start(mailbox string) {
	ctx, cancel := l.tend()
	w := &worker{phase: running, cancel: cancel}
	l.workers[mailbox] = w
	l.running++
	go func() {
		crash.At("lease.acquired")
		l.own(ctx, mailbox)
		cancel()
		l.post(func() { // never lost: the life goes on while anything runs
			l.running--
			if w.phase == running && !l.leaving {
				l.rest(mailbox, w)
				return
			}
			delete(l.workers, mailbox)
			l.reconcile(mailbox)
		})
	}()
}
