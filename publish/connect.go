package publish

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Atomic batches came with this version.
const (
	minMajor = 2
	minMinor = 12
)

const connectTimeout = 5 * time.Second

// How a server that hangs, or to which the way has vanished, is found out: by pings, of which so many may be unanswered.
// The library's own settings take six minutes for it, during which every commit times out though other servers of the
// cluster could take it.
const (
	pingInterval = 2 * time.Second
	maxPings     = 2
)

// writeWait bounds one write, of about max_payload at most: a megabyte over a line of one megabit a second. The library's own setting
// is a minute, during which nobody else gets at the connection: neither the pings above, nor whoever only asks whether there is one.
const writeWait = 10 * time.Second

// reconnectWait, up to twice of it, is what passes between two tries to connect again: there is one connection, and all mail
// waits for it.
const reconnectWait = 100 * time.Millisecond

// connect opens the one connection of the process. Nothing is buffered while it is down: a send fails at once and the
// caller, who alone knows what is still right to send, decides. It comes back by itself, for ever.
// again is called when it is back.
func connect(ctx context.Context, c Config, srv *embedded, d *denials, log *slog.Logger, again func()) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	wait := connectTimeout
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	opts := []nats.Option{
		nats.Name("mailflume"), nats.Timeout(wait), nats.ReconnectBufSize(-1), nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !d.note(err) {
				log.Warn("NATS reports an error", "error", err)
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			d.forget()
			if err != nil {
				log.Warn("lost the connection to NATS", "error", err)
			}
		}),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(maxPings),
		nats.FlusherTimeout(writeWait), nats.ReconnectOnFlusherError(),
		nats.ReconnectHandler(func(*nats.Conn) {
			log.Info("connected to NATS again")
			again()
		}),
	}
	more, err := securityOptions(c)
	if err != nil {
		return nil, err
	}
	opts = append(opts, more...)
	if srv != nil {
		opts = append(opts, nats.InProcessServer(srv))
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, connectError(c.where(), err)
	}
	if v := nc.ConnectedServerVersion(); !newEnough(v) {
		nc.Close()
		return nil, &VersionError{URL: c.where(), Version: v}
	}
	return nc, nil
}

func connectError(where string, err error) error {
	var unknownCA x509.UnknownAuthorityError
	var badCert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrNkeysNotSupported),
		errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted),
		errors.As(err, &unknownCA), errors.As(err, &badCert),
		// Whoever is shown no certificate may have hung up before it could say so.
		strings.Contains(err.Error(), "remote error: tls"), strings.Contains(err.Error(), "after TLS handshake"):
		return &LoginError{URL: where, Err: err}
	}
	return &UnreachableError{URL: where, Err: err}
}

// securityOptions says who we are. A file that is missing is reported by the key that names it.
func securityOptions(c Config) ([]nats.Option, error) {
	var opts []nats.Option
	a, t := c.Auth, c.TLS
	for _, f := range []struct{ key, path string }{
		{"nats.creds", a.CredsFile},
		{"nats.nkey", a.NKeyFile},
		{"nats.tls.ca", t.CAFile},
		{"nats.tls.cert", t.CertFile},
		{"nats.tls.key", t.KeyFile},
	} {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
	}
	switch {
	case a.CredsFile != "":
		opts = append(opts, nats.UserCredentials(a.CredsFile))
	case a.NKeyFile != "":
		o, err := nats.NkeyOptionFromSeed(a.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey %s has no nkey seed: %w", a.NKeyFile, err)
		}
		opts = append(opts, o)
	case a.User != "" || !a.Password.isZero():
		opts = append(opts, nats.UserInfo(a.User, a.Password.reveal()))
	case !a.Token.isZero():
		opts = append(opts, nats.Token(a.Token.reveal()))
	case !a.JWT.isZero():
		opts = append(opts, nats.UserJWTAndSeed(a.JWT.reveal(), a.Seed.reveal()))
	}
	if t.CAFile != "" {
		opts = append(opts, nats.RootCAs(t.CAFile))
	}
	if t.CertFile != "" {
		opts = append(opts, nats.ClientCert(t.CertFile, t.KeyFile))
	}
	return opts, nil
}

// newEnough reads "2.12.0" or "2.12.0-RC.1". What it cannot read it takes for new.
func newEnough(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err1 != nil || err2 != nil {
		return true
	}
	return a > minMajor || (a == minMajor && b >= minMinor)
}

// denials remembers what the server did not allow. It says so beside the request, which then only times out.
type denials struct {
	mu sync.Mutex
	at map[PermissionError]time.Time
}

// maxDenials bounds the memory; subjects have no message ids in them, so there are few.
const maxDenials = 1000

var denialRE = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

// note records err if it is a denial.
func (d *denials) note(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	m := denialRE.FindStringSubmatch(err.Error())
	if m == nil {
		return false
	}
	op := "publish to"
	if strings.EqualFold(m[1], "subscription") {
		op = "subscribe to"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil || len(d.at) >= maxDenials {
		d.at = map[PermissionError]time.Time{}
	}
	d.at[PermissionError{Op: op, Subject: m[2]}] = time.Now()
	return true
}

// forget drops all of them: what is allowed may be another thing when the server lets us in again, and it then says so anew.
func (d *denials) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.at)
}

// since returns the denial that explains why a request to subject, sent at or after start, had no answer. A denied
// inbox explains all of them, whenever it was during this connection.
func (d *denials) since(subject string, start time.Time) *PermissionError {
	d.mu.Lock()
	defer d.mu.Unlock()
	for e, at := range d.at {
		published := e.Op == "publish to" && strings.EqualFold(e.Subject, subject) && !at.Before(start)
		inbox := e.Op == "subscribe to" && strings.HasPrefix(strings.ToUpper(e.Subject), "_INBOX.")
		if published || inbox {
			return &e
		}
	}
	return nil
}
