// Package fetcher reads new mail from the folders of one mailbox over IMAP.
//
// Open logs in and gives a Session; Session.Messages makes one pass over what is new and Session.Wait sleeps until there
// may be more. A Session is one connection: after an error from either it is dead, and the caller closes it, waits as
// long as it sees fit and opens another. Nothing in here backs off, and nothing but Session.Act changes the mailbox: folders
// are opened with EXAMINE and read with BODY.PEEK.
//
// The client is go-imap, behind a boundary that makes it safe against real and hostile servers. Its parts, from the
// socket up: link (no byte for too long is an error), handover (greeting, STARTTLS, login), filter (rewrites what the
// server says into the small grammar that we need), and then go-imap.
package fetcher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// Security says how the connection is protected.
type Security string

// The ways to protect a connection.
const (
	TLS      Security = "tls"      // TLS from the first byte, the default
	STARTTLS Security = "starttls" // upgraded before anything is said
	Plain    Security = "plain"    // not at all; refused unless the server is on a loopback address
)

// Auth says how to log in.
type Auth string

// The ways to log in.
const (
	XOAUTH2     Auth = "xoauth2"     // an access token, the default
	OAUTHBEARER Auth = "oauthbearer" // an access token, RFC 7628
	Password    Auth = "password"    // a password, by AUTHENTICATE PLAIN or LOGIN
)

// Defaults of Config.
const (
	DefaultMaxMessage  = 64 << 20
	DefaultProgress    = 60 * time.Second
	DefaultIdleRefresh = 9 * time.Minute
	DefaultPoll        = 5 * time.Minute
)

// Config says which mailbox to read and how. The zero value of every field but Addr and User is usable.
type Config struct {
	Addr     string   // host:port
	Security Security // TLS if empty
	RootCAs  *x509.CertPool
	User     string // the address to log in as
	Auth     Auth   // XOAUTH2 if empty

	// Folders are those to watch: names; special uses such as `\All` and `\Junk`; patterns with the wildcards of LIST, * and %,
	// which mean the folders of one's own that hold mail and have no special use; and, after an exclamation mark, what is not
	// to be watched. INBOX if empty.
	Folders []string
	Start   Start // where to begin in a folder that has no Position yet

	MaxMessage  int64         // a larger message is reported TooLarge; DefaultMaxMessage if 0
	Budget      *Budget       // bounds the bytes of all messages in flight; unbounded if nil
	Allowance   *Allowance    // bounds the bytes of a day, of backfill first; unbounded if nil
	Logins      *Logins       // bounds how often one logs in; unbounded if nil
	Progress    time.Duration // no byte for so long while a reply is due: the connection is dead
	IdleRefresh time.Duration // how long one IDLE lasts
	Poll        time.Duration // how often to look at folders that IDLE does not watch

	Name, Version string       // sent in ID
	Log           *slog.Logger // quirks met on the way, at debug level; never content, never credentials

	// Random draws from [0, n) where clients should not act in step; rand.Int64N does if it is nil.
	Random func(n int64) int64
	// Dial opens the connection; if it is nil the function Dial does, through the proxy of the environment.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// TokenSource gives what to log in with: an access token, or the password. rejected is the one that the server has just
// refused, or "": it asks for another. If it has a method Ends(ctx) time.Time too, which tells when the token ends that it
// gave last, a Session asks to be renewed before that (ErrRenew).
type TokenSource interface {
	Token(ctx context.Context, rejected string) (string, error)
}

// Start is the place to begin in a folder that was never read. The zero value begins now: only mail that arrives from
// here on.
type Start struct {
	All   bool      // everything that is there
	Since time.Time // if not zero, what arrived on that day or later, as the server counts days
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		errs = append(errs, fmt.Errorf("address %q: %w", c.Addr, err))
	}
	if c.User == "" || strings.ContainsAny(c.User, "\x00\x01\r\n") {
		errs = append(errs, fmt.Errorf("user %q: not a mailbox address", c.User))
	}
	for _, f := range c.Folders {
		if f == "" || strings.ContainsAny(f, "\x00\r\n") {
			errs = append(errs, fmt.Errorf("folder %q: empty or with control characters", f))
		}
	}
	orZero(&c.Security, TLS)
	orZero(&c.Auth, XOAUTH2)
	orZero(&c.MaxMessage, DefaultMaxMessage)
	orZero(&c.Progress, DefaultProgress)
	orZero(&c.IdleRefresh, DefaultIdleRefresh)
	orZero(&c.Poll, DefaultPoll)
	orZero(&c.Name, "mailflume")
	switch c.Security {
	case TLS, STARTTLS, Plain:
	default:
		errs = append(errs, fmt.Errorf("security %q: not one of tls, starttls, plain", c.Security))
	}
	switch c.Auth {
	case XOAUTH2, OAUTHBEARER, Password:
	default:
		errs = append(errs, fmt.Errorf("auth %q: not one of xoauth2, oauthbearer, password", c.Auth))
	}
	if len(c.Folders) == 0 {
		c.Folders = []string{"INBOX"}
	}
	if c.Dial == nil {
		c.Dial = Dial
	}
	if c.Random == nil {
		c.Random = rand.Int64N
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func orZero[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

func (c Config) tlsConfig() *tls.Config {
	host, _, _ := net.SplitHostPort(c.Addr)
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: c.RootCAs}
}
