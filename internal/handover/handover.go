// Package handover waits for what a killed process has left to its child.
//
// A process that is killed while it starts another leaves that one its open files, until it executes its own program: for a
// moment a port is in use, or a lock held, by nobody whom anybody knows. Whoever starts in the place of the killed one waits
// that moment here.
//
// What the package does not do: it takes nothing from a process that lives, and waits for no one else.
package handover

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	pause = 10 * time.Millisecond
	limit = time.Second // of all pauses
)

// Wait calls held, which tries to take something, until it reports that nobody else holds that, for about a second.
func Wait(held func() bool) {
	for range limit / pause {
		if !held() {
			return
		}
		time.Sleep(pause)
	}
	held()
}

// Listen is net.Listen for TCP; it waits for an address that is in use.
func Listen(address string) (l net.Listener, err error) {
	Wait(func() (held bool) {
		l, err = net.Listen("tcp", address)
		return errors.Is(err, syscall.EADDRINUSE)
	})
	return l, err
}
