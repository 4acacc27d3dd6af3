package mailbox_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/mailbox"
)

// script is a session that yields what a test wrote, one list for each pass, and then fails with err.
type script struct {
	passes [][]fetcher.Message
	err    error
	ended  chan struct{} // if not nil: closed once all of a pass has been yielded
}

func (s *script) Messages(context.Context, map[string]fetcher.Position) iter.Seq2[fetcher.Message, error] {
	return func(yield func(fetcher.Message, error) bool) {
		if len(s.passes) == 0 {
			return
		}
		pass := s.passes[0]
		s.passes = s.passes[1:]
		for _, m := range pass {
			if !yield(m, nil) {
				return
			}
		}
		if s.ended != nil {
			close(s.ended)
		}
		if s.err != nil {
			yield(fetcher.Message{}, s.err)
		}
	}
}

func (s *script) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (s *script) Close() error                   { return nil }

// asked is a session without news that remembers where it was to begin.
type asked struct {
	script
	after map[string]fetcher.Position
}

func (a *asked) Messages(ctx context.Context, after map[string]fetcher.Position) iter.Seq2[fetcher.Message, error] {
	a.after = after
	return a.script.Messages(ctx, after)
}

// scripted returns a worker of the rig's mailbox that reads these folders from the script.
func (r *rig) scripted(s mailbox.Session, folders ...string) *mailbox.Worker {
	c := r.config()
	c.Open = func(context.Context) (mailbox.Session, []string, error) { return s, folders, nil }
	w := mailbox.NewWorker(c)
	r.t.Cleanup(w.Close)
	return w
}

// mail is message i as a session yields it, with the position that follows it.
func mail(t *testing.T, folder string, validity, uid uint32, i int, date time.Time, position string) fetcher.Message {
	t.Helper()
	p, err := fetcher.ParsePosition(position)
	must(t, err)
	raw := message(i)
	return fetcher.Message{
		Kind: fetcher.KindMail, Folder: folder, UIDValidity: validity, UID: uid, Raw: raw, Size: int64(len(raw)),
		InternalDate: date, Position: p,
	}
}

func relisted(m fetcher.Message) fetcher.Message {
	m.Relisted, m.Backfill = true, true
	return m
}

func reset(t *testing.T, folder string, was, is uint32, position string) fetcher.Message {
	t.Helper()
	p, err := fetcher.ParsePosition(position)
	must(t, err)
	return fetcher.Message{Kind: fetcher.KindReset, Folder: folder, Was: was, UIDValidity: is, Position: p}
}

func minute(n int) time.Time { return time.Date(2026, 3, 1, 12, n, 0, 0, time.UTC) }

// subjects counts the events on the stream by subject.
func (r *rig) subjects() map[string]int {
	n := make(map[string]int)
	for _, e := range r.stored() {
		n[*e.Data.Email.Subject]++
	}
	return n
}
