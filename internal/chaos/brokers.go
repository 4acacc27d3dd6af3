package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// Brokers are the nats-server processes of a World: one, or a cluster. Each keeps its port and its files when it is killed
// and started again.
type Brokers struct {
	Routes *Routes // between them, if they can be cut
	binary string
	nodes  []*node
}

// node is one nats-server.
type node struct {
	port, cluster      string
	dir, store, config string
	p                  *process.Process
}

// newBrokers writes the settings of n servers that keep their files below dir, or the first one's in store. jetStream is
// put at the end of the block of that name, and more at the end of every configuration.
func newBrokers(binary, dir string, n int, jetStream, more, store string, routed bool) (*Brokers, error) {
	b := &Brokers{binary: binary}
	var clustered []string
	for i := range n {
		at := filepath.Join(dir, fmt.Sprint("n", i))
		one := &node{dir: at, store: filepath.Join(at, "store"), config: filepath.Join(at, "nats.conf")}
		if i == 0 && store != "" {
			one.store = store
		}
		var err1, err2 error
		one.port, err1 = process.FreePort()
		one.cluster, err2 = process.FreePort()
		if err := errors.Join(err1, err2, os.MkdirAll(at, 0o755)); err != nil {
			return nil, fmt.Errorf("prepare a broker: %w", err)
		}
		clustered = append(clustered, "127.0.0.1:"+one.cluster)
		b.nodes = append(b.nodes, one)
	}
	if routed {
		var err error
		if b.Routes, err = newRoutes(clustered); err != nil {
			return nil, err
		}
	}
	for i, one := range b.nodes {
		text := fmt.Sprintf("server_name: n%d\nlisten: 127.0.0.1:%s\njetstream {store_dir: %q%s}\n", i, one.port, one.store, jetStream)
		if n > 1 {
			text += b.cluster(i, clustered)
		}
		if err := os.WriteFile(one.config, []byte(text+more), 0o600); err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
	}
	return b, nil
}

// cluster is the configuration of the cluster for the server i. Clients are told of no other address: the way to a server
// may lead through a bad line. Where that is so between the servers, they tell each other an address that nobody has.
func (b *Brokers) cluster(i int, routes []string) string {
	told := ""
	if b.Routes != nil {
		routes, told = b.Routes.from(i, len(b.nodes)), ", advertise: 127.0.0.1:1"
	}
	return fmt.Sprintf("cluster {name: chaos, listen: 127.0.0.1:%s, no_advertise: true%s, routes: [\"nats://%s\"]}\n",
		b.nodes[i].cluster, told, strings.Join(routes, `", "nats://`))
}

func (n *node) addr() string { return "127.0.0.1:" + n.port }

// Len is how many servers there are.
func (b *Brokers) Len() int { return len(b.nodes) }

// addrs returns where the servers listen for clients.
func (b *Brokers) addrs() []string {
	addrs := make([]string, len(b.nodes))
	for i, n := range b.nodes {
		addrs[i] = n.addr()
	}
	return addrs
}

func (b *Brokers) url() string { return urlOf(b.addrs()) }

// urlOf returns what clients connect to when the servers listen at the addresses.
func urlOf(addrs []string) string { return "nats://" + strings.Join(addrs, ",nats://") }

// Start starts the server i and waits until it takes connections.
func (b *Brokers) Start(ctx context.Context, i int) (err error) {
	n := b.nodes[i]
	if n.p, err = process.Start(context.WithoutCancel(ctx), n.dir, nil, b.binary, "-c", n.config); err != nil {
		return err
	}
	for {
		conn, err := net.Dial("tcp", n.addr())
		if err == nil {
			return conn.Close()
		}
		if err := errors.Join(ctx.Err(), n.p.Running()); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// startAll starts every server.
func (b *Brokers) startAll(ctx context.Context) error {
	for i := range b.nodes {
		if err := b.Start(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// Kill is kill -9 of the server i.
func (b *Brokers) Kill(i int) { b.nodes[i].p.Kill() }

// Pause stops the server i in the midst of whatever it does, and Resume lets it go on: a partition, to the others.
func (b *Brokers) Pause(i int) error { return b.nodes[i].p.Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (b *Brokers) Resume(i int) error { return b.nodes[i].p.Signal(syscall.SIGCONT) }

// Leader returns which server leads the stream of all mail.
func (w *World) Leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := w.js.Stream(ctx, "MAIL")
	if err != nil {
		return 0, fmt.Errorf("find the stream's leader: %w", err)
	}
	var i int
	c := s.CachedInfo().Cluster
	if _, err := fmt.Sscanf(c.Leader, "n%d", &i); err != nil {
		return 0, fmt.Errorf("the stream's leader is %q: %w", c.Leader, err)
	}
	return i, nil
}

// Whole waits until every server of the cluster has all of every stream.
func (w *World) Whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var err error
		for _, name := range []string{"MAIL", "OBJ_mail", "KV_mailflume"} {
			err = errors.Join(err, w.whole(ctx, name))
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the cluster to be whole: %w", errors.Join(err, ctx.Err()))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *World) whole(ctx context.Context, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := w.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look at the stream %s: %w", stream, err)
	}
	c := s.CachedInfo().Cluster
	if c == nil || c.Leader == "" {
		return fmt.Errorf("the stream %s has no leader", stream)
	}
	for _, r := range c.Replicas {
		if !r.Current || r.Offline {
			return fmt.Errorf("%s has not all of the stream %s", r.Name, stream)
		}
	}
	return nil
}

// Rewrite changes the configuration of every server, and has them read it again.
func (b *Brokers) Rewrite(change func(string) string) error {
	for _, n := range b.nodes {
		text, err := os.ReadFile(n.config)
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		if err := os.WriteFile(n.config, []byte(change(string(text))), 0o600); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
		if err := n.p.Signal(syscall.SIGHUP); err != nil {
			return err
		}
	}
	return nil
}

func (b *Brokers) killAll() {
	if b.Routes != nil {
		defer b.Routes.close()
	}
	for _, n := range b.nodes {
		if n.p != nil {
			n.p.Kill()
		}
	}
}
