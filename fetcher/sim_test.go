package fetcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
)

const address = "alice@example.com"

// token is a TokenSource of one account; each time one is rejected it gives out another.
type token func() string

func (t token) Token(context.Context, string) (string, error) { return t(), nil }

// simulated runs a test against each provider's simulator, in a bubble.
func simulated(t *testing.T, do func(t *testing.T, a *sim.Account, open func(folders ...string) (*fetcher.Session, error))) {
	for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(provider), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := sim.New(sim.Options{})
				defer w.Close()
				a := w.AddAccount(provider, address)
				do(t, a, func(folders ...string) (*fetcher.Session, error) {
					return fetcher.Open(t.Context(), fetcher.Config{
						Addr: "localhost:143", Security: fetcher.Plain, User: address, Folders: folders,
						Start: fetcher.Start{All: true}, MaxMessage: 1 << 20, Budget: fetcher.NewBudget(4 << 20),
						Dial: func(context.Context, string, string) (net.Conn, error) { return w.IMAP(provider).Pipe(), nil },
					}, token(func() string { return a.AccessToken(time.Hour) }))
				})
				if v := w.Violations(); len(v) > 0 {
					t.Errorf("against the rules: %q", v)
				}
			})
		})
	}
}

func message(n int) []byte {
	return fmt.Appendf(nil, "Message-ID: <%d@example.com>\r\nSubject: number %d\r\n\r\n%s\r\n", n, n, strings.Repeat("text ", n%50*20))
}

// collect keeps what passes give, over sessions.
type collect struct {
	t     *testing.T
	a     *sim.Account
	after map[string]fetcher.Position
	got   map[string][]uint32 // by folder
	kinds map[fetcher.Kind]int
}

func newCollect(t *testing.T, a *sim.Account) *collect {
	return &collect{t: t, a: a, after: map[string]fetcher.Position{}, got: map[string][]uint32{}, kinds: map[fetcher.Kind]int{}}
}

func (c *collect) pass(s *fetcher.Session) error {
	for m, err := range s.Messages(c.t.Context(), c.after) {
		if err != nil {
			return err
		}
		c.kinds[m.Kind]++
		if m.Kind == fetcher.KindMail {
			c.got[m.Folder] = append(c.got[m.Folder], m.UID)
			if raw := c.a.Raw(m.Folder, m.UID); !bytes.Equal(raw, m.Raw) {
				c.t.Errorf("UID %d: %d bytes, want %d", m.UID, len(m.Raw), len(raw))
			}
			if id := c.a.MessageID(m.Folder, m.UID); c.a.Provider() == sim.Gmail && m.EmailID != strconv.FormatUint(id, 10) {
				c.t.Errorf("UID %d: EmailID %s", m.UID, m.EmailID)
			}
		}
		c.after[m.Folder] = m.Position
		m.Release()
	}
	return nil
}

// follow reads and waits like a worker, with a new session after each error, until done says so.
func (c *collect) follow(open func(...string) (*fetcher.Session, error), done func() bool) {
	for range 1000 {
		s, err := open()
		if err != nil {
			c.t.Logf("open: %v", err)
			time.Sleep(10 * time.Second)
			continue
		}
		for err == nil {
			if err = c.pass(s); err == nil && done() {
				s.Close()
				return
			}
			if err == nil {
				err = s.Wait(c.t.Context())
			}
		}
		c.t.Logf("session: %v", err)
		s.Close()
		time.Sleep(time.Second)
	}
	c.t.Fatalf("not done: %v", c.got)
}

// complete checks that every message of INBOX came exactly once.
func (c *collect) complete() {
	c.t.Helper()
	got := slices.Sorted(slices.Values(c.got["INBOX"]))
	if want := c.a.UIDs("INBOX"); !slices.Equal(got, want) {
		c.t.Errorf("got UIDs %v, want %v", got, want)
	}
}

func TestSimulated(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		for n := range 700 {
			a.Deliver("INBOX", message(n), time.Time{})
		}
		s, err := open("INBOX", `\Junk`)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := newCollect(t, a)
		if err := c.pass(s); err != nil {
			t.Fatal(err)
		}
		c.complete()
		a.Deliver(s.Folders()[1], message(1), time.Time{})
		a.Deliver("INBOX", message(2), time.Time{})
		if err := c.pass(s); err != nil || len(c.got[s.Folders()[1]]) != 1 {
			t.Fatal(err, s.Folders(), c.got[s.Folders()[1]])
		}
		c.complete()
		var missing *fetcher.FolderError
		if _, err := open("Nonsense"); !errors.As(err, &missing) || missing.Hint == "" {
			t.Fatal(err)
		}
	})
}

