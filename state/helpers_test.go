package state

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	ports "github.com/mailflume/mailflume/internal/process"
)

func TestMain(m *testing.M) {
	if os.Getenv("STATE_TEST_REPLICA") != "" {
		childReplica()
		return
	}
	goleak.VerifyTestMain(m)
}

// broker is an embedded nats-server. It has a port that nobody else is given while it is away.
type broker struct {
	t    *testing.T
	opts server.Options
	srv  *server.Server
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	text, err := ports.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, opts: server.Options{
		StoreDir: t.TempDir(), JetStream: true, Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true,
	}}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	opts := b.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		b.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		b.t.Fatal("the server does not start")
	}
	b.srv = srv
}

func (b *broker) stop() {
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}

func (b *broker) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.opts.Port) }

// store connects to the url and opens the bucket.
func (b *broker) store(url string) *Store {
	b.t.Helper()
	s, nc, err := connect(b.t.Context(), url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return s
}

func connect(ctx context.Context, url string) (*Store, *nats.Conn, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, err
	}
	s, err := Open(ctx, js, Config{Bucket: "state"})
	if err == nil {
		s.readLimit, s.writeLimit = openLimit, openLimit // a busy machine is not what is tested
	}
	return s, nc, err
}

// testLog writes what a test that failed has logged.
func testLog(t *testing.T) *slog.Logger {
	var mu sync.Mutex
	var b bytes.Buffer
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			t.Logf("log:\n%s", b.String())
		}
	})
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// eventually waits until the condition holds.
func eventually(t *testing.T, limit time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !condition() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// interval is one call of own.
type interval struct {
	mailbox, session string
	start, end       time.Time // end is zero while it runs
	validAtCancel    bool
}

// book records the calls of own of all replicas of a test.
type book struct {
	mu    sync.Mutex
	calls []*interval
}

// own returns a function for Replica.Run. It takes a moment to return, as a worker does.
func (b *book) own(r *Replica) func(ctx context.Context, mailbox string) {
	return func(ctx context.Context, mailbox string) {
		b.mu.Lock()
		i := &interval{mailbox: mailbox, session: r.ID(), start: time.Now()}
		b.calls = append(b.calls, i)
		b.mu.Unlock()
		<-ctx.Done()
		valid := r.Valid()
		time.Sleep(2 * time.Millisecond)
		b.mu.Lock()
		i.end, i.validAtCancel = time.Now(), valid
		b.mu.Unlock()
	}
}

// running returns the sessions that run each mailbox now.
func (b *book) running() map[string][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := make(map[string][]string)
	for _, i := range b.calls {
		if i.end.IsZero() {
			m[i.mailbox] = append(m[i.mailbox], i.session)
		}
	}
	return m
}

// each reports whether every mailbox is run once, by one of the sessions (any, if none are given).
func (b *book) each(mailboxes []string, sessions ...string) bool {
	running := b.running()
	for _, m := range mailboxes {
		if len(running[m]) != 1 {
			return false
		}
		ok := len(sessions) == 0
		for _, s := range sessions {
			ok = ok || running[m][0] == s
		}
		if !ok {
			return false
		}
	}
	return true
}

// check fails if two calls for one mailbox ever overlapped.
func (b *book) check(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	byMailbox := make(map[string][]*interval)
	for _, i := range b.calls {
		byMailbox[i.mailbox] = append(byMailbox[i.mailbox], i)
	}
	for mailbox, calls := range byMailbox {
		for n, i := range calls {
			for _, j := range calls[n+1:] {
				if (i.end.IsZero() || j.start.Before(i.end)) && (j.end.IsZero() || i.start.Before(j.end)) {
					t.Errorf("mailbox %s: run by %s (%v to %v) and by %s (%v to %v)", mailbox,
						i.session, i.start, i.end, j.session, j.start, j.end)
				}
			}
		}
	}
}

// stalls notes when this process was not run for a while: then it cannot have stopped anything either.
type stalls struct {
	mu    sync.Mutex
	ended []time.Time
}

// noteStalls notes stalls that are too long for a replica with the lease to stop in time.
func noteStalls(t *testing.T, lease time.Duration) *stalls {
	s := &stalls{}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			now := time.Now()
			if now.Sub(last) > lease/40 {
				s.mu.Lock()
				s.ended = append(s.ended, now)
				s.mu.Unlock()
			}
			last = now
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return s
}

// at reports whether there was a stall in the second before the given time.
func (s *stalls) at(end time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stall := range s.ended {
		if d := end.Sub(stall); d > -100*time.Millisecond && d < time.Second {
			return true
		}
	}
	return false
}

// inTime fails if a call was told to stop only after its session's validity had ended, while the process was running.
func (b *book) inTime(t *testing.T, s *stalls, sessions ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.calls {
		if slices.Contains(sessions, i.session) && !i.validAtCancel {
			if s.at(i.end) {
				t.Logf("mailbox %s: this machine stalled when it was to stop", i.mailbox)
				continue
			}
			t.Errorf("mailbox %s: told to stop after the session's validity had ended", i.mailbox)
		}
	}
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls)
}

// member is a replica that runs in the test's process.
type member struct {
	*Replica
	leave func() // ends its ctx and waits for Run
	gone  chan struct{}
}

func join(t *testing.T, s *Store, b *book, lease time.Duration, mailboxes []string, change ...func(*Replica)) *member {
	t.Helper()
	r := NewReplica(s, ReplicaConfig{Lease: lease}, testLog(t))
	for _, f := range change {
		f(r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{Replica: r, gone: make(chan struct{})}
	go func() {
		defer close(m.gone)
		if err := r.Run(ctx, mailboxes, b.own(r)); err != nil {
			t.Error(err)
		}
	}()
	m.leave = func() {
		cancel()
		<-m.gone
	}
	t.Cleanup(m.leave)
	return m
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("mailbox %d", i)
	}
	return list
}

// proxy is a TCP proxy that can be frozen: connections stay open and nothing passes.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	frozen   chan struct{} // closed when it passes again; nil while it passes
	conns    []net.Conn
	wait     sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.wait.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, backend)
			p.mu.Unlock()
			p.wait.Go(func() { p.pass(client, backend) })
			p.wait.Go(func() { p.pass(backend, client) })
		}
	})
	t.Cleanup(func() {
		p.thaw()
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wait.Wait()
	})
	return p
}

func (p *proxy) pass(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }
