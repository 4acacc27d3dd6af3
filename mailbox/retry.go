package mailbox

import (
	"context"
	"log/slog"
	"time"
)

// Retry calls do until it succeeds, ctx ends, or its error needs someone to act (see Classify); that error is returned.
// Between the calls it waits as a worker does.
func Retry(ctx context.Context, log *slog.Logger, what string, do func(context.Context) error) error {
	var pause backoff
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		v := Classify(err)
		if v.Class != Passing || ctx.Err() != nil {
			return err
		}
		wait := min(pause.next(v, time.Now()), 10*time.Second)
		log.Warn("will try again", "what", what, "error", err, "wait", wait)
		sleep(ctx, wait, nil)
		if ctx.Err() != nil {
			return err
		}
	}
}
