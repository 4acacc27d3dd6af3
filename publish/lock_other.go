//go:build !unix

package publish

import (
	"fmt"
	"runtime"
)

// lockDir refuses: without a lock that dies with its process, two servers on one directory lose data.
func lockDir(dir string) (release func() error, err error) {
	return nil, fmt.Errorf("the built-in NATS server cannot lock %s on %s: run nats-server and set nats.url", dir, runtime.GOOS)
}

func noteAddress(string, string) error { return nil }
