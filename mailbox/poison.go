package mailbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/parser"
	"github.com/mailflume/mailflume/publish"
)

// A message may make an event of itself that nobody foresaw: let the parser panic, keep it busy for ever, or end the
// process. Each of these ends with the message on the stream as dead, with its raw bytes, and the next message after it.
//
//   - A panic is caught where it happens.
//   - A message that takes longer than Config.Patience is left to its goroutine, which Go cannot end. There may be maxStuck
//     of them; after that the process needs a restart.
//   - That the process ended is seen at the next claim: the floor says that somebody claimed the mailbox and got nowhere.
//     The messages that he may have died of are then first tried out in a process of their own (see trial).

// Parser turns the bytes of a message into a parser.Mail; parser.Options is one.
type Parser interface{ Parse(raw []byte) parser.Mail }

// defaultPatience is how long the parser may take for one message: some hundred times what the largest one needs, since a
// machine may be that busy.
const defaultPatience = 2 * time.Minute

// maxStuck is how many messages may keep a goroutine busy for ever before no more are parsed.
const maxStuck = 4

var stuck atomic.Int32

// Stuck returns how many messages keep a goroutine of this process busy for ever. They are on the stream, as dead.
func Stuck() int { return int(stuck.Load()) }

// errStuck says that too many goroutines are lost to messages. Only a restart brings them back.
var errStuck = errors.New("the parser hangs on several messages; they are on the stream as dead")

// Why a message is dead that the parser could not be trusted with. None has text from a message.
const (
	whyPanic = "The program failed on this message; its raw bytes are kept."
	whyHangs = "This message kept the parser busy for too long; its raw bytes are kept."
	whyDied  = "The program ended while it parsed this message, and ended again when it was tried alone; its raw bytes are kept."
)

// digest makes the event of a message, whatever the message does to the parser. Asked to stop, it does not wait for one that
// hangs: whoever reads the mailbox next will.
func (w *Worker) digest(ctx context.Context, m fetcher.Message) (*draft, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	cause := w.cause(m)
	if w.careful > 0 {
		if w.careful--; w.careful == 0 {
			defer w.calm()
		}
		if why, err := w.tryOut(ctx, m.Raw); err != nil || why != "" {
			return w.poisoned(m, cause, why), err
		}
	}
	if stuck.Load() >= maxStuck {
		return nil, errStuck
	}
	made := make(chan *draft, 1)
	go func() {
		defer close(made)
		defer func() { _ = recover() }() // nil says it
		made <- w.c.build(m, cause)
	}()
	// In parts: while the process is stopped, or starved, only one of them passes.
	const parts = 10
	part := time.NewTimer(w.c.Patience / parts)
	defer part.Stop()
	for range parts {
		select {
		case d := <-made:
			if d == nil {
				return w.poisoned(m, cause, whyPanic), nil
			}
			return d, nil
		case <-ctx.Done():
			time.AfterFunc(w.c.Patience, func() {
				select {
				case <-made:
				default:
					countStuck(made)
				}
			})
			return nil, context.Cause(ctx)
		case <-part.C:
			part.Reset(w.c.Patience / parts)
		}
	}
	countStuck(made)
	return w.poisoned(m, cause, whyHangs), nil
}

// countStuck counts a goroutine for as long as a message keeps it busy.
func countStuck(made <-chan *draft) {
	stuck.Add(1)
	go func() {
		<-made
		stuck.Add(-1)
	}()
}

// errPanicked says that what it was tried on let the program panic.
var errPanicked = errors.New("a panic")

// finish stores the bytes of an event and encodes it.
func (w *Worker) finish(ctx context.Context, m fetcher.Message, d *draft) (*publish.Event, error) {
	e, err := w.c.finish(ctx, d)
	if !errors.Is(err, errPanicked) {
		return e, err
	}
	return w.c.finish(ctx, w.poisoned(m, d.event.Cause, whyPanic))
}

