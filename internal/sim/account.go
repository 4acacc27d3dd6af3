package sim

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Quirks are an account's lasting oddities: switches, where a Fault is counted.
type Quirks struct {
	DocChallenge     bool          // Gmail: the failed login as the documentation shows it: status 401, other text
	EqualsIsInvalid  bool          // Gmail: the line "=" after the challenge is a bad SASL argument
	EarlyExists      bool          // Exchange: what is new is pushed before the "+" of IDLE
	Rev2             bool          // Exchange: advertise IMAP4rev2 and break what that breaks
	Lag              time.Duration // EXISTS counts a new message at once; SEARCH and FETCH see it after so long
	LoginDelay       time.Duration // AUTHENTICATE takes so long
	SizeSkew         int           // RFC822.SIZE is off by so many per cent
	NewBoundary      bool          // Exchange: the multipart boundary is another one at each fetch
	FullAccess       []string      // Exchange: users whose token opens this mailbox too
	AppAccess        []string      // Exchange: client ids of applications that may open this mailbox
	RefuseLate       bool          // Exchange: who has no access gets a session that is not connected
	Personal         bool          // Exchange: an outlook.com account, whose tokens are opaque
	MaxConnections   int           // 0 means the provider's: Gmail 15, Exchange 16
	Linger           time.Duration // a connection that ended without LOGOUT keeps counting for so long
	DenyConsent      bool          // the user says no
	GrantScope       string        // the user grants this scope, whatever was asked for
	WireChunk        int           // write so many octets at a time
	WireDelay        time.Duration // and pause so long between them
	NoAutoExpunge    bool          // Gmail: \Deleted in a folder does not archive the message at once
	ListNilLabel     bool          // Gmail: a NIL in every list of labels
	UnquotedSysLabel bool          // Gmail: system labels come without quotes
	BareNames        bool          // names in LIST come without quotes, whatever is in them: a TAB on Exchange, "+Folder" on Gmail
	ZeroModSeq       bool          // Gmail: MODSEQ is 0
	Structure        string        // what BODYSTRUCTURE says of every message; empty: the truth. See GmailStructure, ExchangeStructures
	CopyUID          string        // Exchange: the line that MOVE says in place of its COPYUID
	Lacks            []string      // capabilities that it does not have after all: MOVE, UIDPLUS
	Shut             []string      // folders that are there and cannot be opened
}

// Stats is what the clients of one account have done so far.
type Stats struct {
	Logins         int // that succeeded
	Refused        int // that did not
	Connections    int // logged in now
	MaxConnections int // the most at one time
	Commands       map[string]int
	Longest        int             // the longest command, in octets
	BodyOctets     int64           // sent in body literals
	Idles          []time.Duration // how long each IDLE lasted
	Challenged     []string        // the line that each client sent after a failure challenge
	IDs            []string        // what clients said about themselves in ID
	// Violations are commands against the rules of the house: FETCH that sets \Seen or asks for BODYSTRUCTURE or
	// ENVELOPE, sequence numbers, SEARCH RETURN, ENABLE, EXPUNGE of what others marked, and on Exchange a command of more
	// than 8,000 octets.
	Violations []string
}

// An Account is one mailbox of one provider.
type Account struct {
	w        *World
	provider Provider
	address  string
	dialect  *dialect

	mu       sync.Mutex
	quirks   Quirks
	stats    Stats
	faults   faultList
	sessions map[*session]struct{}
	dead     []time.Time // when connections that ended without LOGOUT stop counting
	budget   int64       // of body octets; 0 means none
	blocked  time.Time   // over the budget until then
	blockFor time.Duration
	folders  []*folder
	threads  map[string]uint64 // by Message-ID
	modseq   uint64
	changes  uint64 // of what the folders hold
	validity uint32 // the last UIDVALIDITY given out
	renders  int    // bodies rendered with a new boundary
}

