package state

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// childReplica is a replica in a process of its own: the test binary again. It says what it does on its standard output and
// ends in order when its standard input ends.
func childReplica() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString(0)
		cancel()
	}()
	s, nc, err := connect(ctx, os.Getenv("STATE_TEST_REPLICA"))
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	n, err := strconv.Atoi(os.Getenv("STATE_TEST_MAILBOXES"))
	if err != nil {
		panic(err)
	}
	l, err := time.ParseDuration(os.Getenv("STATE_TEST_LEASE"))
	if err != nil {
		panic(err)
	}
	r := NewReplica(s, ReplicaConfig{Lease: l}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if boot := os.Getenv("STATE_TEST_BOOT"); boot != "" {
		r.self.Boot = boot
	}
	var mu sync.Mutex
	say := func(what, mailbox, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id, time.Now().UnixNano(), mailbox)
	}
	_ = r.Run(ctx, names(n), func(ctx context.Context, mailbox string) {
		id := r.ID()
		say("start", mailbox, id)
		<-ctx.Done()
		say("end", mailbox, id)
	})
}

// child is a childReplica as the test sees it. What it does goes into the book.
type child struct {
	*exec.Cmd
	read chan struct{} // closed at the end of its output
	quit func()

	mu  sync.Mutex
	ids []string
}

func spawn(t *testing.T, url string, b *book, lease time.Duration, mailboxes int, boot string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "STATE_TEST_REPLICA="+url, "STATE_TEST_MAILBOXES="+strconv.Itoa(mailboxes),
		"STATE_TEST_LEASE="+lease.String(), "STATE_TEST_BOOT="+boot)
	cmd.Stderr = &lines{t: t}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: cmd, read: make(chan struct{})}
	go func() {
		defer close(c.read)
		running := map[string]*interval{}
		for scan := bufio.NewScanner(stdout); scan.Scan(); {
			f := strings.SplitN(scan.Text(), " ", 4)
			if len(f) != 4 {
				continue // the testing package has its say too
			}
			nanos, _ := strconv.ParseInt(f[2], 10, 64)
			at := time.Unix(0, nanos)
			b.mu.Lock()
			switch i := running[f[3]]; f[0] {
			case "start":
				i = &interval{mailbox: f[3], session: f[1], start: at}
				running[f[3]] = i
				b.calls = append(b.calls, i)
			case "end":
				i.end = at
			}
			b.mu.Unlock()
			c.mu.Lock()
			if len(c.ids) == 0 || c.ids[len(c.ids)-1] != f[1] {
				c.ids = append(c.ids, f[1])
			}
			c.mu.Unlock()
		}
		// It is gone, and whatever it did with it.
		b.mu.Lock()
		for _, i := range running {
			if i.end.IsZero() {
				i.end = time.Now()
			}
		}
		b.mu.Unlock()
	}()
	c.quit = sync.OnceFunc(func() {
		_ = stdin.Close()
		<-c.read
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		c.quit()
	})
	return c
}

// id returns the session that the child runs its mailboxes under.
func (c *child) id() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ids) == 0 {
		return ""
	}
	return c.ids[len(c.ids)-1]
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.read
	_ = c.Wait()
}

