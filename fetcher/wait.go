package fetcher

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// lagPolls is when to look again for a message that was announced, or listed, and did not come yet.
//
// QUIRK(exchange): lag. EXISTS comes before SEARCH and FETCH know the message.
var lagPolls = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, 60 * time.Second}

// Wait returns nil when it is time for another pass: because the server has announced mail, or because a look is due
// that does not rely on announcements. It idles on the first folder that can be opened, and merely sleeps if the server cannot do
// that. When the session should be renewed it returns ErrRenew. The end of ctx ends the wait and not the session, unless the server
// owes an answer for longer than byePatience.
func (s *Session) Wait(ctx context.Context) error {
	if s.dead != nil {
		return s.dead
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := s.wait(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (s *Session) wait(ctx context.Context) error {
	polite, cancel := outlast(ctx)
	defer cancel()
	switch due, err := s.due(polite); {
	case err != nil:
		return err
	case due:
		return ErrRenew
	}
	if s.behind && s.cfg.Allowance.Resumes(time.Now()).IsZero() {
		return nil
	}
	if err := s.calm(ctx); err != nil {
		return err
	}
	if s.polls() {
		return s.sleep(ctx, s.nextLook())
	}
	if news, err := s.ready(polite); news || err != nil || ctx.Err() != nil {
		return err
	}
	return s.idle(ctx, s.nextLook())
}

// outlast returns a ctx that ends byePatience after another one, so that an answer that is on its way can come.
func outlast(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(byePatience, func() { cancel(&StallError{After: byePatience}) })
	})
	return longer, func() { stop(); cancel(nil) }
}

// polls reports whether IDLE is of no use, or was a short while ago.
func (s *Session) polls() bool { return s.noIdle || time.Now().Before(s.idleAgain) }

// ready selects the folder to idle on. It returns true if that shows news.
func (s *Session) ready(ctx context.Context) (news bool, err error) {
	var shut error // the first of the folders that cannot be opened: what a pass says of it is enough if another can
	for _, f := range s.folders {
		if s.watched = f; s.selected == f {
			return false, nil
		}
		before := f.examined
		err := s.examine(ctx, f)
		var refused *FolderError
		if errors.As(err, &refused) && s.dead == nil {
			shut = cmp.Or(shut, err)
			continue
		}
		now := f.examined
		s.hasNews = before.UIDValidity != now.UIDValidity || before.UIDNext != now.UIDNext || before.NumMessages < now.NumMessages
		return s.hasNews, err
	}
	return false, shut
}

// nextLook returns how long to wait at most.
func (s *Session) nextLook() time.Duration {
	d := s.cfg.IdleRefresh - time.Duration(s.cfg.Random(int64(s.cfg.IdleRefresh)/10+1))
	if s.polls() || len(s.folders) > 1 {
		d = min(d, s.cfg.Poll)
	}
	if len(s.folders) > 1 && !s.looked.IsZero() {
		d = min(d, s.cfg.Poll-time.Since(s.looked))
	}
	if s.owing {
		d = min(d, time.Until(s.othersDue()))
	}
	if !s.until.IsZero() {
		d = min(d, time.Until(s.until))
	}
	if resumes := s.cfg.Allowance.Resumes(time.Now()); s.behind && !resumes.IsZero() {
		d = min(d, time.Until(resumes))
	}
	if len(s.repolls) > 0 {
		d = min(d, s.repolls[0]-time.Since(s.wokeAt))
		if s.repolls = s.repolls[1:]; len(s.repolls) == 0 {
			s.arrivals.forget()
		}
	}
	return max(d, 0)
}

// lookAgain asks for the looks of lagPolls, unless they are under way.
func (s *Session) lookAgain() {
	if len(s.repolls) == 0 {
		s.repolls, s.wokeAt = lagPolls, time.Now()
	}
}

// slowFor is for how long a server that said [THROTTLED] is read at half the speed.
const slowFor = 15 * time.Minute

// pace sleeps for as long as the last FETCH took, if the server asked us, politely, to slow down.
func (s *Session) pace(ctx context.Context, took time.Duration) error {
	if !s.filter.slowedWithin(slowFor) {
		return nil
	}
	return pause(ctx, min(took, time.Minute))
}

func (s *Session) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.exists:
		s.announced()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.client.Closed():
		return s.explain(ctx, "waiting", io.ErrUnexpectedEOF)
	}
	return nil
}

