// Package sim imitates Gmail and Outlook for tests and for the demo: two IMAP servers and two OAuth servers that share
// one registry of tokens, with the texts that the real ones send.
//
// A World holds accounts, their mail, and every token that was given out. Its IMAP servers speak over any net.Conn, so
// that a test can run them over net.Pipe inside a testing/synctest bubble, and its OAuth servers are plain handlers.
// What the real services do wrong now and then is a Fault (counted: "the next FETCH") or a Quirk (a switch), and a World
// counts what its clients do, so that a test can assert on it. The texts come from what the providers document and from
// public reports of what they send; where neither has a text, the constant says so.
package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/mailflume/mailflume/internal/testca"
)

// Provider says whose servers are imitated.
type Provider string

// The providers.
const (
	Gmail    Provider = "gmail"
	Exchange Provider = "exchange"
)

// Options for New. The zero value is useful.
type Options struct {
	Now   func() time.Time  // what time it is; nil means time.Now
	Seed  uint64            // of the random token texts and lifetimes: equal seeds, equal worlds
	Trace func(line string) // is told every line on the wire, credentials left out; nil means nobody
}

// A World is a set of accounts with their mail and tokens, and the servers that give access to them. It is safe for
// concurrent use.
type World struct {
	now   func() time.Time
	trace func(string)
	done  chan struct{} // closed by Close
	wg    sync.WaitGroup
	imap  map[Provider]*Server
	oauth map[Provider]*OAuthServer

	mu       sync.Mutex
	closed   bool
	rng      *rand.Rand
	serial   uint64 // of connections
	ids      uint64 // of messages
	accounts map[string]*Account
	open     map[io.Closer]struct{}
	tokens   registry
	ca       *testca.Authority
}

// New makes an empty World. Its caller closes it.
func New(o Options) *World {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &World{
		now:      o.Now,
		trace:    o.Trace,
		done:     make(chan struct{}),
		rng:      rand.New(rand.NewPCG(o.Seed, 1)),
		accounts: make(map[string]*Account),
		open:     make(map[io.Closer]struct{}),
		tokens:   newRegistry(),
	}
	w.imap = map[Provider]*Server{
		Gmail:    {w: w, dialect: &gmail},
		Exchange: {w: w, dialect: &exchange},
	}
	w.oauth = map[Provider]*OAuthServer{
		Gmail:    newOAuthServer(w, Gmail, RotateNone),
		Exchange: newOAuthServer(w, Exchange, RotateLenient),
	}
	return w
}

// Close ends every connection and listener of the World and waits until they have ended.
func (w *World) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.done)
	}
	open := make([]io.Closer, 0, len(w.open))
	for c := range w.open {
		open = append(open, c)
	}
	w.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
	w.wg.Wait()
}

// enter registers something that Close must close and wait for; c may be nil. It reports false once Close was called.
func (w *World) enter(c io.Closer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if c != nil {
		w.open[c] = struct{}{}
	}
	w.wg.Add(1)
	return true
}

func (w *World) leave(c io.Closer) {
	w.mu.Lock()
	delete(w.open, c)
	w.mu.Unlock()
	w.wg.Done()
}

// sleep waits and reports whether it came to the end of d: false when the World was closed or stop was.
func (w *World) sleep(d time.Duration, stop <-chan struct{}) bool {
	if d == 0 {
		return true
	}
	var expired <-chan time.Time // a negative d waits for ever
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-expired:
		return true
	case <-stop:
	case <-w.done:
	}
	return false
}

func (w *World) tracef(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf(format, args...))
	}
}

// IMAP returns the provider's IMAP server.
func (w *World) IMAP(p Provider) *Server { return w.imap[p] }

// OAuth returns the provider's OAuth server.
func (w *World) OAuth(p Provider) *OAuthServer { return w.oauth[p] }

// AddAccount makes an account with the provider's folders and no mail. It panics if the address is taken, as that is a
// mistake in the test.
func (w *World) AddAccount(p Provider, address string) *Account {
	a := newAccount(w, p, address)
	w.mu.Lock()
	defer w.mu.Unlock()
	key := strings.ToLower(address)
	if w.accounts[key] != nil {
		panic("sim: account " + address + " exists")
	}
	w.accounts[key] = a
	return a
}

// Account returns the account with this address, or nil.
func (w *World) Account(address string) *Account {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accounts[strings.ToLower(address)]
}

// account returns the account if it belongs to the provider.
func (w *World) account(p Provider, address string) *Account {
	if a := w.Account(address); a != nil && a.provider == p {
		return a
	}
	return nil
}

// Violations lists what clients of all accounts did against the rules of the house; see Stats.Violations.
func (w *World) Violations() []string {
	w.mu.Lock()
	accounts := make([]*Account, 0, len(w.accounts))
	for _, a := range w.accounts {
		accounts = append(accounts, a)
	}
	w.mu.Unlock()
	var all []string
	for _, a := range accounts {
		for _, v := range a.Stats().Violations {
			all = append(all, a.address+": "+v)
		}
	}
	return all
}

// random returns n random hex digits.
func (w *World) random(n int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.randomLocked(n)
}

func (w *World) randomLocked(n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%016x", w.rng.Uint64())
	}
	return b.String()[:n]
}

// guid returns a random GUID.
func (w *World) guid() string { return formatGUID(w.random(32)) }

// stableGUID returns the GUID that always belongs to a name.
func stableGUID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return formatGUID(hex.EncodeToString(sum[:16]))
}

func formatGUID(hex string) string {
	return hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:32]
}

// nextMessageID returns a 64-bit message id as Gmail's are: past 2^53, hence no JSON number.
func (w *World) nextMessageID() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return 1563491715126921418 + w.ids*104729
}

// connectionID returns the session id that Gmail puts into its answers.
func (w *World) connectionID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	return fmt.Sprintf("k%dmb%dqtb", w.serial, 83651538+w.serial)
}

func hostOf(addr net.Addr) string {
	if addr == nil {
		return "127.0.0.1"
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "127.0.0.1" // a pipe
	}
	return host
}