func TestSimulatedFaults(t *testing.T) {
	for name, fault := range map[string]func(a *sim.Account){
		"lag":              func(a *sim.Account) { a.Set(func(q *sim.Quirks) { q.Lag = 3 * time.Second }) },
		"early exists":     func(a *sim.Account) { a.Set(func(q *sim.Quirks) { q.EarlyExists = true }) },
		"rev2":             func(a *sim.Account) { a.Set(func(q *sim.Quirks) { q.Rev2 = true }) },
		"sizes":            func(a *sim.Account) { a.Set(func(q *sim.Quirks) { q.SizeSkew = 30 }) },
		"small writes":     func(a *sim.Account) { a.Set(func(q *sim.Quirks) { q.WireChunk = 7 }) },
		"labels":           func(a *sim.Account) { a.Set(func(q *sim.Quirks) { q.ListNilLabel, q.UnquotedSysLabel = true, true }) },
		"hidden":           func(a *sim.Account) { a.Hide("INBOX", 7, 3) },
		"hole":             func(a *sim.Account) { a.Hole("INBOX", 7, 3) },
		"cut":              func(a *sim.Account) { a.Inject(sim.CutLiteral(100)) },
		"drop":             func(a *sim.Account) { a.Inject(sim.DropConnection("SEARCH")) },
		"stall":            func(a *sim.Account) { a.Inject(sim.Stall("FETCH", time.Hour)) },
		"not connected":    func(a *sim.Account) { a.Inject(sim.NotConnected()) },
		"unavailable":      func(a *sim.Account) { a.Inject(sim.Unavailable()) },
		"bare unavailable": func(a *sim.Account) { a.Inject(sim.BareUnavailable()) },
		"overquota":        func(a *sim.Account) { a.Inject(sim.Overquota(3)) },
		"soft throttled":   func(a *sim.Account) { a.Inject(sim.SoftThrottled(time.Second)) },
		"throttled":        func(a *sim.Account) { a.Throttle(time.Minute) },
		"silent idle":      func(a *sim.Account) { a.Inject(sim.SilentIdle()) },
		"idle dies":        func(a *sim.Account) { a.Inject(sim.IdleDies(time.Second)) },
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
				for n := range 20 {
					a.Deliver("INBOX", message(n), time.Time{})
				}
				fault(a)
				time.AfterFunc(5*time.Second, func() { a.Deliver("INBOX", message(100), time.Time{}) })
				c := newCollect(t, a)
				c.follow(open, func() bool { return len(c.got["INBOX"]) >= 21 })
				c.complete()
			})
		})
	}
}

// TestSimulatedExpiry: a day of one-hour tokens.
func TestSimulatedExpiry(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		go func() {
			for n := range 24 {
				a.Deliver("INBOX", message(n), time.Time{})
				time.Sleep(time.Hour)
			}
		}()
		c := newCollect(t, a)
		c.follow(open, func() bool { return len(c.got["INBOX"]) == 24 })
		c.complete()
		if st := a.Stats(); st.MaxConnections > 1 || st.Refused > 0 {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Hour)
	})
}

func TestSimulatedUIDValidity(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		for n := range 5 {
			a.Deliver("INBOX", message(n), time.Time{})
		}
		c := newCollect(t, a)
		c.follow(open, func() bool { return len(c.got["INBOX"]) == 5 })
		a.BumpUIDValidity("INBOX")
		c.follow(open, func() bool { return len(c.got["INBOX"]) == 10 })
		if c.kinds[fetcher.KindReset] != 1 {
			t.Error(c.kinds)
		}
	})
}

func TestSimulatedTooLarge(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		a.Deliver("INBOX", message(1), time.Time{})
		a.Deliver("INBOX", append(message(2), bytes.Repeat([]byte("x"), 2<<20)...), time.Time{})
		a.Deliver("INBOX", message(3), time.Time{})
		a.Set(func(q *sim.Quirks) { q.SizeSkew = -90 })
		c := newCollect(t, a)
		c.follow(open, func() bool { return len(c.got["INBOX"]) == 2 && c.kinds[fetcher.KindTooLarge] == 1 })
	})
}

// TestH16Placeholder: what Exchange makes up for a message that it cannot render is asked for again, and never taken for
// the message; in the end the message is given up.
func TestH16Placeholder(t *testing.T) {
	simulated(t, func(t *testing.T, a *sim.Account, open func(...string) (*fetcher.Session, error)) {
		if a.Provider() != sim.Exchange {
			return
		}
		a.Deliver("INBOX", message(1), time.Time{})
		a.Deliver("INBOX", sim.Unrenderable(2), time.Time{})
		a.Deliver("INBOX", message(3), time.Time{})
		c := newCollect(t, a)
		c.follow(open, func() bool { return c.kinds[fetcher.KindUnreadable] == 1 })
		if !slices.Equal(c.got["INBOX"], []uint32{1, 3}) {
			t.Errorf("got %v", c.got)
		}
	})
}

// TestLeftOverTCP: on a real socket a write to a server that has gone succeeds, and go-imap would wait for the answer for
// ever.
func TestLeftOverTCP(t *testing.T) {
	w := sim.New(sim.Options{})
	defer w.Close()
	a := w.AddAccount(sim.Exchange, address)
	addr, err := w.IMAP(sim.Exchange).Listen()
	if err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]func(s *fetcher.Session) error{
		"Close": func(s *fetcher.Session) error { return errors.Join(s.Close(), net.ErrClosed) },
		"Messages": func(s *fetcher.Session) error {
			for _, err := range s.Messages(t.Context(), nil) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"Wait": func(s *fetcher.Session) error { return s.Wait(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := fetcher.Open(t.Context(), fetcher.Config{Addr: addr, Security: fetcher.Plain, User: address},
				token(func() string { return a.AccessToken(time.Hour) }))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			a.Disconnect("* BYE Connection is closed. 13")
			time.Sleep(50 * time.Millisecond) // the reader ends; either order is to work
			ended := make(chan error, 1)
			go func() { ended <- next(s) }()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("no error")
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it hangs")
			}
		})
	}
}
