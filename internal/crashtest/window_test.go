package crashtest

import (
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// rounds is how many times something is done in the form of this run.
func rounds(plain, short, long int) int {
	switch form {
	case "long":
		return long
	case "short":
		return short
	}
	return plain
}

// TestOutsideTheWindow kills the program when a batch is acknowledged and nothing else is known of it, and lets it come back
// when the stream's duplicate window is long over. What keeps its mail from being there twice is not the window.
func TestOutsideTheWindow(t *testing.T) {
	t.Parallel()
	const window = 100 * time.Millisecond // the least that NATS allows
	w := newWorld(t, setting{replicas: 1}, death{})
	w.connect()
	w.deliver(w.boxes[0], "INBOX", mail(0))
	w.start()
	w.all()
	w.stop()
	s, err := w.js.Stream(t.Context(), "MAIL")
	w.must(err)
	config := s.CachedInfo().Config
	config.Duplicates = window
	_, err = w.js.UpdateStream(t.Context(), config)
	w.must(err)
	n := rounds(3, 10, 100)
	for round := range n {
		w.deliver(w.boxes[round%3], "INBOX", mail(2*round+1), mail(2*round+2))
		w.diesAt("puback.received:1")
		time.Sleep(2 * window)
	}
	w.start()
	w.all()
	w.stop()
	s, err = w.js.Stream(t.Context(), "MAIL")
	w.must(err)
	if got := s.CachedInfo().Config.Duplicates; got != window {
		t.Errorf("the window is %v now", got)
	}
	v := w.judge()
	t.Logf("%d rounds, window %v: %d events, %d lost, %d duplicate", n, window, v.Events, len(v.Lost), len(v.Duplicate))
}

// diesAt starts the program, which dies at the point by itself.
func (w *world) diesAt(point string) {
	w.t.Helper()
	p, err := process.Start(w.ctx, w.dir, []string{"CRASH=" + point}, binary(w.t), "run", "--config", w.config)
	w.must(err)
	defer p.Kill()
	select {
	case <-p.Gone():
	case <-time.After(patience):
		w.t.Fatalf("it did not die at %s in %v\n%s", point, patience, p.Output())
	}
	if _, killed := p.KilledBy(); !killed {
		w.t.Fatal(p.Running())
	}
}
