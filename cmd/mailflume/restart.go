package main

import (
	"context"
	"time"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// restartEvery is how soon after it was started anew the built-in NATS server is started anew again, if it stops to write
// at once.
const restartEvery = 10 * time.Second

// keepWriting starts the built-in NATS server anew when it has stopped to write, as soon as its disk has room.
func (s *service) keepWriting(ctx context.Context, p *publish.Publisher) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.Stuck():
		}
		// It ends when it has succeeded, or with ctx: all that it fails with passes.
		_ = mailbox.Retry(ctx, s.log, "start the built-in NATS server anew", func(ctx context.Context) error {
			err := p.Restart(ctx)
			s.halted.Store(&err)
			return err
		})
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartEvery):
		}
	}
}
