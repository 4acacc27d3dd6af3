package mailbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/mailbox"
)

// churn is what eight writers did to a folder.
type churn struct {
	d    *dovecot.Server
	user string

	mu      sync.Mutex
	ops     int
	created map[uint32]time.Time // when a message was surely there
	removed map[uint32]time.Time // when it was about to go
}

// writer does random things until so many were done by all.
func (c *churn) writer(ctx context.Context, seed uint64, ops int) error {
	random := rand.New(rand.NewPCG(seed, 9))
	for n := 0; ; n++ {
		raw := make([][]byte, 0, 20)
		for i := range 1 + random.IntN(20) {
			raw = append(raw, message(int(seed)*10_000_000+n*100+i))
		}
		mine, err := c.d.Append(ctx, c.user, "INBOX", time.Time{}, raw...)
		if err != nil {
			return err
		}
		now := time.Now()
		c.mu.Lock()
		for _, uid := range mine {
			c.created[uid] = now
		}
		c.ops += len(mine)
		c.mu.Unlock()
		var commands []string
		for range 40 {
			uid := mine[random.IntN(len(mine))]
			switch random.IntN(10) {
			case 0:
				c.gone(uid)
				commands = append(commands, fmt.Sprintf("UID MOVE %d Archive", uid))
			case 1:
				c.gone(uid)
				commands = append(commands, fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, uid), fmt.Sprintf("UID EXPUNGE %d", uid))
			case 2:
				commands = append(commands, fmt.Sprintf(`UID STORE %d -FLAGS (\Seen $Later)`, uid))
			default:
				commands = append(commands, fmt.Sprintf(`UID STORE %d +FLAGS (\Seen)`, uid))
			}
		}
		if _, err := c.d.Exec(ctx, c.user, "INBOX", commands...); err != nil {
			return err
		}
		c.mu.Lock()
		c.ops += len(commands)
		done := c.ops >= ops
		c.mu.Unlock()
		if done {
			return nil
		}
	}
}

// gone notes that a message is about to go.
func (c *churn) gone(uid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := c.removed[uid]; !twice {
		c.removed[uid] = time.Now()
	}
}

// TestChurn: while eight writers append, expunge, move and flag, every message that is there for one pass is
// published once. MAILFLUME_CHURN says how many operations.
func TestChurn(t *testing.T) {
	ops := 1500
	if n, err := strconv.Atoi(os.Getenv("MAILFLUME_CHURN")); err == nil {
		ops = n
	}
	c := &churn{d: dovecot.Start(t, dovecot.Options{}), user: "anna@example.test", created: map[uint32]time.Time{}, removed: map[uint32]time.Time{}}
	c.d.Allow("good", c.user)
	_, err := c.d.Append(t.Context(), c.user, "Archive", time.Time{}, message(1))
	must(t, err)
	m := broker.New()
	conf := fetcher.Config{Addr: c.d.Addr, Security: fetcher.Plain, User: c.user, Start: fetcher.Start{All: true}}
	w := mailbox.NewWorker(mailbox.Config{
		Mailbox: event.Mailbox{ID: "anna"}, Raw: mailbox.RawNever, Stream: m, Bytes: m, Announcer: m, Floor: m,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			s, err := fetcher.Open(ctx, conf, tokenText("good"))
			if err != nil {
				return nil, nil, err
			}
			return s, s.Folders(), nil
		},
	})
	defer w.Close()
	failed := make(chan error, 8)
	var writers sync.WaitGroup
	start := time.Now()
	for i := range 8 {
		writers.Go(func() { failed <- c.writer(t.Context(), uint64(i+1), ops) })
	}
	over := make(chan struct{})
	go func() { writers.Wait(); close(over) }()
	var passes [][2]time.Time
	for last := false; !last; {
		select {
		case <-over:
			last = true
		default:
		}
		began := time.Now()
		must(t, w.Drain(t.Context()))
		passes = append(passes, [2]time.Time{began, time.Now()})
		time.Sleep(10 * time.Millisecond) // the writers need the server too
	}
	for range 8 {
		must(t, <-failed)
	}
	c.judge(t, m, passes)
	t.Logf("%d operations in %v, %d messages, %d passes, %d published", c.ops, time.Since(start), len(c.created), len(passes), len(m.Events("anna")))
}

// judge compares what is on the stream with what was there.
func (c *churn) judge(t *testing.T, m *broker.Broker, passes [][2]time.Time) {
	published := map[string]int{}
	for _, e := range m.Events("anna") {
		imap := decode(t, e).Data.IMAP
		published[fmt.Sprintf("%s/%d", imap.Folder, imap.UID)]++
	}
	owed := 0
	for uid, created := range c.created {
		n := published[fmt.Sprintf("INBOX/%d", uid)]
		removed, gone := c.removed[uid]
		must := false
		for _, p := range passes {
			must = must || p[0].After(created) && (!gone || p[1].Before(removed))
		}
		if must {
			owed++
		}
		if n > 1 || must && n == 0 {
			t.Errorf("UID %d is on the stream %d times; it had to be: %v", uid, n, must)
		}
	}
	for uid := range published {
		var n uint32
		if _, err := fmt.Sscanf(uid, "INBOX/%d", &n); err != nil || c.created[n].IsZero() {
			t.Errorf("%s is on the stream and was never there", uid)
		}
	}
	t.Logf("%d messages were there for a whole pass", owed)
}

type tokenText string

func (s tokenText) Token(context.Context, string) (string, error) { return string(s), nil }
