package publish

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mailflume/mailflume/internal/process"
)

// long tells whether the tests may take their time: MAILFLUME_LONG=1.
func long() bool { return os.Getenv("MAILFLUME_LONG") != "" }

// receipts are what the writers of a chaos run were promised: mailbox and sequence -> folder and position.
type receipts struct {
	mu     sync.Mutex
	events int
	at     map[string]map[uint64]string
}

func (r *receipts) add(w *writer, folder string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at[w.mailbox] == nil {
		r.at[w.mailbox] = map[uint64]string{}
	}
	r.at[w.mailbox][w.chain.Seq] = folder + " " + w.chain.Folders[folder].Position
	r.events += n
}

// rivals writes to mailboxes with two live writers each until ctx ends. Writers of one mailbox know nothing of each
// other, as when a lease has failed.
func rivals(ctx context.Context, t *testing.T, mailboxes int, publisher func(i int) *Publisher) *receipts {
	var conflicts, uncertain, other atomic.Int64
	promised := &receipts{at: map[string]map[uint64]string{}}
	var wg sync.WaitGroup
	folders := []string{"INBOX", "Sent", "Spam"}
	for i := range 2 * mailboxes {
		w := &writer{p: publisher(i), mailbox: fmt.Sprint("m", i/2), folders: folders}
		wg.Go(func() {
			for ctx.Err() == nil {
				n := 1
				if rand.IntN(2) == 0 {
					n = 1 + rand.IntN(20)
				}
				folder := folders[rand.IntN(3)]
				err := w.step(ctx, folder, n)
				switch {
				case err == nil:
					promised.add(w, folder, n)
					continue
				case errors.Is(err, ErrConflict):
					conflicts.Add(1)
				case errors.Is(err, ErrUncertain):
					uncertain.Add(1)
				case errors.Is(err, ErrUnavailable):
					other.Add(1)
				case ctx.Err() == nil:
					t.Errorf("an error that no table knows: %v", err)
				}
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	t.Logf("%d events acknowledged, %d conflicts, %d uncertain, %d unavailable", promised.events, conflicts.Load(), uncertain.Load(), other.Load())
	return promised
}

// checkAll reads every chain: nothing lost, nothing twice, nothing out of order, every receipt honoured.
func checkAll(t *testing.T, p *Publisher, promised *receipts) {
	t.Helper()
	total := 0
	for mailbox, at := range promised.at {
		entries := settledLedger(t, p, mailbox)
		total += checkHistory(t, entries)
		for _, e := range entries {
			if want, ok := at[e.Seq]; ok && want != e.Folder+" "+e.Position {
				t.Errorf("seq %d of %s is %s %s, the receipt was for %s", e.Seq, mailbox, e.Folder, e.Position, want)
			}
			delete(at, e.Seq)
		}
		if len(at) != 0 {
			t.Errorf("%d receipts of %s for what is not stored", len(at), mailbox)
		}
	}
	if total == 0 {
		t.Error("nothing was stored")
	}
	t.Logf("%d events stored", total)
}

// The check above must notice what it is there for.
func TestHistoryIsChecked(t *testing.T) {
	good := func() (out []Entry) {
		for i := range 5 {
			out = append(out, Entry{Seq: uint64(i + 1), Folder: "f", Position: fmt.Sprint(i + 1)})
		}
		return out
	}
	if err := history(good()); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]Entry{
		"lost":         slices.Delete(good(), 2, 3),
		"twice":        slices.Insert(good(), 3, good()[2]),
		"out of order": append(good()[:2], good()[3], good()[2], good()[4]),
	} {
		if history(bad) == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
}

// Connections die at any byte, answers get lost, the server restarts, and two writers fight for every mailbox.
func TestChaos(t *testing.T) {
	seconds := 5 * time.Second
	if long() {
		seconds = time.Minute
	}
	const mailboxes = 3
	dir, port := t.TempDir(), ownPort(t)
	srv := external(t, dir, port)
	proxies := []*proxy{newProxy(t, srv.Addr().String()), newProxy(t, srv.Addr().String())}
	var publishers []*Publisher
	for i := range 2 * mailboxes {
		p := mustOpen(t, Config{URL: proxies[i%2].url()})
		p.commitWait, p.readWait = time.Second, time.Second
		publishers = append(publishers, p)
	}
	mustSetup(t, publishers[0])

	ctx, cancel := context.WithTimeout(t.Context(), seconds)
	defer cancel()
	var wg sync.WaitGroup
	for _, x := range proxies {
		wg.Go(func() { hurt(ctx, x) })
	}
	wg.Go(func() {
		for pause(ctx, 2*time.Second) {
			srv.Shutdown()
			srv.WaitForShutdown()
			pause(ctx, 200*time.Millisecond)
			srv = external(t, dir, port)
		}
	})
	promised := rivals(ctx, t, mailboxes, func(i int) *Publisher { return publishers[i] })
	wg.Wait()
	for _, x := range proxies {
		x.silence(false)
	}
	checkAll(t, mustOpen(t, Config{URL: srv.ClientURL()}), promised)
}

// hurt cuts the connections, or loses the answers for a while.
func hurt(ctx context.Context, x *proxy) {
	for pause(ctx, time.Duration(100+rand.IntN(900))*time.Millisecond) {
		if rand.IntN(2) == 0 {
			x.cut()
			continue
		}
		x.silence(true)
		pause(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
		x.silence(false)
	}
}

// pause waits and tells whether there is time left.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// cluster starts three servers.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	routes, ports := "", make([]string, 3)
	for i := range ports { // the servers must know each other's before they start
		port, err := process.FreePort()
		must(t, err)
		ports[i] = port
		routes += fmt.Sprintf("\"nats://127.0.0.1:%s\", ", port)
	}
	out := make([]*server.Server, 3)
	for i := range out {
		opts := &server.Options{}
		conf := fmt.Sprintf("server_name: n%d\njetstream { sync_interval: always }\ncluster { name: c, listen: \"127.0.0.1:%s\", routes: [%s] }",
			i, ports[i], routes)
		if err := opts.ProcessConfigString(conf); err != nil {
			t.Fatal(err)
		}
		opts.Host, opts.Port, opts.NoSigs, opts.StoreDir = "127.0.0.1", -1, true, t.TempDir()
		srv, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() {
			srv.Shutdown()
			srv.WaitForShutdown()
		})
		out[i] = srv
	}
	for _, srv := range out {
		if !srv.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server of the cluster does not start")
		}
	}
	eventually(t, 20*time.Second, "the cluster has a leader", func() bool {
		for _, srv := range out {
			if srv.JetStreamIsLeader() {
				return true
			}
		}
		return false
	})
	return out
}

// Three servers, three replicas, and a stream whose leader keeps changing.
func TestCluster(t *testing.T) {
	seconds := 5 * time.Second
	if long() {
		seconds = time.Minute
	}
	servers := cluster(t)
	var publishers []*Publisher
	for i := range 4 {
		p := mustOpen(t, Config{URL: servers[i%3].ClientURL()})
		p.commitWait, p.readWait = 2*time.Second, 2*time.Second
		publishers = append(publishers, p)
	}
	five := mustOpen(t, Config{URL: servers[0].ClientURL(), Stream: Stream{Replicas: 5}})
	eventually(t, 20*time.Second, "five copies on three servers are refused with what to set", func() bool {
		err := five.Setup(timeout(t, 5*time.Second))
		return err != nil && strings.Contains(err.Error(), "nats.stream.replicas")
	})
	// All replicas set up at once, on a cluster that may still be finding itself.
	var wg sync.WaitGroup
	for _, p := range publishers {
		wg.Go(func() {
			eventually(t, 20*time.Second, "set up", func() bool { return p.Setup(timeout(t, 5*time.Second)) == nil })
		})
	}
	wg.Wait()
	u, err := publishers[0].Usage(t.Context())
	if err != nil || u.Stream.Replicas != 3 || u.Bucket.Replicas != 3 || u.Stream.Leader == "" {
		t.Fatalf("usage %+v, %v", u, err)
	}

	oneWinnerOnCluster(t, publishers)

	ctx, cancel := context.WithTimeout(t.Context(), seconds)
	defer cancel()
	nc := connectPlain(t, servers[1].ClientURL())
	wg.Go(func() {
		for pause(ctx, time.Duration(300+rand.IntN(700))*time.Millisecond) {
			_, _ = nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN.MAIL", nil)
		}
	})
	promised := rivals(ctx, t, 2, func(i int) *Publisher { return publishers[i] })
	wg.Wait()
	checkAll(t, publishers[0], promised)
}

// oneWinnerOnCluster: at most one of two commits with one expectation is stored, through different servers. That none
// is can happen, because a commit that loses may stand in the way of the other for a moment.
func oneWinnerOnCluster(t *testing.T, publishers []*Publisher) {
	t.Helper()
	tail := uint64(0)
	for round := range 60 {
		var wins, seq atomic.Uint64
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				b := Batch{Mailbox: "race", After: tail, Events: evs(fmt.Sprint("f", i), round*10, 1+(round+i)%4)}
				if r, err := publishers[(round+i)%len(publishers)].Commit(t.Context(), b); err == nil {
					wins.Add(1)
					seq.Store(r.Seq)
				}
			})
		}
		wg.Wait()
		if wins.Load() > 1 {
			t.Fatalf("round %d has %d winners", round, wins.Load())
		}
		eventually(t, 20*time.Second, "the tail can be read", func() bool {
			c, err := publishers[0].Recover(t.Context(), "race", nil)
			if err == nil && wins.Load() == 1 && c.Seq != seq.Load() {
				t.Fatalf("round %d: the tail is %d, the winner has %d", round, c.Seq, seq.Load())
			}
			tail = c.Seq
			return err == nil
		})
	}
}
