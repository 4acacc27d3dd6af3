package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreePort finds a port of the loopback for a program that has to be told one. It lies below the range from which systems
// take the ports of outgoing connections: from there one could be taken while the program is down, even by a client that
// knocks at that very port and so connects to itself.
func FreePort() (string, error) {
	const low, high = 10000, 32768
	var err error
	for range 100 {
		port := strconv.Itoa(low + rand.IntN(high-low))
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return port, l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
