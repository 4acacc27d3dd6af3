package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// reserved are the ports that FreePort has given.
var reserved struct {
	sync.Mutex
	by []net.PacketConn
}

// FreePort finds a port of the loopback for a program that has to be told one. It lies below the range from which systems
// take the ports of outgoing connections: from there one could be taken while the program is down, even by a client that
// knocks at that very port and so connects to itself. Nobody else is given it, in whatever process, until this one ends:
// its namesake of UDP, which nobody needs, is held for that.
func FreePort() (string, error) {
	const low, high = 10000, 32768
	var err error
	for range 100 {
		port := strconv.Itoa(low + rand.IntN(high-low))
		address := net.JoinHostPort("127.0.0.1", port)
		var held net.PacketConn
		if held, err = net.ListenPacket("udp", address); err != nil {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", address); err != nil {
			held.Close()
			continue
		}
		reserved.Lock()
		reserved.by = append(reserved.by, held)
		reserved.Unlock()
		return port, l.Close()
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
