package publish

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/internal/handover"
)

// embedded is the NATS server inside our process and the lock on its directory.
type embedded struct {
	config  Embedded
	log     *slog.Logger
	release func() error
	srv     atomic.Pointer[server.Server] // nil while it is started anew
	stuck   chan struct{}                 // one slot: the server refuses to write, see Publisher.Stuck
	broken  atomic.Bool                   // and will do so until it is started anew
}

// keyCheckName is the file in the store directory that tells whether the key is the one the store was written with.
const keyCheckName = "mailflume.key-check"

// startEmbedded locks the store directory and starts a server on it.
func startEmbedded(ctx context.Context, c Embedded, log *slog.Logger) (*embedded, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the NATS store %s: %w: create it, make it writable, or set \"data\" to another directory", c.Dir, err)
	}
	release, err := lockDir(c.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{config: c, log: log, release: release, stuck: make(chan struct{}, 1)}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, release())
	}
	return e, nil
}

// start starts the server, the first time or anew. The port that it got the first time is the one that others know.
func (e *embedded) start(ctx context.Context) error {
	srv, err := startServer(ctx, e.config, &serverLog{log: e.log, owner: e})
	if err != nil {
		return err
	}
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		host, _, _ := net.SplitHostPort(e.config.Listen) // it was listened on
		e.config.Listen = net.JoinHostPort(host, strconv.Itoa(addr.Port))
		if err := noteAddress(e.config.Dir, e.config.Listen); err != nil {
			e.log.Debug("where the built-in NATS server listens could not be noted", "error", err) // commands go by the configuration then
		}
	}
	e.srv.Store(srv)
	return nil
}

// halt waits until everything is on disk.
func (e *embedded) halt() {
	if srv := e.srv.Swap(nil); srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// stop gives up the lock, too.
func (e *embedded) stop() error {
	e.halt()
	return e.release()
}

// InProcessConn is how our own connection reaches the server, whichever it is now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	srv := e.srv.Load()
	if srv == nil {
		return nil, errors.New("the built-in NATS server is being started anew")
	}
	return srv.InProcessConn()
}

// url is where other programs connect.
func (e *embedded) url() string {
	srv := e.srv.Load()
	if srv == nil || srv.Addr() == nil {
		return ""
	}
	return srv.ClientURL()
}

// startServer starts a server on a store that is ours.
func startServer(ctx context.Context, c Embedded, l *serverLog) (*server.Server, error) {
	if err := checkKey(c.Dir, c.Key); err != nil {
		return nil, err
	}
	if err := noteKey(c.Dir, c.Key); err != nil {
		return nil, fmt.Errorf("note the key of the NATS store %s: %w", c.Dir, err)
	}
	if !c.Key.isZero() {
		if err := encryptStore(ctx, c, l); err != nil {
			return nil, fmt.Errorf("encrypt the NATS store %s: %w", c.Dir, err)
		}
	}
	return openServer(ctx, c, l)
}

// openServer mends the store, and starts a server that opens all of it.
func openServer(ctx context.Context, c Embedded, l *serverLog) (*server.Server, error) {
	if err := mendStore(c.Dir, !c.Key.isZero()); err != nil {
		return nil, err
	}
	opts, err := serverOptions(c)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start the built-in NATS server in %s: %w", c.Dir, err)
	}
	srv.SetLoggerV2(l, false, false, false)
	srv.Start()
	ready := readyWithin(ctx, srv)
	if fatal := l.failure(); fatal != "" || !ready || !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		if fatal == "" {
			fatal = "it does not become ready"
		}
		return nil, fmt.Errorf("start the built-in NATS server in %s: %s: look at the space and the permissions of "+
			"that directory, or set \"data\" to another one", c.Dir, fatal)
	}
	if err := unopened(srv, c.Dir, l.warning()); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, err
	}
	return srv, nil
}

// readyWithin waits for the server for at most 10 s, or as long as ctx allows.
func readyWithin(ctx context.Context, srv *server.Server) bool {
	wait := 10 * time.Second
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	return srv.ReadyForConnections(wait)
}

