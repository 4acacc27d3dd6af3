package token

import (
	"context"
	"net/http"
	"time"
)

const (
	askAgain   = 45 * time.Second // how soon it is worth asking whether an endpoint is back
	probeEvery = 10 * time.Second // how often this process looks, whatever asks
	probeLimit = 5 * time.Second
)

// outage is a token endpoint that does not answer, or did not.
type outage struct {
	down   bool
	looked time.Time
	back   time.Time // when it was first seen to answer again
}

// failedAt is when an exchange of this process failed because the endpoint did not answer.
type failedAt struct {
	host string
	at   time.Time
}

// struck notes how an exchange ended: whether the endpoint was away, which is worth looking after, or refused it.
func (m *Manager) struck(a Account, failed *verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if failed == nil || !failed.away {
		delete(m.failed, a.Mailbox)
		return
	}
	now, host := time.Now(), a.Client.host()
	m.failed[a.Mailbox] = failedAt{host: host, at: now}
	o := m.outages[host]
	if o == nil {
		o = &outage{}
		m.outages[host] = o
	}
	if failed.noAnswer {
		o.down, o.looked = true, now
	}
}

// isBack reports whether the endpoint has come back since the mailbox's last exchange failed, and whether that is worth
// asking again. It looks by a request without content, so that an hour of outage costs the endpoint one exchange for each
// wait of the backoff, and its end is seen all the same.
func (m *Manager) isBack(ctx context.Context, a Account) (back, known bool) {
	m.mu.Lock()
	f, known := m.failed[a.Mailbox]
	if !known || f.host != a.Client.host() {
		m.mu.Unlock()
		return false, false
	}
	o := m.outages[f.host]
	look := time.Since(o.looked) >= probeEvery
	if look {
		o.looked = time.Now() // the others go by what this one finds
	}
	m.mu.Unlock()
	answers := look && m.answers(ctx, a.Client.TokenURL)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !look:
	case answers && o.down:
		o.down, o.back = false, time.Now()
	case !answers:
		o.down = true
	}
	return o.back.After(f.at), true
}

// answers reports whether anything but a failure comes from the endpoint.
func (m *Manager) answers(ctx context.Context, endpoint string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint, nil)
	if err != nil {
		return false
	}
	resp, err := m.http.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close() //nolint:errcheck // of a HEAD
	return resp.StatusCode < http.StatusInternalServerError
}
