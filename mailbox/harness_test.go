package mailbox_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
	"github.com/mailflume/mailflume/token"
)

// rig is one simulated account, one stream and what a worker needs to carry mail between them.
type rig struct {
	t         testing.TB
	world     *sim.World
	account   *sim.Account
	publisher *publish.Publisher
	store     *state.Store
	fetch     fetcher.Config
	token     token.Static
}

func newRig(t testing.TB, provider sim.Provider, folders ...string) *rig {
	t.Helper()
	world := sim.New(sim.Options{})
	t.Cleanup(world.Close)
	address := "anna@example.test"
	account := world.AddAccount(provider, address)
	addr, err := world.IMAP(provider).Listen()
	must(t, err)
	access := account.AccessToken(24 * time.Hour)
	p := openPublisher(t, t.TempDir())
	must(t, p.Setup(t.Context()))
	store, err := state.Open(t.Context(), p.JetStream(), state.Config{Bucket: "mailflume"})
	must(t, err)
	return &rig{
		t: t, world: world, account: account, publisher: p, store: store,
		fetch: fetcher.Config{
			Addr: addr, Security: fetcher.Plain, User: address, Folders: folders, Start: fetcher.Start{All: true},
		},
		token: func() (string, error) { return access, nil },
	}
}

func openPublisher(t testing.TB, dir string) *publish.Publisher {
	t.Helper()
	p, err := publish.Open(t.Context(), publish.Config{Embedded: publish.Embedded{Dir: dir, Listen: "127.0.0.1:0"}}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p
}

// config returns what a worker of the rig's mailbox works with; change may replace parts of it.
func (r *rig) config() mailbox.Config {
	return mailbox.Config{
		Mailbox: event.Mailbox{ID: "anna", Name: "Anna", Address: r.fetch.User, Provider: string(r.account.Provider())},
		Raw:     mailbox.RawAlways,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			s, err := fetcher.Open(ctx, r.fetch, r.token)
			if err != nil {
				return nil, nil, err
			}
			return s, s.Folders(), nil
		},
		Stream: r.publisher, Bytes: r.publisher, Announcer: r.publisher, Floor: r.store,
	}
}

func (r *rig) worker() *mailbox.Worker {
	w := mailbox.NewWorker(r.config())
	r.t.Cleanup(w.Close)
	return w
}

// bare returns a worker that keeps no raw bytes, for tests that do not look at them: to store them takes longer than all else.
func (r *rig) bare() *mailbox.Worker {
	c := r.config()
	c.Raw = mailbox.RawNever
	w := mailbox.NewWorker(c)
	r.t.Cleanup(w.Close)
	return w
}

// runs lets a worker run; the returned function stops it, and may be called again.
func runs(t testing.TB, w *mailbox.Worker) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	return func() { cancel(); <-ended }
}

// deliver puts n different messages into a folder.
func (r *rig) deliver(folder string, from, n int) {
	for i := from; i < from+n; i++ {
		r.account.Deliver(folder, message(i), time.Date(2026, 3, 1, 0, 0, i, 0, time.UTC))
	}
}

func message(i int) []byte {
	return fmt.Appendf(nil, "From: Bob <bob@example.test>\r\nTo: anna@example.test\r\nSubject: number %d\r\n"+
		"Date: Sun, 1 Mar 2026 00:00:00 +0000\r\nMessage-ID: <%d@example.test>\r\n\r\nHello %d.\r\n", i, i, i)
}

// stored returns every event on the stream, in order.
func (r *rig) stored() []event.MessageEvent {
	r.t.Helper()
	usage, err := r.publisher.Usage(r.t.Context())
	must(r.t, err)
	var events []event.MessageEvent
	if usage.Stream.Messages == 0 {
		return nil
	}
	// mail.> and mailbox.> share the stream: the last sequence says when all was seen.
	for d, err := range r.publisher.Follow(r.t.Context(), ">") {
		must(r.t, err)
		var e event.MessageEvent
		must(r.t, json.Unmarshal(d.Data, &e))
		if e.Data.IMAP.UID != 0 {
			events = append(events, e)
		}
		if d.Seq == usage.Stream.LastSeq {
			break
		}
	}
	return events
}

// wantEach fails unless got, which counts events by the subject of their messages, has each of the messages 0 to n-1 so many
// times, and no other.
func wantEach(t testing.TB, got map[string]int, n, times int) {
	t.Helper()
	for i := range n {
		if c := got[fmt.Sprintf("number %d", i)]; c != times {
			t.Errorf("message %d is on the stream %d times, want %d", i, c, times)
		}
	}
	if len(got) != n {
		t.Errorf("%d messages are on the stream, want %d", len(got), n)
	}
}

func (r *rig) wantEach(n, times int) { r.t.Helper(); wantEach(r.t, r.subjects(), n, times) }

// wantExactly fails unless the stream has exactly one event for each message of the folders, with its bytes, in the order of
// the UIDs.
func (r *rig) wantExactly(folders ...string) {
	r.t.Helper()
	want := make(map[string]string) // folder/UID -> sha256
	for _, folder := range folders {
		for _, uid := range r.account.UIDs(folder) {
			sum := sha256.Sum256(r.account.Raw(folder, uid))
			want[fmt.Sprintf("%s/%d", folder, uid)] = hex.EncodeToString(sum[:])
		}
	}
	got := make(map[string]string)
	last := make(map[string]uint32)
	for _, e := range r.stored() {
		key := fmt.Sprintf("%s/%d", e.Data.IMAP.Folder, e.Data.IMAP.UID)
		if _, twice := got[key]; twice {
			r.t.Errorf("%s is on the stream twice", key)
		}
		if e.Data.Raw == nil {
			r.t.Errorf("%s has no raw bytes", key)
			continue
		}
		got[key] = e.Data.Raw.SHA256
		if e.Data.IMAP.UID <= last[e.Data.IMAP.Folder] {
			r.t.Errorf("%s came after UID %d", key, last[e.Data.IMAP.Folder])
		}
		last[e.Data.IMAP.Folder] = e.Data.IMAP.UID
	}
	if !maps.Equal(got, want) {
		r.t.Errorf("the stream has %d messages, the mailbox %d:\n got %v\nwant %v", len(got), len(want), slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
