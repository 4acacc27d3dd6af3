package contract_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/publish"
)

// consume has every message handled until ctx ends. An error of handle brings the message back after patience, and so does a
// handle that takes longer than that, or a program that dies.
func consume(ctx context.Context, js jetstream.JetStream, patience time.Duration, handle func(event.MessageEvent) error) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, "MAIL", jetstream.ConsumerConfig{
		Durable:       "workflow",
		FilterSubject: "mail.*.*.received",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       patience,
	})
	if err != nil {
		return err
	}
	running, err := consumer.Consume(func(m jetstream.Msg) {
		var e event.MessageEvent
		if err := json.Unmarshal(m.Data(), &e); err != nil {
			log.Printf("not an event: %v", err)
			_ = m.Term() // it would be none the next time
		} else if err := handle(e); err != nil {
			log.Printf("event %s: %v", e.ID, err)
			_ = m.NakWithDelay(patience)
		} else {
			_ = m.Ack() // should it be lost, the message comes again with the same id
		}
	}, jetstream.PullMaxMessages(1)) // the server's patience begins when it sends, so do not have them wait here
	if err != nil {
		return err
	}
	defer running.Stop()
	<-ctx.Done()
	return nil
}

// open opens a file of an event. A read fails at the end if a byte is not as it was stored.
func open(ctx context.Context, js jetstream.JetStream, ref event.Ref) (io.ReadCloser, error) {
	store, err := js.ObjectStore(ctx, ref.Bucket)
	if err != nil {
		return nil, err
	}
	return store.Get(ctx, ref.Name)
}

// publisher has prepared its stream, and lives as long as the test.
func publisher(t *testing.T, c publish.Config) *publish.Publisher {
	t.Helper()
	p, err := publish.Open(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := p.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// stream is a NATS server with what publish makes there, and a subscriber's connection to it.
func stream(t *testing.T) (*publish.Publisher, jetstream.JetStream) {
	t.Helper()
	p := publisher(t, publish.Config{Embedded: publish.Embedded{Dir: t.TempDir(), Listen: "127.0.0.1:0"}})
	nc, err := nats.Connect(p.Status().URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return p, js
}

// What docs/consuming.md shows handles each event, brings back what failed, with the same id, and goes on where it stopped.
func TestSubscriber(t *testing.T) {
	p, js := stream(t)
	var tail uint64
	commit := func(route, id string, data []byte) {
		t.Helper()
		r, err := p.Commit(t.Context(), publish.Batch{Mailbox: "sales", After: tail, Events: []publish.Event{{
			Folder: "INBOX", Route: route, ID: id, Position: "1", Data: data,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		tail = r.Seq
	}
	send := func(id string) {
		t.Helper()
		commit("received", id, text(t, event.MessageEvent{Envelope: event.Envelope{ID: id}}))
	}
	send("a")
	commit("received", "noise", []byte("{"))
	commit("dead", "d", []byte("{}"))
	send("b")
	// session runs the subscriber until it was asked to handle enough. What it has handled may come again, as it may to anybody.
	session := func(enough func(asked []string) bool, handle func(id string) error) (asked []string) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		ids, ended := make(chan string), make(chan error, 1)
		go func() {
			ended <- consume(ctx, js, 2*time.Second, func(e event.MessageEvent) error {
				select {
				case ids <- e.ID:
					return handle(e.ID)
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		for !enough(asked) {
			select {
			case id := <-ids:
				asked = append(asked, id)
			case <-time.After(time.Minute):
				t.Fatalf("only %v", asked)
			}
		}
		return asked
	}
	count := func(asked []string, id string) (n int) {
		for _, a := range asked {
			if a == id {
				n++
			}
		}
		return n
	}
	var failed atomic.Bool
	asked := session(func(asked []string) bool { return count(asked, "a") > 1 && count(asked, "b") > 0 }, func(id string) error {
		if id == "a" && !failed.Swap(true) {
			return errors.New("not now")
		}
		return nil
	})
	if asked[0] != "a" || count(asked, "a")+count(asked, "b") != len(asked) {
		t.Errorf("asked to handle %v", asked)
	}
	send("c")
	asked = session(func(asked []string) bool { return count(asked, "c") > 0 }, func(string) error { return nil })
	if count(asked, "d")+count(asked, "noise") > 0 {
		t.Errorf("then asked to handle %v", asked)
	}
	info, err := js.Consumer(t.Context(), "MAIL", "workflow")
	if err != nil || info.CachedInfo().Delivered.Stream < tail {
		t.Errorf("the server does not know how far it got: %v", err)
	}
}

// put stores bytes as mailflume does.
func put(t *testing.T, p *publish.Publisher, want string) event.Ref {
	t.Helper()
	sum := sha256.Sum256([]byte(want))
	ref, err := p.Put(t.Context(), "sales", hex.EncodeToString(sum[:]), int64(len(want)), strings.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// read reads them as docs/consuming.md does.
func read(t *testing.T, js jetstream.JetStream, ref event.Ref) string {
	t.Helper()
	file, err := open(t.Context(), js, ref)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer file.Close()
	got, err := io.ReadAll(file)
	if err != nil {
		t.Error(err)
	}
	return string(got)
}

// What an event refers to can be read with nats.go, and is what was stored.
func TestSubscriberOpensFiles(t *testing.T) {
	p, js := stream(t)
	want := strings.Repeat("0123456789abcdef", 50_000)
	if got := read(t, js, put(t, p, want)); got != want {
		t.Errorf("%d bytes", len(got))
	}
}
