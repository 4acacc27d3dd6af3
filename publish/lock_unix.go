//go:build unix

package publish

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mailflume/mailflume/internal/handover"
)

// lockName is the file in the store directory that its owner holds locked.
const lockName = "mailflume.lock"

// lockDir makes dir ours until release is called or the process ends. Two servers on one directory lose acked data,
// and nats-server itself does not look.
func lockDir(dir string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the NATS store %s: %w: make it writable, or set \"data\" to another directory", dir, err)
	}
	handover.Wait(func() (held bool) {
		err = flock(f)
		return errors.Is(err, unix.EWOULDBLOCK) && gone(holder(f))
	})
	if err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &InUseError{Dir: dir, PID: holder(f), Listen: listens(f)}
		}
		return nil, fmt.Errorf("lock the NATS store %s: %w: use a file system that has locks", dir, err)
	}
	// The file stays when we go: removing it would let two processes lock two files of one name.
	err = errors.Join(f.Truncate(0), writePID(f))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the NATS store %s: %w", dir, err), f.Close())
	}
	return f.Close, nil
}

func flock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// gone says whether there is no process with this id.
func gone(pid int) bool { return pid > 0 && errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// noteAddress writes into the lock file of a directory that is ours where its server listens, for commands that find it in use.
func noteAddress(dir, addr string) error {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"+addr+"\n"), 0)
	return errors.Join(err, f.Close())
}

// holder reads the process id from a lock file, or 0.
func holder(f *os.File) int {
	pid, err := strconv.Atoi(noted(f, 0))
	if err != nil {
		return 0
	}
	return pid
}

// listens reads from a lock file where the server listens, or nothing.
func listens(f *os.File) string { return noted(f, 1) }

// noted returns a line of a lock file.
func noted(f *os.File, line int) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 512))
	lines := strings.Split(string(b), "\n")
	if err != nil || line >= len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[line])
}
