package mailbox_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// shuffle is what happens to a mailbox and its workers in an order that chance decides. In the end each message must be on the
// stream once.
type shuffle struct {
	*rig
	rng      *rand.Rand
	w        *mailbox.Worker
	messages int
	log      []string
}

// newShuffle begins one. Of the calls of each worker one of the first 40 fails.
func newShuffle(t *testing.T, rng *rand.Rand, provider sim.Provider, folders ...string) *shuffle {
	s := &shuffle{rig: newRig(t, provider, folders...), rng: rng}
	s.w = s.faultyWorker()
	return s
}

func (s *shuffle) faultyWorker() *mailbox.Worker {
	f := &faulty{Publisher: s.publisher, floor: s.store, fail: int64(s.rng.IntN(40)), after: s.rng.IntN(2) == 0}
	c := s.config()
	c.Stream, c.Bytes, c.Floor = f, f, f
	return mailbox.NewWorker(c)
}

func (s *shuffle) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// arrive puts one to four new messages into a folder.
func (s *shuffle) arrive(folder string) {
	for range 1 + s.rng.IntN(4) {
		s.note("number %d comes to %s", s.messages, folder)
		s.account.Deliver(folder, message(s.messages), minute(s.messages))
		s.messages++
	}
}

// renumber gives a folder another UIDVALIDITY, of which only the next worker knows.
func (s *shuffle) renumber(folder string) {
	s.note("%s is renumbered", folder)
	s.account.BumpUIDValidity(folder)
	s.restart()
}

func (s *shuffle) restart() {
	s.note("restart")
	s.w.Close()
	s.w = s.faultyWorker()
}

func (s *shuffle) drain() error {
	err := s.w.Drain(s.t.Context())
	s.note("drain: %v", err)
	return err
}

// end ends it with a worker whose calls do not fail.
func (s *shuffle) end() {
	s.w.Close()
	must(s.t, s.worker().Drain(s.t.Context()))
	s.wantEach(s.messages, 1)
	if s.t.Failed() {
		s.t.Log(strings.Join(s.log, "\n"))
	}
}
