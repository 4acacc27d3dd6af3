package chaos

import (
	"context"
	"errors"
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

// alongside lets the short forms run beside each other: they mostly wait. What the long ones measure is theirs alone.
func alongside(t *testing.T) {
	t.Helper()
	if form == "short" {
		t.Parallel()
	}
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
	if out.Events != out.Served || out.Served == 0 || out.Dry || out.Served < o.Least {
		t.Errorf("%d events of %d messages; %d were prepared", out.Events, out.Served, len(o.Mails))
	}
	return out
}

// The worker is killed again and again while mail arrives in twenty mailboxes.
func TestKilledWorker(t *testing.T) {
	kills, pause := forms(t, 60, 500), time.Duration(forms(t, 400, 800))*time.Millisecond
	alongside(t)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Mailboxes: 20})
	ordeal(t, w, Ordeal{
		Mails: madeUp(80*kills, w.rng), Early: 10 * kills, Every: 12 * time.Millisecond, Least: 40 * kills, Faults: kills,
		Fault: func(ctx context.Context, f *Fleet, _ int) (time.Time, error) {
			w.sleep(pause)
			if err := f.Running(); err != nil {
				return time.Time{}, err
			}
			f.Kill(0)
			return time.Time{}, f.Start(ctx, 0)
		},
	}, 8*time.Minute)
}

// The broker is killed again and again, alone or one of three, while three replicas read.
func TestKilledBroker(t *testing.T) {
	kills := forms(t, 5, 100)
	alongside(t)
	for _, c := range []struct {
		brokers int
		sync    string
		most    time.Duration // until mail flows again
	}{{1, "always", 2 * time.Second}, {1, "default", 2 * time.Second}, {3, "always", 10 * time.Second}} {
		t.Run(fmt.Sprintf("%d, sync %s", c.brokers, c.sync), func(t *testing.T) {
			alongside(t)
			w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Brokers: c.brokers, Sync: c.sync, Mailboxes: forms(t, 12, 20)})
			out := ordeal(t, w, Ordeal{
				Mails: madeUp(1000*kills, w.rng), Early: 5 * kills, Every: time.Duration(forms(t, 50, 7)) * time.Millisecond,
				Least: forms(t, 1, 20_000), Faults: kills, Size: 3,
				Fault: func(ctx context.Context, _ *Fleet, _ int) (time.Time, error) {
					w.sleep(time.Second)
					i := w.rng.IntN(c.brokers)
					w.Brokers.Kill(i)
					w.sleep(time.Second)
					err := w.Brokers.Start(ctx, i)
					up := time.Now()
					if err == nil {
						_, err = w.Flows(ctx, up, 30*time.Second)
					}
					if err == nil && c.brokers > 1 {
						err = w.Whole(ctx)
					}
					return up, err
				},
			}, 15*time.Minute)
			atMost(t, out, c.most)
		})
	}
}

// atMost wants mail to flow again soon after each fault. The short form runs beside others, on machines that have more to do.
func atMost(t *testing.T, out Outcome, most time.Duration) {
	t.Helper()
	most *= forms(t, time.Duration(4), 1)
	for i, gap := range out.Gaps {
		if gap > most {
			t.Errorf("fault %d: mail flowed again after %v, want at most %v", i+1, gap, most)
		}
	}
	if t.Failed() {
		t.Log(out.Log)
	}
	if len(out.Gaps) != out.Faults {
		t.Errorf("%d gaps of %d faults were measured", len(out.Gaps), out.Faults)
	}
}

// Of three servers the one that leads is killed or steps down.
func TestLeaderElections(t *testing.T) {
	elections := forms(t, 3, 50)
	alongside(t)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Brokers: 3, Mailboxes: 12})
	atMost(t, ordeal(t, w, Ordeal{
		Mails: madeUp(600*elections, w.rng), Every: 50 * time.Millisecond, Faults: elections, Size: 2,
		Fault: func(ctx context.Context, _ *Fleet, k int) (time.Time, error) {
			if err := w.Whole(ctx); err != nil {
				return time.Time{}, err
			}
			leader, err := w.Leader(ctx)
			if err != nil {
				return time.Time{}, err
			}
			began := time.Now()
			if k%2 == 1 {
				_, err = w.conn.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN.MAIL", nil)
			} else {
				w.Brokers.Kill(leader)
			}
			if err == nil {
				_, err = w.Flows(ctx, time.Now(), 30*time.Second)
			}
			if err == nil && k%2 == 0 {
				err = w.Brokers.Start(ctx, leader)
			}
			return began, err
		},
	}, 15*time.Minute), 10*time.Second)
}

// One of three servers hangs: it has every connection and answers none. Mail flows through the others.
func TestFrozenBroker(t *testing.T) {
	freezes := forms(t, 2, 20)
	alongside(t)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Brokers: 3, Mailboxes: 12})
	atMost(t, ordeal(t, w, Ordeal{
		Mails: madeUp(800*freezes, w.rng), Every: 50 * time.Millisecond, Faults: freezes, Size: 1,
		Fault: func(ctx context.Context, _ *Fleet, k int) (time.Time, error) {
			if err := w.Whole(ctx); err != nil {
				return time.Time{}, err
			}
			began := time.Now()
			if err := w.Brokers.Pause(k % 3); err != nil {
				return began, err
			}
			time.Sleep(500 * time.Millisecond) // what was under way arrives
			began = time.Now()
			_, err := w.Flows(ctx, began, 30*time.Second)
			return began, errors.Join(err, w.Brokers.Resume(k%3))
		},
	}, 15*time.Minute), 10*time.Second)
}