func (c Config) finish(ctx context.Context, d *draft) (e *publish.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("UID %d in folder %q: %w: %T", d.event.Data.IMAP.UID, d.folder, errPanicked, p)
		}
	}()
	if err := c.keepBytes(ctx, d); err != nil {
		return nil, err
	}
	e, err = d.encode(c.Bytes.MaxPayload(), c.Binary)
	if err != nil || d.raw != nil || d.whole == nil || !wasCut(&d.event.Data) {
		return e, err
	}
	d.raw = d.whole // what was cut off would be nowhere else
	if err := c.storeRaw(ctx, d); err != nil {
		return nil, err
	}
	return d.encode(c.Bytes.MaxPayload(), c.Binary)
}

// poisoned makes the event of a message without looking into it. Nil if there is no reason.
func (w *Worker) poisoned(m fetcher.Message, cause event.Cause, why string) *draft {
	if why == "" {
		return nil
	}
	w.log.Error("a message is published as dead", "folder", event.Token(m.Folder), "uid", m.UID, "bytes", len(m.Raw), "why", why)
	sum := sha256.Sum256(m.Raw)
	mail := parser.Mail{Mail: event.Mail{
		Email: event.Email{
			BlobID: hex.EncodeToString(sum[:]), Size: int64(len(m.Raw)),
			Headers: []event.EmailHeader{}, BodyValues: map[string]event.EmailBodyValue{},
			TextBody: []event.EmailBodyPart{}, HTMLBody: []event.EmailBodyPart{}, Attachments: []event.EmailBodyPart{},
		},
		Attachments: []event.Attachment{}, Defects: []event.Defect{{Code: parser.DefectPanic}},
	}}
	return w.c.assemble(m, cause, mail, hex.EncodeToString(sum[:]), &event.Dead{Reason: event.ReasonUnparsable, Detail: why})
}

// carefulFor is how many messages are tried out after a crash: what the worker that crashed had at hand.
const carefulFor = window + publish.MaxBatch

// beware looks at what the floor says of the last claim. If somebody else claimed the mailbox and saved nothing since, he may
// have died of its next messages.
func (w *Worker) beware(revision uint64) {
	if w.memo.Open && revision != w.wrote {
		w.careful = carefulFor
	}
}

// calm ends the care: what was at hand when somebody crashed has been dealt with.
func (w *Worker) calm() {
	w.careful = 0
	w.endTrial()
}

func (w *Worker) endTrial() {
	if w.trial != nil {
		w.trial.end()
		w.trial = nil
	}
}

// release notes that we did not die of what we claimed, unless that is known from what we did. It does not insist: without
// it, whoever comes next is careful for no reason.
func (w *Worker) release(ctx context.Context) {
	if !w.claimed || !w.memo.Open || w.careful > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.save(ctx); err != nil {
		w.log.Debug("the mailbox could not be released", "error", w.plain(err))
	}
}

// fromParser knows what messages do to the parser.
func fromParser(err error) (Verdict, bool) {
	if !errors.Is(err, errStuck) {
		return Verdict{}, false
	}
	return Verdict{
		Class: Operator, Sentence: fmt.Sprintf("The parser hangs on %d messages, which are on the stream as dead. No more are read by this process.", maxStuck),
		Hint: "Restart mailflume, and report the messages: mailflume parse shows what it makes of their raw bytes.",
	}, true
}

// tryOut parses a message in another process and returns what that does to it. A process can end for other reasons: the message
// is tried once more before it is blamed, and then one that nobody dies of, for the process may be what cannot live here.
func (w *Worker) tryOut(ctx context.Context, raw []byte) (why string, err error) {
	if len(w.c.Trial) == 0 {
		return "", nil
	}
	for range 2 {
		if why, err = w.tryOnce(ctx, raw); why == "" || err != nil {
			return "", err
		}
	}
	if harmless, err := w.tryOnce(ctx, nil); err != nil || harmless != "" {
		w.noTrials(errors.New("the process that parses them ends by itself"))
		return "", err
	}
	return why, nil
}

func (w *Worker) tryOnce(ctx context.Context, raw []byte) (why string, err error) {
	if w.trial == nil {
		if w.trial, err = startTrial(w.c.Trial); err != nil {
			w.noTrials(err)
			return "", nil
		}
	}
	if why = w.trial.parse(ctx, raw, w.c.Patience); why != "" {
		w.endTrial()
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return why, nil
}

// noTrials gives up to try out messages.
func (w *Worker) noTrials(why error) {
	w.log.Warn("messages cannot be tried out after a crash", "error", why)
	w.calm()
}
