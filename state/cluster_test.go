package state

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	ports "github.com/mailflume/mailflume/internal/process"
)

// newCluster starts three servers that keep three copies, and returns them with the URLs of all.
func newCluster(t *testing.T) ([]*server.Server, string) {
	t.Helper()
	var routes []*url.URL
	numbers := make([]int, 3)
	for i := range numbers {
		port, err := ports.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if numbers[i], err = strconv.Atoi(port); err != nil {
			t.Fatal(err)
		}
		routes = append(routes, &url.URL{Scheme: "nats", Host: "127.0.0.1:" + port})
	}
	var servers []*server.Server
	var urls []string
	for i, port := range numbers {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), StoreDir: t.TempDir(), JetStream: true, Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not start")
		}
		urls = append(urls, s.ClientURL())
	}
	eventually(t, soon, "the cluster has a leader and all members", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == len(servers)
			}
		}
		return false
	})
	return servers, strings.Join(urls, ",")
}

// A grant, a position or an owner that one server's disk takes with it is gone: a cluster keeps three copies, unless the
// configuration says otherwise.
func TestCopiesInACluster(t *testing.T) {
	_, urls := newCluster(t)
	nc, err := nats.Connect(urls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), js, Config{Bucket: "one", Replicas: 1}); err != nil {
		t.Error(err)
	}
	_, err = Open(t.Context(), js, Config{Bucket: "one"})
	if err == nil || !strings.Contains(err.Error(), "nats stream edit KV_one --replicas=3") {
		t.Errorf("a bucket of one copy gives %v", err)
	}
	s, err := Open(t.Context(), js, Config{Bucket: "three"})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := s.kv.Status(t.Context()); err != nil || status.Config().Replicas != 3 {
		t.Errorf("the bucket has %d copies, %v", status.Config().Replicas, err)
	}
}

// On three copies a write that lost is mostly refused with another code, and a server that dies takes the leader with it.
func TestOnACluster(t *testing.T) {
	servers, urls := newCluster(t)
	stores := make([]*Store, 3)
	for i := range stores {
		nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, soon, "the bucket opens", func() bool {
			stores[i], err = Open(t.Context(), js, Config{Bucket: "state"})
			return err == nil
		})
	}

	var revision uint64
	var inFlight atomic.Int32
	for round := range 30 {
		var wins, won atomic.Uint64
		var wait sync.WaitGroup
		for _, s := range stores {
			wait.Go(func() {
				next, err := s.Set(t.Context(), "k", fmt.Append(nil, round), revision)
				var api *jetstream.APIError
				switch {
				case err == nil:
					wins.Add(1)
					won.Store(next)
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
					inFlight.Add(1)
				}
			})
		}
		wait.Wait()
		// A writer that is alone may be refused too, while its own last write is still under way: read and try again.
		if wins.Load() > 1 {
			t.Fatalf("round %d: %d writers won", round, wins.Load())
		}
		value, now, _, err := stores[0].Get(t.Context(), "k")
		if err != nil || wins.Load() == 1 && (now != won.Load() || string(value) != fmt.Sprint(round)) {
			t.Fatalf("round %d: read %q at %d, written at %d: %v", round, value, now, won.Load(), err)
		}
		revision = now
	}
	t.Logf("%d writes were refused because another was under way", inFlight.Load())

	var calls book
	stalled := noteStalls(t, lease)
	mailboxes := names(30)
	var members []*member
	for _, s := range stores {
		members = append(members, join(t, s, &calls, lease, mailboxes))
	}
	eventually(t, soon, "shared", func() bool { return calls.each(mailboxes) && len(members[0].Replicas()) == 3 })
	leader := stores[0].kv
	status, err := leader.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := status.(*jetstream.KeyValueBucketStatus).StreamInfo().Cluster.Leader
	for _, s := range servers {
		if s.Name() == name {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	start := time.Now()
	time.Sleep(lease)
	eventually(t, soon, "all are owned again with one server less", func() bool {
		for _, m := range members {
			if !m.Valid() {
				return false
			}
		}
		return calls.each(mailboxes)
	})
	t.Logf("all owned %v after the leader of the bucket was stopped", time.Since(start))
	var ids []string
	for _, m := range members {
		ids = append(ids, m.ID())
		m.leave()
	}
	calls.check(t)
	calls.inTime(t, stalled, ids...)
}
