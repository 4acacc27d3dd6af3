package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// Figures are what a KillLoop measured.
type Figures struct {
	Verdict
	Served    int             // messages on the servers
	Kills     int             // kill -9 of a process that had resumed
	Early     int             // kill -9 of a process that was still starting
	Resumed   []time.Duration // from each restart to the first new event
	Exchanges int             // of refresh tokens
	Took      time.Duration
}

func (f Figures) String() string {
	sorted := slices.Sorted(slices.Values(f.Resumed))
	resume := "restarts not timed"
	if n := len(sorted); n > 0 {
		resume = fmt.Sprintf("resumed after %v (best), %v (median), %v (worst of %d)", sorted[0].Round(time.Millisecond),
			sorted[n/2].Round(time.Millisecond), sorted[n-1].Round(time.Millisecond), n)
	}
	return fmt.Sprintf("%d messages, %d events (%d dead): %d lost, %d duplicate, %d out of order, %d wrong; "+
		"%d kills and %d more while starting, %s; %d token exchanges; %v",
		f.Served, f.Events, len(f.Dead), len(f.Lost), len(f.Duplicate), len(f.Disorder), len(f.Wrong),
		f.Kills, f.Early, resume, f.Exchanges, f.Took.Round(100*time.Millisecond))
}

// resumeLimit bounds the wait for the first new event after a restart. It is well above what the test asks for, so that
// a slow restart is measured rather than taken for a stop.
const resumeLimit = 20 * time.Second

// KillLoop delivers the mails and meanwhile kills the binary the given number of times, at random moments, and restarts
// it at once. Every fourth time it kills the new process as well, while that is still starting. At the end it stops the
// binary with SIGTERM, starts it once more and delivers a last few mails.
func (w *World) KillLoop(ctx context.Context, mails [][]byte, kills int) (Figures, error) {
	f := Figures{Kills: kills}
	begin := time.Now()
	last, rest := mails[:len(w.boxes)], mails[len(w.boxes):]
	atOnce := len(rest) / 10
	if err := w.Deliver(ctx, w.rng, rest[:atOnce]...); err != nil {
		return f, err
	}
	feed := w.feed(ctx, rest[atOnce:], 1+kills+kills/4)
	defer feed.stop()

	feed.more()
	p, err := w.Start(ctx)
	if err != nil {
		return f, err
	}
	defer func() { p.Kill() }()
	var starts []time.Time // of the processes that were let live until they resumed
	for k := range kills + 1 {
		if err := w.resumed(ctx, p); err != nil {
			return f, fmt.Errorf("after %d kills: %w", k, err)
		}
		if starts = append(starts, p.Began); k == kills {
			break
		}
		w.sleep(800 * time.Millisecond)
		if err := p.Running(); err != nil {
			return f, fmt.Errorf("after %d kills: %w", k, err)
		}
		w.kill(p)
		feed.more()
		if p, err = w.Start(ctx); err != nil {
			return f, err
		}
		if k%4 == 3 {
			f.Early++
			w.sleep(250 * time.Millisecond)
			w.kill(p)
			feed.more()
			if p, err = w.Start(ctx); err != nil {
				return f, err
			}
		}
	}
	if err := feed.wait(); err != nil {
		return f, err
	}
	if err = w.Await(ctx, p, len(rest)); err == nil {
		p, err = w.stopAndGoOn(ctx, p, last, len(mails))
	}
	verdict, stored, failed := w.Judge(ctx)
	f.Verdict, f.Served, f.Exchanges, f.Took = verdict, len(mails), w.Exchanges(), time.Since(begin)
	f.Resumed = resumeTimes(stored, starts[1:])
	return f, errors.Join(err, failed, f.Err())
}

