package publish

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// storeToFill makes the test binary a program that fills the store of that directory until it is killed, encrypted with
// storeKey.
const (
	storeToFill = "PUBLISH_TEST_STORE"
	storeKey    = "PUBLISH_TEST_KEY"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(storeToFill); dir != "" {
		if err := fillStore(dir, NewSecret(os.Getenv(storeKey))); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// filler writes to a store all that mailflume writes. For each thing that it counts it prints "has THING N" when it
// starts, and "THING N" once N was acknowledged.
type filler struct {
	p       *Publisher
	kv      jetstream.KeyValue
	records map[string]int
	events  writer
	objects int
	last    []byte // the newest object
}

func fillStore(dir string, key Secret) error {
	// A busy machine is not what is tested.
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	c := embeddedConfig(dir)
	c.Embedded.Key = key
	p, err := Open(ctx, c, quiet())
	if err != nil {
		return err
	}
	p.commitWait, p.readWait = time.Hour, time.Hour
	if err := p.Setup(ctx); err != nil {
		return err
	}
	f := &filler{p: p, records: map[string]int{}, events: writer{p: p, mailbox: "m", folders: []string{"INBOX"}}}
	if err := f.look(ctx); err != nil {
		return err
	}
	for n := 0; ; n++ {
		write := []func(context.Context) error{f.event, f.event, f.record, f.record, f.record, f.object, f.objectAgain, f.noObject}[n%8]
		if err := write(ctx); err != nil {
			return err
		}
	}
}

// look prints what is there.
func (f *filler) look(ctx context.Context) (err error) {
	if f.kv, err = f.p.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "state", History: 1, LimitMarkerTTL: time.Second}); err != nil {
		return err
	}
	for _, k := range []string{"a", "b", "c"} {
		e, err := f.kv.Get(ctx, k)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(e.Value())))
		if err != nil {
			return err
		}
		f.records[k] = n
	}
	chain, err := f.p.Recover(ctx, "m", f.events.folders)
	if err != nil {
		return err
	}
	var ledger []Entry
	for e, err := range f.p.Ledger(ctx, "m", chain.Seq) {
		if err != nil {
			return err
		}
		ledger = append(ledger, e)
	}
	if err := history(ledger); err != nil {
		return err
	}
	if err := f.lookAtObjects(ctx); err != nil {
		return err
	}
	s, err := f.p.js.Stream(ctx, "MAIL")
	if err != nil {
		return err
	}
	subscribers := 1
	if _, err := s.Consumer(ctx, "workflow"); errors.Is(err, jetstream.ErrConsumerNotFound) {
		subscribers = 0
	} else if err != nil {
		return err
	}
	fmt.Printf("has a %d\nhas b %d\nhas c %d\n", f.records["a"], f.records["b"], f.records["c"])
	fmt.Printf("has events %d\nhas objects %d\nhas subscribers %d\n", len(ledger), f.objects, subscribers)
	_, err = s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "workflow", AckPolicy: jetstream.AckExplicitPolicy})
	fmt.Println("subscribers 1")
	return err
}

// lookAtObjects counts them and reads some.
func (f *filler) lookAtObjects(ctx context.Context) error {
	store, err := f.p.js.ObjectStore(ctx, "mail")
	if err != nil {
		return err
	}
	all, err := store.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return err
	}
	f.objects = len(all)
	mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, o := range all[:min(len(all), 5)] {
		data, err := store.GetBytes(ctx, o.Name)
		if err != nil || "m/"+sumOf(data) != o.Name {
			return fmt.Errorf("the object %s has other bytes: %w", o.Name, err)
		}
	}
	return nil
}

// event commits some, in one batch.
func (f *filler) event(ctx context.Context) error {
	f.events.size = mathrand.N(30_000)
	if err := f.events.step(ctx, "INBOX", 1+mathrand.N(9)); err != nil {
		return err
	}
	fmt.Println("events", f.events.chain.Folders["INBOX"].Position)
	return nil
}