func newAccount(w *World, p Provider, address string) *Account {
	a := &Account{
		w: w, provider: p, address: address, dialect: w.imap[p].dialect,
		sessions: make(map[*session]struct{}),
		threads:  make(map[string]uint64),
		modseq:   1000,
	}
	a.stats.Commands = make(map[string]int)
	for _, f := range a.dialect.folders {
		a.addFolder(f)
	}
	return a
}

// Address returns the account's mail address.
func (a *Account) Address() string { return a.address }

// Provider returns whose account it is.
func (a *Account) Provider() Provider { return a.provider }

// Set changes the account's quirks.
func (a *Account) Set(change func(*Quirks)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.quirks)
}

func (a *Account) quirk() Quirks {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quirks
}

// LimitBandwidth gives the account so many octets of message bodies; what goes beyond ends the session as Gmail does and
// refuses logins for so long after.
func (a *Account) LimitBandwidth(octets int64, block time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.budget, a.blockFor = octets, block
}

// Stats returns a copy of the account's counters.
func (a *Account) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stats
	s.Connections = len(a.sessions)
	s.Commands = maps.Clone(s.Commands)
	s.Idles = slices.Clone(s.Idles)
	s.Challenged = slices.Clone(s.Challenged)
	s.IDs = slices.Clone(s.IDs)
	s.Violations = slices.Clone(s.Violations)
	return s
}

func (a *Account) count(change func(*Stats)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.stats)
}

// ExpireTokens makes every access token of the account expired and ends its sessions as the provider does then.
func (a *Account) ExpireTokens() {
	a.w.expireTokens(a.address)
	a.Disconnect(a.dialect.byeExpired)
}

// Disconnect ends the account's sessions with an untagged line such as "* BYE Connection is closed. 13".
func (a *Account) Disconnect(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.sessions {
		select {
		case s.kick <- line:
		default: // it is being ended already
		}
	}
}

// DropConnections ends the account's connections without a word.
func (a *Account) DropConnections() {
	a.mu.Lock()
	conns := make([]*session, 0, len(a.sessions))
	for s := range a.sessions {
		conns = append(conns, s)
	}
	a.mu.Unlock()
	for _, s := range conns {
		s.conn.Close()
	}
}

// admission is the answer to a session that wants in.
type admission int

const (
	admitted admission = iota
	tooMany
	overBandwidth
)

// join counts a session in, if there is room.
func (a *Account) join(s *session) admission {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.w.now()
	if now.Before(a.blocked) {
		return overBandwidth
	}
	a.dead = slices.DeleteFunc(a.dead, func(t time.Time) bool { return !now.Before(t) })
	limit := a.quirks.MaxConnections
	if limit == 0 {
		limit = a.dialect.maxConnections
	}
	if len(a.sessions)+len(a.dead) >= limit {
		return tooMany
	}
	a.sessions[s] = struct{}{}
	a.stats.Logins++
	a.stats.MaxConnections = max(a.stats.MaxConnections, len(a.sessions))
	return admitted
}

func (a *Account) part(s *session, loggedOut bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, in := a.sessions[s]; !in {
		return
	}
	delete(a.sessions, s)
	if !loggedOut && a.quirks.Linger > 0 {
		a.dead = append(a.dead, a.w.now().Add(a.quirks.Linger))
	}
}

// spend counts octets of a body that is about to be sent and reports false if that is more than the account has left.
func (a *Account) spend(octets int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.budget > 0 && a.stats.BodyOctets+int64(octets) > a.budget {
		a.blocked = a.w.now().Add(a.blockFor)
		return false
	}
	a.stats.BodyOctets += int64(octets)
	return true
}

// opens reports whether the token's holder may open this mailbox.
func (a *Account) opens(t accessToken) bool {
	q := a.quirk()
	if t.app {
		return slices.Contains(q.AppAccess, t.client)
	}
	if strings.EqualFold(t.subject, a.address) {
		return true
	}
	return slices.ContainsFunc(q.FullAccess, func(user string) bool { return strings.EqualFold(user, t.subject) })
}
