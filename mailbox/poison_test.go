package mailbox_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/samples"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/parser"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
)

// TestMain is the test, or one of the processes that a test starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "trial":
			if err := mailbox.ServeTrials(os.Stdin, os.Stdout, weak{}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "worker":
			os.Exit(workUntilKilled(os.Args[2], os.Args[3], os.Args[4]))
		}
	}
	os.Exit(m.Run())
}

// weak is a parser that does what a message says it should.
type weak struct{}

// hangs is how long a message hangs: until the test that made it is over.
var hangs chan struct{}

const (
	poisonPanic = "X-Poison: panic\r\n"
	poisonHang  = "X-Poison: hang\r\n"
	poisonExit  = "X-Poison: exit\r\n"
)

func (weak) Parse(raw []byte) parser.Mail {
	switch {
	case bytes.Contains(raw, []byte(poisonPanic)):
		panic("as the message asked")
	case bytes.Contains(raw, []byte(poisonHang)):
		<-hangs
	case bytes.Contains(raw, []byte(poisonExit)):
		os.Exit(3) // as the kernel does when memory runs out, and Go when a stack overflows
	}
	return parser.Parse(raw)
}

// poison is message i with something in it that the parser cannot stand.
func poison(i int, what string) []byte { return append([]byte(what), message(i)...) }

// wantDead fails unless exactly these messages are dead, with their raw bytes, and all others are not.
func wantDead(t *testing.T, all []event.MessageEvent, dead map[uint32]bool) {
	t.Helper()
	for _, e := range all {
		switch uid := e.Data.IMAP.UID; {
		case dead[uid] != (e.Data.Dead != nil):
			t.Errorf("UID %d: dead is %+v", uid, e.Data.Dead)
		case dead[uid] && (e.Type != event.TypeDead || e.Data.Dead.Reason != event.ReasonUnparsable || e.Data.Raw == nil):
			t.Errorf("UID %d: %s, %+v, raw %v", uid, e.Type, e.Data.Dead, e.Data.Raw)
		}
	}
}

// A message that lets the parser panic is dead with its raw bytes, and the next one follows.
func TestPanicInThisProcess(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 1)
	r.account.Deliver("INBOX", poison(1, poisonPanic), minute(1))
	r.deliver("INBOX", 2, 1)
	c := r.config()
	c.Parse = weak{}
	w := mailbox.NewWorker(c)
	defer w.Close()
	must(t, w.Drain(t.Context()))
	r.wantExactly("INBOX")
	wantDead(t, r.stored(), map[uint32]bool{2: true})
}

// A message that keeps the parser busy for ever is dead with its raw bytes, and the next one follows. Each costs a goroutine,
// so there is an end to it; the operator hears of it.
func TestHangInThisProcess(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		t := l.t
		hangs = make(chan struct{})
		s := l.add(sim.Exchange, "anna")
		s.deliver(0, 2)
		s.a.Deliver("INBOX", poison(2, poisonHang), time.Time{})
		s.deliver(3, 1)
		c := s.config()
		c.Parse, c.Raw = weak{}, mailbox.RawAlways
		w := mailbox.NewWorker(c)
		defer w.Close()
		must(t, w.Drain(t.Context()))
		wantDead(t, s.decoded(), map[uint32]bool{3: true})
		if n := len(s.events()); n != 4 || mailbox.Stuck() != 1 {
			t.Errorf("%d events of 4 messages; %d are counted as stuck, want 1", n, mailbox.Stuck())
		}

		for i := 4; i < 9; i++ {
			s.a.Deliver("INBOX", poison(i, poisonHang), time.Time{})
		}
		v := mailbox.Classify(w.Drain(t.Context()))
		if v.Class != mailbox.Operator || !strings.Contains(v.Hint, "Restart") {
			t.Errorf("%+v", v)
		}
		if n := mailbox.Stuck(); n != 4 {
			t.Errorf("%d messages are counted as stuck, want 4", n)
		}
		s.once()
		close(hangs)
		synctest.Wait()
		if n := mailbox.Stuck(); n != 0 {
			t.Errorf("%d messages are counted as stuck that are not", n)
		}
	})
}

