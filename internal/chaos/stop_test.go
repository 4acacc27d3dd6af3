package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// What hangs while the replica is asked to stop.
var hangs = []struct {
	name string
	of   int // so many of twenty
	hang func(w *World) error
	mend func(ctx context.Context, w *World) error
}{
	{"nothing", 14, func(*World) error { return nil }, func(context.Context, *World) error { return nil }},
	{"the broker", 2, func(w *World) error { return w.Brokers.Pause(0) }, func(_ context.Context, w *World) error { return w.Brokers.Resume(0) }},
	{"the mail server", 2, func(w *World) error { return w.Lines.IMAP.Hold() }, func(ctx context.Context, w *World) error { return w.Lines.IMAP.Mend(ctx) }},
	{"the token endpoint", 2, func(w *World) error { return w.Lines.OAuth.Hold() }, func(ctx context.Context, w *World) error { return w.Lines.OAuth.Mend(ctx) }},
}

// Whatever a replica is doing, and whatever hangs, SIGTERM ends it in order and soon.
func TestTerminated(t *testing.T) {
	rounds := forms(t, 20, 200)
	alongside(t)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Mailboxes: 8, Lines: true})
	took := map[string][]time.Duration{}
	var all []time.Duration
	ordeal(t, w, Ordeal{
		Mails: madeUp(60*rounds, w.rng), Early: 10 * rounds, Every: 30 * time.Millisecond, Faults: rounds,
		Fault: func(ctx context.Context, f *Fleet, k int) (time.Time, error) {
			n := k % 20
			h := hangs[0]
			for _, h = range hangs {
				if n -= h.of; n < 0 {
					break
				}
			}
			// Before its first word a program has not even told the system that it wants to hear of the signal.
			for f.replicas[0].Output() == "" && f.Running() == nil {
				time.Sleep(time.Millisecond)
			}
			w.sleep(700 * time.Millisecond)
			if err := h.hang(w); err != nil {
				return time.Time{}, err
			}
			w.sleep(100 * time.Millisecond)
			began := time.Now()
			waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			err := f.replicas[0].Terminate()
			code, failed := f.replicas[0].Wait(waiting)
			d := time.Since(began)
			if err = errors.Join(err, failed, h.mend(ctx, w)); err == nil && code != 0 {
				err = fmt.Errorf("while %s hung it ended with exit code %d after %v", h.name, code, d)
			}
			if err != nil {
				return time.Time{}, err
			}
			took[h.name], all = append(took[h.name], d), append(all, d)
			return time.Time{}, f.Start(ctx, 0)
		},
	}, 15*time.Minute)
	for _, h := range hangs {
		slices.Sort(took[h.name])
		t.Logf("while %s hung: %d, median %v, longest %v", h.name, len(took[h.name]),
			took[h.name][len(took[h.name])/2].Round(time.Millisecond), took[h.name][len(took[h.name])-1].Round(time.Millisecond))
	}
	slices.Sort(all)
	p99, longest := all[len(all)*99/100], all[len(all)-1]
	t.Logf("SIGTERM %d times: 99 %% within %v, all within %v", len(all), p99.Round(time.Millisecond), longest.Round(time.Millisecond))
	if longest > 8*time.Second || len(all) >= 100 && p99 > 5*time.Second {
		t.Errorf("99 %% within %v and all within %v, want 5s and 8s", p99, longest)
	}
}
