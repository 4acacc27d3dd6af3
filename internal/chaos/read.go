package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
)

// Stored is an event on the stream and when it was stored.
type Stored struct {
	Published
	At     time.Time
	Writer string // tells processes apart; empty if the event came alone, and so does not tell
}

// Read reads the whole stream, and the raw bytes of each event from the object store.
func (w *World) Read(ctx context.Context) ([]Stored, error) {
	objects, err := w.objects(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the objects: %w", err)
	}
	var all []Stored
	err = w.scan(ctx, "MAIL", true, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		var e event.MessageEvent
		if err := json.Unmarshal(m.Data(), &e); err != nil {
			return fmt.Errorf("read the event at %d: %w", meta.Sequence.Stream, err)
		}
		if e.Type != event.TypeReceived && e.Type != event.TypeDead {
			return nil // about a mailbox
		}
		where, imap := event.Token(e.Data.Mailbox.ID)+"."+event.Token(e.Data.IMAP.Folder), e.Data.IMAP
		if m.Subject() != "mail."+where+".received" && m.Subject() != "mail."+where+".dead" {
			return fmt.Errorf("the event at %d has the subject %s, want %s", meta.Sequence.Stream, m.Subject(), where)
		}
		one := Stored{
			Published: Published{
				Place: Place{e.Data.Mailbox.ID, imap.Folder, imap.UIDValidity, imap.UID},
				Seq:   meta.Sequence.Stream, ID: e.ID, Position: m.Headers().Get("Mailflume-Position"),
			},
			At: meta.Timestamp, Writer: writer(m.Headers().Get("Nats-Batch-Id")),
		}
		if e.Data.Raw != nil {
			one.SHA256 = objects[e.Data.Raw.Name]
		}
		if e.Data.Dead != nil {
			one.Dead = e.Data.Dead.Reason + ", " + e.Data.Dead.Detail
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// writer returns what the ids of all batches of a process begin with.
func writer(batch string) string {
	const prefix = 12 // of the ids of github.com/nats-io/nuid: drawn once
	if len(batch) < prefix {
		return ""
	}
	return batch[:prefix]
}

// objects returns the sha256 of every object, by name, from the bytes of its chunks. An object whose chunks do not fit
// what its record says of them has none.
func (w *World) objects(ctx context.Context) (map[string]string, error) {
	type object struct {
		Name, NUID string
		Chunks     int
		Size       int64
	}
	chunks := map[string][][]byte{}
	records := map[string]object{} // the last record of a name counts
	err := w.scan(ctx, "OBJ_mail", false, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		if id, ok := strings.CutPrefix(m.Subject(), "$O.mail.C."); ok {
			chunks[id] = append(chunks[id], m.Data())
			return nil
		}
		var o object
		if err := json.Unmarshal(m.Data(), &o); err != nil {
			return err
		}
		if m.Subject() != "$O.mail.M."+base64.URLEncoding.EncodeToString([]byte(o.Name)) {
			return fmt.Errorf("the record of %s is at %s", o.Name, m.Subject())
		}
		records[o.Name] = o
		return nil
	})
	sums := make(map[string]string, len(records))
	for name, o := range records {
		hash, size := sha256.New(), int64(0)
		for _, c := range chunks[o.NUID] {
			hash.Write(c)
			size += int64(len(c))
		}
		if len(chunks[o.NUID]) == o.Chunks && size == o.Size {
			sums[name] = hex.EncodeToString(hash.Sum(nil))
		}
	}
	return sums, err
}

// scan hands every message of a stream to f, in order. A whole stream must begin at 1 and miss none.
func (w *World) scan(ctx context.Context, stream string, whole bool, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	s, err := w.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("find the stream %s: %w", stream, err)
	}
	state := s.CachedInfo().State
	if whole && state.Msgs > 0 && (state.FirstSeq != 1 || state.NumDeleted != 0) {
		return fmt.Errorf("the stream %s begins at %d and misses %d", stream, state.FirstSeq, state.NumDeleted)
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return fmt.Errorf("read the stream %s: %w", stream, err)
	}
	all, err := c.Messages()
	if err != nil {
		return fmt.Errorf("read the stream %s: %w", stream, err)
	}
	defer all.Stop()
	defer context.AfterFunc(ctx, all.Stop)()
	for seen := uint64(0); seen < state.Msgs; {
		m, err := all.Next()
		if err != nil {
			return fmt.Errorf("read the stream %s: %w", stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read the stream %s: %w", stream, err)
		}
		if seen++; whole && meta.Sequence.Stream != seen {
			return fmt.Errorf("the stream %s has %d in place of %d", stream, meta.Sequence.Stream, seen)
		}
		if err := f(m, meta); err != nil {
			return err
		}
	}
	return nil
}

// Judge compares the stream with the servers, once no more events come, and with the records that the replicas kept.
func (w *World) Judge(ctx context.Context) (Verdict, []Stored, error) {
	if err := w.quiet(ctx); err != nil {
		return Verdict{}, nil, err
	}
	served, err := w.Served(ctx)
	if err != nil {
		return Verdict{}, nil, err
	}
	stored, err := w.Read(ctx)
	if err != nil {
		return Verdict{}, nil, err
	}
	stream := make([]Published, len(stored))
	for i := range stored {
		stream[i] = stored[i].Published
	}
	v := Check(served, stream)
	if w.observer != nil {
		saved, owned := w.observer.records()
		v.Saved, v.Owned = len(saved), len(owned)
		v.Position = append(v.Position, CheckSaved(served, stored, saved)...)
		v.Intruder = CheckOwners(stored, owned)
	}
	return v, stored, nil
}
