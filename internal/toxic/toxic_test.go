package toxic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/toxic"
	"github.com/mailflume/mailflume/mailbox"
)

// The parts of a mailbox that a bad network can cut off from the rest.
const (
	toIMAP  = "IMAP"
	toNATS  = "NATS"
	toToken = "token endpoint"
)

var kinds = map[string][2]map[string]int{
	"latency":    {{"latency": 300, "jitter": 100}, {"latency": 2000, "jitter": 500}},
	"bandwidth":  {{"rate": 16}, {"rate": 1}},
	"slow_close": {{"delay": 500}, {"delay": 5000}},
	"timeout":    {{"timeout": 0}, {"timeout": 500}},
	"reset_peer": {{"timeout": 0}, {"timeout": 500}},
	"slicer":     {{"average_size": 64, "size_variation": 32, "delay": 1000}, {"average_size": 2, "size_variation": 1, "delay": 500}},
	"limit_data": {{"bytes": 5000}, {"bytes": 300}},
	toxic.Down:   {{}, {"again": 400}},
}

// spell is how long a toxic lasts.
const spell = 4 * time.Second

// TestMatrix: eight toxics of two strengths, each between a mailbox and its IMAP server, its stream and its token endpoint.
// Nothing is lost or comes twice, and the mailbox is well within 10 seconds after the toxic is gone. The runs go side by side;
// each has a mailbox and lines of its own. MAILFLUME_TOXIC turns it on, and MAILFLUME_TIMED judges the time.
func TestMatrix(t *testing.T) {
	if os.Getenv("MAILFLUME_TOXIC") == "" {
		t.Skip("set MAILFLUME_TOXIC, or run make toxic")
	}
	w := newWorld(t)
	var mu sync.Mutex
	took := map[string]time.Duration{}
	var runs sync.WaitGroup
	for _, target := range []string{toIMAP, toNATS, toToken} {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			for strength, attributes := range kinds[kind] {
				runs.Go(func() {
					name := fmt.Sprintf("%s, %s %v", target, kind, attributes)
					b := w.open(t, fmt.Sprintf("%s-%s-%d", strings.Fields(target)[0], kind, strength))
					defer b.close()
					d, err := b.suffer(t.Context(), target, toxic.Toxic{Kind: kind, Attributes: attributes})
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
					mu.Lock()
					took[name] = d
					mu.Unlock()
				})
			}
		}
	}
	runs.Wait()
	late := 0
	for _, name := range slices.SortedFunc(maps.Keys(took), func(a, b string) int { return int(took[b] - took[a]) }) {
		t.Logf("well after %v: %s", took[name].Round(10*time.Millisecond), name)
		if took[name] > 10*time.Second {
			late++
		}
	}
	t.Logf("%d runs, %d of them not well within 10 seconds after the toxic was gone", len(took), late)
	if os.Getenv("MAILFLUME_TIMED") != "" && late > 0 {
		t.Errorf("%d runs were not well within 10 seconds", late)
	}
}

// suffer runs a mailbox through a toxic. It returns how long the mailbox took to be well after that.
func (b *box) suffer(ctx context.Context, target string, tx toxic.Toxic) (time.Duration, error) {
	stop := b.run()
	defer stop()
	if err := errorsOf(b.deliver(10), b.await(time.Minute)); err != nil {
		return 0, fmt.Errorf("before: %w", err)
	}
	line := b.lines[target]
	if err := line.Spoil(tx); err != nil {
		return 0, err
	}
	flaps := tx.Kind == toxic.Down && tx.Attributes["again"] > 0
	for began, n := time.Now(), 0; time.Since(began) < spell; n++ {
		if err := b.deliver(1); err != nil {
			return 0, err
		}
		if target != toNATS && b.worker.Status().State == mailbox.StateWatching {
			if err := b.expire(ctx, target == toToken); err != nil { // what is cut off is needed again
				return 0, err
			}
		}
		time.Sleep(300 * time.Millisecond)
		if flaps {
			time.Sleep(time.Duration(tx.Attributes["again"]) * time.Millisecond)
			if err := errorsOf(line.Clear(), line.Spoil(tx)); err != nil {
				return 0, err
			}
		}
	}
	if err := line.Clear(); err != nil {
		return 0, err
	}
	gone := time.Now()
	err := b.await(2 * time.Minute)
	took := time.Since(gone)
	return took, errorsOf(err, b.judge(ctx))
}

// TestHalfOpenIdle: a connection in IDLE over which nothing comes any more, without an end, is given up in time for the mail
// of the meantime to come within the refresh of IDLE and 30 seconds. MAILFLUME_TIMED judges the time.
func TestHalfOpenIdle(t *testing.T) {
	if os.Getenv("MAILFLUME_TOXIC") == "" {
		t.Skip("set MAILFLUME_TOXIC, or run make toxic")
	}
	w := newWorld(t)
	b := w.open(t, "halfopen")
	defer b.close()
	dead := b.lines[toIMAP]
	another, err := toxic.Open(w.dovecot.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer another.Close()
	const refresh = 10 * time.Second
	b.change = func(c *fetcher.Config) { c.IdleRefresh = refresh }
	stop := b.run()
	defer stop()
	if err := errorsOf(b.deliver(1), b.await(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b.change = func(c *fetcher.Config) { c.IdleRefresh, c.Addr = refresh, another.Addr() }
	if err := errorsOf(dead.Spoil(toxic.Toxic{Kind: "timeout", Attributes: map[string]int{"timeout": 0}}), b.deliver(1)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := errorsOf(b.await(2*time.Minute), b.judge(t.Context())); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("the mail came %v after the connection went half open; IDLE is renewed every %v", took.Round(10*time.Millisecond), refresh)
	if took > refresh+30*time.Second && os.Getenv("MAILFLUME_TIMED") != "" {
		t.Errorf("only after %v", took)
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func decode(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	return nil
}
