package state

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lease is that of replicas that are to lose it. Those that are not have a long one, which no stall of a busy machine ends.
const (
	lease = 2 * time.Second
	long  = 5 * DefaultLease
)

// How long a test waits: at most so long that nobody has waited for the end of DefaultLease, or for a heartbeat of a
// long one, which who is refused waits for; or for what will come, on a machine however busy.
const (
	atOnce = DefaultLease
	soon   = time.Minute
)

func TestASingleReplicaOwnsAllAtOnce(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(60)
	a := join(t, b.store(b.url()), &calls, DefaultLease, mailboxes)
	took := eventually(t, atOnce, "one replica owns everything", func() bool { return calls.each(mailboxes) })
	t.Logf("owned %d mailboxes after %v", len(mailboxes), took)
	if !a.Valid() || a.Remaining() > DefaultLease || len(a.Owners()) != len(mailboxes) || !a.Alive(a.ID()) {
		t.Errorf("valid %v, remaining %v, %d owned, alive %v", a.Valid(), a.Remaining(), len(a.Owners()), a.Alive(a.ID()))
	}
	a.leave()
	calls.check(t)
	if a.Valid() {
		t.Error("valid after it left")
	}
}

func TestThreeReplicasShare(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(60)
	members := make([]*member, 3)
	for i := range members {
		members[i] = join(t, b.store(b.url()), &calls, DefaultLease, mailboxes)
	}
	shared := func(of []*member) func() bool {
		return func() bool {
			if !calls.each(mailboxes) {
				return false
			}
			count := map[string]int{}
			for _, s := range calls.running() {
				count[s[0]]++
			}
			for _, m := range of {
				if count[m.ID()] < len(mailboxes)/len(of)/3 {
					return false
				}
			}
			return len(count) == len(of)
		}
	}
	t.Logf("shared after %v", eventually(t, atOnce, "three replicas share the mailboxes", shared(members)))
	for _, m := range members {
		eventually(t, atOnce, "everybody sees everybody", func() bool { return len(m.Replicas()) == 3 })
	}

	before, calledBefore := calls.running(), calls.count()
	left := members[0].ID()
	start := time.Now()
	members[0].leave()
	eventually(t, atOnce, "the others take what it had", func() bool { return calls.each(mailboxes, members[1].ID(), members[2].ID()) })
	t.Logf("taken over %v after a replica was told to leave", time.Since(start))
	moved := 0
	for mailbox, sessions := range before {
		if sessions[0] == left {
			moved++
		} else if calls.running()[mailbox][0] != sessions[0] {
			t.Errorf("mailbox %q moved from %s, which is still there", mailbox, sessions[0])
		}
	}
	if calls.count() != calledBefore+moved {
		t.Errorf("%d calls for %d mailboxes that had to move", calls.count()-calledBefore, moved)
	}
	eventually(t, atOnce, "its session is known to have ended", func() bool { return !members[1].Alive(left) })

	before = calls.running()
	fourth := join(t, b.store(b.url()), &calls, DefaultLease, mailboxes)
	eventually(t, atOnce, "the new one gets its share", shared([]*member{members[1], members[2], fourth}))
	for mailbox, sessions := range calls.running() {
		if sessions[0] != fourth.ID() && sessions[0] != before[mailbox][0] {
			t.Errorf("mailbox %q moved between replicas that stayed", mailbox)
		}
	}
	for _, m := range []*member{members[1], members[2], fourth} {
		m.leave()
	}
	calls.check(t)
}

func TestTheListMayChange(t *testing.T) {
	b := newBroker(t)
	var calls book
	a := join(t, b.store(b.url()), &calls, DefaultLease, names(5))
	eventually(t, atOnce, "all owned", func() bool { return calls.each(names(5)) })
	a.SetMailboxes(append(names(3), "new"))
	eventually(t, atOnce, "the new list is owned", func() bool {
		return calls.each(append(names(3), "new")) && len(calls.running()) == 4 && len(a.Owners()) == 4
	})
	a.leave()
	calls.check(t)
}