// lines logs what a child writes, if the test fails.
type lines struct {
	t    *testing.T
	once sync.Once
	mu   sync.Mutex
	b    strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.once.Do(func() {
		l.t.Cleanup(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.t.Failed() {
				l.t.Logf("log of a child:\n%s", l.b.String())
			}
		})
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestAKilledStrangerIsTakenOverAfterItsLease(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(20)
	s := b.store(b.url())
	r := join(t, s, &calls, lease, mailboxes)
	c := spawn(t, b.url(), &calls, lease, len(mailboxes), "another machine")
	eventually(t, soon, "both own some", func() bool { return calls.each(mailboxes) && c.id() != "" })
	dead := c.id()
	c.kill(t)
	beat, err := s.kv.Get(t.Context(), key(tableSessions, dead)) // its last
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "taken over", func() bool { return calls.each(mailboxes, r.ID()) })
	took := time.Since(beat.Created())
	t.Logf("taken over %v after its last heartbeat, with a lease of %v", took, lease)
	if took < lease {
		t.Error("taken over before anybody could know")
	}
	if r.Alive(dead) {
		t.Error("the dead one is said to be alive")
	}
	r.leave()
	calls.check(t)
}

func TestAKilledReplicaResumesAtOnceOnTheSameHost(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(20)
	for range 3 {
		c := spawn(t, b.url(), &calls, long, len(mailboxes), "")
		eventually(t, atOnce, "owned", func() bool { return c.id() != "" && calls.each(mailboxes, c.id()) })
		c.kill(t)
	}
	start := time.Now()
	c := spawn(t, b.url(), &calls, long, len(mailboxes), "")
	eventually(t, atOnce, "owned again", func() bool { return c.id() != "" && calls.each(mailboxes, c.id()) })
	t.Logf("resumed %v after the process was started again, with a lease of %v", time.Since(start), long)
	c.quit()
	calls.check(t)
}

func TestAKilledReplicaResumesAtOnceBesideOthers(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(30)
	stay := join(t, b.store(b.url()), &calls, long, mailboxes, func(r *Replica) { r.self.Boot = "another machine" })
	c := spawn(t, b.url(), &calls, long, len(mailboxes), "")
	eventually(t, soon, "both own some", func() bool { return c.id() != "" && calls.each(mailboxes) })
	dead := c.id()
	c.kill(t)
	start := time.Now()
	c = spawn(t, b.url(), &calls, long, len(mailboxes), "")
	eventually(t, atOnce, "all owned again", func() bool { return c.id() != "" && calls.each(mailboxes, stay.ID(), c.id()) })
	t.Logf("resumed %v after the process was started again, with a lease of %v", time.Since(start), long)
	eventually(t, atOnce, "the dead session is known", func() bool { return !stay.Alive(dead) })
	stay.leave()
	c.quit()
	calls.check(t)
}

func TestAPausedReplicaComesBackUnderAnotherID(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(20)
	s := b.store(b.url())
	r := join(t, s, &calls, lease, mailboxes)
	c := spawn(t, b.url(), &calls, lease, len(mailboxes), "")
	eventually(t, soon, "both own some", func() bool { return calls.each(mailboxes) && c.id() != "" && contains(calls.running(), c.id()) })
	paused := c.id()
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	beat, err := s.kv.Get(t.Context(), key(tableSessions, paused)) // its last, but for one that is under way
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "taken over", func() bool { return !r.Alive(paused) && count(r.Owners(), r.ID()) == len(mailboxes) })
	took := time.Since(beat.Created())
	t.Logf("taken over %v after its last heartbeat", took)
	if took < lease {
		t.Error("taken over while its session was valid: it is on this machine and alive")
	}
	if err := c.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "it is back under another id", func() bool {
		return c.id() != paused && calls.each(mailboxes) && contains(calls.running(), c.id()) && !contains(calls.running(), paused)
	})
	r.leave()
	c.quit()
}

func TestProofOfDeath(t *testing.T) {
	self := thisProcess()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	other := self
	other.PID = cmd.Process.Pid
	start, _, err := startTime(other.PID)
	if err != nil {
		t.Fatal(err)
	}
	other.Start = start
	prove := func(what string, p process, want bool) {
		t.Helper()
		if self.provesDead(p) != want {
			t.Errorf("%s: proven dead is %v", what, !want)
		}
	}
	prove("this process", self, false)
	prove("a live process", other, false)
	prove("process 1", process{Host: self.Host, Boot: self.Boot, Namespace: self.Namespace, PID: 1, Start: 1<<63 - 1}, true)
	later := other
	later.Start++
	prove("another process with its number", later, true)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "a process that nobody has waited for is dead", func() bool { return self.provesDead(other) })
	_ = cmd.Wait()
	prove("a process that is gone", other, true)
	for what, change := range map[string]func(p *process){
		"another boot":          func(p *process) { p.Boot = "x" },
		"another pid namespace": func(p *process) { p.Namespace = "pid:[1]" },
		"another host name":     func(p *process) { p.Host = "x" },
		"no start time":         func(p *process) { p.Start = 0 },
		"no process":            func(p *process) { p.PID = 0 },
		"no boot id":            func(p *process) { p.Boot = "" },
	} {
		p := other
		change(&p)
		prove(what, p, false)
	}
}

