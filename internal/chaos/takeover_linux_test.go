package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
)

// crowd is many simulated mailboxes with one configuration.
type crowd struct {
	t        *testing.T
	ctx      context.Context
	dir      string
	accounts []*sim.Account
	brokers  *Brokers
	observer *observer
}

func newCrowd(t *testing.T, n, rate int, lease time.Duration) *crowd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	c := &crowd{t: t, ctx: ctx, dir: t.TempDir()}
	world := sim.New(sim.Options{})
	t.Cleanup(world.Close)
	imap, err := world.IMAP(sim.Exchange).Listen()
	c.must(err)
	c.brokers, err = newBrokers(buildNATS(t), c.dir, 1, ", sync_interval: always", "", "", false)
	c.must(err)
	c.must(c.brokers.startAll(ctx))
	t.Cleanup(c.brokers.killAll)
	var b strings.Builder
	fmt.Fprintf(&b, "data: data\nnats: {url: %q}\nreplica: {lease: %v}\nlimits: {logins_per_second: %d}\nmailboxes:\n", c.brokers.url(), lease, rate)
	_, port, _ := strings.Cut(imap, ":")
	for i := range n {
		a := world.AddAccount(sim.Exchange, fmt.Sprintf("box-%d@example.test", i))
		c.accounts = append(c.accounts, a)
		file := filepath.Join(c.dir, fmt.Sprint("token-", i))
		c.must(os.WriteFile(file, []byte(a.AccessToken(24*time.Hour)), 0o600))
		fmt.Fprintf(&b, "  - {name: box-%d, address: %s, provider: imap, host: 127.0.0.1, port: %s, security: plain, folders: [INBOX], login: {token_file: %s}}\n",
			i, a.Address(), port, file)
	}
	c.must(os.WriteFile(filepath.Join(c.dir, "mailflume.yaml"), []byte(b.String()), 0o600))
	conn, err := nats.Connect(c.brokers.url())
	c.must(err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	c.must(err)
	c.observer = observe(ctx, js)
	t.Cleanup(c.observer.stop)
	return c
}

func (c *crowd) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// start starts a replica; before is put before its command line.
func (c *crowd) start(before ...string) *Replica {
	c.t.Helper()
	port, err := process.FreePort()
	c.must(err)
	r := &Replica{Page: "127.0.0.1:" + port}
	line := append(before, buildMailflume(c.t), "run", "--config", "mailflume.yaml")
	r.Process, err = process.Start(c.ctx, c.dir, []string{"MAILFLUME_HTTP_LISTEN=" + r.Page}, line[0], line[1:]...)
	c.must(err)
	c.t.Cleanup(r.Process.Kill)
	return r
}

// watching counts the mailboxes that replicas watch.
func (c *crowd) watching(replicas ...*Replica) (n int) {
	for _, r := range replicas {
		_, text, err := r.Get(c.ctx, "/metrics")
		if err == nil {
			n += strings.Count(text, `state="watching"} 1`)
		}
	}
	return n
}

// owned counts the mailboxes that a process owns.
func (c *crowd) owned(process int) int { return owns(c.observer.owners(), process) }

func (c *crowd) within(d time.Duration, what string, ok func() bool) time.Duration {
	c.t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return time.Since(began)
		}
		if time.Since(began) > d {
			c.t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// Replicas come, go and die; who takes over a mailbox, and how soon. The short form runs beside others, and on disks that are
// slow to sync: what is at once there is still far below the lease.
func TestTakeOver(t *testing.T) {
	const lease = 15 * time.Second
	n, rate, slow := forms(t, 200, 1000), forms(t, 100, 100), forms(t, time.Duration(4), 1)
	unshare, err := exec.LookPath("unshare")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("a replica cannot be put into a pid namespace of its own here: that needs root and unshare")
	}
	alongside(t)
	c := newCrowd(t, n, rate, lease)
	logins := time.Duration(n/rate) * time.Second
	patience := logins + slow*30*time.Second // for what nobody promised a time
	// One that others cannot see die. It is process 1 there.
	stranger := c.start(unshare, "--pid", "--fork", "--kill-child")
	c.within(patience, "all are watched", func() bool { return c.watching(stranger) == n })
	second := c.start()
	c.within(patience, "two share", func() bool {
		return c.owned(second.Pid()) > n/4 && c.owned(1)+c.owned(second.Pid()) == n && c.watching(stranger, second) == n
	})

	stranger.Process.Kill()
	moved := c.within(lease+slow*8*time.Second, "the stranger's mailboxes have moved", func() bool { return c.owned(second.Pid()) == n })
	read := c.within(logins+slow*20*time.Second, "they are watched", func() bool { return c.watching(second) == n })
	t.Logf("kill -9 of a stranger, lease %v: its mailboxes moved within %v, and all %d were watched %v later, at %d logins a second", lease, moved, n, read, rate)

	before := make([]int, n)
	for i, a := range c.accounts {
		before[i] = a.Stats().Logins
	}
	third := c.start()
	c.within(patience, "two share again", func() bool {
		return c.owned(third.Pid()) > n/4 && c.owned(third.Pid())+c.owned(second.Pid()) == n && c.watching(second, third) == n
	})
	again, went := 0, 0
	owners := c.observer.owners()
	for i, a := range c.accounts {
		switch more := a.Stats().Logins - before[i]; {
		case owners[fmt.Sprint("box-", i)] == third.Pid():
			went++
		case more > 0:
			again++
		}
	}
	t.Logf("a replica joined: %d of %d mailboxes moved; %d of the others logged in again", went, n, again)
	if again > 0 {
		t.Errorf("%d mailboxes that stayed where they were logged in again", again)
	}

	c.must(third.Terminate())
	moved = c.within(20*time.Second, "the mailboxes of the one that left have moved", func() bool { return c.owned(second.Pid()) == n })
	t.Logf("SIGTERM: they moved within %v", moved)
	if moved > slow*2*time.Second {
		t.Errorf("want %v", slow*2*time.Second)
	}
	c.within(patience, "they are watched", func() bool { return c.watching(second) == n })

	second.Process.Kill()
	second = c.start()
	moved = c.within(20*time.Second, "the mailboxes of the one that was restarted are its own", func() bool { return c.owned(second.Pid()) == n })
	t.Logf("kill -9 and a restart on the same machine: they moved within %v", moved)
	if moved > slow*3*time.Second {
		t.Errorf("want %v", slow*3*time.Second)
	}
}
