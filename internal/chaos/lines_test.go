package chaos

import (
	"context"
	"errors"
	"testing"
	"time"
)

// The ways to the broker, the mail server and the token endpoint are cut, or hold back everything without a word.
func TestPartitions(t *testing.T) {
	faults := forms(t, 4, 24)
	alongside(t)
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Brokers: 3, Mailboxes: 12, Lines: true})
	out := ordeal(t, w, Ordeal{
		Mails: madeUp(400*faults, w.rng), Every: 50 * time.Millisecond, Faults: faults, Size: 1,
		Fault: func(ctx context.Context, _ *Fleet, k int) (time.Time, error) {
			if _, err := w.Flows(ctx, time.Now(), 30*time.Second); err != nil {
				return time.Time{}, err
			}
			lines, bad := []*Line{w.Lines.IMAP, w.Lines.OAuth}, (*Line).hold
			if k%4 < 2 || k > 8 { // a mail server that fails again and again is left alone for longer and longer, which is right
				lines = w.Lines.NATS
			}
			if k%2 == 1 {
				bad = (*Line).cut
			}
			var err error
			for _, line := range lines {
				err = errors.Join(err, bad(line))
			}
			w.sleep(4 * time.Second)
			for _, line := range lines {
				err = errors.Join(err, line.Mend(ctx))
			}
			mended := time.Now()
			if err == nil {
				_, err = w.Flows(ctx, mended, 30*time.Second)
			}
			return mended, err
		},
	}, 10*time.Minute)
	atMost(t, out, 10*time.Second)
}

func (l *Line) hold() error { return l.Hold() }

func (l *Line) cut() error {
	l.Cut()
	return nil
}

// The broker is away for long. The mailboxes are the buffer, and memory does not grow.
func TestBrokerOutage(t *testing.T) {
	lasts, n := forms(t, 15*time.Second, 4*time.Minute), forms(t, 500, 8000)
	alongside(t)
	x := newTrial(t, 15*time.Minute, Options{NATS: buildNATS(t), Mailboxes: 20})
	x.must(x.Deliver(x.ctx, x.rng, madeUp(100, x.rng)...))
	x.start()
	x.within(30*time.Second, "the first mail", func() bool { n, err := x.Count(x.ctx); return err == nil && n == 100 })
	replica := x.fleet.replicas[0].Process
	before, most, logins := memory(replica), 0, x.logins()
	x.Brokers.Kill(0)
	began := time.Now()
	for all := madeUp(n, x.rng); time.Since(began) < lasts; time.Sleep(500 * time.Millisecond) {
		some := min(len(all), 1+n/int(lasts/(500*time.Millisecond)))
		x.must(x.Deliver(x.ctx, x.rng, all[:some]...))
		all, most = all[some:], max(most, memory(replica))
		x.must(x.fleet.Running())
	}
	more := x.logins() - logins
	if x.ready() {
		t.Error("it says that it is ready")
	}
	x.must(x.Brokers.Start(x.ctx, 0))
	up := time.Now()
	_, err := x.Flows(x.ctx, up, 30*time.Second)
	x.must(err)
	t.Logf("away for %v, %d logins meanwhile; mail flowed again %v after it was back; %d MiB resident, at most %d more", lasts, more,
		time.Since(up).Round(10*time.Millisecond), before>>20, (most-before)>>20)
	if most-before > 64<<20 || more > 2*len(x.boxes) {
		t.Error("want at most 64 MiB more, and two logins of each mailbox")
	}
	x.all(time.Minute)
}
