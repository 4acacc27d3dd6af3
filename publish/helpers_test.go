package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mailflume/mailflume/internal/process"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// timeout gives a context that ends with the test, or after d.
func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// embeddedConfig is a built-in server without a listener, in dir.
func embeddedConfig(dir string) Config {
	return Config{Embedded: Embedded{Dir: dir, Listen: "none"}}
}

// mustOpen opens without setting up.
func mustOpen(t testing.TB, c Config) *Publisher {
	t.Helper()
	p, err := Open(timeout(t, 20*time.Second), c, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, p) })
	p.commitWait, p.readWait = 20*time.Second, 20*time.Second // a busy machine is not what is tested
	return p
}

func mustClose(t testing.TB, p *Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}

func mustSetup(t testing.TB, p *Publisher) *Publisher {
	t.Helper()
	if err := p.Setup(timeout(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	return p
}

// newPublisher is a Publisher on a new built-in server.
func newPublisher(t testing.TB) *Publisher {
	t.Helper()
	return mustSetup(t, mustOpen(t, embeddedConfig(t.TempDir())))
}

// external is a NATS server that is not the Publisher's own. conf is in the syntax of nats-server. One that is to be started
// again needs a port of its own there: while it is away, anybody could be given one that the system chose.
func external(t testing.TB, dir, conf string) *server.Server {
	t.Helper()
	opts := &server.Options{}
	if err := opts.ProcessConfigString("server_name: ext\n" + conf); err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.NoSigs, opts.StoreDir = "127.0.0.1", true, dir
	if opts.Port == 0 {
		opts.Port = -1
	}
	opts.JetStream = true
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the external server does not start")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

// ev is an event whose content follows from its position.
func ev(folder string, position int) Event {
	return Event{
		Folder: folder, Route: "received", ID: fmt.Sprintf("id-%s-%d", folder, position), Position: strconv.Itoa(position),
		Fingerprint: fmt.Sprintf("fp-%d", position), EmailID: strconv.Itoa(1000 + position),
		Data: fmt.Appendf(nil, `{"position":%d}`, position),
	}
}

// evs are the events from+1..from+n.
func evs(folder string, from, n int) []Event {
	out := make([]Event, n)
	for i := range out {
		out[i] = ev(folder, from+1+i)
	}
	return out
}

func mustCommit(t testing.TB, p *Publisher, b Batch) uint64 {
	t.Helper()
	r, err := p.Commit(timeout(t, 20*time.Second), b)
	if err != nil {
		t.Fatal(err)
	}
	return r.Seq
}

func mustRecover(t testing.TB, p *Publisher, mailbox string, folders ...string) Chain {
	t.Helper()
	c, err := p.Recover(timeout(t, 20*time.Second), mailbox, folders)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ledgerOf reads the whole chain.
func ledgerOf(t testing.TB, p *Publisher, mailbox string) []Entry {
	t.Helper()
	out, err := readLedger(t, p, mailbox)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// settledLedger reads the whole chain, as soon as servers that are still finding themselves let it.
func settledLedger(t testing.TB, p *Publisher, mailbox string) (out []Entry) {
	t.Helper()
	eventually(t, time.Minute, "the chain can be read", func() (ok bool) {
		var err error
		if out, err = readLedger(t, p, mailbox); err != nil {
			wantError(t, err, ErrUnavailable)
		}
		return err == nil
	})
	return out
}

func readLedger(t testing.TB, p *Publisher, mailbox string) (out []Entry, err error) {
	c, err := p.Recover(timeout(t, 20*time.Second), mailbox, nil)
	if err != nil {
		return nil, err
	}
	for e, err := range p.Ledger(timeout(t, 30*time.Second), mailbox, c.Seq) {
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// wantError checks what a failure is and that its text names what a person needs.
func wantError(t testing.TB, err, kind error, texts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want %v", err, kind)
	}
	wantText(t, err, texts...)
}

func wantText(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range texts {
		if !bytes.Contains([]byte(err.Error()), []byte(s)) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

// writer is a mailbox worker reduced to its protocol: recover, build from the position read, commit, and after anything
// but a receipt recover again.
type writer struct {
	p       *Publisher
	mailbox string
	folders []string
	size    int // of an event's data, about
	known   bool
	chain   Chain
}

// step makes one attempt to add n events to one folder.
func (w *writer) step(ctx context.Context, folder string, n int) error {
	if !w.known {
		c, err := w.p.Recover(ctx, w.mailbox, w.folders)
		if err != nil {
			return err
		}
		w.chain, w.known = c, true
	}
	at, err := w.position(folder)
	if err != nil {
		return err
	}
	b := Batch{Mailbox: w.mailbox, After: w.chain.Seq, Events: evs(folder, at, n)}
	for i := range b.Events {
		b.Events[i].Data = append(b.Events[i].Data, bytes.Repeat([]byte(" "), w.size)...)
	}
	r, err := w.p.Commit(ctx, b)
	if err != nil {
		w.known = false
		return err
	}
	w.chain.Seq = r.Seq
	w.chain.Folders[folder] = Last{Seq: r.Seq, Position: b.Events[n-1].Position}
	return nil
}

func (w *writer) position(folder string) (int, error) {
	last, ok := w.chain.Folders[folder]
	if !ok {
		return 0, nil
	}
	return strconv.Atoi(last.Position)
}

// checkHistory fails if a folder of the chain is not 1, 2, 3, ..., and returns how many events there are.
func checkHistory(t testing.TB, entries []Entry) int {
	t.Helper()
	if err := history(entries); err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func history(entries []Entry) error {
	at := map[string]int{}
	for _, e := range entries {
		at[e.Folder]++
		if e.Position != strconv.Itoa(at[e.Folder]) {
			return fmt.Errorf("seq %d: folder %s has position %s after %d", e.Seq, e.Folder, e.Position, at[e.Folder]-1)
		}
	}
	return nil
}

// proxy stands between a Publisher and a server and hurts the connection.
type proxy struct {
	l      net.Listener
	target string
	mu     sync.Mutex
	conns  map[net.Conn]bool
	mute   bool          // drop what the server answers
	lost   int           // how often it did
	pace   chan struct{} // if it is set, a piece of what goes to the server may pass for each value
	wg     sync.WaitGroup
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &proxy{l: l, target: target, conns: map[net.Conn]bool{}}
	x.wg.Go(x.accept)
	t.Cleanup(func() {
		l.Close()
		x.cut()
		x.wg.Wait()
	})
	return x
}

func (x *proxy) url() string { return "nats://" + x.l.Addr().String() }

func (x *proxy) accept() {
	for {
		client, err := x.l.Accept()
		if err != nil {
			return
		}
		srv, err := net.Dial("tcp", x.target)
		if err != nil {
			client.Close()
			continue
		}
		x.mu.Lock()
		x.conns[client], x.conns[srv] = true, true
		pace := x.pace
		x.mu.Unlock()
		if pace != nil {
			_ = client.(*net.TCPConn).SetReadBuffer(64 << 10) // else the kernel takes what the line does not
		}
		x.wg.Go(func() { x.copy(srv, client, pace, false) })
		x.wg.Go(func() { x.copy(client, srv, nil, true) })
	}
}

func (x *proxy) copy(dst, src net.Conn, pace <-chan struct{}, answers bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		x.mu.Lock()
		drop := answers && x.mute
		if drop {
			x.lost++
		}
		x.mu.Unlock()
		if drop {
			continue
		}
		if pace != nil {
			<-pace
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut closes all connections.
func (x *proxy) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c := range x.conns {
		c.Close()
	}
	clear(x.conns)
}

// silence drops the server's answers from now on, or no longer; the connections of before are then cut.
func (x *proxy) silence(on bool) {
	x.mu.Lock()
	x.mute = on
	x.mu.Unlock()
	if !on {
		x.cut()
	}
}

// unheard is how often answers were dropped.
func (x *proxy) unheard() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.lost
}

// eventually tries f until it is true.
func eventually(t testing.TB, d time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within %v: %s", d, what)
}

func connectPlain(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ownPort is a setting of external.
func ownPort(t *testing.T) string {
	t.Helper()
	port, err := process.FreePort()
	must(t, err)
	return "port: " + port + "\n"
}
