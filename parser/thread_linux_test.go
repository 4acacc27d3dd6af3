package parser

import (
	"syscall"
	"testing"
	"time"
)

// threadTime returns the processor time that this thread has used (getrusage(2)).
func threadTime(t *testing.T) time.Duration {
	const thread = 1 // RUSAGE_THREAD, which package syscall does not name
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
