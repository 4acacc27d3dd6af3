package state

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A connection that is lost takes with it the answers that would have come over it: nobody waits for them.
func TestAnswersThatCannotComeAnyMore(t *testing.T) {
	b := newBroker(t)
	s := b.store(b.url())
	s.readLimit, s.writeLimit = time.Hour, time.Hour
	silent, err := nats.Connect(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	heard := make(chan struct{}, 2)
	if _, err := silent.Subscribe("silence.*", func(*nats.Msg) { heard <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := silent.Flush(); err != nil {
		t.Fatal(err)
	}
	s.read, s.subjects = "silence.read", "silence."
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	read, written := make(chan error, 1), make(chan error, 1)
	go func() { _, err := s.last(ctx, "k"); read <- err }()
	go func() { _, err := s.write(ctx, "k", nil, 0, nil); written <- err }()
	<-heard
	<-heard
	b.srv.Shutdown()
	if err := <-read; !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("read: %v", err)
	}
	if err := <-written; !errors.Is(err, ErrAmbiguous) || !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("write: %v", err)
	}
}

// nats.go (1.55) keeps what a request needs that it could not send. While the broker is away nothing is sent, and nothing kept.
func TestBrokerThatIsAwayCostsNoMemory(t *testing.T) {
	b := newBroker(t)
	s := b.store(b.url())
	lost := s.js.Conn().StatusChanged(nats.RECONNECTING)
	b.srv.Shutdown()
	<-lost
	calls := map[string]func(){
		"SaveHealth":  func() { _ = s.SaveHealth(t.Context(), "m", nil) },
		"Grants":      func() { _, _ = s.Grants(t.Context()) },
		"WatchGrants": func() { _ = s.WatchGrants(t.Context(), func(string) {}) },
		"last":        func() { _, _ = s.last(t.Context(), "k") },
		"write":       func() { _, _ = s.write(t.Context(), "k", nil, 0, nil) },
	}
	for name, call := range calls {
		call()
		const n = 20_000
		before := held()
		for range n {
			call()
		}
		if grown := held() - before; grown > 100*n { // it keeps some 270 of each
			t.Errorf("%s: %d calls that could not be sent left %d bytes", name, n, grown)
		}
	}
}

// A store that was closed leaves nothing behind, though its connection lives on.
func TestStoreThatWasClosedCostsNothing(t *testing.T) {
	b := newBroker(t)
	js := b.store(b.url()).js
	before := runtime.NumGoroutine()
	for range 100 {
		s, err := Open(t.Context(), js, Config{Bucket: "state"})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	eventually(t, time.Minute, "no more goroutines than before", func() bool { return runtime.NumGoroutine() < before+50 })
}

// held returns how many bytes are in use.
func held() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold is freed by the second only
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
