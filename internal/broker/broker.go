// Package broker is a JetStream stream and what lies beside it, in memory, for tests that run in a testing/synctest bubble,
// where no socket may be.
//
// It keeps the promises of publish.Publisher and state.Store as their callers see them, and passes the same tests as
// these do over a real nats-server (contract_test.go). It does not imitate the wire, clusters or retention.
package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/publish"
)

// maxPayload is nats-server's default.
const maxPayload = 1 << 20

// Bucket is the name of the object store in references.
const Bucket = "mail"

// Stored is an event on the stream.
type Stored struct {
	publish.Entry
	Data []byte
}

// Broker is the stream, the object store and the floor. It is safe for concurrent use. The zero value is not ready: use New.
type Broker struct {
	mu      sync.Mutex
	seq     uint64
	chains  map[string][]Stored // by mailbox token
	notices map[string][]string
	objects map[string][]byte // by name
	floors  map[string]floor
	born    time.Time
	deeds   map[string]deeds
}

type deeds struct {
	done     map[string]uint64
	revision uint64
}

type floor struct {
	positions map[string]string
	note      string
	revision  uint64
}

// New returns an empty Broker.
func New() *Broker {
	return &Broker{
		chains: map[string][]Stored{}, notices: map[string][]string{}, objects: map[string][]byte{}, floors: map[string]floor{}, deeds: map[string]deeds{},
		born: time.Now(),
	}
}

