package sim

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

// A Server is one provider's IMAP server.
type Server struct {
	w       *World
	dialect *dialect

	mu       sync.Mutex
	greeting string
	faults   faultList
}

// Inject arms a fault for connections that have not logged in: on "GREETING", or on a command before the login. It
// strikes whatever account is meant.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.add(f)
}

// SetGreeting changes the greeting; see GreetingExchangeNew.
func (s *Server) SetGreeting(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greeting = line
}

func (s *Server) greet() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeting != "" {
		return s.greeting
	}
	return s.dialect.greeting
}

func (s *Server) fault(command string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.take(command, s.w.now())
}

// ServeConn serves one connection and closes it. It returns when the connection has ended.
func (s *Server) ServeConn(conn net.Conn) {
	if !s.w.enter(conn) {
		conn.Close()
		return
	}
	defer s.w.leave(conn)
	newSession(s, conn).run()
}

// Pipe returns the client's end of a connection in memory.
func (s *Server) Pipe() net.Conn {
	client, server := pipe()
	if !s.w.enter(server) {
		server.Close()
		return client
	}
	go func() {
		defer s.w.leave(server)
		newSession(s, server).run()
	}()
	return client
}

// Serve serves the connections of a listener until it or the World is closed.
func (s *Server) Serve(l net.Listener) error {
	if !s.w.enter(l) {
		l.Close()
		return net.ErrClosed
	}
	defer s.w.leave(l)
	defer l.Close()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go s.ServeConn(conn)
	}
}

// Listen serves on a free port of 127.0.0.1, without TLS, until the World is closed.
func (s *Server) Listen() (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go s.Serve(l)
	return l.Addr().String(), nil
}

// ListenTLS is Listen with implicit TLS; World.CertPEM has the certificate authority.
func (s *Server) ListenTLS() (addr string, err error) {
	conf, err := s.w.TLSConfig()
	if err != nil {
		return "", err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		return "", err
	}
	go s.Serve(l)
	return l.Addr().String(), nil
}
