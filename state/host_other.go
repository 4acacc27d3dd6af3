//go:build !linux

package state

import (
	"os"
	"time"
)

var processStart = time.Now()

// bootTime is the time since the process was started: there is no boot-time clock to be had here.
func bootTime() time.Duration { return time.Since(processStart) }

// thisProcess says which process this is, as far as people care.
func thisProcess() process {
	host, _ := os.Hostname()
	return process{Host: host, PID: os.Getpid()}
}

// provesDead reports false: only the lease tells.
func (process) provesDead(process) bool { return false }
