package container

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// within bounds each of these tests.
const within = time.Minute

// With a NATS server outside and a sealing key, a container has nothing that it could write to. Two replicas are what most
// such installations run, and each is process 1 of its own namespace.
func TestFetchWithNothingWritable(t *testing.T) {
	const before, after = 100, 50
	i := image(t)
	w := world(t, nats(t))
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	deliver(ctx, t, w, before)
	config := configuration(t, w)
	var replicas []*process.Process
	pages := []string{page(t), page(t)}
	for n, name := range []string{"replica-a", "replica-b"} {
		r := run(t, i, options{name: name, env: []string{pages[n]}, mounts: []Mount{config}})
		p, err := w.Start(ctx, environ(t, r))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Kill()
		replicas = append(replicas, p)
	}
	if err := w.Await(ctx, replicas[0], before); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events %v after the start", before, time.Since(replicas[0].Began).Round(time.Millisecond))
	for n, p := range replicas {
		awaitHealth(ctx, t, i, pages[n]) // by then it has become what it is to be
		confined(t, p)
	}
	deliver(ctx, t, w, after)
	if err := w.Await(ctx, replicas[1], before+after); err != nil {
		t.Fatal(err)
	}
	judge(ctx, t, w, before+after)
	for _, p := range replicas {
		stop(ctx, t, p)
	}
	if said, ok := healthy(t, i, pages[0]); ok {
		t.Errorf("the health check of a container that has stopped succeeds: %q", said)
	}
	t.Logf("two replicas, external NATS, nothing writable: %d messages, %d events, %d token exchanges: none lost, none twice",
		before+after, before+after, w.Exchanges())
}

// With the built-in server there is one place to write to. What is in it outlives the container.
func TestFetchWithAVolume(t *testing.T) {
	const before, after = 100, 50
	i := image(t)
	w := world(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	deliver(ctx, t, w, before)
	setting := page(t)
	o := options{env: []string{setting}, mounts: []Mount{configuration(t, w), volume(t)}}
	first, err := w.Start(ctx, environ(t, run(t, i, o)))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Kill()
	if err := w.Await(ctx, first, before); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events %v after the start", before, time.Since(first.Began).Round(time.Millisecond))
	confined(t, first)
	first.Kill()
	deliver(ctx, t, w, after)
	second, err := w.Start(ctx, environ(t, run(t, i, o)))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Kill()
	if err := w.Await(ctx, second, before+after); err != nil {
		t.Fatal(err)
	}
	awaitHealth(ctx, t, i, setting)
	judge(ctx, t, w, before+after)
	stop(ctx, t, second)
	t.Logf("built-in NATS in a volume, killed once: %d messages, %d events: none lost, none twice", before+after, before+after)
}

// The built-in server without a volume, on a read-only root: what is wrong is what the health check says, or the last words.
func TestWithoutAVolumeItSaysWhatIsMissing(t *testing.T) {
	i := image(t)
	w := world(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	setting := page(t)
	p, err := w.Start(ctx, environ(t, run(t, i, options{env: []string{setting}, mounts: []Mount{configuration(t, w)}})))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var said string
	for !strings.Contains(said, "/data") && ctx.Err() == nil && p.Running() == nil {
		said, _ = healthy(t, i, setting)
	}
	if p.Running() != nil {
		said = p.Output()
	} else {
		stop(ctx, t, p)
	}
	for _, want := range []string{"/data", "read-only file system"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
	t.Log(said)
}

func TestDemo(t *testing.T) {
	i := image(t)
	const messages = 20
	out, code := start(t, i, options{
		env: []string{page(t)}, mounts: []Mount{volume(t)}, args: []string{"demo", "--json", "--messages", strconv.Itoa(messages)},
	})
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	ids := map[string]bool{}
	for line := range strings.Lines(out) {
		var e struct{ ID string }
		if !strings.HasPrefix(line, "{") {
			continue // for the person who looks on
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		ids[e.ID] = true
	}
	if len(ids) != messages {
		t.Errorf("%d events, want %d", len(ids), messages)
	}
}

// awaitHealth wants the health check to succeed; a replica takes a moment to be ready while its peer does the work.
func awaitHealth(ctx context.Context, t *testing.T, i *Image, setting string) {
	t.Helper()
	for {
		said, ok := healthy(t, i, setting)
		if ok {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the health check fails: %s", said)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func stop(ctx context.Context, t *testing.T, p *process.Process) {
	t.Helper()
	begin := time.Now()
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(ctx); err != nil || code != 0 {
		t.Fatalf("SIGTERM: exit code %d, %v\n%s", code, err, p.Output())
	}
	t.Logf("SIGTERM: exit 0 after %v", time.Since(begin).Round(time.Millisecond))
}
