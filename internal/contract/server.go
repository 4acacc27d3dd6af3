package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is a NATS server with the configuration that docs/durability.md shows, and a user that the page leaves out: admin,
// who may do anything. The password of each user is its name.
type Server struct {
	*server.Server

	mu     sync.Mutex
	denied []string
}

// Serve runs a Server, on free ports and in a folder of its own, until the test ends. It sets variables of the environment,
// so the test cannot be parallel to others.
func Serve(t testing.TB) *Server {
	t.Helper()
	page, err := os.ReadFile("../../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```\n(listen: .*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/durability.md shows no configuration")
	}
	text := strings.NewReplacer("0.0.0.0:4222", "127.0.0.1:-1", "127.0.0.1:8222", "127.0.0.1:-1", "/var/lib/nats", t.TempDir(),
		"users: [\n", "users: [\n{user: admin, password: admin}\n").Replace(string(block[1]))
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PASSWORD_OF_MAILFLUME", "mailflume")
	t.Setenv("PASSWORD_OF_WORKFLOW", "workflow")
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs = true
	s := &Server{}
	if s.Server, err = server.NewServer(options); err != nil {
		t.Fatal(err)
	}
	s.SetLogger(s, false, false)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s
}

// Denied returns what the server has denied to a user so far, in its words.
func (s *Server) Denied(user string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.denied), func(line string) bool { return !strings.Contains(line, "/user:"+user+`"`) })
}

// Errorf is where the server says whom it has denied what.
func (s *Server) Errorf(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); strings.Contains(line, "Violation") {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.denied = append(s.denied, line)
	}
}

// Noticef and the others are what else a server says.
func (*Server) Noticef(string, ...any) {}

// Warnf is silent.
func (*Server) Warnf(string, ...any) {}

// Fatalf is silent: a server that does not start is noticed.
func (*Server) Fatalf(string, ...any) {}

// Debugf is silent.
func (*Server) Debugf(string, ...any) {}

// Tracef is silent.
func (*Server) Tracef(string, ...any) {}
