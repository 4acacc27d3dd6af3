package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/process"
)

const allMail = "mail.>"

// Count returns how many events about messages the stream holds.
func (w *World) Count(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := w.js.Stream(ctx, "MAIL")
	if err != nil {
		return 0, fmt.Errorf("find the stream: %w", err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(allMail))
	if err != nil {
		return 0, fmt.Errorf("count events: %w", err)
	}
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n, nil
}

// stubborn is how long Await goes on when no more events come. A grant whose renewal was cut short while its mailbox
// moved to another replica is renewed a minute later.
const stubborn = 90 * time.Second

// running is what publishes meanwhile: a process.Process, or a Fleet.
type running interface {
	Running() error // fails when it has ended by itself
	Output() string
}

// Await waits until the stream holds n events about messages, as long as more come; it asks again while the server is away.
func (w *World) Await(ctx context.Context, r running, n int) error {
	most, since := 0, time.Now()
	for {
		have, err := w.Count(ctx)
		if err == nil && have >= n {
			return nil
		}
		if have > most {
			most, since = have, time.Now()
		}
		if ended := r.Running(); ended != nil {
			return ended
		}
		if ctx.Err() != nil || time.Since(since) > stubborn {
			return fmt.Errorf("wait for %d events: there are %d: %w\n%s", n, most, errors.Join(err, errNoMore), r.Output())
		}
		time.Sleep(25 * time.Millisecond)
	}
}

var errNoMore = errors.New("no more come")

// quiet waits until no event has come for a second, so that late ones are judged too. A server that is slow to answer is
// asked again.
func (w *World) quiet(ctx context.Context) error {
	const still, patience = 40, 20
	for last, same, unanswered := -1, 0, 0; same < still; {
		n, err := w.Count(ctx)
		if err != nil {
			if unanswered++; unanswered == patience || ctx.Err() != nil {
				return err
			}
			continue
		}
		if same++; n != last {
			last, same = n, 0
		}
		time.Sleep(time.Second / still)
	}
	return nil
}

// awaitSince waits until an event is stored after a process began.
func (w *World) awaitSince(ctx context.Context, p *process.Process) error {
	for {
		at, err := w.newest(ctx)
		if err == nil && !at.Before(p.Began) {
			return nil
		}
		if err := p.Running(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the first new event: %w\n%s", errors.Join(err, ctx.Err()), p.Output())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *World) newest(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
	defer cancel()
	s, err := w.js.Stream(ctx, "MAIL")
	if err != nil {
		return time.Time{}, err
	}
	m, err := s.GetLastMsgForSubject(ctx, allMail)
	if err != nil {
		return time.Time{}, err
	}
	return m.Time, nil
}
