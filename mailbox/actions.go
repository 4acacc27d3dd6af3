package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/publish"
)

// What is done to a message in its mailbox comes after its event is on the stream and the position is saved, and never in
// the way of new mail. The stream is the queue: all that is kept is up to which event of the chain the mailbox was acted
// upon, so that whoever dies between the two, the next one goes on where nothing is missed. Actions may be repeated.

// Actor is what a Session must be if Config.After asks for something.
type Actor interface {
	Act(ctx context.Context, folder string, validity uint32, uids []uint32, a fetcher.Action) error
}

// Journal is the chain from some event on; *publish.Publisher is one.
type Journal interface {
	LedgerSince(ctx context.Context, mailbox string, after, tail uint64) iter.Seq2[publish.Entry, error]
}

// Deeds keeps up to which sequence of the chain a mailbox was acted upon: under "" for all folders but those that are
// behind, and for each of these under its token; *state.Store is one. A lost race is an error that wraps fs.ErrExist.
type Deeds interface {
	LoadDeeds(ctx context.Context, mailbox string) (done map[string]uint64, revision uint64, err error)
	SaveDeeds(ctx context.Context, mailbox string, done map[string]uint64, revision uint64) (uint64, error)
	ForgetDeeds(ctx context.Context, mailbox string, revision uint64) error
}

// Why an action was not carried out on a message, or that it was.
const (
	actionDone       = "done"
	actionRenumbered = "renumbered" // its folder's UIDVALIDITY had changed
	actionGivenUp    = "given_up"   // refused, alone, for longer than actionPatience
)

const (
	// actionStep bounds how long new mail waits for a server that is slow to act.
	actionStep = 30 * time.Second
	// actionPatience is for how long a refusal that may pass holds up a folder's other actions. After that each message is
	// tried by itself, and given up if it is refused.
	actionPatience = time.Hour
	// actionGap is how long an action that ended the session is let be at least: each try costs a login.
	actionGap = 3 * time.Minute
)

// actions is where a worker stands with them.
type actions struct {
	done     map[string]uint64
	revision uint64
	trouble  map[string]*trouble // by folder token; "" if it is none of a folder
}

// trouble is a failure that is waited out.
type trouble struct {
	pause backoff
	since time.Time
	until time.Time
	said  string
}

// claimDeeds finds out where a claimed mailbox stands: at the tail, if after was only now asked for. What is done while
// nothing is asked for is nothing to go on from, so it is forgotten then.
func (w *Worker) claimDeeds(ctx context.Context) error {
	if w.c.Deeds == nil {
		return nil
	}
	done, revision, err := w.c.Deeds.LoadDeeds(ctx, w.c.Mailbox.ID)
	if errors.Is(err, fs.ErrInvalid) {
		w.log.Warn("the record of what was done to published messages is damaged; it begins anew here", "error", w.plain(err))
		done, err = nil, nil
	}
	switch {
	case err != nil:
	case w.c.After.IsZero() && revision != 0:
		err = w.c.Deeds.ForgetDeeds(ctx, w.c.Mailbox.ID, revision)
	case w.c.After.IsZero():
	case done == nil:
		done = map[string]uint64{"": w.tail}
		revision, err = w.c.Deeds.SaveDeeds(ctx, w.c.Mailbox.ID, done, revision)
	case w.tail != 0 && done[""] > w.tail: // another stream: what it has was published since
		done = map[string]uint64{"": 0}
	}
	if err != nil {
		return fmt.Errorf("deeds of mailbox %s: %w", w.c.Mailbox.ID, &floorError{err})
	}
	w.acts.done, w.acts.revision = done, revision
	for folder := range w.acts.trouble {
		if _, behind := done[folder]; !behind { // another worker has seen to it
			w.actGood(folder)
		}
	}
	return nil
}

// Act does what Config.After asks for to messages whose events are on the stream, one step of it, and says whether there is
// more to do at once. It is for the time between two Drains. What the server refuses is waited out here, while mail is read
// on; an error means that the session has ended, or that the mailbox must be claimed anew.
func (w *Worker) Act(ctx context.Context) (more bool, err error) {
	actor, can := w.session.(Actor)
	if w.c.After.IsZero() || !can || !w.claimed || w.acts.waits("") {
		return false, nil
	}
	for _, folder := range slices.Sorted(maps.Keys(w.acts.done)) {
		if w.acts.waits(folder) {
			continue
		}
		again, err := w.actOn(ctx, actor, folder)
		if err != nil {
			return false, err
		}
		more = more || again
	}
	return more, nil
}

