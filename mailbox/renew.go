package mailbox

import (
	"context"
	"time"
)

// renewalTakes bounds a renewal: while it goes on nobody watches the mailbox, although the old session could.
const renewalTakes = 10 * time.Second

// renew puts a new session in the place of one that will end before long, or whose folders have become others. The old one is
// closed when the new one is there, so that the mailbox is never out of sight: what comes meanwhile is live. If there is no
// new one to be had, the old one serves on for as long as it can.
func (w *Worker) renew(ctx context.Context) {
	old := w.session
	ctx, cancel := context.WithTimeout(ctx, renewalTakes)
	defer cancel()
	err := w.connect(ctx)
	if err != nil {
		w.log.Info("the session could not be renewed yet", "error", w.plain(err))
		return
	}
	w.gapless = true
	w.log.Debug("the session was renewed", "folders", len(w.folders))
	if err := old.Close(); err != nil {
		w.log.Debug("closing the connection", "error", w.plain(err))
	}
}
