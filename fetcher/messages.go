package fetcher

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

// Sizes of what is asked for at once.
const (
	searchWhole  = 80_000 // up to so many messages are listed by one open SEARCH; its answer stays below maxText
	searchWindow = 50_000 // UIDs of one SEARCH otherwise
	fetchChunk   = 500    // messages of one FETCH; its command stays below maxCommand
)

// errStopped says that the consumer has left the loop.
var errStopped = errors.New("the loop over Messages was left early, which ends the session")

// Messages makes one pass over the watched folders and yields what is new after the given Positions, by folder name; a
// folder without one begins at Config.Start. First comes what is new in each folder, then what was there when it was first
// seen, with looks for new mail in between. Within a folder both come in ascending order of UID, what shows late first. A message
// at which FETCH has failed for lostAfter holds up the others no more: it comes last of all, and not in each pass.
//
// Each Message carries the Position that holds once it is dealt with; a KindMark only moves it. The first of a folder that
// was never read is a KindMark, to be kept before anything else, or mail that arrives before the next pass could be
// missed.
//
// A pass ends, with backfill left to read, after longestPass, when Config.Allowance is used up, and when the token is about
// to end; Wait knows when to go on.
//
// An error ends the pass and the Session, except for a *FolderError, which comes when the other folders are done. Leaving
// the loop early ends the Session too: what the server is sending cannot be taken back.
func (s *Session) Messages(ctx context.Context, after map[string]Position) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if s.dead != nil {
			yield(Message{}, s.dead)
			return
		}
		s.halted.Store(false)
		r := &round{s: s, longest: longestPass}
		if len(s.skipped) > 0 {
			r.longest = briefPass
		}
		for _, f := range s.folders {
			pos := after[f.name]
			r.passes = append(r.passes, &pass{
				s: s, f: f, pos: pos, told: pos.N, yield: yield, newborn: s.isNewborn(f, after), gone: slices.Contains(s.skipped, f.name),
			})
		}
		s.skipped = nil
		err := r.run(ctx)
		switch {
		case errors.Is(err, errHalted):
		case errors.Is(err, errStopped):
			s.end(err)
		case err != nil:
			s.end(err)
			yield(Message{}, err)
		case r.missing != nil:
			yield(Message{}, r.missing)
		case s.missing != nil:
			yield(Message{}, s.missing)
		}
	}
}

// round is one call of Messages: a pass over each folder.
type round struct {
	s       *Session
	passes  []*pass
	longest time.Duration
	missing *FolderError // the last of those that cannot be read
	began   time.Time    // the backfill of this pass
	looked  time.Time    // when the last look at all folders was
	watched time.Time    // and that at the one that is watched
}

func (r *round) run(ctx context.Context) error {
	if err := r.lookAtAll(ctx); err != nil {
		return err
	}
	if err := r.backfill(ctx); err != nil {
		return err
	}
	return r.readPostponed(ctx)
}

// Where folders are many, to look at all of them takes long, and costs the server as much each time. So news of the one that is
// watched do not wait for that: they are read at once, and again every watchedEvery while the others are looked at. These are not
// looked at each time that there are news, but for one part in othersShare of the time.
const (
	othersShare  = 10
	watchedEvery = 5 * time.Second
)

// lookAtAll reads what is new, in all folders or, if they were looked at just now, in the one that is watched.
func (r *round) lookAtAll(ctx context.Context) error {
	s := r.s
	began := time.Now()
	r.looked, r.watched = began, began
	s.owing = s.hasNews && time.Until(s.othersDue()) > 0
	s.hasNews = false
	for _, p := range r.passes {
		if s.owing && p.f != s.watched && !p.pos.IsZero() {
			r.missing = cmp.Or(r.missing, p.f.trouble)
			continue
		}
		if err := r.lookBetween(ctx); err != nil {
			return err
		}
		if err := r.look(ctx, p); err != nil {
			return err
		}
	}
	if s.owing {
		r.looked = s.looked
		return nil
	}
	s.looked = time.Now()
	s.lookTook = s.looked.Sub(began)
	return nil
}

// lookBetween looks at the folder that is watched, if it is time.
func (r *round) lookBetween(ctx context.Context) error {
	if time.Since(r.watched) < watchedEvery {
		return nil
	}
	r.watched = time.Now()
	i := slices.IndexFunc(r.passes, func(p *pass) bool { return p.f == r.s.watched })
	return r.look(ctx, r.passes[i])
}

// othersDue returns when the folders that are not watched may be looked at again.
func (s *Session) othersDue() time.Time { return s.looked.Add(min(othersShare*s.lookTook, s.cfg.Poll)) }

// readPostponed asks again for the messages at which FETCH fails and whose turn it is, now that all else was read: they may end the
// session.
func (r *round) readPostponed(ctx context.Context) error {
	for _, p := range r.passes {
		later := p.pos.due(time.Now())
		if p.gone || len(later) == 0 {
			continue
		}
		if r.s.halted.Load() {
			return errHalted
		}
		err := p.reopen(ctx)
		if err == nil {
			err = p.readLost(ctx, later)
		}
		if err == nil {
			err = p.mark()
		}
		if err != nil && !r.unreadable(p, err) {
			return err
		}
	}
	return nil
}

// isNewborn reports whether a folder that was never read came to be after the mailbox was first seen: another one that the
// same pattern means was read before.
func (s *Session) isNewborn(f *folder, after map[string]Position) bool {
	return f.pattern != "" && after[f.name].IsZero() && slices.ContainsFunc(s.folders, func(o *folder) bool {
		return o.pattern == f.pattern && !after[o.name].IsZero()
	})
}

// look reads what is new in one folder. A folder that cannot be read is noted: the others need not suffer.
func (r *round) look(ctx context.Context, p *pass) error {
	if p.gone {
		return nil
	}
	if r.s.halted.Load() {
		return errHalted
	}
	err := p.run(ctx)
	if r.unreadable(p, err) {
		return nil
	}
	p.f.trouble = nil
	return err
}

// unreadable notes that a folder cannot be read. One that a pattern meant may just have gone: before anybody is told, the
// server is asked for its folders again.
func (r *round) unreadable(p *pass, err error) bool {
	var e *FolderError
	if r.s.dead != nil || !errors.As(err, &e) {
		return false
	}
	p.gone = true
	if p.f.pattern == "" || p.f.doubted {
		r.missing, p.f.trouble = e, e
		return true
	}
	p.f.doubted, r.s.listed = true, time.Time{}
	return true
}