// waits says whether a trouble is being waited out.
func (a *actions) waits(folder string) bool {
	t := a.trouble[folder]
	return t != nil && time.Now().Before(t.until)
}

// next returns when the next trouble has been waited out, zero if there is none.
func (a *actions) next() (next time.Time) {
	for _, t := range a.trouble {
		if next.IsZero() || t.until.Before(next) {
			next = t.until
		}
	}
	return next
}

// actOn takes one step: for a folder that is behind, or for all the others if folder is "".
func (w *Worker) actOn(ctx context.Context, actor Actor, folder string) (more bool, err error) {
	goal := w.acts.done[""]
	if folder == "" {
		goal = w.tail
	}
	errands, upTo, err := w.errands(ctx, folder, goal)
	if err != nil {
		w.actLater("", err)
		return false, nil
	}
	w.actGood("")
	failed, ended := w.runAll(ctx, actor, errands)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	done := maps.Clone(w.acts.done)
	if done[folder] = upTo; folder != "" && upTo >= goal {
		delete(done, folder) // it has caught up
	}
	maps.Copy(done, failed)
	if err := w.saveDeeds(ctx, done); err != nil {
		return false, err
	}
	if folder != "" && len(failed) == 0 {
		w.actGood(folder)
	}
	if ended != nil {
		w.Close()
	}
	return upTo < goal, ended
}

// runAll does errands, each folder's in order. It returns from where on those folders must be acted upon again that failed,
// or whose turn did not come because the session has ended.
func (w *Worker) runAll(ctx context.Context, actor Actor, errands []*errand) (failed map[string]uint64, ended error) {
	failed = make(map[string]uint64)
	for _, e := range errands {
		if _, has := failed[e.folder]; has {
			continue
		}
		if ended == nil {
			err := w.run(ctx, actor, e)
			crash.At("message.acted")
			if err == nil {
				w.actGood(e.folder)
				continue
			}
			if ctx.Err() != nil {
				return nil, err
			}
			w.actLater(e.folder, err)
			if !refusal(err) {
				ended = err
			}
		}
		failed[e.folder] = e.after
	}
	return failed, ended
}

// errand is messages of one folder, in one life of it.
type errand struct {
	folder   string // token
	name     string
	validity uint32
	after    uint64 // a sequence before that of the first one's event, and after those of the errand before
	uids     []uint32
}

// errands reads what is to be done next, up to a sequence: for a folder that is behind, or for all others if folder is "".
// Dead mail is left alone, and so is what was published from a folder that is not watched any more.
func (w *Worker) errands(ctx context.Context, folder string, goal uint64) (errands []*errand, upTo uint64, err error) {
	if upTo = w.acts.done[folder]; upTo >= goal {
		return nil, upTo, nil
	}
	n, last := 0, make(map[string]*errand)
	for e, err := range w.c.Journal.LedgerSince(ctx, w.token, upTo, goal) {
		if err != nil {
			return nil, 0, err
		}
		if n == fetcher.MaxAct {
			return errands, upTo, nil
		}
		before := upTo
		upTo = e.Seq
		_, behind := w.acts.done[e.Folder]
		i := slices.IndexFunc(w.folders, func(f string) bool { return event.Token(f) == e.Folder })
		p, bad := fetcher.ParsePosition(e.Position)
		if e.Route == routeDead || e.UID == 0 || i < 0 || bad != nil || folder == "" && behind || folder != "" && e.Folder != folder {
			continue
		}
		n++
		open := last[e.Folder]
		if open == nil || open.validity != p.UIDValidity {
			open = &errand{folder: e.Folder, name: w.folders[i], validity: p.UIDValidity, after: before}
			errands, last[e.Folder] = append(errands, open), open
		}
		open.uids = append(open.uids, e.UID)
	}
	return errands, goal, nil
}

// run does an errand. When a refusal has lasted for too long, the messages are told apart: those that are refused alone are
// given up, so that they hold up no others.
func (w *Worker) run(ctx context.Context, actor Actor, e *errand) error {
	act := func(uids []uint32) error {
		ctx, cancel := context.WithTimeout(ctx, actionStep)
		defer cancel()
		return actor.Act(ctx, e.name, e.validity, uids, w.c.After)
	}
	err := act(e.uids)
	if t := w.acts.trouble[e.folder]; ofMessage(err) && t != nil && time.Since(t.since) > actionPatience {
		return w.isolate(act, e.uids)
	}
	return w.countActions(err, e.uids)
}

