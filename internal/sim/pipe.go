package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeRoom is how many octets a direction of a pipe holds before its writer must wait, as a socket's buffers do.
const pipeRoom = 64 << 10

// pipe returns the two ends of a connection in memory. Unlike net.Pipe's it holds what was written until it is read, also
// after the writer has closed its end: that is how TCP behaves, and a command takes two changes of goroutine, not six. It
// blocks on condition variables alone, so it may be used in a testing/synctest bubble.
func pipe() (client, server net.Conn) {
	up, down := newHalf(), newHalf()
	return &pipeEnd{in: down, out: up}, &pipeEnd{in: up, out: down}
}

// half is one direction of a pipe.
type half struct {
	mu    sync.Mutex
	moved sync.Cond // something below has changed
	buf   []byte
	start int  // what was read of buf
	ended bool // the writer has closed: the end comes after what is in buf
	gone  bool // the reader has closed: nobody will read

	read, write alarm
}

func newHalf() *half {
	h := new(half)
	h.moved.L = &h.mu
	h.read.h, h.write.h = h, h
	return h
}

// alarm wakes those who wait on a half when a deadline has come. A deadline that moves does not cost a timer: the timer
// that runs rings early and is set anew, and none is set while nobody waits. The lock of the half guards it.
type alarm struct {
	h     *half
	at    time.Time // the deadline; zero: none
	set   time.Time // when timer will ring; zero: it does not run
	timer *time.Timer
}

func (a *alarm) past() bool { return !a.at.IsZero() && !time.Now().Before(a.at) }

// arm makes sure that those who are about to wait are woken in time.
func (a *alarm) arm() {
	if a.at.IsZero() || !a.set.IsZero() && !a.set.After(a.at) {
		return
	}
	a.set = a.at
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(a.at), a.ring)
		return
	}
	a.timer.Reset(time.Until(a.at))
}

func (a *alarm) ring() {
	a.h.mu.Lock()
	a.set = time.Time{}
	a.h.mu.Unlock()
	a.h.moved.Broadcast()
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// pipeEnd is one end of a pipe.
type pipeEnd struct{ in, out *half }

// Read returns what the other end wrote, and io.EOF once that end is closed and all was read.
func (p *pipeEnd) Read(b []byte) (int, error) {
	h := p.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, io.ErrClosedPipe
		case h.read.past():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case h.start < len(h.buf):
			n := copy(b, h.buf[h.start:])
			if h.start += n; h.start == len(h.buf) {
				h.buf, h.start = h.buf[:0], 0
			}
			h.moved.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.read.arm()
		h.moved.Wait()
	}
}

// Write waits while the other end has too much to read. To a closed end it fails as a socket does.
func (p *pipeEnd) Write(b []byte) (n int, err error) {
	h := p.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.ended:
			return n, io.ErrClosedPipe
		case h.gone:
			return n, syscall.EPIPE
		case h.write.past():
			return n, os.ErrDeadlineExceeded
		}
		if room := pipeRoom - (len(h.buf) - h.start); room > 0 && len(b) > 0 {
			part := b[:min(room, len(b))]
			h.buf = append(h.buf, part...)
			n, b = n+len(part), b[len(part):]
			h.moved.Broadcast()
		}
		if len(b) == 0 {
			return n, nil
		}
		h.write.arm()
		h.moved.Wait()
	}
}

// Close closes this end; what it wrote can still be read.
func (p *pipeEnd) Close() error {
	for _, h := range []*half{p.in, p.out} {
		h.mu.Lock()
		if h == p.in {
			h.gone = true
			h.buf, h.start = nil, 0
			h.read.stop()
		} else {
			h.ended = true
			h.write.stop()
		}
		h.mu.Unlock()
		h.moved.Broadcast()
	}
	return nil
}

// SetDeadline sets both deadlines.
func (p *pipeEnd) SetDeadline(t time.Time) error {
	p.SetReadDeadline(t)
	return p.SetWriteDeadline(t)
}

// SetReadDeadline says when Read is to give up.
func (p *pipeEnd) SetReadDeadline(t time.Time) error { return p.in.setDeadline(&p.in.read, t) }

// SetWriteDeadline says when Write is to give up.
func (p *pipeEnd) SetWriteDeadline(t time.Time) error { return p.out.setDeadline(&p.out.write, t) }

func (h *half) setDeadline(a *alarm, t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	sooner := !t.IsZero() && (a.at.IsZero() || t.Before(a.at))
	if a.at = t; sooner {
		h.moved.Broadcast() // who waits must set the timer anew
	}
	return nil
}

// LocalAddr returns a name for the pipe.
func (p *pipeEnd) LocalAddr() net.Addr { return pipeAddr{} }

// RemoteAddr returns a name for the pipe.
func (p *pipeEnd) RemoteAddr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
