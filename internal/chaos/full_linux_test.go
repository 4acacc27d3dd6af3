package chaos

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mailflume/mailflume/internal/process"
)

// trial is a world with one replica that the test itself steers.
type trial struct {
	*World
	t     *testing.T
	ctx   context.Context
	fleet *Fleet
}

func newTrial(t *testing.T, limit time.Duration, o Options) *trial {
	t.Helper()
	o.Binary = buildMailflume(t)
	w := newWorld(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return &trial{w, t, ctx, nil}
}

func (x *trial) start() {
	x.t.Helper()
	fleet, err := x.StartFleet(x.ctx, 1)
	x.t.Cleanup(fleet.Stop)
	x.must(err)
	x.fleet = fleet
}

func (x *trial) must(err error) {
	x.t.Helper()
	if err != nil && x.fleet != nil {
		x.t.Fatalf("%v\n%s", err, x.fleet.Output())
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

// within waits until ok and returns how long that took.
func (x *trial) within(d time.Duration, what string, ok func() bool) time.Duration {
	x.t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if ok() {
			return time.Since(began)
		}
		if time.Since(began) > d || x.ctx.Err() != nil {
			_, page, _ := x.fleet.replicas[0].Get(x.ctx, "/")
			x.t.Fatalf("not within %v: %s\n%s\n%s", d, what, page, x.fleet.Output())
		}
	}
}

// says reports whether a page of the replica has a text.
func (x *trial) says(path, text string) bool {
	_, page, err := x.fleet.replicas[0].Get(x.ctx, path)
	return err == nil && strings.Contains(page, text)
}

// ready reports whether the replica says that it can do its work.
func (x *trial) ready() bool {
	status, _, err := x.fleet.replicas[0].Get(x.ctx, "/readyz")
	return err == nil && status == 200
}

// all waits until all mail of the servers is on the stream, and judges.
func (x *trial) all(within time.Duration) {
	x.t.Helper()
	served, err := x.Served(x.ctx)
	x.must(err)
	took := x.within(within, "all the mail", func() bool { n, err := x.Count(x.ctx); return err == nil && n >= len(served) })
	v, _, err := x.Judge(x.ctx)
	x.must(err)
	x.must(v.Err())
	x.t.Logf("%d messages: %v; all there after %v", len(served), v, took.Round(10*time.Millisecond))
}

// logins counts the logins of all mailboxes.
func (x *trial) logins() (n int) {
	for _, box := range x.boxes {
		n += x.Dovecot.Logins(box.address)
	}
	return n
}

var sentence = regexp.MustCompile(`[^<>]*stream[^<>]*`)

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// memory returns how much a process has resident, in bytes.
func memory(p *process.Process) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	m := resident.FindSubmatch(status)
	if err != nil || m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1])) // digits
	return n << 10
}

// The stream is full for a while. The mail waits in the mailboxes, and nobody logs in for nothing.
func TestFullStream(t *testing.T) {
	lasts, boxes := forms(t, 12*time.Second, 5*time.Minute), forms(t, 30, 100)
	alongside(t)
	x := newTrial(t, 15*time.Minute, Options{NATS: buildNATS(t), Mailboxes: boxes, Stream: ", max_bytes: 500KiB"})
	x.must(x.Deliver(x.ctx, x.rng, madeUp(10*boxes, x.rng)...))
	deep := madeUp(600, x.rng) // more than is fetched ahead, in one mailbox
	_, err := x.Dovecot.Append(x.ctx, x.boxes[0].address, "INBOX", time.Time{}, deep...)
	x.must(err)
	x.start()
	said := x.within(30*time.Second, "it says that the stream is full", func() bool { return x.says("/", "The stream is full") })
	x.within(time.Minute, "all have logged in", func() bool { return x.logins() >= boxes })
	time.Sleep(3 * time.Second)
	logins, before, most := x.logins(), memory(x.fleet.replicas[0].Process), 0
	for began := time.Now(); time.Since(began) < lasts; time.Sleep(time.Second) {
		x.must(x.Deliver(x.ctx, x.rng, madeUp(5, x.rng)...))
		most = max(most, memory(x.fleet.replicas[0].Process))
	}
	more := x.logins() - logins
	t.Logf("full for %v: said %v after the start; %d logins in %d mailboxes; %d MiB resident, at most %d more", lasts,
		said.Round(10*time.Millisecond), more, boxes, before>>20, (most-before)>>20)
	if said > 10*time.Second || more > boxes/10 || most-before > 64<<20 {
		t.Errorf("want it said within 10s, at most a login of every tenth mailbox, and 64 MiB\n%s", x.fleet.Output())
	}
	s, err := x.js.Stream(x.ctx, "MAIL")
	x.must(err)
	c := s.CachedInfo().Config
	c.MaxBytes = -1
	_, err = x.js.UpdateStream(x.ctx, c)
	x.must(err)
	x.all(time.Minute)
}

