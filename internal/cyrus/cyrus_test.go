package cyrus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/cyrus"
	"github.com/mailflume/mailflume/mailbox"
)

type password string

func (p password) Token(context.Context, string) (string, error) { return string(p), nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func message(i int) []byte {
	return fmt.Appendf(nil, "From: bob@example.test\r\nTo: anna@example.test\r\nSubject: number %d\r\nDate: Sun, 1 Mar 2026 00:00:00 +0000\r\n"+
		"Message-ID: <%d@example.test>\r\n\r\n%s\r\n", i, i, strings.Repeat("Gr\xfc\xdfe {3}\r\n)\r\n", i%7))
}

// box is a mailbox on the server: the harness's connection, and a worker.
type box struct {
	*cyrus.Conn
	t      *testing.T
	stream *broker.Broker
	worker *mailbox.Worker
}

func open(t *testing.T, s *cyrus.Server, user string, folders ...string) *box {
	t.Helper()
	c, err := s.Login(user)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	for _, f := range folders {
		if f != "INBOX" {
			_, err := c.Do("CREATE %s", f)
			must(t, err)
		}
	}
	b := &box{Conn: c, t: t, stream: broker.New()}
	conf := fetcher.Config{
		Addr: s.Addr, Security: fetcher.Plain, Auth: fetcher.Password, User: user, Folders: folders, Start: fetcher.Start{All: true},
	}
	b.worker = mailbox.NewWorker(mailbox.Config{
		Mailbox: event.Mailbox{ID: user}, Raw: mailbox.RawAlways, Stream: b.stream, Bytes: b.stream, Announcer: b.stream, Floor: b.stream,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			s, err := fetcher.Open(ctx, conf, password("x"))
			if err != nil {
				return nil, nil, err
			}
			return s, s.Folders(), nil
		},
	})
	t.Cleanup(b.worker.Close)
	return b
}

func (b *box) events() int { return len(b.stream.Events(event.Token(b.worker.Status().Mailbox.ID))) }

func (b *box) want(n int, when string) {
	b.t.Helper()
	must(b.t, b.worker.Drain(b.t.Context()))
	if got := b.events(); got != n {
		b.t.Errorf("%s: %d events, want %d", when, got, n)
	}
}

// TestCyrus: mail is read from a Cyrus as from others, what it calls a message is used, and nothing in it changes.
func TestCyrus(t *testing.T) {
	s := cyrus.Start(t)

	t.Run("every message once, with its bytes", func(t *testing.T) {
		b := open(t, s, "anna", "INBOX")
		const many = 200
		sent := map[string]bool{}
		for i := range many {
			must(t, b.Append("INBOX", message(i)))
			sent[string(message(i))] = true
		}
		before, err := b.Do("STATUS INBOX (MESSAGES UNSEEN RECENT HIGHESTMODSEQ UIDVALIDITY)")
		must(t, err)
		b.want(many, "first pass")
		b.want(many, "second pass")
		for _, e := range b.stream.Events("anna") {
			var m event.MessageEvent
			must(t, json.Unmarshal(e.Data, &m))
			raw, ok := b.stream.Object(m.Data.Raw.Name)
			if !ok || !sent[string(raw)] {
				t.Errorf("the raw bytes of %s are not those of a message that has not come yet", e.ID)
			}
			delete(sent, string(raw))
			if e.EmailID == "" {
				t.Errorf("%s has no EMAILID", e.ID)
			}
		}
		if len(sent) > 0 {
			t.Errorf("%d messages did not come", len(sent))
		}
		after, err := b.Do("STATUS INBOX (MESSAGES UNSEEN RECENT HIGHESTMODSEQ UIDVALIDITY)")
		must(t, err)
		if before[0] != after[0] {
			t.Errorf("reading changed the folder: %s became %s", before[0], after[0])
		}
	})

	t.Run("a message that is moved, or in two folders, is one event", func(t *testing.T) {
		b := open(t, s, "ben", "INBOX", "Work")
		for i := range 10 {
			must(t, b.Append("INBOX", message(i)))
		}
		b.want(10, "before")
		_, err := b.Do("SELECT INBOX")
		must(t, err)
		_, err = b.Do("UID MOVE 3:5 Work")
		must(t, err)
		_, err = b.Do("UID COPY 7:8 Work")
		must(t, err)
		b.want(10, "after")
	})

	t.Run("expunged meanwhile", func(t *testing.T) {
		b := open(t, s, "carl", "INBOX")
		must(t, b.Append("INBOX", message(1), message(2), message(3)))
		b.want(3, "before")
		must(t, b.Append("INBOX", message(4), message(5)))
		_, err := b.Do("SELECT INBOX")
		must(t, err)
		_, err = b.Do(`UID STORE 1,4 +FLAGS (\Deleted)`)
		must(t, err)
		_, err = b.Do("EXPUNGE")
		must(t, err)
		b.want(4, "after")
	})

	t.Run("another UIDVALIDITY", func(t *testing.T) {
		b := open(t, s, "dora", "INBOX", "Work")
		must(t, b.Append("Work", message(1), message(2)))
		b.want(2, "before")
		_, err := b.Do("DELETE Work")
		must(t, err)
		time.Sleep(1100 * time.Millisecond) // it is a time of whole seconds
		_, err = b.Do("CREATE Work")
		must(t, err)
		must(t, b.Append("Work", message(3), message(4)))
		if err := b.worker.Drain(t.Context()); err != nil { // the session has ended with its folder
			must(t, b.worker.Drain(t.Context()))
		}
		b.want(4, "after")
		resets := 0
		for _, what := range b.stream.Notices("dora") {
			if what == "reset" {
				resets++
			}
		}
		if resets != 1 {
			t.Errorf("announced %d times", resets)
		}
	})

	t.Run("IDLE", func(t *testing.T) {
		b := open(t, s, "emma", "INBOX")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); b.worker.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		for i := range 5 {
			for began := time.Now(); b.worker.Status().State != mailbox.StateWatching; time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > time.Minute {
					t.Fatalf("%+v", b.worker.Status())
				}
			}
			must(t, b.Append("INBOX", message(i)))
			for began := time.Now(); b.events() <= i; time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > time.Minute { // far below the renewal
					t.Fatalf("message %d did not come: %+v", i, b.worker.Status())
				}
			}
		}
	})
}