func TestOwnIsCalledAgainWhenItReturns(t *testing.T) {
	b := newBroker(t)
	const lease = 3 * lease
	r := NewReplica(b.store(b.url()), ReplicaConfig{Lease: lease}, testLog(t))
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan time.Time, 10)
	done := make(chan error)
	go func() {
		done <- r.Run(ctx, []string{"m"}, func(context.Context, string) { calls <- time.Now() })
	}()
	first, second, third := <-calls, <-calls, <-calls
	if third.Sub(second) < lease/6 {
		t.Errorf("called at %v, %v, %v: without a pause", first, second, third)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAReplicaThatIsCutOffStopsInTime(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(20)
	p := newProxy(t, b.url()[len("nats://"):])
	stalled := noteStalls(t, lease)
	cut := join(t, b.store(p.url()), &calls, lease, mailboxes)
	other := join(t, b.store(b.url()), &calls, lease, mailboxes)
	eventually(t, soon, "both own some", func() bool {
		return calls.each(mailboxes) && len(other.Replicas()) == 2 && len(calls.running()) == 20 &&
			count(other.Owners(), other.ID()) > 0 && count(other.Owners(), cut.ID()) > 0
	})
	id := cut.ID()
	p.freeze()
	start := time.Now()
	eventually(t, soon, "it stops", func() bool { return !contains(calls.running(), id) })
	t.Logf("stopped after %v", time.Since(start))
	eventually(t, soon, "the other takes all", func() bool { return calls.each(mailboxes, other.ID()) })
	t.Logf("taken over after %v", time.Since(start))
	p.thaw()
	eventually(t, soon, "it comes back under another id", func() bool {
		return cut.ID() != id && contains(calls.running(), cut.ID()) && calls.each(mailboxes)
	})
	cut.leave()
	other.leave()
	calls.check(t)
	calls.inTime(t, stalled, id)
}

func count(owners map[string]string, id string) (n int) {
	for _, o := range owners {
		if o == id {
			n++
		}
	}
	return n
}

func contains(running map[string][]string, id string) bool {
	for _, sessions := range running {
		for _, s := range sessions {
			if s == id {
				return true
			}
		}
	}
	return false
}

func TestAReplicaWhoseSessionWasDeletedBeginsANewOne(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(10)
	s := b.store(b.url())
	a := join(t, s, &calls, lease, mailboxes)
	eventually(t, soon, "all owned", func() bool { return calls.each(mailboxes) })
	id := a.ID()
	for deleted := false; !deleted; {
		last, err := s.last(t.Context(), key(tableSessions, id))
		if err != nil {
			t.Fatal(err)
		}
		deleted = s.remove(t.Context(), key(tableSessions, id), last.revision) == nil
	}
	t.Logf("resumed after %v", eventually(t, soon, "all owned by a new session", func() bool {
		return a.ID() != id && calls.each(mailboxes, a.ID())
	}))
	a.leave()
	calls.check(t)
}

// After an outage that outlasts the time to live of its record, a replica need not wait until it is sure of its own death.
func TestAReplicaWhoseSessionExpiredBeginsANewOneAtOnce(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(10)
	s := b.store(b.url())
	a := join(t, s, &calls, long, mailboxes)
	eventually(t, soon, "all owned", func() bool { return calls.each(mailboxes) })
	id := a.ID()
	for stored := false; !stored; { // its next heartbeat, which would have the record live on, is far away
		last, err := s.last(t.Context(), key(tableSessions, id))
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.write(t.Context(), key(tableSessions, id), last.value, last.revision, nats.Header{jetstream.MsgTTLHeader: {"1s"}})
		stored = err == nil
	}
	t.Logf("resumed after %v", eventually(t, atOnce, "all owned by a new session", func() bool {
		return a.ID() != id && calls.each(mailboxes, a.ID())
	}))
	a.leave()
	calls.check(t)
}

func TestNobodyDiesWhenTheServerRestarts(t *testing.T) {
	b := newBroker(t)
	var calls book
	mailboxes := names(30)
	var members []*member
	var ids []string
	for range 3 {
		members = append(members, join(t, b.store(b.url()), &calls, lease, mailboxes))
	}
	eventually(t, soon, "shared", func() bool { return calls.each(mailboxes) && len(members[0].Replicas()) == 3 })
	for _, m := range members {
		ids = append(ids, m.ID())
	}
	for _, outage := range []time.Duration{200 * time.Millisecond, lease} {
		b.stop()
		time.Sleep(outage)
		b.start()
		took := eventually(t, soon, "all resume", func() bool { return calls.each(mailboxes, ids...) && members[0].Valid() })
		t.Logf("resumed %v after an outage of %v", took, outage)
	}
	late := join(t, b.store(b.url()), &calls, lease, mailboxes)
	eventually(t, soon, "one that joins now is given its share: the others see again", func() bool {
		return calls.each(mailboxes) && contains(calls.running(), late.ID())
	})
	late.leave()
	time.Sleep(2 * lease)
	for i, m := range members {
		if m.ID() != ids[i] {
			t.Errorf("replica %d: its session was ended", i)
		}
	}
	if !calls.each(mailboxes, ids...) {
		t.Error("not all are owned")
	}
	for _, m := range members {
		m.leave()
	}
	calls.check(t)
}

func TestShareIsEvenAndStable(t *testing.T) {
	mailboxes := names(10_000)
	var sessions []string
	had := make([]string, len(mailboxes))
	for n := 1; n <= 20; n++ { // one more joins, or the other way round, one leaves
		joined := fmt.Sprint("session ", n)
		sessions = append(sessions, joined)
		count := map[string]int{}
		for i, m := range mailboxes {
			has := share(m, sessions)
			if n > 1 && has != had[i] && has != joined {
				t.Fatalf("%d sessions: %s moved from %s to %s when %s joined", n, m, had[i], has, joined)
			}
			count[has]++
			had[i] = has
		}
		for _, s := range sessions {
			if even := len(mailboxes) / n; count[s] < even*4/5 || count[s] > even*6/5 {
				t.Errorf("%d sessions: %s has %d of %d", n, s, count[s], len(mailboxes))
			}
		}
	}
	if share("m", nil) != "" {
		t.Error("shared among nobody")
	}
}

func TestLeavingDoesNotWaitForAServerThatHangs(t *testing.T) {
	b := newBroker(t)
	p := newProxy(t, b.url()[len("nats://"):])
	var calls book
	mailboxes := names(50)
	a := join(t, b.store(p.url()), &calls, long, mailboxes)
	eventually(t, soon, "all owned", func() bool { return calls.each(mailboxes) })
	p.freeze()
	start := time.Now()
	a.leave()
	if took := time.Since(start); took >= a.timeout() {
		t.Errorf("it took %v, and a call that nobody answers ends after %v", took, a.timeout())
	}
	calls.check(t)
}

func TestTheHolderOfTheLockDoesNotWaitForTheLease(t *testing.T) {
	b := newBroker(t)
	p := newProxy(t, b.url()[len("nats://"):])
	elsewhere := func(r *Replica) { r.self.Boot, r.self.Lock = "another machine", "the lock" }
	var calls book
	mailboxes := names(10)
	before := join(t, b.store(p.url()), &calls, long, mailboxes, elsewhere)
	eventually(t, soon, "all owned", func() bool { return calls.each(mailboxes) })
	p.freeze()
	before.leave() // nobody hears of it
	after := join(t, b.store(b.url()), &calls, long, mailboxes, func(r *Replica) { r.self.Lock = "the lock" })
	eventually(t, atOnce, "all owned again", func() bool { return calls.each(mailboxes, after.ID()) })
	after.leave()
	calls.check(t)
}

// TestAReplicaThatLeavesAtOnceLeavesNoSession: not even if it is told to before its first heartbeat was answered.
func TestAReplicaThatLeavesAtOnceLeavesNoSession(t *testing.T) {
	b := newBroker(t)
	s := b.store(b.url())
	for i := range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(i)*50*time.Microsecond, cancel)
		if err := NewReplica(s, ReplicaConfig{Lease: long}, slog.New(slog.DiscardHandler)).Run(ctx, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	seen, err := s.Overview(t.Context())
	if err != nil || len(seen.Replicas) > 0 {
		t.Errorf("%d sessions were left, %v", len(seen.Replicas), err)
	}
}