// serverOptions goes through a configuration text, because some options in the struct only count together with private
// flags that the text sets (nats-server issues 6756, 6890, 8160).
func serverOptions(c Embedded) (*server.Options, error) {
	opts := &server.Options{}
	if err := opts.ProcessConfigString("server_name: mailflume\njetstream { sync_interval: always }\n"); err != nil {
		return nil, fmt.Errorf("configure the built-in NATS server: %w", err)
	}
	opts.StoreDir = c.Dir
	opts.JetStreamKey = c.Key.reveal()
	if !c.Key.isZero() {
		opts.JetStreamCipher = server.ChaCha
	}
	opts.NoSigs = true
	if c.Listen == noListener {
		opts.DontListen = true
		return opts, nil
	}
	host, port, err := listenAddress(c.Listen)
	if err != nil {
		return nil, err
	}
	opts.Host, opts.Port = host, port
	return opts, nil
}

// listenAddress tries the address, because a server that cannot bind it would only log so.
func listenAddress(listen string) (string, int, error) {
	l, err := handover.Listen(listen)
	if err != nil {
		return "", 0, fmt.Errorf("the built-in NATS server cannot listen on %s: %w: set nats.embedded.listen to a free "+
			"address, or to none", listen, err)
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return "", 0, fmt.Errorf("the built-in NATS server cannot listen on %s: %w", listen, err)
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("nats.embedded.listen is %q: write host:port: %w", listen, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, addr.Port, nil
}

// checkKey compares the key with the one the store was written with. With a wrong key nats-server skips the streams it
// cannot read and we would make an empty one in their place.
func checkKey(dir string, key Secret) error {
	have, err := os.ReadFile(filepath.Join(dir, keyCheckName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check the key of the NATS store %s: %w", dir, err)
	}
	switch {
	case key.isZero():
		return fmt.Errorf("the NATS store %s is encrypted and there is no key: set nats.embedded.key to the one it was made with", dir)
	case !hmac.Equal([]byte(strings.TrimSpace(string(have))), []byte(keyCheck(key))):
		return fmt.Errorf("the NATS store %s was made with another key: set nats.embedded.key to that one, or use an empty directory", dir)
	}
	return nil
}

// noteKey writes down, once, what checkKey compares with. It does so before anything is stored, or a start that is cut short
// could leave a store of which nobody knows the key; and the file gets its name when it is complete.
func noteKey(dir string, key Secret) error {
	path := filepath.Join(dir, keyCheckName)
	if _, err := os.Stat(path); key.isZero() || err == nil {
		return nil
	}
	f, err := os.CreateTemp(dir, keyCheckName+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the name that stays is path
	_, err = f.WriteString(keyCheck(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	crash.At("key.check.written")
	return os.Rename(f.Name(), path)
}

func keyCheck(key Secret) string {
	m := hmac.New(sha256.New, []byte(key.reveal()))
	m.Write([]byte("mailflume store key"))
	return hex.EncodeToString(m.Sum(nil))
}

// serverLog passes the server's warnings and errors on and remembers the first fatal one, which nats-server only logs, and
// the last warning. That it refuses to write is only logged, too.
type serverLog struct {
	log    *slog.Logger
	owner  *embedded
	mu     sync.Mutex
	fatal  string
	warned string
}

func (l *serverLog) failure() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *serverLog) warning() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.warned
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	if l.fatal == "" {
		l.fatal = text
	}
	l.mu.Unlock()
	l.log.Error("built-in NATS server: " + text)
}

func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error("built-in NATS server: " + text)
	broken := strings.Contains(strings.ToLower(text), "critical write error")
	if broken {
		l.owner.broken.Store(true)
	}
	if broken || strings.Contains(text, "resource limits exceeded") {
		select {
		case l.owner.stuck <- struct{}{}:
		default: // it is known
		}
	}
}

func (l *serverLog) Warnf(format string, v ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, v...))
	l.mu.Lock()
	l.warned = text
	l.mu.Unlock()
	l.log.Warn("built-in NATS server: " + text)
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}