// entryOf is an entry of a watch.
type entryOf struct {
	jetstream.KeyValueEntry
	key, value string
	revision   uint64
	op         jetstream.KeyValueOp
}

func (e entryOf) Key() string                     { return e.key }
func (e entryOf) Value() []byte                   { return []byte(e.value) }
func (e entryOf) Revision() uint64                { return e.revision }
func (e entryOf) Operation() jetstream.KeyValueOp { return e.op }

func TestViewIsNotTrustedTooEarly(t *testing.T) {
	const del, purge = jetstream.KeyValueDelete, jetstream.KeyValuePurge
	now := time.Hour
	v := newView("me")
	see := func(key, value string, revision uint64, op ...jetstream.KeyValueOp) change {
		e := entryOf{key: key, value: value, revision: revision}
		if len(op) > 0 {
			e.op = op[0]
		}
		return v.apply(e, now, 2*time.Second)
	}
	free := func(what string, want bool, wantUnknown string) {
		t.Helper()
		if got, unknown := v.free(v.owners["m"]); got != want || unknown != wantUnknown {
			t.Errorf("%s: free %v, unknown %q", what, got, unknown)
		}
	}
	v.reopened(now)
	see("o.m", `{"session":"x"}`, 5)
	free("half a view", false, "")
	v.complete = true
	free("no heartbeat of ours", false, "")
	see("s.me", `{"beat":1}`, 4)
	free("a heartbeat of ours from before the record", false, "")
	see("s.me", `{"beat":2}`, 6)
	free("a session that was never seen", false, "x")
	v.applyRead("x", record{value: []byte(`{"beat":9}`), revision: 3}, now)
	free("it is alive", false, "")

	// Silence counts from the last change, and only while our own heartbeats come back in time.
	now += 10 * time.Second
	see("s.me", `{"beat":3}`, 7)
	if ids := v.silent(now, 5*time.Second); len(ids) != 0 {
		t.Errorf("%v are dead though we were cut off ourselves", ids)
	}
	for beat := range uint64(5) {
		now += time.Second
		see("s.me", fmt.Sprintf(`{"beat":%d}`, 4+beat), 8+beat)
	}
	if ids := v.silent(now-time.Second, 5*time.Second); len(ids) != 0 {
		t.Errorf("%v are dead before the time is up", ids)
	}
	if ids := v.silent(now, 5*time.Second); len(ids) != 1 {
		t.Errorf("%v are dead", ids)
	}

	// A record whose time to live ran out is not proof.
	see("s.x", "", 20, purge)
	see("s.me", `{"beat":10}`, 21)
	free("it expired", false, "")
	if len(v.live()) != 1 {
		t.Errorf("%v are given mailboxes", v.live())
	}
	see("s.x", "", 22, del)
	see("s.me", `{"beat":11}`, 23)
	free("it was deleted", true, "")
	see("s.x", `{"beat":9}`, 3)
	free("an old record of it turns up", true, "")

	// After a new watch began, what it does not show is looked up.
	see("s.y", `{"beat":1}`, 30)
	see("o.m", `{"session":"y"}`, 31)
	v.reopened(now)
	free("nothing has been shown again", false, "")
	see("o.m", `{"session":"y"}`, 31)
	see("s.me", `{"beat":12}`, 32)
	v.complete = true
	free("the session is missing from the new watch", false, "y")
	v.applyRead("y", record{}, now)
	free("nor is it in the bucket", true, "")
	if c := see("s.me", "", 40, del); !c.ended {
		t.Error("our own end was not noticed")
	}
}

func TestAliveLooksUpWhatItDoesNotKnow(t *testing.T) {
	b := newBroker(t)
	s := b.store(b.url())
	var calls book
	a := join(t, s, &calls, lease, nil)
	eventually(t, soon, "valid", a.Valid)
	if !a.Alive("never heard of") {
		t.Error("a session that was not looked up is said to be dead")
	}
	eventually(t, soon, "it is found that there is no such session", func() bool { return !a.Alive("never heard of") })
	other := join(t, s, &calls, lease, nil)
	eventually(t, soon, "the other is valid", other.Valid)
	for range 20 {
		if !a.Alive(other.ID()) || !other.Alive(a.ID()) {
			t.Fatal("a live session is said to be dead")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
