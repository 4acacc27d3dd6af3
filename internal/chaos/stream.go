package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/process"
)

const allMail = "mail.>"

// Count returns how many events about messages the stream holds.
func (w *World) Count(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := w.js.Stream(ctx, "MAIL")
	if err != nil {
		return 0, fmt.Errorf("find the stream: %w", err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(allMail))
	if err != nil {
		return 0, fmt.Errorf("count events: %w", err)
	}
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n, nil
}

// patience is how long Await goes on when no more events come.
const patience = 15 * time.Second

// Await waits until the stream holds n events about messages; it asks again while the server is away.
func (w *World) Await(ctx context.Context, p *process.Process, n int) error {
	most, since := 0, time.Now()
	for {
		have, err := w.Count(ctx)
		if err == nil && have >= n {
			return nil
		}
		if have > most {
			most, since = have, time.Now()
		}
		if ended := p.Running(); ended != nil {
			return ended
		}
		if ctx.Err() != nil || time.Since(since) > patience {
			return fmt.Errorf("wait for %d events: there are %d: %w\n%s", n, most, errors.Join(err, errNoMore), p.Output())
		}
		time.Sleep(25 * time.Millisecond)
	}
}

var errNoMore = errors.New("no more come")

// quiet waits until no event has come for a second, so that late ones are judged too.
func (w *World) quiet(ctx context.Context) error {
	const still = 40
	for last, same := -1, 0; same < still; {
		n, err := w.Count(ctx)
		if err != nil {
			return err
		}
		if same++; n != last {
			last, same = n, 0
		}
		time.Sleep(time.Second / still)
	}
	return nil
}

// awaitSince waits until an event is stored after a process began.
func (w *World) awaitSince(ctx context.Context, p *process.Process) error {
	for {
		at, err := w.newest(ctx)
		if err == nil && !at.Before(p.Began) {
			return nil
		}
		if err := p.Running(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the first new event: %w\n%s", errors.Join(err, ctx.Err()), p.Output())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *World) newest(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
	defer cancel()
	s, err := w.js.Stream(ctx, "MAIL")
	if err != nil {
		return time.Time{}, err
	}
	m, err := s.GetLastMsgForSubject(ctx, allMail)
	if err != nil {
		return time.Time{}, err
	}
	return m.Time, nil
}

// Stored is an event on the stream and when it was stored.
type Stored struct {
	Published
	At time.Time
}

// Read reads the whole stream, and the raw bytes of each event from the object store.
func (w *World) Read(ctx context.Context) ([]Stored, error) {
	s, err := w.js.Stream(ctx, "MAIL")
	if err != nil {
		return nil, fmt.Errorf("find the stream: %w", err)
	}
	info, err := s.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the stream: %w", err)
	}
	if info.State.FirstSeq != 1 || info.State.NumDeleted != 0 {
		return nil, fmt.Errorf("the stream begins at %d and misses %d", info.State.FirstSeq, info.State.NumDeleted)
	}
	var all []Stored
	sums := map[string]string{} // by name of the object
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			return nil, fmt.Errorf("read the stream at %d: %w", seq, err)
		}
		var e event.MessageEvent
		if err := json.Unmarshal(m.Data, &e); err != nil {
			return nil, fmt.Errorf("read the event at %d: %w", seq, err)
		}
		if e.Type != event.TypeReceived && e.Type != event.TypeDead {
			continue // about a mailbox
		}
		where, imap := event.Token(e.Data.Mailbox.ID)+"."+event.Token(e.Data.IMAP.Folder), e.Data.IMAP
		if m.Subject != "mail."+where+".received" && m.Subject != "mail."+where+".dead" {
			return nil, fmt.Errorf("the event at %d has the subject %s, want %s", seq, m.Subject, where)
		}
		sum, err := w.sum(ctx, e.Data.Raw, sums)
		if err != nil {
			return nil, fmt.Errorf("read the raw bytes of the event at %d: %w", seq, err)
		}
		one := Stored{Published{
			Place: Place{e.Data.Mailbox.ID, imap.Folder, imap.UIDValidity, imap.UID},
			Seq:   seq, ID: e.ID, SHA256: sum,
		}, m.Time}
		if e.Data.Dead != nil {
			one.Dead = e.Data.Dead.Reason + ", " + e.Data.Dead.Detail
		}
		all = append(all, one)
	}
	return all, nil
}

// sum hashes the bytes that a reference points at; without one it is empty.
func (w *World) sum(ctx context.Context, ref *event.Ref, known map[string]string) (string, error) {
	if ref == nil {
		return "", nil
	}
	if sum, ok := known[ref.Name]; ok {
		return sum, nil
	}
	bucket, err := w.js.ObjectStore(ctx, ref.Bucket)
	if err != nil {
		return "", err
	}
	raw, err := bucket.GetBytes(ctx, ref.Name)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(raw)
	known[ref.Name] = hex.EncodeToString(hash[:])
	return known[ref.Name], nil
}

// Judge compares the stream with the servers, once no more events come.
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
	return Check(served, stream), stored, nil
}