// The disk of the broker, or of the built-in server, is full for a while.
func TestFullDisk(t *testing.T) {
	lasts := forms(t, 5*time.Second, time.Minute)
	alongside(t)
	for _, broker := range []string{"embedded server", "external server"} {
		t.Run(broker, func(t *testing.T) {
			alongside(t)
			store := t.TempDir()
			if err := unix.Mount("tmpfs", store, "tmpfs", 0, "size=12m"); err != nil {
				t.Skipf("a small file system cannot be mounted here: %v", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(store, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			o := Options{Store: store}
			if broker == "external server" {
				o.NATS, o.JetStream = buildNATS(t), ", max_file_store: 1GB"
			}
			x := newTrial(t, 10*time.Minute, o)
			x.must(x.Deliver(x.ctx, x.rng, madeUp(300, x.rng)...))
			x.start()
			said := x.fill(store)
			time.Sleep(lasts)
			_, page, err := x.fleet.replicas[0].Get(x.ctx, "/")
			x.must(err)
			t.Logf("it says %q", sentence.FindAllString(page, 1))
			t.Logf("the disk was full for %v; said after %v", lasts, said.Round(10*time.Millisecond))
			x.must(unix.Mount("tmpfs", store, "tmpfs", unix.MS_REMOUNT, "size=256m"))
			if x.Brokers != nil {
				// A nats-server that could not write a stream does not touch it again until it is started anew.
				x.Brokers.Kill(0)
				x.must(x.Brokers.Start(x.ctx, 0))
			}
			x.all(time.Minute)
		})
	}
}

// fill delivers mail until the disk has no room, or less than the broker wants, and returns how long it takes until that is
// said.
func (x *trial) fill(disk string) (said time.Duration) {
	x.t.Helper()
	tells := func() bool {
		return x.says("/", "stream") && x.says("/metrics", `state="waiting"} 1`) || x.says("/readyz", "make room")
	}
	for full := false; !full; full = full || tells() {
		x.must(x.Deliver(x.ctx, x.rng, madeUp(100, x.rng)...))
		var fs unix.Statfs_t
		x.must(unix.Statfs(disk, &fs))
		full = fs.Bavail < 16
		x.must(x.ctx.Err())
	}
	return x.within(20*time.Second, "it says that something is wrong", tells)
}

// The stream is deleted, and made again.
func TestNoStream(t *testing.T) {
	forms(t, 0, 0)
	alongside(t)
	x := newTrial(t, 5*time.Minute, Options{NATS: buildNATS(t), Mailboxes: 4})
	x.must(x.Deliver(x.ctx, x.rng, madeUp(50, x.rng)...))
	x.start()
	x.within(30*time.Second, "the first mail", func() bool { n, err := x.Count(x.ctx); return err == nil && n == 50 })
	s, err := x.js.Stream(x.ctx, "MAIL")
	x.must(err)
	config := s.CachedInfo().Config
	x.must(x.quiet(x.ctx))
	before, err := x.Served(x.ctx)
	x.must(err)
	time.Sleep(6 * time.Second) // the positions are kept
	kept := x.positions()
	x.must(x.js.DeleteStream(x.ctx, "MAIL"))
	x.must(x.Deliver(x.ctx, x.rng, madeUp(50, x.rng)...))
	said := x.within(10*time.Second, "it is not ready", func() bool { return x.says("/readyz", "the stream does not exist") })
	time.Sleep(5 * time.Second)
	if now := x.positions(); now != kept {
		t.Errorf("the positions moved from\n%s to\n%s", kept, now)
	}
	_, err = x.js.CreateStream(x.ctx, config)
	x.must(err)
	resumed := x.within(30*time.Second, "the mail since", func() bool { n, err := x.Count(x.ctx); return err == nil && n >= 50 })
	x.within(30*time.Second, "it is ready", x.ready)
	x.must(x.quiet(x.ctx))
	served, err := x.Served(x.ctx)
	x.must(err)
	stored, err := x.Read(x.ctx)
	x.must(err)
	for place := range before {
		delete(served, place)
	}
	var stream []Published
	for _, e := range stored {
		stream = append(stream, e.Published)
	}
	v := Check(served, stream)
	x.must(v.Err())
	t.Logf("said after %v, went on %v after the stream was there again: %v", said.Round(10*time.Millisecond), resumed.Round(10*time.Millisecond), v)
}

// What may publish is taken away, and given back.
func TestNoPermission(t *testing.T) {
	forms(t, 0, 0)
	alongside(t)
	const deny = `permissions: {publish: {deny: ["mail.>"]}}`
	x := newTrial(t, 5*time.Minute, Options{
		NATS: buildNATS(t), Mailboxes: 4, Login: "  user: worker\n  password: env:CHAOS_NATS_PASSWORD\n",
		Broker: "authorization {users: [{user: observer, password: observer}, {user: worker, password: worker, #\n}]}\n",
	})
	x.must(x.Deliver(x.ctx, x.rng, madeUp(50, x.rng)...))
	x.start()
	x.within(30*time.Second, "the first mail", func() bool { n, err := x.Count(x.ctx); return err == nil && n == 50 })
	time.Sleep(6 * time.Second) // the positions are kept
	kept := x.positions()
	x.must(x.Brokers.Rewrite(func(s string) string { return strings.Replace(s, "#", deny+" #", 1) }))
	x.must(x.Deliver(x.ctx, x.rng, madeUp(50, x.rng)...))
	said := x.within(12*time.Second, "it is not ready", func() bool { return x.says("/readyz", "does not allow us to publish") })
	time.Sleep(5 * time.Second)
	if now := x.positions(); now != kept {
		t.Errorf("the positions moved from\n%s to\n%s", kept, now)
	}
	x.must(x.Brokers.Rewrite(func(s string) string { return strings.Replace(s, deny, "", 1) }))
	resumed := x.within(30*time.Second, "the mail since", func() bool { n, err := x.Count(x.ctx); return err == nil && n == 100 })
	x.within(30*time.Second, "it is ready", x.ready)
	t.Logf("said after %v, went on %v after it was allowed again", said.Round(10*time.Millisecond), resumed.Round(10*time.Millisecond))
	if said > 10*time.Second {
		t.Errorf("said after %v, want 10s", said)
	}
	x.all(time.Minute)
}

// positions returns what the records of positions say now.
func (x *trial) positions() string {
	saved, _ := x.observer.records()
	now := map[string]map[string]string{}
	for _, s := range saved {
		now[s.Mailbox] = s.Positions
	}
	return fmt.Sprint(now) // in the order of the keys
}
