package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the time since the machine was started. Unlike Go's monotonic clock it goes on while the machine sleeps.
func bootTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("read the boot-time clock: %v", err)) // every Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// thisProcess says which process this is. What cannot be found out stays empty, and then nobody can prove anything from it.
func thisProcess() process {
	p := process{PID: os.Getpid()}
	p.Host, _ = os.Hostname()
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		p.Boot = strings.TrimSpace(string(boot))
	}
	p.Namespace, _ = os.Readlink("/proc/self/ns/pid")
	p.Start, _, _ = startTime(p.PID)
	return p
}

// startTime returns when a process was started, in clock ticks since boot, and whether it has ended and waits to be reaped.
func startTime(pid int) (start uint64, ended bool, err error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false, err
	}
	// The second field is the program's name in parentheses, and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, false, errors.New("short stat")
	}
	start, err = strconv.ParseUint(fields[19], 10, 64) // field 22 of the line
	return start, fields[0] == "Z" || fields[0] == "X", err
}

// provesDead reports whether p can see that the process other has ended. Both must be of the same boot of the same
// machine and of the same pid namespace, else the number of other says nothing here. (The number of a namespace that has
// ended may be given to a new one; then every process of the old one has ended too.)
func (p process) provesDead(other process) bool {
	if other.Boot == "" || other.Namespace == "" || other.Start == 0 || other.PID <= 0 ||
		other.Boot != p.Boot || other.Namespace != p.Namespace || other.Host != p.Host {
		return false
	}
	// /proc may hide the processes of other users; kill tells "not there" from "not yours".
	if err := unix.Kill(other.PID, 0); errors.Is(err, unix.ESRCH) {
		return true
	}
	start, ended, err := startTime(other.PID)
	return err == nil && (ended || start != other.Start)
}
