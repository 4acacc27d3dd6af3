package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/publish"
)

// claim reads where the chain stands: its tail, the last event of each folder and the floor. What merge says wins. Saving the
// floor, even unchanged, is both a read that cannot be stale and a fence against an owner before us.
func (w *Worker) claim(ctx context.Context) error {
	chain, err := w.c.Stream.Recover(ctx, w.token, w.tokens())
	if err != nil {
		return err
	}
	floor, note, revision, err := w.c.Floor.Positions(ctx, w.c.Mailbox.ID)
	damage := err
	if err != nil && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("read of mailbox %s: %w", w.c.Mailbox.ID, &floorError{err})
	}
	published := make(map[string]publish.Last)
	for _, folder := range w.folders {
		if last, ok := chain.Folders[event.Token(folder)]; ok {
			published[folder] = last
		}
	}
	known := readMemo(note)
	positions, err := merge(floor, published, known)
	if err != nil {
		return fmt.Errorf("mailbox %s: %w", w.c.Mailbox.ID, err)
	}
	if damage != nil {
		if err := w.mendable(published, damage); err != nil {
			return err
		}
	}
	if err := w.compare(ctx, chain, known, revision, damage); err != nil {
		return err
	}
	w.beware(revision)
	w.memo.Open = true
	w.tail, w.last, w.positions, w.stream = chain.Seq, chain.Folders, positions, chain.Stream
	w.saved, w.savedRevision, w.ledger, w.drops = floor, revision, nil, make(map[string]uint64)
	if err := w.save(ctx); err != nil {
		return err
	}
	if err := w.claimDeeds(ctx); err != nil {
		return err
	}
	w.claimed = true
	return nil
}

