//go:build unix

package publish

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process that was killed while it started a child can leave its lock to the child for a moment. Who starts next waits for
// that, and not for a process that lives.
func TestLockOfADeadProcessIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	ended := exec.CommandContext(t.Context(), "true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "mailflume.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strconv.Itoa(ended.Process.Pid) + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	released := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		released <- f.Close()
	}()
	mustClose(t, mustOpen(t, embeddedConfig(dir)))
	if err := <-released; err != nil {
		t.Error(err)
	}
}