// Asked to stop, a worker does not wait for a message that hangs: nothing of it is on the stream, and whoever reads the mailbox
// next has it.
func TestStopWhileAMessageHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		p := fetcher.Position{UIDValidity: 71, Low: 1, N: 1}
		s := &script{passes: [][]fetcher.Message{{mail(t, "INBOX", 71, 1, 1, minute(1), p.String())}}}
		b := broker.New()
		w := mailbox.NewWorker(mailbox.Config{
			Mailbox: event.Mailbox{ID: "anna"}, Raw: mailbox.RawNever, Parse: hanging(release),
			Open:   func(context.Context) (mailbox.Session, []string, error) { return s, []string{"INBOX"}, nil },
			Stream: b, Bytes: b, Announcer: b, Floor: b,
		})
		stop := runs(t, w)
		synctest.Wait()
		asked := time.Now()
		stop()
		if d := time.Since(asked); d > 5*time.Second {
			t.Errorf("the worker stopped after %v", d)
		}
		if n := len(b.Events("anna")); n != 0 {
			t.Errorf("%d events", n)
		}
	})
}

// hanging is a parser that hangs until it is released.
type hanging <-chan struct{}

func (h hanging) Parse(raw []byte) parser.Mail {
	<-h
	return parser.Parse(raw)
}

// A message that ends the process twice, once in the worker and once in a process of its own, is dead with its raw bytes;
// those around it are not. Workers that are killed without a reason get nothing wrong.
func TestPoisonThatEndsTheProcess(t *testing.T) {
	r := newRig(t, sim.Exchange)
	const messages = 130
	dead := map[uint32]bool{}
	for i := range messages {
		raw := message(i)
		if i == 3 || i == 110 || i == 129 {
			raw, dead[uint32(i+1)] = poison(i, poisonExit), true
		}
		r.account.Deliver("INBOX", raw, minute(i))
	}
	nats := r.publisher.Status().URL
	self, err := os.Executable()
	must(t, err)
	access, err := r.token()
	must(t, err)
	crashes := 0
	for range 12 {
		p, err := process.Start(t.Context(), t.TempDir(), nil, self, "worker", nats, r.fetch.Addr, access)
		must(t, err)
		if r.await(messages, p.Gone()) {
			p.Kill()
			break
		}
		crashes++
	}
	r.wantExactly("INBOX")
	wantDead(t, r.stored(), dead)
	t.Logf("%d crashes for %d messages that end the process", crashes, len(dead))
	if crashes > 2*len(dead) {
		t.Errorf("%d crashes, want at most two for each of %d", crashes, len(dead))
	}
}

// await waits until the stream has so many events of mail, or the worker has ended.
func (r *rig) await(n int, ended <-chan struct{}) bool {
	r.t.Helper()
	last, moved := uint64(0), time.Now()
	for {
		select {
		case <-ended:
			return false
		case <-time.After(50 * time.Millisecond):
		}
		usage, err := r.publisher.Usage(r.t.Context())
		must(r.t, err)
		if usage.Stream.Messages >= uint64(n) && len(r.stored()) >= n {
			return true
		}
		if usage.Stream.Messages > last {
			last, moved = usage.Stream.Messages, time.Now()
		}
		if time.Since(moved) > time.Minute {
			r.t.Fatalf("nothing happens for a minute, at %d of %d", last, n)
		}
	}
}

// workUntilKilled is a process that carries the mailbox of a rig.
func workUntilKilled(nats, imap, access string) int {
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	p, err := publish.Open(ctx, publish.Config{URL: nats}, log)
	if err != nil {
		return 1
	}
	store, err := state.Open(ctx, p.JetStream(), state.Config{Bucket: "mailflume"})
	if err != nil {
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	mailbox.NewWorker(mailbox.Config{
		Mailbox: event.Mailbox{ID: "anna", Name: "Anna", Address: "anna@example.test"}, Raw: mailbox.RawAlways,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			s, err := fetcher.Open(ctx, fetcher.Config{
				Addr: imap, Security: fetcher.Plain, User: "anna@example.test", Start: fetcher.Start{All: true},
			}, static(access))
			if err != nil {
				return nil, nil, err
			}
			return s, s.Folders(), nil
		},
		Stream: p, Bytes: p, Announcer: p, Floor: store, Parse: weak{}, Trial: []string{self, "trial"},
	}).Run(ctx)
	return 0
}

