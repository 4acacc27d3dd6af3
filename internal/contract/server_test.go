package contract_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/contract"
	"github.com/mailflume/mailflume/publish"
)

// With the server that docs/durability.md shows mailflume finds nothing wrong but the copies, and the user of the workflows can
// do what docs/consuming.md shows, and nothing that takes mail from others.
func TestDocumentedServer(t *testing.T) {
	s := contract.Serve(t)
	p := publisher(t, publish.Config{
		URL: s.ClientURL(), Auth: publish.Auth{User: "mailflume", Password: publish.NewSecret("mailflume")}, Monitor: "http://" + s.MonitorAddr().String(),
	})
	weak, err := p.Weaknesses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range weak {
		if w.Code != publish.WeakCopies && w.Code != publish.WeakPurge { // one server; and who may purge cannot be seen from here
			t.Errorf("%s: %s", w.Code, w.Sentence)
		}
	}
	nc := connect(t, s, "workflow")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	takes(t, p, js)
	if err := nc.Flush(); err != nil || len(s.Denied("workflow")) > 0 {
		t.Errorf("the permissions do not suffice: %v, %q", err, s.Denied("workflow"))
	}
	if _, err := p.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "mailflume"}); err != nil {
		t.Fatal(err)
	}
	for _, what := range forbidden {
		if what.do(t.Context(), time.Second, js) == nil {
			t.Errorf("a workflow can %s", what.name)
		}
	}
	if u, err := p.Usage(t.Context()); err != nil || u.Stream.Messages != 1 {
		t.Errorf("the stream has %+v, %v", u.Stream, err)
	}
	admin, err := jetstream.New(connect(t, s, "admin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range forbidden { // an administrator can: so it is the permissions that keep the workflow from it
		if err := what.do(t.Context(), time.Minute, admin); err != nil {
			t.Errorf("%s: %v", what.name, err)
		}
	}
}

func connect(t *testing.T, s *contract.Server, user string) *nats.Conn {
	t.Helper()
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, user), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// forbidden is what a workflow must not be able to do.
var forbidden = []struct {
	name string
	do   func(ctx context.Context, within time.Duration, js jetstream.JetStream) error
}{
	{"publish events", request("mail.sales.INBOX.received", "{}")},
	{"read the grants", request("$JS.API.STREAM.INFO.KV_mailflume", "")},
	{"make a consumer of the grants", request("$JS.API.CONSUMER.CREATE.KV_mailflume.x", `{"stream_name": "KV_mailflume", "config": {"name": "x", "ack_policy": "none"}}`)},
	{"remove events", request("$JS.API.STREAM.PURGE.MAIL", "")},
	{"delete the stream", request("$JS.API.STREAM.DELETE.MAIL", "")},
}

// request asks NATS for something.
func request(subject, body string) func(context.Context, time.Duration, jetstream.JetStream) error {
	return func(ctx context.Context, within time.Duration, js jetstream.JetStream) error {
		ctx, stop := context.WithTimeout(ctx, within)
		defer stop()
		answer, err := js.Conn().RequestWithContext(ctx, subject, []byte(body))
		if err != nil {
			return err
		}
		if strings.Contains(string(answer.Data), `"error"`) {
			return errors.New(string(answer.Data))
		}
		return nil
	}
}

// takes has the subscriber of docs/consuming.md handle an event and open its file.
func takes(t *testing.T, p *publish.Publisher, js jetstream.JetStream) {
	t.Helper()
	want := strings.Repeat("0123456789abcdef", 1<<18) // enough for the server to ask how far we are
	ref := put(t, p, want)
	if _, err := p.Commit(t.Context(), publish.Batch{Mailbox: "sales", Events: []publish.Event{{
		Folder: "INBOX", Route: "received", ID: "a", Position: "1", Data: text(t, event.MessageEvent{Data: event.Message{Raw: &ref}}),
	}}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	got := ""
	err := consume(ctx, js, time.Minute, func(e event.MessageEvent) error {
		defer stop()
		got = read(t, js, *e.Data.Raw)
		return nil
	})
	if err != nil || got != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := js.Consumer(t.Context(), "MAIL", "workflow")
		if err == nil && c.CachedInfo().AckFloor.Stream == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it was not acknowledged: %v", err)
		}
	}
}
