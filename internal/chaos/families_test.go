package chaos

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// forms returns what a family does in the form of this run.
func forms[T any](t *testing.T, short, long T) T {
	t.Helper()
	switch form {
	case "short":
		return short
	case "long":
		return long
	}
	t.Skip("make chaos runs it")
	return short
}

// ordeal runs one in a world, and prints what came of it.
func ordeal(t *testing.T, w *World, o Ordeal, limit time.Duration) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := w.Run(ctx, o)
	t.Logf("%v", out)
	if err != nil {
		t.Fatal(err)
	}
	if out.Events != out.Served || out.Served < len(o.Mails) {
		t.Errorf("%d events of %d messages, %d of which were delivered", out.Events, out.Served, len(o.Mails))
	}
	return out
}

// The worker is killed again and again while mail arrives in twenty mailboxes.
func TestKilledWorker(t *testing.T) {
	kills := forms(t, 60, 500)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Mailboxes: 20})
	ordeal(t, w, Ordeal{
		Mails: madeUp(40*kills, w.rng), Early: 10 * kills, Every: 12 * time.Millisecond, Faults: kills,
		Fault: func(ctx context.Context, f *Fleet, _ int) error {
			w.sleep(time.Duration(forms(t, 400, 800)) * time.Millisecond)
			if err := f.Running(); err != nil {
				return err
			}
			f.Kill(0)
			return f.Start(ctx, 0)
		},
	}, 8*time.Minute)
}

// The broker is killed again and again, alone or one of three, while three replicas read.
func TestKilledBroker(t *testing.T) {
	kills := forms(t, 10, 100)
	for _, c := range []struct {
		brokers int
		sync    string
		most    time.Duration // until mail flows again
	}{{1, "always", 2 * time.Second}, {1, "default", 2 * time.Second}, {3, "always", 10 * time.Second}} {
		t.Run(fmt.Sprintf("%d brokers, sync %s", c.brokers, c.sync), func(t *testing.T) {
			w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Brokers: c.brokers, Sync: c.sync, Mailboxes: 12})
			out := ordeal(t, w, Ordeal{
				Mails: madeUp(40*kills, w.rng), Early: 5 * kills, Every: 50 * time.Millisecond, Faults: kills, Size: 3,
				Fault: func(ctx context.Context, f *Fleet, k int) error {
					w.sleep(2 * time.Second)
					i := w.rng.IntN(c.brokers)
					w.Brokers.Kill(i)
					w.sleep(2 * time.Second)
					return w.Brokers.Start(ctx, i)
				},
			}, 15*time.Minute)
			for i, gap := range out.Gaps {
				if gap > c.most {
					t.Errorf("kill %d: mail flowed again after %v, want at most %v", i+1, gap, c.most)
				}
			}
		})
	}
}
