package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Ordeal is a time in which mail arrives and things go wrong.
type Ordeal struct {
	Mails  [][]byte      // in this order
	Early  int           // how many of them are there before the replicas are
	Every  time.Duration // how often one of the others arrives, about, until all faults are over
	Least  int           // so many come in all: what is missing then comes at once
	Faults int           // how many things go wrong
	Size   int           // replicas; 1 if zero

	Unsteady bool // the mail server is among what goes wrong

	// Fault does the k-th thing and mends it. The replicas must still be running then. The time that it returns is when
	// mail should begin to flow again; zero means now.
	Fault func(ctx context.Context, fleet *Fleet, k int) (time.Time, error)
}

// Outcome is what an Ordeal measured.
type Outcome struct {
	Verdict
	Served    int
	Faults    int
	Gaps      []time.Duration // from each fault, or its end, to the next event that was stored
	Drained   time.Duration   // from the end of the last fault and the delivery of what was left to the last event
	Exchanges int             // of refresh tokens
	Dry       bool            // no mail arrived towards the end
	Log       string          // what the replicas said, the end of it
	Took      time.Duration
}

func (o Outcome) String() string {
	gaps := slices.Sorted(slices.Values(o.Gaps))
	text := "no gaps measured"
	if n := len(gaps); n > 0 {
		text = fmt.Sprintf("went on after %v (median), %v (99 %%), %v (worst of %d)", gaps[n/2].Round(time.Millisecond),
			gaps[n*99/100].Round(time.Millisecond), gaps[n-1].Round(time.Millisecond), n)
	}
	return fmt.Sprintf("%d messages, %d faults: %v; %s; all there %v after the last; %d token exchanges; %v",
		o.Served, o.Faults, o.Verdict, text, o.Drained.Round(time.Millisecond), o.Exchanges, o.Took.Round(100*time.Millisecond))
}

// Run lets it happen. The error is what was judged, or what kept the Ordeal from being run.
func (w *World) Run(ctx context.Context, o Ordeal) (out Outcome, err error) {
	begin := time.Now()
	if err := w.Deliver(ctx, w.rng, o.Mails[:o.Early]...); err != nil {
		return out, err
	}
	fleet, err := w.StartFleet(ctx, max(o.Size, 1))
	defer fleet.Stop()
	if err != nil {
		return out, err
	}
	if err := fleet.Ready(ctx); err != nil {
		return out, err
	}
	w.unsteady = o.Unsteady
	drip := w.drip(ctx, o.Mails[o.Early:], o.Every)
	var ends []time.Time
	for k := range o.Faults {
		end, err := o.Fault(ctx, fleet, k)
		if err == nil {
			err = fleet.Running()
		}
		if err != nil {
			return out, fmt.Errorf("fault %d: %w\n%s", k+1, errors.Join(err, drip.stop()), fleet.Output())
		}
		if end.IsZero() {
			end = time.Now()
		}
		ends = append(ends, end)
		out.Faults++
	}
	if err := drip.stop(); err != nil {
		return out, err
	}
	out.Dry = len(drip.left) == 0
	came := len(o.Mails) - len(drip.left)
	if err := w.Deliver(ctx, w.rng, drip.left[:max(o.Least-came, 0)]...); err != nil {
		return out, err
	}
	quiet := time.Now()
	served, err := w.Served(ctx)
	if err != nil {
		return out, err
	}
	out.Served = len(served)
	err = w.Await(ctx, fleet, out.Served)
	out.Drained = time.Since(quiet)
	verdict, stored, failed := w.Judge(ctx)
	out.Verdict, out.Exchanges, out.Took = verdict, w.Exchanges(), time.Since(begin)
	out.Gaps = resumeTimes(stored, ends)
	out.Log = fleet.Output()
	if judged := errors.Join(failed, verdict.Err()); judged != nil {
		err = errors.Join(err, fmt.Errorf("%w\n%s", judged, out.Log))
	}
	return out, err
}

// drip delivers mail in the background.
type drip struct {
	left [][]byte // once it is stopped
	end  context.CancelFunc
	gone chan struct{}
	err  error
}

// drip delivers one of the mails about every so often, until it is stopped.
func (w *World) drip(ctx context.Context, mails [][]byte, every time.Duration) *drip {
	stopping, cancel := context.WithCancel(ctx)
	d := &drip{left: mails, end: cancel, gone: make(chan struct{})}
	rng := rand.New(rand.NewPCG(w.o.Seed, 3))
	go func() {
		defer close(d.gone)
		for len(d.left) > 0 && d.err == nil {
			n := min(1+rng.IntN(5), len(d.left))
			select {
			case <-stopping.Done():
				return
			case <-time.After(time.Duration(n) * every):
			}
			if d.err = w.deliverWhenUp(ctx, rng, d.left[:n]); d.err == nil {
				d.left = d.left[n:]
			}
		}
	}()
	return d
}

// stop waits for what is being delivered.
func (d *drip) stop() error {
	d.end()
	<-d.gone
	return d.err
}

// deliverWhenUp delivers mails, all in one folder so that all or nothing is delivered, and tries again while the mail
// server is away.
func (w *World) deliverWhenUp(ctx context.Context, rng *rand.Rand, mails [][]byte) error {
	box := w.boxes[rng.IntN(len(w.boxes))]
	folder := box.folders[rng.IntN(len(box.folders))]
	for _, m := range mails {
		for {
			_, err := w.Dovecot.Append(ctx, box.address, folder, time.Time{}, m)
			if err == nil {
				break
			}
			if !w.unsteady || ctx.Err() != nil {
				return err
			}
			// It may have been delivered all the same. Then it lies there twice, and must be published twice.
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// Flows waits until an event is stored after a moment, and returns how long after.
func (w *World) Flows(ctx context.Context, after time.Time, most time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		at, err := w.newest(ctx)
		if err == nil && at.After(after) {
			return time.Since(after), nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("no mail flows %v after a fault: %w", most, errors.Join(err, ctx.Err()))
		}
		time.Sleep(5 * time.Millisecond)
	}
}
