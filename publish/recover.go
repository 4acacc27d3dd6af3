package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Chain is where the chain of a mailbox stands. The zero value is a chain without messages: a new mailbox, or one whose
// messages retention has all removed; only a floor kept elsewhere tells which.
type Chain struct {
	Seq     uint64          // of its last message: what the next batch comes after
	Folders map[string]Last // by token, of the folders that were asked for and have a message
	Stream  Extent          // what the stream held just afterwards
}

// Extent says what a stream holds. With what one knew before, it tells why a message is gone.
type Extent struct {
	Born        time.Time // when the stream was created
	First, Last uint64    // sequences; the stream of Born has given out every sequence up to Last
	MaxAge      time.Duration
}

// Last is the last message of a folder.
type Last struct {
	Seq      uint64
	ID       string
	Position string
	Time     time.Time // when it was stored
}

// maxReads bounds how often Recover looks again because the chain moved while it read.
const maxReads = 5

// Recover reads the end of a mailbox's chain and the last message of each folder, all as of one moment. It asks the
// stream's leader: a replica may be seconds behind.
func (p *Publisher) Recover(ctx context.Context, mailbox string, folders []string) (Chain, error) {
	c, err := p.recover(ctx, mailbox, folders)
	if err != nil {
		return Chain{}, fmt.Errorf("read the chain of mailbox %s: %w", mailbox, err)
	}
	return c, nil
}

func (p *Publisher) recover(ctx context.Context, mailbox string, folders []string) (Chain, error) {
	if err := checkTokens("mailbox", mailbox); err != nil {
		return Chain{}, err
	}
	for _, f := range folders {
		if err := checkTokens("folder", f); err != nil {
			return Chain{}, err
		}
	}
	for try := range maxReads {
		c, still, err := p.readChain(ctx, mailbox, folders)
		if err != nil {
			return Chain{}, err
		}
		// A former leader may have told of a shorter chain, and the one in its place then tell the stream's extent.
		if shorter := c.Seq < p.seen(mailbox); !still || shorter && try == 0 {
			continue
		}
		if err := p.notBackwards(ctx, mailbox, &c); err != nil {
			return Chain{}, err
		}
		p.saw(mailbox, c.Seq)
		return c, nil
	}
	return Chain{}, fmt.Errorf("%w %d times while it was read: someone else writes to it", ErrConflict, maxReads)
}

// readChain reads the tail, the folders and the tail again. still is false if they do not fit together.
func (p *Publisher) readChain(ctx context.Context, mailbox string, folders []string) (c Chain, still bool, err error) {
	tail, err := p.last(ctx, chainFilter(mailbox))
	if err != nil {
		return Chain{}, false, err
	}
	c = Chain{Seq: tail.Seq, Folders: make(map[string]Last, len(folders))}
	if tail.Seq == 0 {
		return c, true, nil
	}
	tailFolder, _ := folderOf(tail.Subject)
	for _, folder := range folders {
		m := tail
		if folder != tailFolder {
			if m, err = p.last(ctx, folderFilter(mailbox, folder)); err != nil {
				return Chain{}, false, err
			}
		}
		if m.Seq > tail.Seq {
			return Chain{}, false, nil
		}
		if m.Seq > 0 {
			c.Folders[folder] = m.position()
		}
	}
	if len(folders) == 0 || (len(folders) == 1 && folders[0] == tailFolder) {
		return c, true, nil // it was one read
	}
	again, err := p.last(ctx, chainFilter(mailbox))
	if err != nil {
		return Chain{}, false, err
	}
	return c, again.Seq == tail.Seq, nil
}

// notBackwards looks at what the stream holds, and refuses an answer that is older than what we know: it came from a leader
// that has been replaced and has not noticed. An answer may be lower for good reasons too: retention or an operator removed
// the messages, the stream is a new one, or, if it stays so, the server has lost some.
func (p *Publisher) notBackwards(ctx context.Context, mailbox string, c *Chain) (err error) {
	highest := p.seen(mailbox)
	if c.Stream, err = p.extent(ctx); err != nil {
		return err
	}
	another := p.bornAt(c.Stream.Born)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !another && c.Stream.Last < highest {
		if p.behind[mailbox].IsZero() {
			p.behind[mailbox] = time.Now()
		}
		if time.Since(p.behind[mailbox]) < p.doubt {
			return fmt.Errorf("%w: the answer ends at %d and we know of %d: it came from a former leader", ErrUnavailable, c.Seq, highest)
		}
	}
	delete(p.behind, mailbox)
	if c.Seq < highest {
		p.highest[mailbox] = c.Seq
	}
	return nil
}

func (p *Publisher) extent(ctx context.Context) (Extent, error) {
	info, err := p.streamInfo(ctx, p.config.Stream.Name)
	if err != nil {
		return Extent{}, err
	}
	return Extent{Born: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq, MaxAge: info.Config.MaxAge}, nil
}

// bornAt notes when the stream was created. If it is another one than before, what we knew of the chains is void.
func (p *Publisher) bornAt(created time.Time) (isNew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	isNew = !p.born.IsZero() && !created.Equal(p.born)
	if isNew {
		clear(p.highest)
	}
	p.born = created
	return isNew
}

// stored is one message as the leader has it.
type stored struct {
	Subject string
	Seq     uint64
	Header  nats.Header
	Data    []byte
	Time    time.Time
}

// last reads the last message under filter from the stream's leader; the zero value if there is none.
func (p *Publisher) last(ctx context.Context, filter string) (stored, error) {
	return p.lastIn(ctx, p.config.Stream.Name, filter)
}

// lastIn does so in any stream.
func (p *Publisher) lastIn(ctx context.Context, stream, filter string) (stored, error) {
	ask, err := json.Marshal(map[string]string{"last_by_subj": filter})
	if err != nil {
		return stored{}, err
	}
	var answer struct {
		Error   *answerError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := p.ask(ctx, "$JS.API.STREAM.MSG.GET."+stream, ask, &answer); err != nil {
		return stored{}, err
	}
	m := answer.Message
	switch {
	case answer.Error != nil && answer.Error.Code == codeNoMessage:
		return stored{}, nil
	case answer.Error != nil:
		return stored{}, fmt.Errorf("%w: %w", answer.Error.kind(), answer.Error)
	case m == nil || m.Seq == 0:
		return stored{}, fmt.Errorf("%w: NATS answers without a message", ErrUnavailable)
	}
	out := stored{Subject: m.Subject, Seq: m.Seq, Header: nats.Header{}, Data: m.Data, Time: m.Time}
	if len(m.Header) > 0 {
		if out.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return stored{}, fmt.Errorf("%w: message %d of %s has no readable headers: %w", ErrInvalid, m.Seq, stream, err)
		}
	}
	return out, nil
}

// ask is one question to the JetStream API. A missing answer to a question is harmless, hence ErrUnavailable.
func (p *Publisher) ask(ctx context.Context, subject string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, p.readWait)
	defer cancel()
	m, err := p.request(ctx, &nats.Msg{Subject: subject, Data: body})
	if errors.Is(err, ErrUncertain) {
		return fmt.Errorf("%w: the stream's leader does not answer: %w", ErrUnavailable, why(ctx, nats.ErrDisconnected))
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("%w: NATS answers what is not JSON: %w", ErrUnavailable, err)
	}
	return nil
}

// why is the cause of ctx's end, or another one if it has not ended.
func why(ctx context.Context, otherwise error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return otherwise
}