// ofMessage says whether a refusal may be one of a message alone.
func ofMessage(err error) bool {
	var refused *fetcher.ServerError
	return errors.As(err, &refused) && refused.Command != "" && !refused.Temporary()
}

// isolate finds the messages that are refused by themselves.
func (w *Worker) isolate(act func([]uint32) error, uids []uint32) error {
	err := act(uids)
	switch {
	case !ofMessage(err):
		return w.countActions(err, uids)
	case len(uids) == 1:
		w.log.Warn("a message could not be acted upon and is left as it is", "uid", uids[0], "error", w.plain(err))
		w.board.acted(actionGivenUp, 1)
		return nil
	}
	if err := w.isolate(act, uids[:len(uids)/2]); err != nil {
		return err
	}
	return w.isolate(act, uids[len(uids)/2:])
}

// countActions counts what was done, and what never can be.
func (w *Worker) countActions(err error, uids []uint32) error {
	switch {
	case err == nil:
		w.board.acted(actionDone, len(uids))
	case errors.Is(err, fetcher.ErrRenumbered):
		w.board.acted(actionRenumbered, len(uids))
	default:
		return err
	}
	return nil
}

// refusal says whether an error of Act is an answer of the server, after which the session goes on.
func refusal(err error) bool {
	var (
		final  *fetcher.ActionError
		answer *fetcher.ServerError
		slow   *fetcher.ThrottledError
	)
	return errors.As(err, &final) || errors.As(err, &answer) && answer.Command != "" || errors.As(err, &slow)
}

// actLater notes a failure, to be waited out, and says it once.
func (w *Worker) actLater(folder string, err error) {
	t := w.acts.trouble[folder]
	if t == nil {
		t = &trouble{since: time.Now(), pause: backoff{random: w.c.Random}}
		w.acts.trouble[folder] = t
	}
	v := Classify(err)
	wait := t.pause.next(v, time.Now())
	if !refusal(err) {
		wait = max(wait, actionGap)
	}
	t.until = time.Now().Add(wait)
	w.board.actionFailed(v)
	if t.said != v.Sentence {
		t.said = v.Sentence
		w.log.Warn("what comes after publishing must wait", "who", v.Class, "error", w.plain(err), "hint", v.Hint, "wait", wait)
	}
}

// actGood forgets a failure.
func (w *Worker) actGood(folder string) {
	delete(w.acts.trouble, folder)
	if len(w.acts.trouble) == 0 {
		w.board.actionsGood()
	}
}

// saveDeeds saves how far the mailbox was acted upon.
func (w *Worker) saveDeeds(ctx context.Context, done map[string]uint64) error {
	if maps.Equal(done, w.acts.done) {
		return nil
	}
	saving, cancel := withGrace(ctx)
	defer cancel()
	revision, err := w.c.Deeds.SaveDeeds(saving, w.c.Mailbox.ID, done, w.acts.revision)
	if err != nil {
		w.claimed = false
		return fmt.Errorf("deeds of mailbox %s: %w", w.c.Mailbox.ID, &floorError{err})
	}
	w.acts.done, w.acts.revision = done, revision
	return nil
}

// actAndWait acts, and waits for mail or until an action may be tried again, unless there is more to do at once. Its error
// wraps errActing if it was acting that ended the session.
func (w *Worker) actAndWait(ctx context.Context) error {
	more, err := w.Act(ctx)
	switch {
	case err != nil && w.session == nil && ctx.Err() == nil:
		return fmt.Errorf("%w: %w", errActing, err)
	case err != nil || more:
		return err
	}
	waiting, cancel := ctx, func() {}
	if next := w.acts.next(); !next.IsZero() {
		waiting, cancel = context.WithTimeoutCause(ctx, max(time.Until(next), time.Second), errActionDue)
	}
	defer cancel()
	err = w.session.Wait(waiting)
	switch {
	case errors.Is(err, errActionDue) && ctx.Err() == nil:
		return nil
	case errors.Is(err, fetcher.ErrRenew):
		w.renew(ctx)
		return nil
	}
	if err != nil {
		w.Close()
	}
	return err
}

var (
	// errActing is the end of a session in an action. Actions have a backoff of their own, so mail is read on at once.
	errActing = errors.New("the session ended while acting upon a message")
	// errActionDue ends a wait because an action may be tried again.
	errActionDue = errors.New("an action is due")
)