// A server that refuses IDLE, or ends it by itself before idleLasts, may do so only now: it is asked again after idleRests.
const (
	idleLasts = time.Minute
	idleRests = 30 * time.Minute
)

// idle runs one IDLE. QUIRK(any): silent IDLE. It is ended and begun anew well before NATs forget the connection,
// with a pass in between that does not rely on what was pushed.
func (s *Session) idle(ctx context.Context, d time.Duration) error {
	select {
	case <-s.filter.idleOver: // of an IDLE before
	default:
	}
	select {
	case <-s.exists:
		s.announced()
		return nil
	default:
	}
	var refused *ServerError
	polite, cancel := outlast(ctx)
	defer cancel()
	began := time.Now()
	err := s.do(polite, "IDLE", func() error { return s.beginIdle() })
	if errors.As(err, &refused) && s.dead == nil {
		s.idleAgain = time.Now().Add(idleRests)
		return s.sleep(ctx, min(d, s.cfg.Poll))
	}
	if err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.exists:
		s.announced()
	case <-s.filter.idleOver:
		if time.Since(began) < idleLasts {
			s.idleAgain = time.Now().Add(idleRests)
		}
		s.cfg.Log.Debug("the server ended IDLE by itself")
	case <-ctx.Done():
	case <-s.client.Closed():
	}
	return s.endIdle(ctx)
}

func (s *Session) announced() {
	s.hasNews = s.selected == s.watched // else it is of the folder that was looked at last
	s.repolls, s.wokeAt = lagPolls, time.Now()
	s.fruitless++
}

// arrived notes that new mail came. If it is not all that was announced, the looks of lagPolls go on.
func (s *Session) arrived() {
	s.fruitless = 0
	if s.arrivals.come() {
		s.repolls = nil
	}
}

// arrivals compares what EXISTS announces with what comes. The reader of the connection announces; the session does the
// rest.
type arrivals struct {
	mu    sync.Mutex
	count uint32 // messages in the open folder, as far as the server said
	owed  uint32 // so many were announced and have not come
}

// open begins with a folder of so many messages.
func (a *arrivals) open(count uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count = count
}

// announce takes in an EXISTS. One that does not raise the count may stand for a message all the same: others may have gone.
func (a *arrivals) announce(count uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rise := uint32(1)
	if count > a.count {
		rise = count - a.count
	}
	a.count, a.owed = count, min(a.owed+rise, 1<<20)
}

// come takes in a message, and reports whether all that were announced have come.
func (a *arrivals) come() (all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owed = max(a.owed, 1) - 1
	return a.owed == 0
}

// leave takes in that a message has gone.
func (a *arrivals) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count = max(a.count, 1) - 1
}

// forget gives up on what was announced and did not come.
func (a *arrivals) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owed = 0
}

// calm sleeps a moment if what the server announces, time and again, is nothing: it may say EXISTS with every answer, or
// for every message that goes.
func (s *Session) calm(ctx context.Context) error {
	if s.fruitless < 2 {
		return nil
	}
	return pause(ctx, time.Duration(min(s.fruitless-1, 5))*time.Second)
}

// pause sleeps for d, whatever is announced.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Session) beginIdle() (err error) {
	s.idling, err = s.client.Idle()
	return err
}

// endIdle sends DONE even if ctx is done, so that the connection can be left politely; then it has as long as a LOGOUT.
func (s *Session) endIdle(ctx context.Context) error {
	polite, cancel := outlast(ctx)
	defer cancel()
	grace, stop := context.WithTimeout(polite, idlePatience+byePatience)
	defer stop()
	err := s.do(grace, "IDLE", func() error {
		closeErr := s.idling.Close()
		if err := s.idling.Wait(); err != nil {
			return err
		}
		return closeErr
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