// KillStorm delivers the mails before it starts the binary, and kills it again and again in the midst of the backlog,
// whether it got anything done or not, until all is published or it was killed the given number of times.
func (w *World) KillStorm(ctx context.Context, mails [][]byte, kills int) (Figures, error) {
	f := Figures{Served: len(mails)}
	begin := time.Now()
	if err := w.Deliver(ctx, w.rng, mails...); err != nil {
		return f, err
	}
	for f.Kills < kills {
		p, err := w.Start(ctx)
		if err != nil {
			return f, err
		}
		w.sleep(400 * time.Millisecond)
		n, _ := w.Count(ctx) // an error: it was killed before it was up
		failed := p.Running()
		w.kill(p)
		if failed != nil {
			return f, failed
		}
		if f.Kills++; n >= len(mails) {
			break
		}
	}
	p, err := w.Start(ctx)
	if err != nil {
		return f, err
	}
	defer p.Kill()
	err = w.Await(ctx, p, len(mails))
	verdict, _, failed := w.Judge(ctx)
	f.Verdict, f.Exchanges, f.Took = verdict, w.Exchanges(), time.Since(begin)
	return f, errors.Join(err, failed, f.Err())
}

// stopAndGoOn stops the process politely, delivers the last mails meanwhile, and starts another.
func (w *World) stopAndGoOn(ctx context.Context, p *process.Process, last [][]byte, total int) (*process.Process, error) {
	if err := p.Terminate(); err != nil {
		return p, err
	}
	code, err := p.Wait(ctx)
	if err != nil {
		return p, err
	}
	if code != 0 {
		return p, fmt.Errorf("SIGTERM: exit code %d\n%s", code, p.Output())
	}
	if err := w.Deliver(ctx, w.rng, last...); err != nil {
		return p, err
	}
	next, err := w.Start(ctx)
	if err != nil {
		return p, err
	}
	return next, w.Await(ctx, next, total)
}

// resumed waits for the first new event of a process.
func (w *World) resumed(ctx context.Context, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, resumeLimit)
	defer cancel()
	return w.awaitSince(ctx, p)
}

// kill is kill -9, and a moment for the server to read what the process had sent: nothing of that is to be taken for the
// first event of the next process.
func (w *World) kill(p *process.Process) {
	p.Kill()
	time.Sleep(20 * time.Millisecond)
}

func (w *World) sleep(most time.Duration) { time.Sleep(time.Duration(w.rng.Int64N(int64(most)))) }

// resumeTimes returns how long after each start the first event was stored.
func resumeTimes(stored []Stored, starts []time.Time) []time.Duration {
	times := make([]time.Duration, 0, len(starts))
	for _, start := range starts {
		for _, s := range stored {
			if !s.At.Before(start) {
				times = append(times, s.At.Sub(start))
				break
			}
		}
	}
	return times
}

// feeder delivers mail in the background.
type feeder struct {
	portions chan [][]byte
	waiting  [][][]byte
	done     chan struct{}
	err      error // once done is closed
	cancel   context.CancelFunc
}

// feed splits mails into n portions, each of which more releases.
func (w *World) feed(ctx context.Context, mails [][]byte, n int) *feeder {
	ctx, cancel := context.WithCancel(ctx)
	f := &feeder{portions: make(chan [][]byte, n), done: make(chan struct{}), cancel: cancel}
	size := (len(mails) + n - 1) / n
	f.waiting = slices.Collect(slices.Chunk(mails, max(size, 1)))
	rng := rand.New(rand.NewPCG(w.o.Seed, 2))
	go func() {
		defer close(f.done)
		for portion := range f.portions {
			for len(portion) > 0 && f.err == nil {
				some := min(1+rng.IntN(4), len(portion))
				f.err = w.Deliver(ctx, rng, portion[:some]...)
				portion = portion[some:]
				time.Sleep(time.Duration(rng.Int64N(int64(60 * time.Millisecond))))
			}
		}
	}()
	return f
}

func (f *feeder) more() {
	if len(f.waiting) > 0 {
		f.portions <- f.waiting[0]
		f.waiting = f.waiting[1:]
	}
}

// wait waits until everything is delivered.
func (f *feeder) wait() error {
	for len(f.waiting) > 0 {
		f.more()
	}
	close(f.portions)
	f.portions = nil
	<-f.done
	return f.err
}

func (f *feeder) stop() {
	f.cancel()
	if f.portions != nil {
		close(f.portions)
		f.portions = nil
	}
	<-f.done
}
