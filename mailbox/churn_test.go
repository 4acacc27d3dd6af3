package mailbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/mailbox"
)

// stay is a time during which a message surely lay in one watched folder, and was no draft.
type stay struct {
	from, to time.Time // to is zero while it lasts
}

const clock = "15:04:05.000"

func (s stay) String() string {
	if s.to.IsZero() {
		return s.from.Format(clock) + " on"
	}
	return s.from.Format(clock) + " to " + s.to.Format(clock)
}

// churn is what eight writers did to two watched folders and one that is not.
type churn struct {
	d    *dovecot.Server
	user string
	long bool // there are drafts too

	mu    sync.Mutex
	ops   int
	kinds map[string]int
	stays map[int][]stay // by the number of the message
}

// writer changes messages of its own at random until all writers together have done so many operations.
type writer struct {
	*churn
	random *rand.Rand
	next   int                       // number of the next message
	alive  map[string]map[uint32]int // by watched folder and UID, the number of the message
	drafts map[int]bool              // by number: it is marked as one
}

var watchedFolders = []string{"INBOX", "Work"}

func (c *churn) writer(ctx context.Context, seed uint64, ops int) error {
	w := &writer{
		churn: c, random: rand.New(rand.NewPCG(seed, 9)), next: int(seed) * 10_000_000,
		alive: map[string]map[uint32]int{"INBOX": {}, "Work": {}}, drafts: map[int]bool{},
	}
	for {
		folder := watchedFolders[w.random.IntN(2)]
		if err := w.append(ctx, folder); err != nil {
			return err
		}
		for _, folder := range watchedFolders {
			if err := w.change(ctx, folder); err != nil {
				return err
			}
		}
		c.mu.Lock()
		done := c.ops >= ops
		c.mu.Unlock()
		if done {
			return nil
		}
	}
}

// did counts operations.
func (c *churn) did(kind string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops += n
	c.kinds[kind] += n
}

func (w *writer) append(ctx context.Context, folder string) error {
	var raw [][]byte
	first := w.next
	for range 1 + w.random.IntN(20) {
		raw = append(raw, message(w.next))
		w.next++
	}
	uids, err := w.d.Append(ctx, w.user, folder, time.Time{}, raw...)
	if err != nil {
		return err
	}
	for i, uid := range uids {
		w.alive[folder][uid] = first + i
		w.arrived(first + i)
	}
	w.did("append", len(uids))
	return nil
}

// arrived notes that a message surely lies in a watched folder, and is no draft.
func (c *churn) arrived(message int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stays[message] = append(c.stays[message], stay{from: time.Now()})
}

// leaves notes that a message is about to go from where it lies, or to become a draft.
func (c *churn) leaves(message int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.stays[message]; s[len(s)-1].to.IsZero() {
		s[len(s)-1].to = time.Now()
	}
}

// most is how many messages of a writer a folder keeps: a folder that grows for ever would be another test.
const most = 30

