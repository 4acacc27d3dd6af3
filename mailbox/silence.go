package mailbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
)

// DefaultStaleAfter is how long a mailbox may be without a pass before that is announced.
const DefaultStaleAfter = 6 * time.Hour

// sayAgain is how long to wait when it could not be announced.
const sayAgain = time.Minute

// watchSilence says when the mailbox has not been read for too long, whatever the reason: a failure that passes and does not
// pass, or something that hangs. The returned function ends it.
func (w *Worker) watchSilence(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	limit := w.c.StaleAfter
	if limit <= 0 {
		limit = DefaultStaleAfter
	}
	w.board.begin()
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			silent := w.board.silent()
			wait := limit - silent
			if wait <= 0 {
				wait = sayAgain
				w.silent(ctx, silent)
			}
			sleep(ctx, wait, nil)
		}
	}()
	return func() { cancel(); <-ended }
}

// silent announces that there was no pass for so long, unless that was announced already.
func (w *Worker) silent(ctx context.Context, since time.Duration) {
	if w.board.stale() {
		return
	}
	s := w.Status()
	change := event.MailboxChange{
		State: "stale", Detail: fmt.Sprintf("No pass over the mailbox was complete for %v.", since.Round(time.Minute)), Hint: s.Hint,
	}
	if s.Sentence != "" {
		change.Detail += " " + s.Sentence
	}
	if w.tell(ctx, change) {
		w.board.toldStale()
		w.log.Warn("the mailbox is stale", "for", since.Round(time.Minute), "hint", s.Hint)
	}
}

// tellFolder announces that a folder cannot be read while the others are, and that it can be again.
func (w *Worker) tellFolder(ctx context.Context, err error) {
	name := ""
	var folder *fetcher.FolderError
	if errors.As(err, &folder) {
		name = folder.Folder
	}
	if name == w.unread {
		return
	}
	if w.unread != "" && !w.tell(ctx, event.MailboxChange{State: "recovered", Folder: w.unread}) {
		return
	}
	w.unread = ""
	if name == "" {
		return
	}
	v := Classify(err)
	if w.tell(ctx, event.MailboxChange{State: v.State, Folder: name, Detail: v.Sentence, Hint: v.Hint}) {
		w.unread = name
	}
}

func (b *board) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pass, b.told, b.s.StaleSince = time.Now(), false, time.Time{}
}

// passed notes that a pass has ended.
func (b *board) passed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pass = time.Now()
}

func (b *board) silent() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.pass)
}

// stale notes that the mailbox is stale, and returns whether that was announced.
func (b *board) stale() (told bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s.StaleSince.IsZero() {
		b.s.StaleSince = b.pass
	}
	return b.told
}

func (b *board) toldStale() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = true
}

// ill says whether the mailbox was announced as stale, and well that it was announced as recovered.
func (b *board) ill() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.StaleSince = time.Time{} // only a pass asks
	return b.told
}

func (b *board) well() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = false
}
