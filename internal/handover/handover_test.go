package handover_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/handover"
	"github.com/mailflume/mailflume/internal/process"
)

// What is given up within a second is had at once; what is not is tried once more after it.
func TestWait(t *testing.T) {
	for _, test := range []struct{ held, wait time.Duration }{
		{0, 0}, {15 * time.Millisecond, 20 * time.Millisecond}, {time.Second, time.Second}, {time.Hour, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, last := time.Now(), false
			handover.Wait(func() bool {
				last = time.Since(began) < test.held
				return last
			})
			if wait := time.Since(began); wait != test.wait || last != (test.held > time.Second) {
				t.Errorf("held for %v: waited for %v, and it is held: %v", test.held, wait, last)
			}
		})
	}
}

func TestListen(t *testing.T) {
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", port)
	first, err := handover.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handover.Listen(address); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that another listens on: %v", err)
	}
	time.AfterFunc(100*time.Millisecond, func() { first.Close() })
	second, err := handover.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	var refused *net.OpError
	if _, err := handover.Listen("127.0.0.1:none"); !errors.As(err, &refused) {
		t.Errorf("no port: %v", err)
	}
}
