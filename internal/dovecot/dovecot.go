// Package dovecot runs a private Dovecot with real XOAUTH2, for tests and for programs that need a real IMAP server.
//
// Run starts one on free ports of the loopback, Start does the same for a test. Every login name is a user with a
// mailbox of its own. A user gets in with the password, or with a token that [Server.Allow] or Options.Lookup knows. The
// methods of Server put mail in and look at it without any code of the program under test: they speak IMAP by hand.
package dovecot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// ErrNotInstalled says that there is no dovecot in PATH. scripts/test-deps.sh installs it on Debian.
var ErrNotInstalled = errors.New("dovecot is not in PATH")

// Options are the settings of a Server. The zero value is a good one.
type Options struct {
	// Password opens every mailbox; "secret" if empty.
	Password string
	// Lookup is asked about every token that Allow did not register: whose is it, and is it good now? It is how
	// another registry, such as a simulated OAuth server, decides. It is called from several goroutines.
	Lookup func(token string) (user string, ok bool)
	// Config is put at the end of dovecot.conf.
	Config string
}

// Server is a running Dovecot.
type Server struct {
	Addr     string // plain IMAP, host:port
	TLSAddr  string // IMAP over TLS, host:port
	CertPEM  []byte // the CA that signed the server's certificate
	CAFile   string // the same in a file
	Password string

	dir    string
	tokens *registry
	oauth  *http.Server
	master *process.Process
	stop   sync.Once

	mu  sync.Mutex
	own map[string]int // logins that the harness made itself, by user
}

// Run starts a Dovecot and returns when it greets; ctx bounds the start. The caller closes the Server. It runs as root,
// where mail belongs to the user mail, and as any other user that has a name.
func Run(ctx context.Context, o Options) (*Server, error) {
	binary, err := find()
	if err != nil {
		return nil, err
	}
	if o.Password == "" {
		o.Password = "secret"
	}
	dir, err := shortDir()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Password: o.Password,
		CAFile:   filepath.Join(dir, "ca.pem"),
		dir:      dir,
		tokens:   &registry{lookup: o.Lookup, users: map[string]string{}},
		own:      map[string]int{},
	}
	if err := s.start(ctx, binary, o); err != nil {
		err = fmt.Errorf("start dovecot: %w%s", err, tail(s.Log(), 5))
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start writes the files, and starts the introspection endpoint and the daemon. Another process may take a free port
// before Dovecot does, so it tries a few.
func (s *Server) start(ctx context.Context, binary string, o Options) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for introspection: %w", err)
	}
	s.oauth = &http.Server{Handler: s.tokens, ReadHeaderTimeout: 10 * time.Second}
	go s.oauth.Serve(listener) // ends with ErrServerClosed
	if s.CertPEM, err = writeCertificates(s.dir); err != nil {
		return err
	}
	for try := 0; ; try++ {
		port, err := process.FreePort()
		if err != nil {
			return err
		}
		tlsPort, err := process.FreePort()
		if err != nil {
			return err
		}
		s.Addr, s.TLSAddr = net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("127.0.0.1", tlsPort)
		if err := s.writeConfig(listener.Addr().String(), port, tlsPort, o); err != nil {
			return err
		}
		config := filepath.Join(s.dir, "dovecot.conf")
		if s.master, err = process.Start(context.WithoutCancel(ctx), "/", nil, binary, "-F", "-c", config); err != nil {
			return err
		}
		if err = s.greeting(ctx); err == nil || try == 2 || !strings.Contains(s.Log(), "Address already in use") {
			return err
		}
		s.end()
	}
}

// greeting waits until the server greets, and not another one that was faster to take its port.
func (s *Server) greeting(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := dial(ctx, s.Addr)
		if err == nil {
			c.close()
			if strings.Contains(c.said, s.dir) {
				return nil
			}
			err = errors.New("another server has its port")
		}
		select {
		case <-s.master.Gone():
			return s.master.Running()
		case <-ctx.Done():
			return fmt.Errorf("wait for the greeting: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Kill is kill -9 of the daemon and all of its processes. The mail stays.
func (s *Server) Kill() { s.master.Kill() }

// Restart starts the daemon again after Kill, on the same ports, and returns when it greets.
func (s *Server) Restart(ctx context.Context) error {
	binary, err := find()
	if err != nil {
		return err
	}
	// Sockets and the pid of a daemon that was killed stay behind.
	if err := os.RemoveAll(filepath.Join(s.dir, "run")); err != nil {
		return fmt.Errorf("clear what dovecot left behind: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "run"), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if s.master, err = process.Start(context.WithoutCancel(ctx), "/", nil, binary, "-F", "-c", filepath.Join(s.dir, "dovecot.conf")); err != nil {
		return err
	}
	return s.greeting(ctx)
}

// Close stops the daemon and removes its files. It may be called more than once.
func (s *Server) Close() error {
	var err error
	s.stop.Do(func() {
		s.end()
		if s.oauth != nil {
			err = s.oauth.Close()
		}
		err = errors.Join(err, os.RemoveAll(s.dir))
	})
	return err
}

// end stops the daemon: politely first, then with a kill of its whole process group. Dovecot's master takes a second
// to follow its children, for a log that nobody will read, so it is not given that long.
func (s *Server) end() {
	if s.master == nil {
		return
	}
	s.master.Terminate() // it may be gone
	select {
	case <-s.master.Gone():
	case <-time.After(200 * time.Millisecond):
	}
	s.master.Kill()
}

// Log returns what the daemon has logged so far.
func (s *Server) Log() string {
	log, err := os.ReadFile(filepath.Join(s.dir, "dovecot.log"))
	if err != nil {
		return ""
	}
	return string(log)
}

func tail(log string, n int) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// find looks in PATH and, because users' PATHs often lack it, in /usr/sbin.
func find() (string, error) {
	for _, name := range []string{"dovecot", "/usr/sbin/dovecot"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// shortDir makes a directory whose unix sockets have paths below the 108 bytes that the kernel takes.
func shortDir() (string, error) {
	const longest = 60 // leaves 48 bytes for names such as /run/srv.stats-writer/...
	parent := os.TempDir()
	if len(parent) > longest-len("/mf-dovecot-0123456789") {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "mf-dovecot-")
	if err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	return dir, os.Chmod(dir, 0o755) // the mail user has to pass through it
}

// owner returns who owns the mail: as root the user mail, since Dovecot refuses mail of root, else ourselves.
func owner() (*user.User, error) {
	if os.Geteuid() == 0 {
		return user.Lookup("mail")
	}
	return user.Current()
}