type static string

func (s static) Token(context.Context, string) (string, error) { return string(s), nil }

// TestHostileMail puts 10,000 hostile messages and 1,000 good ones between them into one mailbox (a tenth of that, unless
// POISON=long): each is on the stream once, with its raw bytes, and the process stays small.
func TestHostileMail(t *testing.T) {
	seeds := hostileSeeds(t)
	hostile, good := 1000, 100
	if os.Getenv("POISON") == "long" {
		hostile, good = 10_000, 1000
	}
	if raced {
		hostile, good = 200, 20
	}
	r := newRig(t, sim.Exchange)
	random := rand.New(rand.NewPCG(14, 1))
	isGood := make(map[uint32]bool)
	for i := range hostile + good {
		raw := message(i)
		if i%11 != 0 {
			raw = mutate(seeds[random.IntN(len(seeds))], random)
		} else {
			isGood[uint32(i+1)] = true
		}
		r.account.Deliver("INBOX", raw, minute(0).Add(time.Duration(i)*time.Second))
	}
	access, err := r.token()
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	began := time.Now()
	p, err := process.Start(t.Context(), t.TempDir(), nil, self, "worker", r.publisher.Status().URL, r.fetch.Addr, access)
	must(t, err)
	if !r.await(hostile+good, p.Gone()) {
		t.Fatalf("the process ended: %s", p.Output())
	}
	took, peak := time.Since(began), highWater(t, p.Pid())
	p.Kill()
	r.wantExactly("INBOX")
	dead := 0
	for _, e := range r.stored() {
		if e.Data.Dead == nil {
			continue
		}
		dead++
		if isGood[e.Data.IMAP.UID] {
			t.Errorf("UID %d is a good message and dead: %+v", e.Data.IMAP.UID, e.Data.Dead)
		}
	}
	t.Logf("%d hostile and %d good messages of %d seeds in %v: %d events, %d of them dead; at most %d MiB in the worker's process",
		hostile, good, len(seeds), took.Round(time.Millisecond), len(r.stored()), dead, peak>>20)
	if peak > 256<<20 {
		t.Errorf("the process had %d MiB", peak>>20)
	}
}

// hostileSeeds returns the messages of the corpus, or our samples where it is absent.
func hostileSeeds(t *testing.T) [][]byte {
	var seeds [][]byte
	for _, m := range samples.All() {
		seeds = append(seeds, m.Raw)
	}
	root := os.Getenv("MAILFLUME_CORPUS")
	if root == "" {
		return seeds
	}
	for _, dir := range []string{"adversarial", "messages"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(name)
			if err == nil && len(raw) > 0 && len(raw) <= 1<<20 {
				seeds = append(seeds, raw)
			}
			return err
		})
		must(t, err)
	}
	return seeds
}

// mutate damages a message in one of several ways.
func mutate(seed []byte, random *rand.Rand) []byte {
	raw := bytes.Clone(seed)
	for range 1 + random.IntN(4) {
		i, j := random.IntN(len(raw)), random.IntN(len(raw))
		i, j = min(i, j), max(i, j)
		switch random.IntN(7) {
		case 0: // flip bits
			raw[i] ^= byte(1 + random.IntN(255))
		case 1: // cut off
			raw = raw[:j+1]
		case 2: // leave out
			raw = append(raw[:i:i], raw[j:]...)
		case 3: // repeat
			part := raw[i:min(j, i+4096)]
			raw = append(bytes.Repeat(part, 1+random.IntN(20)), raw...)
		case 4: // noise
			for k := i; k < min(j, i+64); k++ {
				raw[k] = byte(random.IntN(256))
			}
		case 5: // one byte for another, everywhere
			raw = bytes.ReplaceAll(raw, raw[i:i+1], raw[j:j+1])
		case 6: // nested in itself
			head := fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
			raw = append([]byte(strings.Repeat(head, 1+random.IntN(300))), raw...)
		}
		if len(raw) == 0 {
			raw = []byte{0}
		}
	}
	return raw
}

// highWater returns the most memory that a process had.
func highWater(t *testing.T, pid int) (bytes int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("the memory of a process is not known here: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, err := fmt.Sscanf(rest, "%d kB", &bytes)
			must(t, err)
		}
	}
	return bytes << 10
}
