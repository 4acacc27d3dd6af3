package mailbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/publish"
)

// Run drains the mailbox, waits for more and drains again until ctx ends. Every error is classified and waited out here:
// this is the program's only backoff.
func (w *Worker) Run(ctx context.Context) {
	defer w.board.enter(StateElsewhere)
	defer w.Close()
	defer w.release(ctx)
	defer w.watchSilence(ctx)()
	w.claimed, w.backwards = false, time.Time{} // while it was not ours, others may have carried it
	w.patient = true
	defer func() { w.patient = false }()
	pause := backoff{random: w.c.Random}
	troubled := false // somebody was told that the mailbox fails
	connected := false
	for ctx.Err() == nil {
		select {
		case <-w.woken: // by what this pass will see
		default:
		}
		if w.session == nil {
			w.board.enter(StateConnecting)
		}
		back := w.back()
		err := w.Drain(ctx)
		if err == nil || w.session != nil && onlyFolder(err) {
			w.board.passed()
			ill := troubled || w.board.ill()
			if (!connected || ill) && w.recovered(ctx, ill) {
				connected, troubled = true, false
				w.board.well()
			}
			pause.succeeded(time.Now())
			w.watching(err)
			w.tellFolder(ctx, err)
			if err = w.actAndWait(ctx); err == nil || w.session == nil && errors.Is(err, errActing) {
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		v := pause.judge(Classify(err), time.Now())
		if v.Class == Person && !troubled {
			if troubled = w.tell(ctx, event.MailboxChange{State: v.State, Detail: v.Sentence, Hint: v.Hint}); troubled {
				w.board.toldStale() // that says it too
			}
		}
		switch wait := w.pause(v, err, &pause); {
		case !v.Ours:
			w.rest(ctx, wait)
		case sleep(ctx, wait, back):
			pause.cameBack()
		}
	}
}

// Wake has a mailbox that waits after a failure tried again at once: somebody has done what it waits for.
func (w *Worker) Wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// rest waits after a failure, until it is woken or ctx ends.
func (w *Worker) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.woken:
	case <-ctx.Done():
	}
}

// back returns a channel that is closed when the stream is back after an outage that begins from now on.
func (w *Worker) back() <-chan struct{} {
	if w.c.Line == nil {
		return nil
	}
	return w.c.Line.Back()
}

// watching notes that the mailbox is being watched, or which of its folders is not.
func (w *Worker) watching(err error) {
	if err == nil {
		w.board.enter(StateWatching)
		return
	}
	v := Classify(err)
	if w.Status().Sentence == v.Sentence {
		w.board.enter(StateParked) // as before
		return
	}
	w.log.Warn("a folder cannot be read; the others are", "error", w.plain(err), "hint", v.Hint)
	w.board.failed(v, StateParked)
}

// pause notes and logs a failure and returns how long to wait.
func (w *Worker) pause(v Verdict, err error, b *backoff) time.Duration {
	wait := b.next(v, time.Now())
	switch {
	case v.Expected:
		w.log.Debug("the session ended as expected", "reason", v.Sentence)
		return wait
	case v.Class == Passing:
		w.board.failed(v, StateWaiting)
		w.log.Info("will try again", "error", w.plain(err), "wait", wait)
	default:
		level := slog.LevelWarn
		if w.Status().Sentence == v.Sentence {
			level = slog.LevelDebug // it was said
		}
		w.board.failed(v, StateParked)
		w.log.Log(context.Background(), level, "someone must act", "who", v.Class, "error", w.plain(err), "hint", v.Hint, "wait", wait)
	}
	return wait
}

// plain is an error as the log may have it: servers like to repeat the address that they refuse.
func (w *Worker) plain(err error) string {
	if w.c.Mailbox.Address == "" {
		return err.Error()
	}
	return w.address.ReplaceAllString(err.Error(), "<address>")
}

func (w *Worker) recovered(ctx context.Context, troubled bool) (told bool) {
	state := "connected"
	if troubled {
		state = "recovered"
	}
	return w.tell(ctx, event.MailboxChange{State: state})
}

// Expiring announces that what the mailbox logs in with will end before long.
func (w *Worker) Expiring(ctx context.Context, sentence, hint string) {
	w.tell(ctx, event.MailboxChange{State: "auth_expiring", Detail: sentence, Hint: hint})
}

// tell announces without insisting: the mail matters more than the news about it. What could not be told is told next time.
func (w *Worker) tell(ctx context.Context, change event.MailboxChange) (told bool) {
	err := w.announce(ctx, change)
	if err != nil {
		w.log.Info("could not announce", "what", change.State, "error", w.plain(err))
	}
	return err == nil
}

// announce publishes mailbox.<mailbox>.<what>.
func (w *Worker) announce(ctx context.Context, change event.MailboxChange) error {
	change.Mailbox = w.c.Mailbox
	now := time.Now().UTC()
	id := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", w.c.Mailbox.ID, change.State, change.Folder, now.UnixNano()))
	e := event.MailboxEvent{
		Envelope: event.Envelope{
			SpecVersion: "1.0", ID: hex.EncodeToString(id[:16]), Source: "/mailboxes/" + event.Token(w.c.Mailbox.ID),
			Type: event.MailboxType(change.State), Time: now,
			DataContentType: "application/json", DataSchema: event.SchemaMailbox,
		},
		Data: change,
	}
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode the event %s: %w", e.Type, err)
	}
	return w.c.Announcer.Announce(ctx, publish.Notice{Mailbox: w.token, What: change.State, ID: e.ID, Data: data})
}

// spread is how far apart those that wait for the same thing begin when it comes.
const spread = 250 * time.Millisecond

// sleep waits, or returns early when ctx ends or, a moment later and with true, when early is closed.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	if d <= 0 {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-early:
		sleep(ctx, min(d, rand.N(spread)), nil)
		return true
	}
	return false
}
