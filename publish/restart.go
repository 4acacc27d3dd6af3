package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// Stuck returns a channel that gets a value when the built-in server refuses what is to be written, because its disk is
// full or fails. nats-server then goes on to refuse it when there is room again, until it is started anew, as Restart does.
// For an external server nothing comes.
func (p *Publisher) Stuck() <-chan struct{} {
	if p.server == nil {
		return nil
	}
	return p.server.stuck
}

// Restart starts the built-in server anew on its files, if it needs that and if it would help; while it would not the error
// is ErrFull or ErrUnavailable. What was acknowledged is on disk before and after. The connection comes back by itself, as
// after any loss of it. After an error it may be called again; never twice at a time, nor beside Close.
func (p *Publisher) Restart(ctx context.Context) error {
	e := p.server
	if e == nil {
		return nil // an external server is not ours to start
	}
	needed, err := e.needsRestart()
	if err != nil || !needed {
		return err
	}
	e.log.Warn("starting the built-in NATS server anew, since it does not write any more", "nats", e.config.Dir)
	e.halt()
	select {
	case <-e.stuck: // that was the one before
	default:
	}
	e.broken.Store(false)
	if err := e.start(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// roomy is how much more must fit on the disk before it is worth starting anew.
const roomy = 4 << 20

// needsRestart tells the two kinds of refusal apart: after a write has failed nats-server never writes again; and when it
// has filled three quarters of what was free when it was started, it looks at the disk no more.
func (e *embedded) needsRestart() (bool, error) {
	srv := e.srv.Load()
	if srv == nil || e.broken.Load() {
		return true, hasRoom(e.config.Dir)
	}
	js, err := srv.Jsz(&server.JSzOptions{})
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	free, err := freeSpace(e.config.Dir)
	switch used, limit := js.Store, uint64(js.Config.MaxStore); {
	case err != nil:
		return false, fmt.Errorf("%w: look at the disk of the NATS store %s: %w", ErrUnavailable, e.config.Dir, err)
	case (free+used)/4*3 >= limit+roomy:
		return true, nil
	case used > limit:
		return false, fmt.Errorf("%w: the NATS store %s has %d MiB, three quarters of its disk, and takes no more: make room there",
			ErrFull, e.config.Dir, used>>20)
	}
	return false, nil // something was removed
}

// hasRoom writes a file, and removes it.
func hasRoom(dir string) error {
	f, err := os.CreateTemp(dir, "room-*")
	if err == nil {
		_, err = f.Write(make([]byte, roomy))
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: the disk of the NATS store %s has no room for %d MiB: make room there", ErrFull, dir, roomy>>20)
	case err != nil:
		return fmt.Errorf("%w: the NATS store %s cannot be written: %w", ErrUnavailable, dir, err)
	}
	return nil
}
