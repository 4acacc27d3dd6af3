package toxic_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/toxic"
	"github.com/mailflume/mailflume/internal/vault"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
	"github.com/mailflume/mailflume/token"
)

// world is the servers that all mailboxes share: a Dovecot, a nats-server and a token endpoint.
type world struct {
	dovecot *dovecot.Server
	nats    *server.Server
	direct  *publish.Publisher // without a line between
	oauth   *httptest.Server

	mu     sync.Mutex
	serial int
	tokens map[string]string // the access token that is good, by address
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dovecot: dovecot.Start(t, dovecot.Options{}), tokens: map[string]string{}}
	var err error
	w.nats, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true})
	must(t, err)
	w.nats.Start()
	t.Cleanup(func() { w.nats.Shutdown(); w.nats.WaitForShutdown() })
	if !w.nats.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	w.direct, err = publish.Open(t.Context(), publish.Config{URL: w.nats.ClientURL()}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { w.direct.Close(context.WithoutCancel(t.Context())) }) //nolint:errcheck // the test is over
	must(t, w.direct.Setup(t.Context()))
	_, err = state.Open(t.Context(), w.direct.JetStream(), state.Config{Bucket: "mailflume"})
	must(t, err)
	w.oauth = httptest.NewServer(w)
	t.Cleanup(w.oauth.Close)
	return w
}

// ServeHTTP is the token endpoint: the refresh token is the address.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	access := w.grant(r.PostFormValue("refresh_token"))
	rw.Header().Set("Content-Type", "application/json")
	json.NewEncoder(rw).Encode(map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600}) //nolint:errcheck // the client tells
}

// grant gives out an access token and makes the one before worthless.
func (w *world) grant(address string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serial++
	w.dovecot.Revoke(w.tokens[address])
	access := fmt.Sprintf("access-%d", w.serial)
	w.tokens[address] = access
	w.dovecot.Allow(access, address)
	return access
}

// box is a mailbox with a worker that reaches everything over lines of its own.
type box struct {
	*world
	id, address string
	lines       map[string]*toxic.Line
	publisher   *publish.Publisher
	manager     *token.Manager
	worker      *mailbox.Worker
	change      func(*fetcher.Config)
	delivered   int
}

func (w *world) open(t *testing.T, id string) *box {
	id = strings.ToLower(strings.ReplaceAll(id, "_", "-"))
	b := &box{world: w, id: id, address: id + "@example.test", lines: map[string]*toxic.Line{}, change: func(*fetcher.Config) {}}
	for target, upstream := range map[string]string{
		toIMAP: w.dovecot.Addr, toNATS: w.nats.Addr().String(), toToken: w.oauth.Listener.Addr().String(),
	} {
		line, err := toxic.Open(upstream)
		if err != nil {
			t.Error(err)
			return b
		}
		b.lines[target] = line
	}
	if err := b.connect(t.Context()); err != nil {
		t.Error(err)
	}
	return b
}

func (b *box) connect(ctx context.Context) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	if b.publisher, err = publish.Open(ctx, publish.Config{URL: "nats://" + b.lines[toNATS].Addr()}, quiet); err != nil {
		return err
	}
	if err := b.publisher.Setup(ctx); err != nil {
		return err
	}
	floor, err := state.Open(ctx, b.publisher.JetStream(), state.Config{Bucket: "mailflume"})
	if err != nil {
		return err
	}
	key := token.NewKey()
	keys, err := token.NewKeyring(func() (string, error) { return key, nil })
	if err != nil {
		return err
	}
	store := vault.New()
	b.manager, err = token.New(token.Config{Store: store, Session: vault.Session("only"), Keys: keys})
	if err != nil {
		return err
	}
	source, err := b.manager.Source(token.Account{
		Mailbox: b.id, RefreshToken: func() (string, error) { return b.address, nil },
		Client: token.Client{Name: "main", ID: "client", TokenURL: "http://" + b.lines[toToken].Addr() + "/token", Scopes: []string{"mail"}},
	})
	if err != nil {
		return err
	}
	b.worker = mailbox.NewWorker(mailbox.Config{
		Mailbox: event.Mailbox{ID: b.id}, Raw: mailbox.RawNever,
		Stream: b.publisher, Bytes: b.publisher, Announcer: b.publisher, Floor: floor,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			c := fetcher.Config{
				Addr: b.lines[toIMAP].Addr(), Security: fetcher.Plain, User: b.address, Start: fetcher.Start{All: true},
				IdleRefresh: 10 * time.Second,
			}
			b.change(&c)
			s, err := fetcher.Open(ctx, c, source)
			if err != nil {
				return nil, nil, err
			}
			return s, s.Folders(), nil
		},
	})
	return nil
}

