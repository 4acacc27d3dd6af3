package fetcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
)

// How backfill is read: in slices of about so long, with looks for new mail in between that are no more frequent than
// lookEvery unless mail is announced, and in passes that let others know, once a minute, that all is well.
const (
	sliceTime   = time.Second
	lookEvery   = time.Second
	longestPass = time.Minute
	briefPass   = 2 * time.Second // if a folder is left out
)

// slice is how many bytes of backfill are asked for at once. It follows the speed of the server, and of the stream, so that
// new mail never waits long behind old.
type slice int64

const (
	smallestSlice slice = 256 << 10
	largestSlice  slice = 16 << 20
)

// leastSize is what the smallest message counts: it takes its time in other places than on the wire.
const leastSize = 4 << 10

// cut returns how many of the messages make a slice of at most so many bytes: at least one.
func (s *slice) cut(uids []uint32, sizes map[uint32]int64, most int64) int {
	left := min(int64(max(*s, smallestSlice)), most)
	for i, uid := range uids {
		if left -= max(sizes[uid], leastSize); left < 0 {
			return max(1, i)
		}
	}
	return len(uids)
}

// took adapts the slice to how long the last one took.
func (s *slice) took(d time.Duration) {
	switch {
	case d > 2*sliceTime:
		*s = max(*s/2, smallestSlice)
	case d < sliceTime:
		*s = min(max(*s, smallestSlice)*2, largestSlice)
	}
}

// errEnough says that the backfill of this pass ends before its end.
var errEnough = errors.New("enough backfill for now")

// backfill reads what was there when the folders were first seen, folder by folder.
func (r *round) backfill(ctx context.Context) error {
	r.began, r.s.behind = time.Now(), false
	for _, p := range r.passes {
		if p.gone || !p.pos.Behind() {
			continue
		}
		if !r.goesOn() {
			r.s.behind = true
			return nil
		}
		if err := r.fill(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// fill reads the backfill of one folder.
func (r *round) fill(ctx context.Context, p *pass) error {
	err := p.reopen(ctx)
	if err == nil {
		w := window{p.pos.Low + 1, p.pos.Next - 1, p.pos.wanted()}
		if w.from <= w.to {
			err = p.readRange(ctx, w, func(ctx context.Context) error { return r.between(ctx, p) })
		}
	}
	switch {
	case errors.Is(err, errEnough):
		r.s.behind = r.s.behind || !p.gone
		return p.mark()
	case r.unreadable(p, err):
		return nil
	case err != nil:
		return err
	}
	if p.pos.Behind() {
		if err := p.doubtNothing(ctx); err != nil {
			return err
		}
		p.pos.join()
	}
	return p.mark()
}

// doubtNothing returns an error if the backfill was found to be nothing although the folder has messages, and SEARCH does not find even
// the last of them: then it is not at its end.
func (p *pass) doubtNothing(ctx context.Context) error {
	many := p.f.examined.NumMessages
	if many == 0 || p.pos.base() != (span{}) || !p.pos.wanted().IsZero() {
		return nil
	}
	uids, err := p.search(ctx, imap.UIDSet{{}}, time.Time{}) // *
	if err == nil && len(uids) == 0 {
		err = &ServerError{Command: "SEARCH", Text: fmt.Sprintf("it lists none of the folder's %d messages", many)}
	}
	return err
}

// goesOn reports whether there is time, and Config.Allowance, for more backfill.
func (r *round) goesOn() bool {
	return time.Since(r.began) < r.longest && !r.s.ending() && r.s.cfg.Allowance.Resumes(time.Now()).IsZero()
}

// between looks for new mail between two slices of a folder's backfill.
func (r *round) between(ctx context.Context, p *pass) error {
	validity := p.pos.UIDValidity
	if err := r.lookAround(ctx, p); err != nil {
		return err
	}
	switch {
	case r.s.halted.Load():
		return errHalted
	case p.gone || p.pos.UIDValidity != validity || p.pos.Behind() && !r.goesOn():
		return errEnough
	}
	if r.s.selected == p.f {
		return nil
	}
	return p.reopen(ctx)
}

// reopen opens the folder to go on with UIDs that are known of. It returns an error if they mean nothing any more, since UIDVALIDITY
// has changed: the next session begins with the new ones, and not at once with a server that says another at each time.
func (p *pass) reopen(ctx context.Context) error {
	err := p.s.examine(ctx, p.f)
	if is := p.f.examined.UIDValidity; err == nil && is != 0 && is != p.pos.UIDValidity {
		err = &ServerError{Text: "UIDVALIDITY changed while the folder was read"}
	}
	return err
}

// lookAround looks, if it is time, for what is new in the folder whose backfill is being read and in the one that is watched;
// and in all of them as often as Wait would have.
func (r *round) lookAround(ctx context.Context, p *pass) error {
	if len(r.s.exists) == 0 && time.Since(r.watched) < lookEvery {
		return nil
	}
	all := time.Since(r.looked) >= r.s.cfg.Poll
	if r.watched = time.Now(); all {
		r.looked = r.watched
	}
	for _, q := range r.passes {
		if !all && q != p && q.f != r.s.watched {
			continue
		}
		if err := r.lookBetween(ctx); err != nil {
			return err
		}
		if err := r.look(ctx, q); err != nil {
			return err
		}
	}
	return nil
}