// mendable says whether the stream alone tells where every watched folder stands. Where it does not, to guess would be to
// lose mail or to publish it twice.
func (w *Worker) mendable(published map[string]publish.Last, damage error) error {
	var unknown []string
	for _, folder := range w.folders {
		if _, ok := published[folder]; !ok {
			unknown = append(unknown, event.Token(folder))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return &positionError{
		text: fmt.Sprintf("%v, and the stream has no event of %s that would tell where to go on. Nothing is read, so nothing is lost.",
			damage, strings.Join(unknown, ", ")),
		hint: "Restore the KV bucket (nats.state) from a backup; or delete the record, and reading begins as the mailbox's start says: " +
			"nats kv del <bucket> " + "p." + w.token + ".",
	}
}

// backwardsFor is how long a stream that ends before what it acknowledged is taken for a leader that was replaced and has not
// noticed, and not for one that lost something.
const backwardsFor = 30 * time.Second

// compareNow compares a chain that lost its tail under our hands.
func (w *Worker) compareNow(ctx context.Context, chain publish.Chain) error {
	w.memo.follow(w.tail, w.stream, time.Now())
	if err := w.compare(ctx, chain, w.memo, w.savedRevision, nil); err != nil {
		return err
	}
	w.stream = chain.Stream
	return nil
}

// compare says so if the chain or the record of the positions is not what an owner before us left.
func (w *Worker) compare(ctx context.Context, chain publish.Chain, m memo, revision uint64, damage error) error {
	now := time.Now()
	n := m.missing(chain, now)
	switch {
	case damage != nil:
		n = &notice{
			Code: noticeDamaged, At: now.UTC(), Sentence: "The record of positions was damaged and is made anew from what the stream says.",
			Hint: "Nothing to do for the folders that are watched; one that is watched again later begins as the mailbox's start says. Look for what damaged the KV bucket.",
		}
	case revision == 0 && chain.Seq > 0:
		n = &notice{
			Code: noticeRecordLost, At: now.UTC(), Sentence: "There is no record of positions, although events of this mailbox were published.",
			Hint: "Folders of which the stream holds an event go on after it; others begin as the mailbox's start says.",
		}
	case n == nil:
	case n.Code == noticeRolledBack && w.backwards.IsZero():
		w.backwards = now
		fallthrough
	case n.Code == noticeRolledBack && now.Sub(w.backwards) < backwardsFor:
		return fmt.Errorf("%w: the stream ends at %d and we know of %d", publish.ErrUnavailable, chain.Stream.Last, m.Tail)
	}
	w.backwards = time.Time{}
	if n != nil {
		w.log.Warn("a promise cannot be kept", "code", n.Code, "what", n.Sentence, "hint", n.Hint)
		if err := w.announce(ctx, event.MailboxChange{State: "stale", Detail: n.Sentence, Hint: n.Hint}); err != nil {
			return err
		}
		m.Notice = n
	}
	m.follow(chain.Seq, chain.Stream, now)
	w.memo = m
	w.c.Allowance.Report(m.Read, now)
	w.board.noticed(m.Notice)
	return nil
}

// tokens returns the subject tokens of the watched folders.
func (w *Worker) tokens() []string {
	tokens := make([]string, 0, len(w.folders))
	for _, folder := range w.folders {
		tokens = append(tokens, event.Token(folder))
	}
	return tokens
}

// merge returns, for each folder, the newer of the position that the floor holds and the one of the chain's last event. Whoever
// wrote the floor knew the chain up to known.Tail, which may be that it was empty: an event that is younger was published after
// that, perhaps by another owner, and its position counts, however often the writer of the floor counted up its own. Otherwise the
// higher N is the newer, and of two that are as new as each other the chain's counts, since what it has is published.
func merge(floor map[string]string, chain map[string]publish.Last, known memo) (map[string]fetcher.Position, error) {
	positions := make(map[string]fetcher.Position)
	for folder, text := range floor {
		p, err := readPosition(folder, text)
		if err != nil {
			return nil, err
		}
		positions[folder] = p
	}
	for folder, last := range chain {
		p, err := readPosition(folder, last.Position)
		if err != nil {
			return nil, err
		}
		old, ok := positions[folder]
		if unknown := !known.TailAt.IsZero() && last.Seq > known.Tail; !ok || unknown || p.N >= old.N {
			positions[folder] = p
		}
	}
	return positions, nil
}

func readPosition(folder, text string) (fetcher.Position, error) {
	p, err := fetcher.ParsePosition(text)
	if err != nil {
		return fetcher.Position{}, &positionError{
			text: fmt.Sprintf("The position of folder %s cannot be read: %v. Nothing is read, so nothing is lost.", event.Token(folder), err),
			hint: "It was probably written by another version of mailflume: run that one, or a newer one.",
		}
	}
	return p, nil
}

// save writes the positions to the floor.
func (w *Worker) save(ctx context.Context) error {
	text := make(map[string]string, len(w.positions))
	for folder, p := range w.positions {
		text[folder] = p.String()
	}
	w.memo.Open = w.memo.Open && !w.claimed
	w.memo.follow(w.tail, w.stream, time.Now())
	w.memo.Read = w.c.Allowance.String()
	revision, err := w.c.Floor.SavePositions(ctx, w.c.Mailbox.ID, text, w.memo.String(), w.savedRevision)
	if err != nil {
		w.claimed = false
		return fmt.Errorf("save of mailbox %s: %w", w.c.Mailbox.ID, &floorError{err})
	}
	w.saved, w.savedRevision, w.wrote, w.savedAt = text, revision, revision, time.Now()
	w.board.positions(text)
	w.countDrops()
	return nil
}

// floorInterval is how far the floor may lag behind the chain during a long pass. It matters only where retention removes
// events younger than that.
const floorInterval = 5 * time.Second

// saveIfMoved saves the positions if they moved since the last time.
func (w *Worker) saveIfMoved(ctx context.Context) error {
	moved := len(w.saved) != len(w.positions)
	for folder, p := range w.positions {
		moved = moved || w.saved[folder] != p.String()
	}
	if !moved {
		return nil
	}
	return w.save(ctx)
}
