package fetcher

import (
	"context"
	"net"
	"sync"
	"time"
)

// Logins bounds how often the Sessions that share it log in at one server, so that a thousand mailboxes which all
// reconnect at once do not come as a storm. A slow server holds up nobody but its own mailboxes.
type Logins struct {
	gap   time.Duration
	share func() int

	mu   sync.Mutex
	next map[string]time.Time // by host: when its next turn is
}

// NewLogins returns Logins that let so many through in a second, and at once as many as a second has.
func NewLogins(perSecond float64) *Logins {
	return &Logins{gap: time.Duration(float64(time.Second) / perSecond), next: make(map[string]time.Time)}
}

// Among has l let through only its share: the rate divided by how many processes share it at the moment, as replicas tells.
// Each of them counts for itself, so that no login ever waits for a word from another.
func (l *Logins) Among(replicas func() int) *Logins {
	l.share = replicas
	return l
}

// wait returns when it is the caller's turn at a server.
func (l *Logins) wait(ctx context.Context, addr string) error {
	if l == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(l.turn(host, time.Now())))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// turn takes the next turn at a host. Unused turns are good for one second.
func (l *Logins) turn(host string, now time.Time) time.Time {
	gap := l.gap
	if l.share != nil {
		gap *= time.Duration(max(1, l.share()))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next[host]
	if earliest := now.Add(min(0, gap-time.Second)); at.Before(earliest) {
		at = earliest
	}
	l.next[host] = at.Add(gap)
	return at
}