// Of three servers the one that leads is parted from the others, while replicas go on talking to it and to them: the others
// elect another one, and what the one that was left alone cannot store it does not acknowledge.
func TestSplitBrokers(t *testing.T) {
	splits := forms(t, 1, 30)
	alongside(t)
	w := newWorld(t, Options{
		Binary: buildMailflume(t), NATS: buildNATS(t), Brokers: 3, Routes: true, Mailboxes: 12, Lease: 2 * time.Second,
	})
	atMost(t, ordeal(t, w, Ordeal{
		Mails: madeUp(900*splits, w.rng), Every: 50 * time.Millisecond, Faults: splits, Size: 3,
		Fault: func(ctx context.Context, _ *Fleet, k int) (time.Time, error) {
			if err := w.Whole(ctx); err != nil {
				return time.Time{}, err
			}
			leader, err := w.Leader(ctx)
			if err != nil {
				return time.Time{}, err
			}
			err = w.Brokers.Routes.Isolate(leader, k%2 == 1)
			time.Sleep(3 * time.Second)
			w.sleep(time.Duration(forms(t, 1, 10)) * time.Second)
			err = errors.Join(err, w.Brokers.Routes.Rejoin(ctx, leader))
			joined := time.Now()
			if err == nil {
				_, err = w.Flows(ctx, joined, 30*time.Second)
			}
			return joined, err
		},
	}, 15*time.Minute), 15*time.Second)
}

// A replica is stopped for twice its lease and goes on: by then others own its mailboxes, and it publishes nothing.
func TestZombie(t *testing.T) {
	const lease = 2 * time.Second
	rounds := forms(t, 4, 200)
	alongside(t)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Mailboxes: 12, Lease: lease})
	taken := 0
	out := ordeal(t, w, Ordeal{
		Mails: madeUp(400*rounds, w.rng), Every: 25 * time.Millisecond, Faults: rounds, Size: 3,
		Fault: func(_ context.Context, f *Fleet, k int) (time.Time, error) {
			i := k % 3
			w.sleep(time.Second)
			if err := f.Pause(i); err != nil {
				return time.Time{}, err
			}
			paused := f.replicas[i].Pid()
			before := owns(w.observer.owners(), paused)
			time.Sleep(2 * lease)
			taken += before - owns(w.observer.owners(), paused)
			return time.Time{}, f.Resume(i)
		},
	}, 20*time.Minute)
	if taken < rounds {
		t.Errorf("%d mailboxes were taken over in %d rounds", taken, rounds)
	}
	for _, intruder := range out.Intruder {
		t.Errorf("published after the take-over: %s", intruder)
	}
	t.Logf("%d mailboxes were taken over; %d events were stored by a former owner", taken, len(out.Intruder))
}

func owns(owners map[string]int, process int) (n int) {
	for _, owner := range owners {
		if owner == process {
			n++
		}
	}
	return n
}

// Everything is killed at random: the replicas, the broker, the mail server, the token endpoint. Then it is quiet.
func TestKilledEverything(t *testing.T) {
	lasts := forms(t, 15*time.Second, 10*time.Minute)
	alongside(t)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Mailboxes: 12, Lease: 2 * time.Second})
	killed := map[string]int{}
	faults := int(lasts / (750 * time.Millisecond))
	out := ordeal(t, w, Ordeal{
		Mails: madeUp(80*faults, w.rng), Every: 50 * time.Millisecond, Faults: faults, Size: 2, Unsteady: true,
		Fault: func(ctx context.Context, f *Fleet, _ int) (time.Time, error) {
			w.sleep(500 * time.Millisecond)
			switch n := w.rng.IntN(10); {
			case n < 4:
				killed["replica"]++
				i := w.rng.IntN(2)
				f.Kill(i)
				w.sleep(500 * time.Millisecond)
				return time.Time{}, f.Start(ctx, i)
			case n < 7:
				killed["broker"]++
				w.Brokers.Kill(0)
				w.sleep(time.Second)
				return time.Time{}, w.Brokers.Start(ctx, 0)
			case n < 9:
				killed["mail server"]++
				w.Dovecot.Kill()
				w.sleep(time.Second)
				return time.Time{}, w.Dovecot.Restart(ctx)
			default:
				killed["token endpoint"]++
				err := w.oauth.stop()
				w.sleep(time.Second)
				return time.Time{}, errors.Join(err, w.oauth.start())
			}
		},
	}, 15*time.Minute)
	t.Logf("killed: %v", killed)
	if out.Drained > 30*time.Second {
		t.Errorf("the backlog was drained after %v, want at most 30s", out.Drained)
	}
}
