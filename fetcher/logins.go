package fetcher

import (
	"context"
	"net"
	"sync"
	"time"
)

// Logins bounds how often the Sessions that share it log in: at one server, so that a thousand mailboxes which all reconnect
// at once do not come as a storm, and with one account, since providers throttle who comes and goes. A slow server holds up
// nobody but its own mailboxes.
type Logins struct {
	gap   time.Duration // at one server
	share func() int
	apart time.Duration // with one account; 0: unbounded

	entry   string     // see Entry
	entries func() int // may be nil

	mu   *sync.Mutex
	next map[string]time.Time // by host: when its next turn is; by account and by entry: when the logins so far would be over, had they been apart
}

// NewLogins returns Logins that let so many through in a second, and at once as many as a second has.
func NewLogins(perSecond float64) *Logins {
	return &Logins{gap: time.Duration(float64(time.Second) / perSecond), mu: &sync.Mutex{}, next: make(map[string]time.Time)}
}

// Among has l let through only its share: the rate divided by how many processes share it at the moment, as replicas tells.
// Each of them counts for itself, so that no login ever waits for a word from another.
func (l *Logins) Among(replicas func() int) *Logins {
	l.share = replicas
	return l
}

// inHaste is how many logins of one account may follow each other at once: a short trouble of the network takes some.
const inHaste = 5

// Apart has l keep an account's logins so far apart, once inHaste of them have come in short order. An account is a user at a
// server; only what was sent to it counts, and only what this process sent: see Entry.
func (l *Logins) Apart(gap time.Duration) *Logins {
	l.apart = gap
	return l
}

// Entry returns l for one of the entries that log in with the same account; entries tells how many there are. While
// several processes share the mailboxes (Among), each entry has its part of what Apart lets through and no more, so that the
// account gets no more wherever its entries are read.
func (l *Logins) Entry(id string, entries func() int) *Logins {
	e := *l
	e.entry, e.entries = id, entries
	return &e
}

// parts returns how many parts an account's logins are shared out in.
func (l *Logins) parts() int {
	if l.entries == nil || l.share == nil || l.share() < 2 {
		return 1
	}
	return max(1, l.entries())
}

// wait returns when it is the caller's turn to log in at a server with an account.
func (l *Logins) wait(ctx context.Context, addr, user string) error {
	if l == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Until(l.mayLogIn(host, user))); err != nil {
		return err
	}
	return pause(ctx, time.Until(l.turn(host, time.Now())))
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

// mayLogIn returns when an account may log in. It takes no turn: a server that cannot be reached has nothing to count.
func (l *Logins) mayLogIn(host, user string) time.Time {
	n := l.parts()
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next[host+" "+user].Add(-(inHaste - 1) * l.apart)
	if n > 1 {
		gap := l.apart * time.Duration(n)
		if own := l.next[host+" "+user+" "+l.entry].Add(-gap * time.Duration(max(1, inHaste/n)-1)); own.After(at) {
			return own
		}
	}
	return at
}

// sent notes that an account's credentials go to a server now.
func (l *Logins) sent(addr, user string) {
	if l == nil || l.apart == 0 {
		return
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return
	}
	n := l.parts()
	l.mu.Lock()
	defer l.mu.Unlock()
	note := func(key string, gap time.Duration) {
		at := l.next[key]
		if now := time.Now(); at.Before(now) {
			at = now
		}
		l.next[key] = at.Add(gap)
	}
	note(host+" "+user, l.apart)
	if n > 1 {
		note(host+" "+user+" "+l.entry, l.apart*time.Duration(n))
	}
}