// Recover is publish.Publisher.Recover.
func (b *Broker) Recover(ctx context.Context, mailbox string, folders []string) (publish.Chain, error) {
	if ctx.Err() != nil {
		return publish.Chain{}, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := publish.Chain{Seq: b.tail(mailbox), Folders: map[string]publish.Last{}, Stream: publish.Extent{Born: b.born, First: 1, Last: b.seq}}
	for _, s := range b.chains[mailbox] {
		if slices.Contains(folders, s.Folder) {
			c.Folders[s.Folder] = publish.Last{Seq: s.Seq, ID: s.ID, Position: s.Position, Time: s.Time}
		}
	}
	return c, nil
}

func (b *Broker) tail(mailbox string) uint64 {
	chain := b.chains[mailbox]
	if len(chain) == 0 {
		return 0
	}
	return chain[len(chain)-1].Seq
}

// Commit is publish.Publisher.Commit.
func (b *Broker) Commit(ctx context.Context, batch publish.Batch) (publish.Receipt, error) {
	if ctx.Err() != nil {
		return publish.Receipt{}, context.Cause(ctx)
	}
	if n := len(batch.Events); n == 0 || n > publish.MaxBatch {
		return publish.Receipt{}, fmt.Errorf("%w: a batch of %d events", publish.ErrInvalid, n)
	}
	for _, e := range batch.Events {
		if len(e.Data) > maxPayload {
			return publish.Receipt{}, &publish.TooLargeError{ID: e.ID, Size: int64(len(e.Data)), Limit: maxPayload}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if tail := b.tail(batch.Mailbox); tail != batch.After {
		return publish.Receipt{}, fmt.Errorf("%w: it ends at %d, not at %d", publish.ErrConflict, tail, batch.After)
	}
	for _, e := range batch.Events {
		b.seq++
		b.chains[batch.Mailbox] = append(b.chains[batch.Mailbox], Stored{
			Entry: publish.Entry{
				Seq: b.seq, Folder: e.Folder, Route: e.Route, ID: e.ID, Position: e.Position, UID: e.UID, Fingerprint: e.Fingerprint,
				EmailID: e.EmailID, Received: e.Received, Time: time.Now(),
			},
			Data: bytes.Clone(e.Data),
		})
	}
	return publish.Receipt{Seq: b.seq}, nil
}

// Ledger is publish.Publisher.Ledger.
func (b *Broker) Ledger(ctx context.Context, mailbox string, tail uint64) iter.Seq2[publish.Entry, error] {
	return b.LedgerSince(ctx, mailbox, 0, tail)
}

// LedgerSince is publish.Publisher.LedgerSince.
func (b *Broker) LedgerSince(ctx context.Context, mailbox string, after, tail uint64) iter.Seq2[publish.Entry, error] {
	return func(yield func(publish.Entry, error) bool) {
		for _, s := range b.Events(mailbox) {
			if ctx.Err() != nil {
				yield(publish.Entry{}, context.Cause(ctx))
				return
			}
			if after < s.Seq && s.Seq <= tail && !yield(s.Entry, nil) {
				return
			}
		}
	}
}

// Put is publish.Publisher.Put.
func (b *Broker) Put(ctx context.Context, mailbox, sum string, size int64, r io.Reader) (event.Ref, error) {
	if ctx.Err() != nil {
		return event.Ref{}, context.Cause(ctx)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return event.Ref{}, err
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum || int64(len(data)) != size {
		return event.Ref{}, fmt.Errorf("%w: %d bytes", publish.ErrMismatch, len(data))
	}
	ref := event.Ref{Bucket: Bucket, Name: mailbox + "/" + sum, Size: size, SHA256: sum}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[ref.Name] = data
	return ref, nil
}

// MaxPayload is publish.Publisher.MaxPayload.
func (b *Broker) MaxPayload() int64 { return maxPayload }

// Announce is publish.Publisher.Announce.
func (b *Broker) Announce(ctx context.Context, n publish.Notice) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notices[n.Mailbox] = append(b.notices[n.Mailbox], n.What)
	return nil
}

// Positions is state.Store.Positions.
func (b *Broker) Positions(ctx context.Context, mailbox string) (map[string]string, string, uint64, error) {
	if ctx.Err() != nil {
		return nil, "", 0, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.floors[mailbox]
	return maps.Clone(f.positions), f.note, f.revision, nil
}

// SavePositions is state.Store.SavePositions.
func (b *Broker) SavePositions(ctx context.Context, mailbox string, positions map[string]string, note string, revision uint64) (uint64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if was := b.floors[mailbox].revision; was != revision {
		return 0, fmt.Errorf("the record is at revision %d, not %d: %w", was, revision, fs.ErrExist)
	}
	b.seq++
	b.floors[mailbox] = floor{maps.Clone(positions), note, b.seq}
	return b.seq, nil
}

// Events returns a mailbox's chain; mailbox is its token.
func (b *Broker) Events(mailbox string) []Stored {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.chains[mailbox])
}

// Notices returns what was announced of a mailbox, in order.
func (b *Broker) Notices(mailbox string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.notices[mailbox])
}

// Object returns the bytes of an object.
func (b *Broker) Object(name string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.objects[name]
	return data, ok
}

// LoadDeeds is state.Store.LoadDeeds.
func (b *Broker) LoadDeeds(ctx context.Context, mailbox string) (map[string]uint64, uint64, error) {
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.deeds[mailbox]
	if d.done == nil {
		return nil, 0, nil
	}
	return maps.Clone(d.done), d.revision, nil
}

// SaveDeeds is state.Store.SaveDeeds.
func (b *Broker) SaveDeeds(ctx context.Context, mailbox string, done map[string]uint64, revision uint64) (uint64, error) {
	return b.setDeeds(ctx, mailbox, maps.Clone(done), revision)
}

// ForgetDeeds is state.Store.ForgetDeeds.
func (b *Broker) ForgetDeeds(ctx context.Context, mailbox string, revision uint64) error {
	_, err := b.setDeeds(ctx, mailbox, nil, revision)
	return err
}

func (b *Broker) setDeeds(ctx context.Context, mailbox string, done map[string]uint64, revision uint64) (uint64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.deeds[mailbox]
	if old.done == nil && revision != 0 || old.done != nil && old.revision != revision {
		return 0, fmt.Errorf("deeds of %s: revision %d: %w", mailbox, revision, fs.ErrExist)
	}
	b.deeds[mailbox] = deeds{done, old.revision + 1}
	return old.revision + 1, nil
}
