// Package accept takes the connections to the servers and proxies that tests make up.
package accept

import (
	"net"
	"testing"
)

// Each calls serve, in a goroutine of its own, for every connection to a free port of the loopback, whose address it returns. It
// takes no more when the test ends. serve closes the connection.
func Each(t testing.TB, serve func(conn net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l.Addr().String()
}
