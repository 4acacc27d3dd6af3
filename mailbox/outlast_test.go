package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// shut is a stream that takes no mail while it is shut.
type shut struct {
	*broker.Broker
	why atomic.Pointer[error] // nil: it is open
	n   atomic.Int64          // commits that were refused
}

func (s *shut) Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error) {
	if err := s.why.Load(); err != nil {
		s.n.Add(1)
		return publish.Receipt{}, *err
	}
	return s.Broker.Commit(ctx, b)
}

// While the stream takes no mail, the mailbox is a buffer that costs nothing: no login, no body that is fetched twice. When
// it takes mail again, all of it is there once, as if nothing had been.
func TestAStreamThatTakesNoMail(t *testing.T) {
	for name, why := range map[string]error{"full": publish.ErrFull, "unavailable": publish.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			inLab(t, plainWorld, func(l *lab) {
				s := l.add(sim.Exchange, "anna", "INBOX", "Archive")
				stream := &shut{Broker: l.broker}
				err := fmt.Errorf("commit: %w", why)
				stream.why.Store(&err)
				c := s.config()
				c.Stream = stream
				w := mailbox.NewWorker(c)
				defer runs(l.t, w)()
				s.w = w
				s.deliver(0, 600) // more than is fetched ahead
				s.within(time.Minute, "it waits", func() bool { return stream.n.Load() > 0 && w.Status().State == mailbox.StateWaiting })
				before := s.a.Stats()
				time.Sleep(5 * time.Minute)
				s.deliver(600, 5)
				now := s.a.Stats()
				if now.Logins != 1 || now.BodyOctets > before.BodyOctets {
					t.Errorf("in 5 minutes: %d logins, %d octets of bodies", now.Logins, now.BodyOctets-before.BodyOctets)
				}
				if v := w.Status(); v.Sentence == "" || stream.n.Load() < 10 {
					t.Errorf("it says %+v after %d tries", v, stream.n.Load())
				}
				stream.why.Store(nil)
				s.within(time.Minute, "all the mail", func() bool { return s.received() == 605 && s.watching() })
				if n := s.a.Stats().Logins; n != 1 {
					t.Errorf("%d logins", n)
				}
				s.once()
			})
		})
	}
}

// flaky is a stream that refuses commits, loses the answers to others, and does not always tell where it stands.
type flaky struct {
	*broker.Broker
	rng *rand.Rand // of the worker's goroutine
	bad bool
}

func (f *flaky) Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error) {
	switch n := f.rng.IntN(4); {
	case !f.bad || n == 0:
		return f.Broker.Commit(ctx, b)
	case n == 1:
		return publish.Receipt{}, publish.ErrUncertain
	case n == 2:
		_, err := f.Broker.Commit(ctx, b)
		return publish.Receipt{}, errors.Join(publish.ErrUncertain, err)
	default:
		return publish.Receipt{}, publish.ErrFull
	}
}

func (f *flaky) Recover(ctx context.Context, mailbox string, folders []string) (publish.Chain, error) {
	if f.bad && f.rng.IntN(3) == 0 {
		return publish.Chain{}, publish.ErrUnavailable
	}
	return f.Broker.Recover(ctx, mailbox, folders)
}

// Whatever a stream answers while it is in trouble: nothing is lost and nothing is there twice.
func TestAStreamInTrouble(t *testing.T) {
	seeds := uint64(10)
	if raced {
		seeds = 4
	}
	for seed := range seeds {
		for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
			inLab(t, plainWorld, func(l *lab) {
				folders := []string{"INBOX", "Archive"}
				if provider == sim.Gmail {
					folders = []string{"INBOX", `\All`}
				}
				s := l.add(provider, "anna", folders...)
				c := s.config()
				c.Stream = &flaky{Broker: l.broker, rng: rand.New(rand.NewPCG(seed, 1)), bad: true}
				s.w = mailbox.NewWorker(c)
				defer runs(l.t, s.w)()
				for i := range 10 {
					s.deliver(50*i, 50)
					time.Sleep(time.Duration(i) * time.Second)
				}
				s.within(2*time.Hour, "all the mail", func() bool { return s.received() == 500 && s.watching() })
				s.once()
			})
		}
	}
}
