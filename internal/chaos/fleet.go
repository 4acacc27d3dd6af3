package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// Fleet is a number of replicas, processes of the binary, each with a page of its own.
type Fleet struct {
	w        *World
	replicas []*Replica
}

// Replica is one process of a Fleet; a process that is started in its place has the same page.
type Replica struct {
	*process.Process
	Page string // host:port
}

// StartFleet starts n replicas.
func (w *World) StartFleet(ctx context.Context, n int) (*Fleet, error) {
	f := &Fleet{w: w}
	for range n {
		port, err := process.FreePort()
		if err != nil {
			return f, err
		}
		r := &Replica{Page: "127.0.0.1:" + port}
		f.replicas = append(f.replicas, r)
		if err := f.Start(ctx, len(f.replicas)-1); err != nil {
			return f, err
		}
	}
	return f, nil
}

// Start starts a process in place of the replica i, which has ended.
func (f *Fleet) Start(ctx context.Context, i int) (err error) {
	r := f.replicas[i]
	// Its life is the caller's business: the end of one test's ctx must not look like a crash.
	r.Process, err = f.w.Start(context.WithoutCancel(ctx), "MAILFLUME_HTTP_LISTEN="+r.Page)
	return err
}

// Kill is kill -9 of the replica i.
func (f *Fleet) Kill(i int) { f.replicas[i].Process.Kill() }

// Pause stops the replica i where it is.
func (f *Fleet) Pause(i int) error { return f.replicas[i].Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (f *Fleet) Resume(i int) error { return f.replicas[i].Signal(syscall.SIGCONT) }

// Running fails when a replica has ended by itself.
func (f *Fleet) Running() error {
	var errs []error
	for i, r := range f.replicas {
		if err := r.Running(); err != nil {
			errs = append(errs, fmt.Errorf("replica %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// Ready waits until every replica says that it can do its work.
func (f *Fleet) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i := 0; i < len(f.replicas); {
		if status, _, err := f.replicas[i].Get(ctx, "/readyz"); err == nil && status == http.StatusOK {
			i++
			continue
		}
		if err := errors.Join(f.Running(), ctx.Err()); err != nil {
			return fmt.Errorf("wait for replica %d: %w\n%s", i, err, f.Output())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// Stop kills all of them.
func (f *Fleet) Stop() {
	for _, r := range f.replicas {
		if r.Process != nil {
			r.Process.Kill()
		}
	}
}

// Output is what the replicas said, the end of it.
func (f *Fleet) Output() (all string) {
	for i, r := range f.replicas {
		all += fmt.Sprintf("--- replica %d\n%s", i, r.Output())
	}
	return all
}

var pages = &http.Client{Timeout: 3 * time.Second}

// Get reads a page of a replica: /readyz, /metrics.
func (r *Replica) Get(ctx context.Context, path string) (status int, text string, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Page+path, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := pages.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}
