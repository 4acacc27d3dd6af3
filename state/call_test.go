package state

import (
	"context"
	"errors"
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