// record writes one anew, and another one that is forgotten after a second.
func (f *filler) record(ctx context.Context) error {
	k := string("abc"[mathrand.N(3)])
	text := fmt.Sprintf("%-*d", 1+mathrand.N(20_000), f.records[k]+1)
	if _, err := f.kv.Put(ctx, k, []byte(text)); err != nil {
		return err
	}
	f.records[k]++
	fmt.Println(k, f.records[k])
	session := &nats.Msg{Subject: "$KV.state.session", Data: []byte(text), Header: nats.Header{jetstream.MsgTTLHeader: {"1s"}}}
	_, err := f.p.js.PublishMsg(ctx, session)
	return err
}

// object puts a new one.
func (f *filler) object(ctx context.Context) error {
	f.last = make([]byte, 100+mathrand.N(300_000)) // a block of an encrypted store has 2 MiB
	rand.Read(f.last)
	if err := f.put(ctx, sumOf(f.last)); err != nil {
		return err
	}
	f.objects++
	fmt.Println("objects", f.objects)
	return nil
}

// objectAgain puts the newest one again, whose description takes the place of the one before.
func (f *filler) objectAgain(ctx context.Context) error {
	f.p.maxAge.Store(1)
	defer f.p.maxAge.Store(0)
	return f.put(ctx, sumOf(f.last))
}

// noObject begins to put one and has its chunks purged, because its bytes are others.
func (f *filler) noObject(ctx context.Context) error {
	err := f.put(ctx, sumOf(nil))
	if !errors.Is(err, ErrMismatch) {
		return fmt.Errorf("other bytes than announced: %w", err)
	}
	return nil
}

func (f *filler) put(ctx context.Context, sum string) error {
	_, err := f.p.Put(ctx, "m", sum, int64(len(f.last)), bytes.NewReader(f.last))
	return err
}

// TestStoreOutlivesKills kills a process again and again while it opens a store and writes to it: what was acknowledged is
// there at the next start. MAILFLUME_LONG makes it 2,000 kills each.
func TestStoreOutlivesKills(t *testing.T) {
	kills := 15
	if long() {
		kills = 2000
	}
	for name, key := range map[string]string{"plain": "", "encrypted": "right"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, promised, kept := t.TempDir(), map[string]int{}, 0
			for n := range kills {
				// #nosec G204 -- the test's own binary
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), storeToFill+"="+dir, storeKey+"="+key)
				out, err := cmd.StdoutPipe()
				must(t, err)
				must(t, cmd.Start())
				// Some are killed while they start, and the others while they write.
				writes := mathrand.N(60)
				if n%2 == 0 {
					time.AfterFunc(mathrand.N(400*time.Millisecond)>>mathrand.N(4), func() { _ = cmd.Process.Kill() })
				}
				lines := bufio.NewScanner(out)
				for ; lines.Scan(); writes-- {
					if writes == 0 {
						_ = cmd.Process.Kill() // it may be dead
					}
					if err := account(promised, lines.Text()); err != nil {
						t.Fatalf("after %d kills: %v", n, err)
					}
				}
				_, err = io.Copy(io.Discard, out)
				must(t, err)
				_ = cmd.Wait() // it was killed
				if promised["events"]+promised["objects"] > 1000 {
					kept += promised["events"] + promised["objects"]
					must(t, os.RemoveAll(dir))
					dir, promised = t.TempDir(), map[string]int{} // most of the trouble is in stores that are young
				}
			}
			t.Logf("%d kills, %d events and objects", kills, kept+promised["events"]+promised["objects"])
		})
	}
}

// account compares a line of a filler with what was promised before.
func account(promised map[string]int, line string) error {
	words := strings.Fields(line)
	if len(words) < 2 {
		return errors.New(line)
	}
	found := words[0] == "has" && len(words) == 3
	if found {
		words = words[1:]
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || len(words) != 2 {
		return errors.New(line)
	}
	if found && n < promised[words[0]] {
		return fmt.Errorf("of %s the store has %d, and %d were acknowledged", words[0], n, promised[words[0]])
	}
	promised[words[0]] = n
	return nil
}
