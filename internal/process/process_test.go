package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parent makes this binary a process that starts another, says its id, and waits to be killed.
const parent = "PROCESS_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parent) != "" {
		p, err := Start(context.Background(), "/", nil, "sleep", "60")
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString(strconv.Itoa(p.Pid()) + "\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestExitCodeAndOutput(t *testing.T) {
	p, err := Start(t.Context(), "/", []string{"WORD=hello"}, "sh", "-c", "echo $WORD; pwd >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(t.Context()); err != nil || code != 3 {
		t.Errorf("exit code %d, %v", code, err)
	}
	if got := p.Output(); got != "hello\n/\n" {
		t.Errorf("it said %q", got)
	}
	if err := p.Running(); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("Running says %v", err)
	}
	p.Kill() // does no harm
}

func TestTerminate(t *testing.T) {
	p, err := Start(t.Context(), "/", nil, "sh", "-c", "trap 'exit 4' TERM; echo up; while :; do sleep 0.01; done")
	if err != nil {
		t.Fatal(err)
	}
	for p.Output() == "" {
		time.Sleep(time.Millisecond)
	}
	if err := p.Terminate(); err != nil {
		t.Error(err)
	}
	if code, err := p.Wait(t.Context()); err != nil || code != 4 {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestKillReachesTheChildren(t *testing.T) {
	p, err := Start(t.Context(), "/", nil, "sh", "-c", "sleep 60 & echo $!; wait")
	if err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(p.Output(), "\n") {
		time.Sleep(time.Millisecond)
	}
	p.Kill()
	awaitDeath(t, p.Output())
}

func TestContextKills(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Start(ctx, "/", nil, "sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-p.Gone()
}

func TestNothingOutlivesUs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can do it")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), parent+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 20)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill() // Wait tells
	cmd.Wait()         // an error: it was killed
	awaitDeath(t, string(line[:n]))
}

// awaitDeath waits until a process is gone; init takes its time to bury the dead.
func awaitDeath(t *testing.T, line string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("process %d is still there", pid)
		}
	}
}