// run starts the worker; the returned function stops it.
func (b *box) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); b.worker.Run(ctx) }()
	return func() { cancel(); <-ended }
}

func (b *box) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b.manager.Close(ctx)   //nolint:errcheck // the test is over
	b.publisher.Close(ctx) //nolint:errcheck // the test is over
	for _, line := range b.lines {
		line.Close()
	}
}

// deliver puts n messages into INBOX, past the lines.
func (b *box) deliver(n int) error {
	var raw [][]byte
	for range n {
		b.delivered++
		raw = append(raw, fmt.Appendf(nil, "From: bob@example.test\r\nSubject: %d\r\nMessage-ID: <%d@%s>\r\n\r\n%s\r\n",
			b.delivered, b.delivered, b.id, strings.Repeat("Hello. ", 50)))
	}
	_, err := b.dovecot.Append(context.Background(), b.address, "INBOX", time.Time{}, raw...)
	return err
}

// expire ends the session as a server may, and the token too if it is to be asked for again.
func (b *box) expire(ctx context.Context, tokenToo bool) error {
	if tokenToo {
		b.mu.Lock()
		b.dovecot.Revoke(b.tokens[b.address])
		b.mu.Unlock()
	}
	err := b.dovecot.Kick(ctx, b.address)
	if err != nil && strings.Contains(err.Error(), "68") { // nobody is there, says doveadm
		return nil
	}
	return err
}

// await waits until the mailbox is being watched and everything that was delivered is on the stream.
func (b *box) await(patience time.Duration) error {
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) { // 48 boxes look at once, on the machine that they are judged on
		n, err := b.published()
		if err == nil && n >= b.delivered && b.worker.Status().State == mailbox.StateWatching {
			return nil
		}
		if time.Since(start) > patience {
			return fmt.Errorf("%d of %d messages after %v: %+v: %w", n, b.delivered, patience, b.worker.Status(), err)
		}
	}
}

// published counts the mailbox's events.
func (b *box) published() (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := b.direct.JetStream().Stream(ctx, "MAIL")
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(b.subjects()))
	if err != nil {
		return 0, err
	}
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n, nil
}

func (b *box) subjects() string { return "mail." + event.Token(b.id) + ".>" }

// judge fails unless the stream has every message of the folder once.
func (b *box) judge(ctx context.Context) error {
	folder, err := b.dovecot.FetchAll(ctx, b.address, "INBOX")
	if err != nil {
		return err
	}
	total, err := b.published()
	if err != nil {
		return err
	}
	seen := map[uint32]int{}
	for d, err := range b.direct.Follow(ctx, b.subjects()) {
		if err != nil {
			return err
		}
		var e event.MessageEvent
		if err := decode(d.Data, &e); err != nil {
			return err
		}
		seen[e.Data.IMAP.UID]++
		if total--; total == 0 {
			break
		}
	}
	for uid := range folder.Mails {
		if seen[uid] != 1 {
			err = errors.Join(err, fmt.Errorf("UID %d is on the stream %d times", uid, seen[uid]))
		}
	}
	if len(seen) != len(folder.Mails) {
		err = errors.Join(err, fmt.Errorf("%d messages on the stream, %d in the folder", len(seen), len(folder.Mails)))
	}
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
