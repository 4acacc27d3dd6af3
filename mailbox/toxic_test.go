package mailbox_test

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// toxic is what a bad network does to a connection; the names are those of toxiproxy's toxics.
type toxic struct {
	latency time.Duration // before what was sent arrives
	rate    int           // bytes a second; 0 is no limit
	slice   int           // at most so many bytes arrive at once, with latency before each
	limit   int           // so many bytes arrive, then the connection ends
	reset   time.Duration // the connection ends after so long
	vanish  time.Duration // nothing arrives after so long, and the connection stays
	slow    time.Duration // the end of the connection is seen so late
	blocked bool          // no connection can be opened
}

// toxicLine is the network between a worker and its server; nil is a good one.
type toxicLine struct {
	mu sync.Mutex
	t  *toxic
}

func (l *toxicLine) set(t *toxic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t = t
}

func (l *toxicLine) now() *toxic {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return &toxic{}
	}
	return l.t
}

// through returns the client's end of a connection to the server that passes through the line.
func (l *toxicLine) through(server net.Conn) (net.Conn, error) {
	if l.now().blocked {
		server.Close()
		return nil, os.ErrDeadlineExceeded
	}
	client, proxy := net.Pipe()
	born := time.Now()
	go func() { io.Copy(server, proxy); server.Close() }() //nolint:errcheck // either end may close
	go l.carry(server, proxy, born)
	return client, nil
}

// carry takes to the client what the server says, as the network of the moment lets it.
func (l *toxicLine) carry(server, client net.Conn, born time.Time) {
	defer client.Close()
	defer server.Close()
	sent := 0
	buf := make([]byte, 4096)
	for {
		n, err := server.Read(buf)
		for at := 0; at < n; {
			t := l.now()
			part := buf[at:n]
			if t.slice > 0 {
				part = part[:min(len(part), t.slice)]
			}
			wait := t.latency
			if t.rate > 0 {
				wait += time.Duration(len(part)) * time.Second / time.Duration(t.rate)
			}
			time.Sleep(wait)
			if t.reset > 0 && time.Since(born) > t.reset || t.limit > 0 && sent > t.limit {
				return
			}
			at += len(part)
			sent += len(part)
			if t.vanish > 0 && time.Since(born) > t.vanish {
				continue
			}
			if _, err := client.Write(part); err != nil {
				return
			}
		}
		if err != nil {
			time.Sleep(l.now().slow)
			return
		}
	}
}

// TestToxics: eight toxics of two strengths before a mail server. Nothing is lost or comes twice, and the
// mailbox is well again soon after each is gone.
func TestToxics(t *testing.T) {
	for name, strengths := range map[string][2]toxic{
		"latency":    {{latency: 300 * time.Millisecond}, {latency: 10 * time.Second}},
		"bandwidth":  {{rate: 16 << 10}, {rate: 1 << 10}},
		"slicer":     {{slice: 100, latency: 10 * time.Millisecond}, {slice: 1, latency: time.Millisecond}},
		"limit_data": {{limit: 20_000}, {limit: 300}},
		"reset_peer": {{reset: time.Minute}, {reset: time.Second}},
		"timeout":    {{vanish: time.Minute}, {vanish: time.Millisecond}},
		"slow_close": {{slow: 10 * time.Second}, {slow: 5 * time.Minute}},
		"down":       {{blocked: true}, {blocked: true, reset: time.Second}},
	} {
		for _, tx := range strengths {
			t.Run(name, func(t *testing.T) {
				inLab(t, plainWorld, func(l *lab) {
					s := l.add(sim.Exchange, "anna")
					line := new(toxicLine)
					s.fetch.Dial = func(context.Context, string, string) (net.Conn, error) {
						return line.through(l.world.IMAP(sim.Exchange).Pipe())
					}
					defer s.run()()
					s.deliver(0, 40)
					s.within(time.Minute, "it watches", s.watching)
					line.set(&tx)
					s.a.DropConnections()
					for i := range 20 {
						s.deliver(40+i, 1)
						time.Sleep(30 * time.Second)
					}
					line.set(nil)
					// A silent connection is found within the refresh, and the longest wait before another is five minutes.
					took := s.within(16*time.Minute, "the mail", func() bool { return s.received() == 60 && s.watching() })
					t.Logf("%+v: well after %v", tx, took.Round(time.Second))
					s.once()
				})
			})
		}
	}
}
