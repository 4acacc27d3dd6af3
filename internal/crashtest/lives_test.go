package crashtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/process"
)

// env is the environment of a program that may die at the point, until one has.
func (w *world) env() []string {
	env := []string{"CRASH_HITS=" + w.hits}
	if !w.died && w.death.n > 0 {
		env = append(env, "CRASH="+w.death.String())
	}
	return env
}

// hitsOf counts the hits of a point so far.
func (w *world) hitsOf(point string) int {
	info, err := os.Stat(filepath.Join(w.hits, point))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	w.must(err)
	return int(info.Size())
}

// struck takes in that a program has ended by a signal: it must have died at the point, and only one may.
func (w *world) struck(s syscall.Signal, output string) {
	w.t.Helper()
	switch {
	case w.died, w.death.n == 0:
		w.t.Fatalf("a process was killed by %v and nobody did it\n%s", s, output)
	case s != syscall.SIGKILL, w.hitsOf(w.death.point) < w.death.n:
		w.t.Fatalf("killed by %v after %d hits of %v\n%s", s, w.hitsOf(w.death.point), w.death, output)
	}
	w.died = true
}

// start starts the replicas that do not run.
func (w *world) start() {
	w.t.Helper()
	for i, p := range w.replicas {
		if p == nil {
			var err error
			w.replicas[i], err = process.Start(w.ctx, w.dir, w.env(), binary(w.t), "run", "--config", w.config)
			w.must(err)
		}
	}
}

// look takes in which replicas have died, and starts again if none is left. Where one is left, it has to manage alone.
func (w *world) look() {
	w.t.Helper()
	left := 0
	for i, p := range w.replicas {
		if p == nil {
			continue
		}
		if p.Running() == nil {
			left++
			continue
		}
		s, killed := p.KilledBy()
		if !killed {
			w.t.Fatal(p.Running())
		}
		w.struck(s, p.Output())
		w.replicas[i] = nil
	}
	if left == 0 {
		w.start()
	}
}

// await waits until something holds, and sees to it that a replica runs meanwhile.
func (w *world) await(what string, holds func() (bool, string)) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		ok, state := holds()
		w.look()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			var said strings.Builder
			for _, p := range w.replicas {
				if p != nil {
					said.WriteString(p.Output() + "\n")
				}
			}
			w.t.Fatalf("waited %v for %s: %s\n%s", patience, what, state, said.String())
		}
	}
}

// all waits until there is an event for everything that was delivered.
func (w *world) all() {
	w.t.Helper()
	w.await("an event for each message", func() (bool, string) {
		n, err := w.count()
		return err == nil && n >= len(w.served), fmt.Sprintf("%d of %d, %v", n, len(w.served), err)
	})
	w.start() // who has died comes back
}

// count returns how many events about messages there are.
func (w *world) count() (int, error) {
	ctx, cancel := context.WithTimeout(w.ctx, time.Second)
	defer cancel()
	s, err := w.js.Stream(ctx, "MAIL")
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("mail.>"))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, of := range info.State.Subjects {
		n += int(of)
	}
	return n, nil
}

// stop is SIGTERM for all, which must end in order, but for one that dies meanwhile: what is left is started again, has one
// more mail to read, and is stopped.
func (w *world) stop() {
	w.t.Helper()
	for again := true; again; {
		again = false
		w.start()
		w.await("what every replica says when it starts", func() (bool, string) { // before that, a signal ends it the hard way
			return !slices.ContainsFunc(w.replicas, func(p *process.Process) bool { return p != nil && p.Output() == "" }), "nothing"
		})
		for _, p := range w.replicas {
			w.must(p.Terminate())
		}
		for i, p := range w.replicas {
			ctx, cancel := context.WithTimeout(w.ctx, patience)
			code, err := p.Wait(ctx)
			cancel()
			w.must(err)
			if s, killed := p.KilledBy(); killed {
				w.struck(s, p.Output())
				again = true
			} else if code != 0 {
				w.t.Fatalf("SIGTERM: exit code %d\n%s", code, p.Output())
			}
			w.replicas[i] = nil
		}
		if again {
			w.start()
			w.deliver(w.boxes[0], "INBOX", mail(1000))
			w.all()
		}
	}
}
