// Package process runs programs for tests: servers, and our own binary. No program outlives the process that started it,
// even if that is killed itself (on Linux).
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Process is a program that was started.
type Process struct {
	Began time.Time

	cmd  *exec.Cmd
	out  output
	gone chan struct{} // closed when it has ended
}

// output keeps the end of what a process says: 64 KiB are enough to tell what went wrong.
type output struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.data.Len() > 128<<10 {
		o.data.Next(o.data.Len() - 64<<10)
	}
	return o.data.Write(p)
}

// Start starts a program in the directory dir; env is added to our own environment. The end of ctx kills it.
func Start(ctx context.Context, dir string, env []string, program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, program, args...), gone: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = time.Second // what it started itself may hold its output open
	p.cmd.SysProcAttr = attr()
	started := make(chan error, 1)
	p.Began = time.Now()
	go func() {
		lockThread() // for good: the thread ends with this goroutine
		defer close(p.gone)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait() // ProcessState tells how
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// Pid is the id of the process, and of its process group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output is what the process said, its end if that was much.
func (p *Process) Output() string {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return p.out.data.String()
}

// Gone is closed when the process has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Running fails when the process has ended by itself.
func (p *Process) Running() error {
	select {
	case <-p.gone:
		return fmt.Errorf("the process ended by itself, exit code %d\n%s", p.cmd.ProcessState.ExitCode(), p.Output())
	default:
		return nil
	}
}

// Kill is kill -9 of the process and of what it started.
func (p *Process) Kill() {
	syscall.Kill(-p.Pid(), syscall.SIGKILL) // they may all be gone
	<-p.gone
}

// Signal sends a signal to the process alone; one that has ended takes none, which is no error.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", s, p.cmd.Path, err)
	}
	return nil
}

// Terminate is SIGTERM. Wait tells how it ended.
func (p *Process) Terminate() error { return p.Signal(syscall.SIGTERM) }

// Wait waits until the process ends by itself and returns its exit code.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.gone:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for %s to end: %w\n%s", p.cmd.Path, ctx.Err(), p.Output())
	}
}
