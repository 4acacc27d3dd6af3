package publish

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// MaxBatch is how many events go in one Batch.
const MaxBatch = 100

// Event is one message of a batch. It becomes the subject mail.<mailbox>.<folder>.<route>.
type Event struct {
	Folder string // token of the folder
	Route  string // "received", "dead", or a route of the rules: a token

	ID          string    // deterministic; the same message gets the same in every attempt
	Position    string    // of its folder, once this event is stored: printable ASCII
	UID         uint32    // of the message, under the UIDVALIDITY of Position, for the ledger; 0 if unknown
	Fingerprint string    // of the message's stable headers, for the ledger
	EmailID     string    // the server's id of the message, if it has one, for the ledger
	Received    time.Time // INTERNALDATE of the message, for the ledger; zero if unknown

	ContentType string            // event.ContentType if empty
	Header      map[string]string // more headers; never names or values from a mail
	Data        []byte
}

// Batch is a part of one mailbox's chain.
type Batch struct {
	Mailbox string // token of the mailbox
	After   uint64 // the chain's last sequence: from Recover or from the last Receipt; 0 for an empty chain
	Events  []Event
}

// Receipt proves that a batch is stored.
type Receipt struct {
	Seq uint64 // of its last event: the chain's tail now
}

// The headers that we write.
const (
	headerID          = "Mailflume-Id"
	headerPosition    = "Mailflume-Position"
	headerUID         = "Mailflume-Uid"
	headerFingerprint = "Mailflume-Fingerprint"
	headerEmailID     = "Mailflume-Email-Id"
	headerReceived    = "Mailflume-Received"
	headerContentType = "Content-Type"

	headerExpect        = "Nats-Expected-Last-Subject-Sequence"
	headerExpectSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerBatch         = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// Commit stores all of the batch or nothing, once, if the chain still ends at b.After. A nil error is the only proof
// that it is stored. After an error forget the tail and the batch, and call Recover.
//
// All messages carry the expectation, not just the first: on a cluster a commit that expects a sequence in the middle of
// a batch could otherwise be accepted while that batch is being applied.
func (p *Publisher) Commit(ctx context.Context, b Batch) (Receipt, error) {
	msgs, err := p.messages(b)
	if err != nil {
		return Receipt{}, commitError(b, err)
	}
	if err := p.acquire(ctx); err != nil {
		return Receipt{}, commitError(b, err)
	}
	defer p.release()
	answer, err := p.send(ctx, msgs)
	if err != nil {
		return Receipt{}, commitError(b, err)
	}
	seq, err := p.readAck(answer.Data, msgs)
	if err != nil {
		err = p.whyIncomplete(err, msgs)
		return Receipt{}, commitError(b, err)
	}
	crash.At("puback.received")
	p.saw(b.Mailbox, seq)
	return Receipt{Seq: seq}, nil
}

func commitError(b Batch, err error) error {
	return fmt.Errorf("commit %d events of mailbox %s after %d: %w", len(b.Events), b.Mailbox, b.After, err)
}

// messages builds what goes over the wire and refuses what the server would refuse.
func (p *Publisher) messages(b Batch) ([]*nats.Msg, error) {
	n := len(b.Events)
	if n == 0 || n > MaxBatch {
		return nil, fmt.Errorf("%w: a batch has 1 to %d events", ErrInvalid, MaxBatch)
	}
	if err := checkTokens("mailbox", b.Mailbox); err != nil {
		return nil, err
	}
	batch := nuid.Next() // a new one for each attempt
	expect, filter := strconv.FormatUint(b.After, 10), chainFilter(b.Mailbox)
	msgs := make([]*nats.Msg, n)
	for i, e := range b.Events {
		m, err := e.message(b.Mailbox)
		if err != nil {
			return nil, err
		}
		m.Header[headerExpect] = []string{expect}
		m.Header[headerExpectSubject] = []string{filter}
		if n > 1 {
			m.Header[headerBatch] = []string{batch}
			m.Header[headerBatchSequence] = []string{strconv.Itoa(i + 1)}
		}
		if n > 1 && i == n-1 {
			m.Header[headerBatchCommit] = []string{"1"}
		}
		if size, limit := wireSize(m), p.MaxPayload(); size > limit {
			return nil, &TooLargeError{ID: e.ID, Size: size, Limit: limit}
		}
		msgs[i] = m
	}
	return msgs, nil
}

// message builds the message without what the chain adds.
func (e Event) message(mailbox string) (*nats.Msg, error) {
	if err := checkTokens("folder", e.Folder, "route", e.Route); err != nil {
		return nil, err
	}
	h := nats.Header{}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		if ours(name) || !plain(name) || strings.ContainsAny(name, ": ") {
			return nil, fmt.Errorf("%w: an event cannot set the header %q", ErrInvalid, name)
		}
		h[name] = []string{e.Header[name]}
	}
	h[headerID] = []string{e.ID}
	h[headerPosition] = []string{e.Position}
	h[headerContentType] = []string{e.ContentType}
	if e.ContentType == "" {
		h[headerContentType] = []string{event.ContentType}
	}
	if e.UID != 0 {
		h[headerUID] = []string{strconv.FormatUint(uint64(e.UID), 10)}
	}
	if e.Fingerprint != "" {
		h[headerFingerprint] = []string{e.Fingerprint}
	}
	if e.EmailID != "" {
		// The only one that comes from a server: what does not fit a header is percent-encoded.
		h[headerEmailID] = []string{url.PathEscape(e.EmailID)}
	}
	if !e.Received.IsZero() {
		h[headerReceived] = []string{e.Received.UTC().Format(time.RFC3339)}
	}
	for name, values := range h {
		if !plain(values[0]) || (values[0] == "" && (name == headerID || name == headerPosition)) {
			return nil, fmt.Errorf("%w: the header %s of event %q is %q: use printable ASCII", ErrInvalid, name, e.ID, values[0])
		}
	}
	return &nats.Msg{Subject: mailSubject(mailbox, e.Folder, e.Route), Header: h, Data: e.Data}, nil
}

