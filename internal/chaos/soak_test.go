package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// sample is what a process uses at a moment.
type sample struct {
	at                      time.Duration // since the first
	resident                float64       // bytes
	goroutines, descriptors float64
}

var gauges = regexp.MustCompile(`(?m)^(go_goroutines|process_open_fds|process_resident_memory_bytes) (\S+)$`)

// sampled reads what a replica says of itself.
func (r *Replica) sampled(ctx context.Context) (s sample, err error) {
	_, text, err := r.Get(ctx, "/metrics")
	if err != nil {
		return s, err
	}
	values := map[string]float64{}
	for _, m := range gauges.FindAllStringSubmatch(text, -1) {
		if values[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			return s, fmt.Errorf("read the metric %s: %w", m[1], err)
		}
	}
	if len(values) != 3 {
		return s, fmt.Errorf("metrics are missing: %v", values)
	}
	return sample{
		resident: values["process_resident_memory_bytes"], goroutines: values["go_goroutines"], descriptors: values["process_open_fds"],
	}, nil
}

// trend is what became of a process: its second quarter, compared with its last.
type trend struct {
	slope                   float64 // of the resident memory, MiB an hour, from the first quarter on
	grown                   float64 // MiB, median to median
	goroutines, descriptors float64 // percent, median to median
}

func trendOf(all []sample) trend {
	n := len(all)
	steady, early, late := all[n/4:], all[n/4:n/2], all[n*3/4:]
	percent := func(of func(sample) float64) float64 { return 100 * (median(late, of)/median(early, of) - 1) }
	resident := func(s sample) float64 { return s.resident / (1 << 20) }
	return trend{
		slope: slope(steady, resident), grown: median(late, resident) - median(early, resident),
		goroutines:  percent(func(s sample) float64 { return s.goroutines }),
		descriptors: percent(func(s sample) float64 { return s.descriptors }),
	}
}

func median(all []sample, of func(sample) float64) float64 {
	values := make([]float64, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// slope fits a line, by least squares, and returns by how much it rises in an hour.
func slope(all []sample, of func(sample) float64) float64 {
	var x, y, xx, xy float64
	for _, s := range all {
		h := s.at.Hours()
		x, y, xx, xy = x+h, y+of(s), xx+h*h, xy+h*of(s)
	}
	n := float64(len(all))
	return (n*xy - x*y) / (n*xx - x*x)
}

func TestTrendIsSeen(t *testing.T) {
	var flat, leak []sample
	for i := range 400 {
		noise := float64(i * 7919 % 13)
		at := time.Duration(i) * time.Minute
		flat = append(flat, sample{at, 100<<20 + noise*1e4, 1000 + noise, 300})
		leak = append(leak, sample{at, 100<<20 + at.Hours()*(3<<20), 1000 + float64(i)/4, 300 + float64(i)/40})
	}
	if f := trendOf(flat); f.slope > 0.1 || f.slope < -0.1 || f.goroutines > 1 || f.descriptors != 0 || f.grown > 0.1 {
		t.Errorf("nothing grows, and it says %+v", f)
	}
	if f := trendOf(leak); f.slope < 2.9 || f.slope > 3.1 || f.goroutines < 3 || f.descriptors < 1 || f.grown < 9 {
		t.Errorf("all grows, and it says %+v", f)
	}
}

// Two hundred mailboxes, five messages a second, and something goes wrong all the time, for as long as SOAK says.
func TestSoak(t *testing.T) {
	lasts, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Skip("make soak runs it")
	}
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Mailboxes: 200, Lines: true})
	var all []sample
	var last *Replica
	every := 15 * time.Second
	faults := int(lasts / every)
	began := time.Now()
	out := ordeal(t, w, Ordeal{
		Mails: madeUp(int(lasts.Seconds()*5*1.2), w.rng), Every: 200 * time.Millisecond, Faults: faults, Unsteady: true,
		Fault: func(ctx context.Context, f *Fleet, k int) (time.Time, error) {
			last = f.replicas[0]
			for due := began.Add(time.Duration(k+1) * every); time.Now().Before(due); time.Sleep(time.Second) {
				if s, err := last.sampled(ctx); err == nil {
					s.at = time.Since(began)
					all = append(all, s)
				}
			}
			switch k % 4 {
			case 0:
				w.Brokers.Kill(0)
				time.Sleep(500 * time.Millisecond)
				return time.Time{}, w.Brokers.Start(ctx, 0)
			case 1:
				err := w.Lines.NATS[0].Hold()
				time.Sleep(2 * time.Second)
				return time.Time{}, errors.Join(err, w.Lines.NATS[0].Mend(ctx))
			case 2:
				err := w.oauth.stop()
				time.Sleep(2 * time.Second)
				return time.Time{}, errors.Join(err, w.oauth.start())
			default:
				return time.Time{}, w.Dovecot.Kick(ctx, w.boxes[k%len(w.boxes)].address)
			}
		},
	}, lasts+5*time.Minute)
	if len(all) < 8 {
		t.Fatalf("%d samples", len(all))
	}
	f := trendOf(all)
	t.Logf("%v, %d faults, %d messages, %d samples: %.1f MiB resident, %+.2f MiB an hour, %+.2f MiB from the second quarter to the last; "+
		"goroutines %.0f, %+.1f %%; descriptors %.0f, %+.1f %%", time.Since(began).Round(time.Second), out.Faults, out.Events, len(all),
		all[len(all)-1].resident/(1<<20), f.slope, f.grown, all[len(all)-1].goroutines, f.goroutines, all[len(all)-1].descriptors, f.descriptors)
	// In minutes the heap's own breathing is larger than any slope that matters: there the sum is bounded.
	if lasts >= 30*time.Minute && f.slope > 1 || f.grown > 8 {
		t.Error("memory grows: want at most 1 MiB an hour, and 8 MiB")
	}
	if f.goroutines > 2 || f.goroutines < -2 || f.descriptors > 2 || f.descriptors < -2 {
		t.Error("goroutines or descriptors grow or vanish: want 2 %")
	}
}
