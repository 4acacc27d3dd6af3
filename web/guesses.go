package web

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	wrongAllowed = 5 // wrong links and answers that one address may bring in a minute
	wrongWithin  = time.Minute
	wrongKept    = 4096 // addresses; beyond that all of them begin anew
)

// guesses counts the links and answers that were wrong, by address. They cannot be guessed, but looking at each costs something.
type guesses struct {
	mu    sync.Mutex
	until time.Time      // of the present minute
	wrong map[string]int // in it
}

// note counts a wrong guess.
func (g *guesses) note(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); !now.Before(g.until) || len(g.wrong) >= wrongKept {
		g.until, g.wrong = now.Add(wrongWithin), map[string]int{}
	}
	g.wrong[from]++
}

// wait is how long an address has to wait, since it has guessed wrong too often; else 0.
func (g *guesses) wait(from string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wrong[from] < wrongAllowed {
		return 0
	}
	return max(time.Until(g.until), 0)
}

// wrong notes that the link or answer of a request was wrong.
func (c *connecting) wrong(r *http.Request) {
	if from := origin(r); from != "" {
		c.guesses.note(from)
	}
}

// patient refuses those who guess.
func (c *connecting) patient(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wait := c.guesses.wait(origin(r))
		if wait == 0 {
			next(w, r)
			return
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		c.show(w, http.StatusTooManyRequests, view{Home: c.Public + "/", Guest: true, Flash: &flash{
			Sentence: "Too many links or answers that came from your address in this minute were wrong.", Hint: "Try again in a minute.",
		}})
	}
}

// origin is what a reader is told apart by: the address, of IPv6 the network, since one reader has all of that. Through a proxy on
// this machine it is the address that the proxy saw. It is empty for whoever sits at this machine.
func origin(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := peer.Addr().Unmap()
	if addr.IsLoopback() {
		passed := r.Header.Values("X-Forwarded-For")
		if len(passed) == 0 {
			return ""
		}
		last := passed[len(passed)-1]
		last = strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
		if addr, err = netip.ParseAddr(last); err != nil {
			return "the proxy"
		}
		addr = addr.Unmap().WithZone("")
	}
	if addr.Is6() {
		if network, err := addr.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
