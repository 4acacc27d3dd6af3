package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Entry is one message of a chain as the ledger knows it: everything but its body.
type Entry struct {
	Seq           uint64
	Folder, Route string // tokens
	ID            string
	Position      string
	UID           uint32 // under the UIDVALIDITY of Position; 0 if unknown
	Fingerprint   string
	EmailID       string
	Received      time.Time // INTERNALDATE of the message; zero if unknown
	Time          time.Time // when it was stored
}

const (
	ledgerChunk = 1000             // messages asked for at a time
	ledgerIdle  = 30 * time.Second // after which the server forgets an abandoned read
)

// errStop ends a read because the reader of the ledger has had enough.
var errStop = errors.New("stopped")

// Ledger reads the chain of a mailbox from its first message up to and including tail, which Recover told, without the
// bodies. A batch that comes after tail knows of everything the ledger shows. The sequence ends with an error if the
// chain cannot be read to its end; what came before is then no ledger.
func (p *Publisher) Ledger(ctx context.Context, mailbox string, tail uint64) iter.Seq2[Entry, error] {
	return p.LedgerSince(ctx, mailbox, 0, tail)
}

// LedgerSince is Ledger without what comes up to and including after.
func (p *Publisher) LedgerSince(ctx context.Context, mailbox string, after, tail uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := p.ledger(ctx, mailbox, after, tail, func(e Entry) bool { return yield(e, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, fmt.Errorf("read the ledger of mailbox %s up to %d: %w", mailbox, tail, err))
		}
	}
}

func (p *Publisher) ledger(ctx context.Context, mailbox string, after, tail uint64, yield func(Entry) bool) error {
	if err := checkTokens("mailbox", mailbox); err != nil {
		return err
	}
	if after >= tail {
		return nil
	}
	stream, name := p.config.Stream.Name, nuid.Next() // named by us, so that we know the subjects that may be denied
	cons, err := p.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Name: name, FilterSubject: chainFilter(mailbox), HeadersOnly: true, AckPolicy: jetstream.AckNonePolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: ledgerIdle,
	})
	if err != nil {
		return p.apiError("read the stream "+stream, "$JS.API.CONSUMER.CREATE."+stream+"."+name+"."+chainFilter(mailbox), err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.readWait)
		defer cancel()
		_ = p.js.DeleteConsumer(ctx, stream, name) // the server forgets it anyway
	}()
	for last, read := uint64(0), uint64(0); last < tail; {
		before := read
		last, read, err = p.ledgerPart(ctx, cons, last, read, tail, yield)
		if err == nil && read == before {
			err = fmt.Errorf("%w: it ends at %d", ErrUnavailable, last)
		}
		if denied := p.denied.since("$JS.API.CONSUMER.MSG.NEXT."+stream+"."+name, time.Time{}); err != nil && denied != nil {
			return denied
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ledgerPart reads the next messages. read counts them: nothing is sent twice on such a consumer, so a gap in the
// count is a message lost on the way.
func (p *Publisher) ledgerPart(ctx context.Context, cons jetstream.Consumer, last, read, tail uint64,
	yield func(Entry) bool,
) (uint64, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.commitWait)
	defer cancel()
	got, err := cons.Fetch(ledgerChunk, jetstream.FetchContext(ctx))
	if err != nil {
		return last, read, p.apiError("read the stream", "", err)
	}
	for m := range got.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return last, read, fmt.Errorf("%w: a message without metadata: %w", ErrUnavailable, err)
		}
		read++
		if meta.Sequence.Consumer != read {
			return last, read, fmt.Errorf("%w: messages were lost on the way after %d", ErrUnavailable, last)
		}
		if last = meta.Sequence.Stream; last > tail {
			return last, read, nil
		}
		if !yield(entry(m, meta)) {
			return last, read, errStop
		}
		if last == tail {
			return last, read, nil
		}
	}
	if err := got.Error(); err != nil {
		return last, read, fmt.Errorf("%w: it ends at %d: %w", ErrUnavailable, last, err)
	}
	return last, read, nil
}

func entry(m jetstream.Msg, meta *jetstream.MsgMetadata) Entry {
	h := m.Headers()
	folder, route := folderOf(m.Subject())
	id, err := url.PathUnescape(h.Get(headerEmailID))
	if err != nil {
		id = h.Get(headerEmailID) // not written by us
	}
	uid, err := strconv.ParseUint(h.Get(headerUID), 10, 32)
	if err != nil {
		uid = 0 // there is none
	}
	received, err := time.Parse(time.RFC3339, h.Get(headerReceived))
	if err != nil {
		received = time.Time{} // there is none
	}
	return Entry{
		Seq: meta.Sequence.Stream, Folder: folder, Route: route, ID: h.Get(headerID), Position: h.Get(headerPosition), UID: uint32(uid),
		Fingerprint: h.Get(headerFingerprint), EmailID: id, Received: received, Time: meta.Timestamp,
	}
}
