package fetcher

import (
	"context"
	"errors"
	"time"
)

// ErrRenew says that a new Session should take the place of this one, which is as good as ever for a while: its token is about
// to end, or the folders that the configuration means have become others. It is no failure.
var ErrRenew = errors.New("the session should be renewed")

// ender is what a TokenSource may be too: it tells when what it gave last ends, zero if it does not know.
type ender interface {
	Ends(ctx context.Context) time.Time
}

// How long before the end of its token a Session should be renewed, how often it says so, and how much longer than that a
// token must last for it to be worth a login.
const (
	renewBefore = 2 * time.Minute
	renewAgain  = 30 * time.Second
	renewWorth  = 3 * time.Minute
)

// plan notes when the session should be renewed, with jitter, as many may have begun together.
//
// QUIRK(gmail,exchange): expired. A session ends with its access token; a new one that is there before is a pause less.
func (s *Session) plan(ctx context.Context, t TokenSource) {
	e, ok := t.(ender)
	if !ok || s.cfg.Auth == Password {
		return
	}
	ends := e.Ends(ctx)
	if time.Until(ends) > renewBefore+renewWorth {
		s.until = ends.Add(-renewBefore + time.Duration(s.cfg.Random(int64(renewBefore/4))))
	}
}

// ending reports whether the session's token is about to end.
func (s *Session) ending() bool { return !s.until.IsZero() && !time.Now().Before(s.until) }

// due reports whether the session should be renewed now. Where that fails it is asked for again, until the server ends it.
func (s *Session) due(ctx context.Context) (bool, error) {
	if s.ending() {
		s.until = time.Now().Add(renewAgain)
		return true, nil
	}
	return s.relist(ctx)
}
