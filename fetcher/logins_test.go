package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogins: at one server, logins come at the rate that was set; at another they do not wait; and ctx ends the waiting.
func TestLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLogins(5)
		start := time.Now()
		for i := range 30 {
			if err := l.wait(t.Context(), "a.example:993", ""); err != nil {
				t.Fatal(err)
			}
			if d, want := time.Since(start), time.Duration(max(0, i-4))*200*time.Millisecond; d != want {
				t.Errorf("login %d after %v, want %v", i, d, want)
			}
		}
		before := time.Now()
		if err := l.wait(t.Context(), "b.example:993", ""); err != nil || time.Since(before) != 0 {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("enough"))
		defer cancel()
		if err := l.wait(ctx, "a.example:993", ""); err == nil || err.Error() != "enough" {
			t.Error(err)
		}
	})
}

// TestLoginsAmongReplicas: three replicas together keep to the rate, each from the moment on at which it knows of the others.
func TestLoginsAmongReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replicas := 3
		count := make(chan struct{}, 10_000)
		for range replicas {
			l := NewLogins(6).Among(func() int { return replicas })
			go func() {
				for l.wait(t.Context(), "a.example:993", "") == nil {
					count <- struct{}{}
				}
			}()
		}
		time.Sleep(100*time.Second + time.Millisecond)
		if n := len(count); n < 600 || n > 610 {
			t.Errorf("%d logins in 100 s, want 6 a second and as many at once", n)
		}
		slow := NewLogins(1).Among(func() int { return 5 })
		before := time.Now()
		if err := slow.wait(t.Context(), "b.example:993", ""); err != nil || time.Since(before) != 0 {
			t.Errorf("the first login waits for %v", time.Since(before))
		}
	})
}

// TestLoginsApart: an account may log in a few times in short order, and then at the gap that was set, until it has been quiet.
// Others do not wait for it, and a server that cannot be reached does not count.
func TestLoginsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLogins(1000).Apart(30 * time.Second)
		f := newFake(t)
		logIn := func(user string, dial func(context.Context, string, string) (net.Conn, error)) time.Duration {
			c := f.config()
			c.Logins, c.User, c.Dial = l, user, dial
			start := time.Now()
			s, err := Open(t.Context(), c, secret{"x"})
			if err == nil {
				s.Close()
			}
			return time.Since(start).Round(time.Second)
		}
		away := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }
		for range 20 {
			if d := logIn("u@example.com", away); d != 0 {
				t.Fatalf("waits for %v although nobody was asked", d)
			}
		}
		for i := range 8 {
			want := 30 * time.Second
			if i < inHaste {
				want = 0
			}
			if d := logIn("u@example.com", f.dial); d != want {
				t.Errorf("login %d after %v, want %v", i, d, want)
			}
		}
		if d := logIn("other@example.com", f.dial); d != 0 {
			t.Errorf("another account waits for %v", d)
		}
		time.Sleep(time.Hour)
		for range inHaste {
			if d := logIn("u@example.com", f.dial); d != 0 {
				t.Errorf("waits for %v after an hour of quiet", d)
			}
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
		defer cancel()
		if err := l.wait(ctx, f.config().Addr, "u@example.com"); err == nil || err.Error() != "enough" {
			t.Error(err)
		}
	})
}

// TestLoginsOfOneAccountAmongReplicas: the entries of one account get no more logins than the account may have, whichever
// replicas read them, and one replica alone gives them to whichever needs them.
func TestLoginsOfOneAccountAmongReplicas(t *testing.T) {
	const gap, entries = 30 * time.Second, 3
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logins := 0
				var mu sync.Mutex
				ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
				defer stop()
				var all sync.WaitGroup
				process := func() *Logins {
					return NewLogins(1000).Among(func() int { return replicas }).Apart(gap)
				}
				shared := process()
				for i := range entries {
					l := shared
					if replicas > 1 {
						l = process()
					}
					l = l.Entry(fmt.Sprint(i), func() int { return entries })
					all.Go(func() { // it logs in again and again
						for l.wait(ctx, "mail.test:993", "u@example.com") == nil {
							l.sent("mail.test:993", "u@example.com")
							mu.Lock()
							logins++
							mu.Unlock()
							_ = pause(ctx, time.Second)
						}
					})
				}
				all.Wait()
				if most := inHaste + int(2*time.Hour/gap) + entries; logins > most || logins < most*9/10 {
					t.Errorf("%d logins in two hours, want %d", logins, most)
				}
			})
		})
	}
}
