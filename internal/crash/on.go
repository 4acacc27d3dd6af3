//go:build crashpoints && unix

package crash

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Enabled says whether this build has crash points.
const Enabled = true

var (
	mu   sync.Mutex
	seen = map[string]int64{}
	tell = os.Getenv("CRASH_HITS")

	where, nth = chosen(os.Getenv("CRASH"))
)

// chosen reads "name:n"; without n it is the first hit.
func chosen(text string) (name string, n int64) {
	if text == "" {
		return "", 0
	}
	name, count, has := strings.Cut(text, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if has && (err != nil || n < 1) || find(name) == nil {
		panic("CRASH=" + text + ": want the name of a crash point and a number from 1, as in puback.received:3")
	}
	return name, max(n, 1)
}

// At is where the process dies if CRASH says so.
func At(name string) {
	mu.Lock()
	defer mu.Unlock()
	if n := hit(name); name == where && n == nth {
		kill() // and whoever comes next waits for the lock
	}
}

// kill does not return.
func kill() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL) // it cannot fail
	select {}
}

// Soon is At beside what the caller does next: the process dies while that is under way.
func Soon(name string) { go At(name) }

// With is At for a place that works on a message. One that holds Poison kills whoever comes here with it, always.
func With(name string, raw []byte) {
	At(name)
	if bytes.Contains(raw, []byte(Poison)) {
		kill()
	}
}

// hit counts. A byte that is appended to a file is a count that all processes share, and that a kill leaves as it is.
func hit(name string) int64 {
	if find(name) == nil {
		panic("crash point " + name + " is not in the table")
	}
	if tell == "" {
		seen[name]++
		return seen[name]
	}
	f, err := os.OpenFile(filepath.Join(tell, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		panic(fmt.Sprintf("CRASH_HITS: %v", err))
	}
	defer f.Close()
	if _, err := f.Write([]byte{'.'}); err != nil {
		panic(fmt.Sprintf("CRASH_HITS: %v", err))
	}
	n, err := f.Seek(0, io.SeekCurrent) // where our byte ended
	if err != nil {
		panic(fmt.Sprintf("CRASH_HITS: %v", err))
	}
	return n
}