// ours tells the headers that only this package may write.
func ours(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, "mailflume-") || name == "content-type"
}

// plain tells whether s survives in a header as it is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}

// wireSize is what the server counts against max_payload.
func wireSize(m *nats.Msg) int64 {
	n := len("NATS/1.0\r\n") + len("\r\n") + len(m.Data)
	for k, vs := range m.Header {
		for _, v := range vs {
			n += len(k) + len(": ") + len(v) + len("\r\n")
		}
	}
	return int64(n)
}

// send hands the messages over in order; the last one asks for the answer to all. Only then the wait for it begins: a narrow
// line that all mailboxes share may need longer than that for the messages themselves, and one that takes nothing any more is
// given up by writeWait.
func (p *Publisher) send(ctx context.Context, msgs []*nats.Msg) (*nats.Msg, error) {
	last := len(msgs) - 1
	for _, m := range msgs[:last] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := p.nc.PublishMsg(m); err != nil {
			// The server forgets a batch that is not committed.
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		crash.At("batch.part.sent")
	}
	crash.Soon("publish.sent")
	ctx, cancel := context.WithTimeout(ctx, p.commitWait)
	defer cancel()
	return p.request(ctx, msgs[last])
}

// ack is the answer to a publish.
type ack struct {
	Error     *answerError `json:"error"`
	Stream    string       `json:"stream"`
	Seq       uint64       `json:"seq"`
	Duplicate bool         `json:"duplicate"`
	Batch     string       `json:"batch"`
	Count     int          `json:"count"`
}

// readAck takes nothing but a clean acknowledgement of exactly these messages.
func (p *Publisher) readAck(data []byte, msgs []*nats.Msg) (uint64, error) {
	a, err := p.parseAck(data, p.config.Stream.Name)
	if err != nil {
		if tooLarge := p.tooLarge(err, msgs); tooLarge != nil {
			return 0, tooLarge
		}
		return 0, err
	}
	n := len(msgs)
	if n > 1 && (a.Count != n || a.Batch != msgs[0].Header.Get(headerBatch)) {
		return 0, fmt.Errorf("%w: NATS acknowledges %d of %d events, batch %q", ErrUncertain, a.Count, n, a.Batch)
	}
	return a.Seq, nil
}

// parseAck reads the answer of one stream.
func (p *Publisher) parseAck(data []byte, stream string) (ack, error) {
	var a ack
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("%w: the acknowledgement is not JSON: %w", ErrUncertain, err)
	}
	switch {
	case a.Error != nil:
		return a, fmt.Errorf("%w: %w", a.Error.kind(), a.Error)
	case a.Stream == "" || a.Seq == 0:
		return a, fmt.Errorf("%w: the acknowledgement names no stream or no sequence", ErrUncertain)
	case a.Stream != stream:
		return a, fmt.Errorf("%w: the stream %s took what is for %s: give the subjects back to %s", ErrNoStream, a.Stream, stream, stream)
	case a.Duplicate:
		return a, fmt.Errorf("%w: the server took an event for a duplicate and did not store it", ErrConflict)
	}
	return a, nil
}

// tooLarge names the largest event if that is what the server refused, else nil. Setup allows any size, so this is a
// limit that someone set later.
func (p *Publisher) tooLarge(err error, msgs []*nats.Msg) error {
	var a *answerError
	if !errors.As(err, &a) || a.Code != codeMsgTooLarge {
		return nil
	}
	largest := slices.MaxFunc(msgs, func(a, b *nats.Msg) int { return cmp.Compare(wireSize(a), wireSize(b)) })
	return fmt.Errorf("%w: %w", &TooLargeError{ID: largest.Header.Get(headerID), Size: wireSize(largest), Limit: p.MaxPayload()}, a)
}

// whyIncomplete names the subject that we may not publish to if that is why a part of a batch did not arrive. The
// server tells it beside the answer, perhaps a moment later.
func (p *Publisher) whyIncomplete(err error, msgs []*nats.Msg) error {
	var a *answerError
	if !errors.As(err, &a) || a.Code != codeIncomplete {
		return err
	}
	for _, m := range msgs {
		if denied := p.denied.since(m.Subject, time.Now().Add(-time.Minute)); denied != nil {
			return fmt.Errorf("%w: %w", denied, a)
		}
	}
	return err
}
