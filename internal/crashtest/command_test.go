package crashtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// command runs a command until it has succeeded, which it does at once unless it dies at the point. What it says is
// returned, and after is called when it has died.
func (w *world) command(talk func(out string) (in string, ready bool), after func(), args ...string) string {
	w.t.Helper()
	for {
		was := w.died
		out, err := w.once(talk, args...)
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
				w.struck(status.Signal(), out)
			}
		}
		if w.setting.builtIn && slices.ContainsFunc(w.replicas, func(p *process.Process) bool { return p != nil }) {
			w.all() // the NATS server may have died with the replica under the command
		}
		switch {
		case err == nil:
			return out
		case was || !w.died:
			w.t.Fatalf("%v: %v\n%s", args, err, out)
		case after != nil:
			after()
		}
	}
}

// said is what a command prints while a test may look at it.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// once runs a command; talk, if not nil, makes its input of its output.
func (w *world) once(talk func(out string) (in string, ready bool), args ...string) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, binary(w.t), append(args, "--config", w.config)...)
	c.Dir, c.Env = w.dir, append(os.Environ(), w.env()...)
	var out said
	c.Stdout, c.Stderr = &out, &out
	in, err := c.StdinPipe()
	w.must(err)
	w.must(c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		select {
		case err := <-ended:
			return out.String(), err
		case <-time.After(5 * time.Millisecond):
		}
		if talk == nil {
			continue
		}
		if text, ready := talk(out.String()); ready {
			talk = nil
			io.WriteString(in, text) //nolint:errcheck // a command that has died does not read it
		}
	}
}

var linkPattern = regexp.MustCompile(`(?m)^  (http\S+)$`)

// signIn is the person who signs in: it opens the link, and pastes the address that the browser ends at.
func signIn(t *testing.T) func(out string) (string, bool) {
	return func(out string) (string, bool) {
		link := linkPattern.FindStringSubmatch(out)
		if link == nil || !strings.Contains(out, "Enter: ") {
			return "", false
		}
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := client.Get(link[1])
		if err != nil {
			t.Error(err)
			return "\n", true
		}
		defer answer.Body.Close()
		back, err := answer.Location()
		if err != nil {
			t.Error(err)
			return "\n", true
		}
		return back.String() + "\n", true
	}
}