// change does something to every message of its own in a folder, on one connection.
func (w *writer) change(ctx context.Context, folder string) error {
	other := watchedFolders[0]
	if folder == other {
		other = watchedFolders[1]
	}
	var commands []string
	var finished []int
	moved := map[uint32]int{}
	for uid, n := range w.alive[folder] {
		kind := w.random.IntN(20)
		if len(w.alive[folder]) > most {
			kind = w.random.IntN(3)
		}
		switch kind {
		case 0:
			w.leaves(n)
			delete(w.alive[folder], uid)
			moved[uid] = n
			commands = append(commands, fmt.Sprintf("UID MOVE %d %s", uid, other))
			w.did("move to the other", 1)
		case 1:
			w.leaves(n)
			delete(w.alive[folder], uid)
			commands = append(commands, fmt.Sprintf("UID MOVE %d Archive", uid))
			w.did("move away", 1)
		case 2:
			w.leaves(n)
			delete(w.alive[folder], uid)
			commands = append(commands, fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted)`, uid), fmt.Sprintf("UID EXPUNGE %d", uid))
			w.did("expunge", 1)
		case 3:
			commands = append(commands, fmt.Sprintf(`UID STORE %d -FLAGS (\Seen $Later)`, uid))
			w.did("flag", 1)
		case 4:
			if w.drafts[n] || !w.long {
				continue
			}
			w.leaves(n)
			w.drafts[n] = true
			commands = append(commands, fmt.Sprintf(`UID STORE %d +FLAGS (\Draft)`, uid))
			w.did("draft", 1)
		default:
			if w.drafts[n] { // never many: only some are remembered
				commands = append(commands, fmt.Sprintf(`UID STORE %d -FLAGS (\Draft)`, uid))
				delete(w.drafts, n)
				finished = append(finished, n)
				w.did("draft finished", 1)
				continue
			}
			commands = append(commands, fmt.Sprintf(`UID STORE %d +FLAGS (\Seen)`, uid))
			w.did("flag", 1)
		}
	}
	lines, err := w.d.Exec(ctx, w.user, folder, commands...)
	if err != nil {
		return err
	}
	for _, n := range finished {
		w.arrived(n)
	}
	for _, line := range lines {
		var from, to uint64
		if m := copyUID.FindStringSubmatch(line); m != nil {
			from, _ = strconv.ParseUint(m[1], 10, 32)
			to, _ = strconv.ParseUint(m[2], 10, 32)
		}
		if n, ours := moved[uint32(from)]; ours && to != 0 {
			w.alive[other][uint32(to)] = n
			if !w.drafts[n] {
				w.arrived(n)
			}
		}
	}
	return nil
}

var copyUID = regexp.MustCompile(`\[COPYUID \d+ (\d+) (\d+)\]`)

// TestChurn: while eight writers append, expunge, flag and move, also between the watched folders, and mark as drafts and no more,
// every message that lies in one of them for a whole pass is published once, and none twice. MAILFLUME_CHURN says how many operations; without it there are fewer, and no drafts.
func TestChurn(t *testing.T) {
	ops := 1500
	if n, err := strconv.Atoi(os.Getenv("MAILFLUME_CHURN")); err == nil {
		ops = n
	}
	long := os.Getenv("MAILFLUME_CHURN") != ""
	c := &churn{d: dovecot.Start(t, dovecot.Options{}), user: "anna@example.test", long: long, kinds: map[string]int{}, stays: map[int][]stay{}}
	c.d.Allow("good", c.user)
	for _, folder := range []string{"Archive", "Work"} {
		_, err := c.d.Exec(t.Context(), c.user, "", "CREATE "+folder)
		if folder == "Work" {
			must(t, err) // the other may be there from the beginning
		}
	}
	m := broker.New()
	conf := fetcher.Config{
		Addr: c.d.Addr, Security: fetcher.Plain, User: c.user, Folders: watchedFolders, Start: fetcher.Start{All: true},
	}
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
	var passes []stay
	for last := false; !last; {
		select {
		case <-over:
			last = true
		default:
		}
		began := time.Now()
		must(t, w.Drain(t.Context()))
		passes = append(passes, stay{began, time.Now()})
		time.Sleep(10 * time.Millisecond) // the writers need the server too
	}
	for range 8 {
		must(t, <-failed)
	}
	c.judge(t, m, passes)
	t.Logf("%d operations %v in %v, %d messages, %d passes, %d published",
		c.ops, c.kinds, time.Since(start).Round(time.Millisecond), len(c.stays), len(passes), len(m.Events("anna")))
}

// judge compares what is on the stream with what was there.
func (c *churn) judge(t *testing.T, m *broker.Broker, passes []stay) {
	published := map[int]int{}
	where := map[int][]string{} // and when
	for _, e := range m.Events("anna") {
		var n int
		if subject := decode(t, e).Data.Email.Subject; subject == nil {
			t.Errorf("an event of nothing: %s", e.ID)
		} else if _, err := fmt.Sscanf(*subject, "number %d", &n); err != nil {
			t.Errorf("subject %q", *subject)
		}
		imap := decode(t, e).Data.IMAP
		where[n] = append(where[n], fmt.Sprintf("%s/%d at %s", imap.Folder, imap.UID, e.Time.Format(clock)))
		if published[n]++; c.stays[n] == nil {
			t.Errorf("message %d is on the stream and was never there", n)
		}
	}
	owed, lost, twice := 0, 0, 0
	for n, stays := range c.stays {
		whole := false
		for _, s := range stays {
			for _, p := range passes {
				whole = whole || p.from.After(s.from) && (s.to.IsZero() || p.to.Before(s.to))
			}
		}
		if whole {
			owed++
		}
		switch on := published[n]; {
		case on > 1 && on == len(c.places(t, n)):
			t.Logf("message %d was copied: the server has it as %q; published %q; it lay there %v", n, c.places(t, n), where[n], stays)
		case on > 1:
			twice++
			t.Errorf("message %d is on the stream %d times: %q; it lay there %v; the server has it as %q", n, on, where[n], stays, c.places(t, n))
		case on == 0 && whole:
			lost++
			t.Errorf("message %d is not on the stream; it lay there %v", n, stays)
		}
	}
	t.Logf("%d messages lay in a folder for a whole pass: %d of them lost, %d published twice", owed, lost, twice)
}

// places returns where the server has a message in the end. Dovecot now and then acknowledges a MOVE and leaves the message where it
// was, too, if others change flags at the same time: that is a copy then.
func (c *churn) places(t *testing.T, n int) (all []string) {
	for _, folder := range watchedFolders {
		lines, err := c.d.Exec(t.Context(), c.user, folder, fmt.Sprintf("UID SEARCH HEADER Message-ID <%d@example.test>", n))
		must(t, err)
		for _, line := range lines {
			if _, uids, found := strings.Cut(line, "SEARCH "); found && !strings.Contains(line, "completed") {
				all = append(all, folder+"/"+uids)
			}
		}
	}
	return all
}

type tokenText string

func (s tokenText) Token(context.Context, string) (string, error) { return string(s), nil }
