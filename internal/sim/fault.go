package sim

import (
	"strings"
	"time"
)

// When says which of the occasions that match a fault it strikes. The zero value is the next one only.
type When struct {
	Skip    int       // let so many pass first
	Times   int       // strike so often; 0 means once, negative means always
	Percent int       // strike only so many in a hundred, evenly spread; 0 means all
	Until   time.Time // and not after this moment; zero means for ever
}

// arming is a When with its counts. Its owner holds a lock.
type arming struct {
	When
	seen, struck int
}

// strikes counts one matching occasion and says whether the fault strikes it.
func (m *arming) strikes(now time.Time) bool {
	if m.spent(now) {
		return false
	}
	m.seen++
	n := m.seen - m.Skip
	if n <= 0 {
		return false
	}
	if m.Percent > 0 && n*m.Percent/100 == (n-1)*m.Percent/100 {
		return false
	}
	m.struck++
	return true
}

func (m *arming) spent(now time.Time) bool {
	times := m.Times
	if times == 0 {
		times = 1
	}
	if times > 0 && m.struck >= times {
		return true
	}
	return !m.Until.IsZero() && now.After(m.Until)
}

// A Fault is something that a server does wrong to one account, as data: what trips it, and what is sent. The named
// faults below are values of it; a test may make its own.
type Fault struct {
	// Command is the verb that trips the fault, without UID: "FETCH", "SEARCH", "IDLE", "AUTHENTICATE". Empty means any
	// command after the login. On a Server it may be "GREETING".
	Command string
	When    When

	Delay     time.Duration // wait before anything is sent; negative means until the connection ends
	Before    []string      // lines to send before the answer, each as it is
	Answer    string        // the tagged answer in place of carrying out the command
	Done      string        // the tagged answer after carrying it out
	After     []string      // lines to send after the answer
	Drop      bool          // close the connection then; alone, in place of the answer
	Challenge bool          // AUTHENTICATE: send the failure challenge and take the client's line before Answer

	NotConnected bool          // AUTHENTICATE: it succeeds, but the session is not connected to a mailbox
	Messages     int           // FETCH: carry it out for so many messages; then Before and Drop
	Cut          bool          // FETCH: close the connection inside the first body literal,
	CutAt        int           // after so many octets of it
	Silent       bool          // IDLE: push nothing
	IdleFor      time.Duration // IDLE: close the connection without a word after so long
	Call         func()        // call this after the answer was sent, before the next command is read
}

type armedFault struct {
	Fault
	arming
}

// faultList is a set of armed faults; its owner holds a lock.
type faultList []*armedFault

func (l *faultList) add(f Fault) { *l = append(*l, &armedFault{f, arming{When: f.When}}) }

// take returns the fault that strikes this command, or nil.
func (l *faultList) take(command string, now time.Time) *Fault {
	for _, f := range *l {
		if f.Command != command && (f.Command != "" || command == "AUTHENTICATE" || command == "GREETING") {
			continue
		}
		if f.strikes(now) {
			fault := f.Fault
			return &fault
		}
	}
	return nil
}

// Inject arms a fault for this account. Of several that match, the first injected strikes.
func (a *Account) Inject(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults.add(f)
}

// ClearFaults disarms the account's faults.
func (a *Account) ClearFaults() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = nil
}

// Throttle makes every command of this account fail with Exchange's hint until the time has passed.
func (a *Account) Throttle(d time.Duration) {
	f := Throttled(d)
	f.When = When{Times: -1, Until: a.w.now().Add(d)}
	a.Inject(f)
}

// SessionExpired is the end of a session whose token has expired, in place of the answer to a command.
func SessionExpired(p Provider) Fault {
	bye := gmail.byeExpired
	if p == Exchange {
		bye = exchange.byeExpired
	}
	return Fault{Before: []string{bye}, Drop: true}
}

// CutLiteral ends the connection in the middle of a message.
func CutLiteral(octets int) Fault { return Fault{Command: "FETCH", Cut: true, CutAt: octets} }

// DropConnection ends the connection in place of an answer.
func DropConnection(command string) Fault { return Fault{Command: command, Drop: true} }

// Stall delays the answer; a negative delay is for ever.
func Stall(command string, d time.Duration) Fault { return Fault{Command: command, Delay: d} }

// SilentIdle is an IDLE that is accepted and never says anything.
func SilentIdle() Fault { return Fault{Command: "IDLE", Silent: true} }

// IdleDies is an IDLE whose connection goes away without a word.
func IdleDies(after time.Duration) Fault { return Fault{Command: "IDLE", IdleFor: after} }

// RefuseLogin makes AUTHENTICATE answer with the text.
func RefuseLogin(text string) Fault {
	return Fault{
		Command: "AUTHENTICATE", Answer: text,
		Challenge: strings.Contains(text, "[AUTHENTICATIONFAILED]") || text == GmailTooMany,
	}
}
