package fetcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTricklingServers: three servers that announce a large message and hand it out just fast enough to live, with a Budget
// that one of them fills, do not hold up another mailbox: its small mail comes at once, and its large message within
// minutes; and if nobody waits, a slow server may take its time.
func TestTricklingServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 48 << 20
		budget := NewBudget(64 << 20)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 3)
		for range 3 {
			f := newFake(t, 1)
			f.on["UID FETCH"] = func(c *fakeConn, _, args string) bool {
				if !strings.Contains(args, "BODY") {
					return false
				}
				fmt.Fprintf(c.Conn, "* 1 FETCH (UID 1 BODY[] {%d}\r\n", size)
				for c.fail == nil {
					_, c.fail = c.Conn.Write(make([]byte, 40<<10))
					time.Sleep(50 * time.Second)
				}
				return true
			}
			conf := f.config()
			conf.Budget = budget
			s := mustOpen(t, conf)
			go func() {
				for _, err := range s.Messages(ctx, nil) {
					if err != nil {
						ended <- err
					}
				}
				s.Close()
			}()
		}
		time.Sleep(time.Minute)
		f := newFake(t, 1, 2, 3)
		f.mails[2].raw += strings.Repeat("x", 8<<20)
		conf := f.config()
		conf.Budget = budget
		s := mustOpen(t, conf)
		defer s.Close()
		start := time.Now()
		for m, err := range s.Messages(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			late, most := time.Since(start), time.Duration(0)
			if m.UID == 3 {
				most = 15 * time.Minute // three times its own time, as those before it have
			}
			if late > most {
				t.Errorf("UID %d came after %v", m.UID, late)
			}
			m.Release()
		}
		var stall *StallError
		if err := <-ended; !errors.As(err, &stall) {
			t.Errorf("the server that was cut: %v", err)
		}
		stop()
		time.Sleep(2 * time.Minute) // for the servers to notice
	})
}

// TestSlowAndAlone: a server that takes hours over a message may do so as long as nobody waits for the room.
func TestSlowAndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 8 << 20
		f := newFake(t, 1)
		f.on["UID FETCH"] = func(c *fakeConn, tag, args string) bool {
			if !strings.Contains(args, "BODY") {
				return false
			}
			fmt.Fprintf(c.Conn, "* 1 FETCH (UID 1 RFC822.SIZE %d BODY[] {%d}\r\n", size, size)
			for sent := 0; sent < size && c.fail == nil; sent += 64 << 10 {
				_, c.fail = c.Conn.Write(make([]byte, 64<<10))
				time.Sleep(50 * time.Second)
			}
			c.say(")\r\n%s OK", tag)
			return true
		}
		conf := f.config()
		conf.Budget = NewBudget(64 << 20)
		s := mustOpen(t, conf)
		defer s.Close()
		start := time.Now()
		r := readAll(t.Context(), s, nil)
		wantUIDs(t, r, 1)
		if d := time.Since(start); d < 90*time.Minute {
			t.Errorf("it took %v", d)
		}
	})
}
