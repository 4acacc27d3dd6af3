package chaos

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

// Process is a program under test.
type Process struct {
	Began time.Time
	cmd   *exec.Cmd
	out   buffer
	gone  chan struct{} // closed when it has ended
}

// buffer keeps what a process says. The last 64 KiB are enough to say what went wrong.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.data.Len() > 128<<10 {
		b.data.Next(b.data.Len() - 64<<10)
	}
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// spawn starts a program. It does not outlive ctx.
func spawn(ctx context.Context, dir string, env []string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, args[0], args[1:]...), gone: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.Began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	go func() {
		p.cmd.Wait() // ProcessState tells
		close(p.gone)
	}()
	return p, nil
}

// Output is what the process said, its end if that was much.
func (p *Process) Output() string { return p.out.String() }

// Running fails when the process has ended by itself.
func (p *Process) Running() error {
	select {
	case <-p.gone:
		return fmt.Errorf("the process ended by itself, exit code %d\n%s", p.cmd.ProcessState.ExitCode(), p.Output())
	default:
		return nil
	}
}

// Kill is kill -9. What the process sent last may take a server a moment more to read.
func (p *Process) Kill() {
	p.cmd.Process.Kill() // it may be gone
	<-p.gone
	time.Sleep(lastWords)
}

// lastWords is so long that nothing a killed process sent is taken for the first event of the next.
const lastWords = 20 * time.Millisecond

// Stop is SIGTERM. It returns the exit code.
func (p *Process) Stop(ctx context.Context) (int, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("stop: %w", err)
	}
	return p.Wait(ctx)
}

// Wait waits until the process ends by itself. It returns the exit code.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.gone:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the process to end: %w\n%s", ctx.Err(), p.Output())
	}
}
