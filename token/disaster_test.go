package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cluster decides who is dead, as the stream does: by heartbeats that did not come.
type cluster struct {
	mu    sync.Mutex
	beats map[string]time.Time
	dead  map[string]bool
	born  int
}

const (
	beatEvery  = 3 * time.Second
	beatValid  = 10 * time.Second
	beatSilent = 20 * time.Second
)

// node is a replica that can be killed, and paused for any time. Killed, nothing that it does has an effect; paused, it goes
// on where it stood.
type node struct {
	c       *cluster
	store   Store
	next    http.RoundTripper
	manager *Manager

	mu      sync.Mutex
	asking  map[string]bool // mailboxes for which the provider was asked, and nothing was saved since
	id      string
	beat    time.Time
	killed  bool
	resumes time.Time
}

var errKilled = errors.New("killed")

// pass is where the node may be stopped: before and after whatever it does.
func (n *node) pass(ctx context.Context) error {
	for {
		n.mu.Lock()
		killed, wait := n.killed, time.Until(n.resumes)
		n.mu.Unlock()
		if killed {
			return errKilled
		}
		if wait <= 0 {
			return nil
		}
		_ = ctx // a stopped process does not see its contexts end either
		time.Sleep(wait)
	}
}

func (n *node) Get(ctx context.Context, key string) (value []byte, revision, over uint64, err error) {
	if err := n.pass(ctx); err != nil {
		return nil, 0, 0, err
	}
	value, revision, over, err = n.store.Get(ctx, key)
	return value, revision, over, errors.Join(err, n.pass(ctx))
}

func (n *node) Set(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := n.pass(ctx); err != nil {
		return 0, err
	}
	at, err := n.store.Set(ctx, key, value, revision)
	if err == nil {
		n.mu.Lock()
		delete(n.asking, key)
		n.mu.Unlock()
	}
	return at, errors.Join(err, n.pass(ctx))
}

func (n *node) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := n.pass(req.Context()); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	mailbox, _, _ := strings.Cut(form.Get("refresh_token"), ".")
	n.mu.Lock()
	n.asking[mailbox] = true
	n.mu.Unlock()
	resp, err := n.next.RoundTrip(req)
	if err := n.pass(req.Context()); err != nil {
		return nil, err
	}
	return resp, err
}

func (n *node) ID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

func (n *node) Remaining() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return beatValid - time.Since(n.beat)
}

func (n *node) Alive(id string) bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if at, ok := n.c.beats[id]; ok && time.Since(at) > beatSilent {
		n.c.dead[id] = true
	}
	return !n.c.dead[id]
}

// heartbeat keeps the node's session, and begins another when it has been declared dead.
func (n *node) heartbeat(ctx context.Context) {
	for pause(ctx, beatEvery) == nil {
		if n.pass(ctx) != nil {
			return
		}
		n.c.mu.Lock()
		n.mu.Lock()
		if n.c.dead[n.id] || time.Since(n.beat) > beatSilent {
			n.c.dead[n.id] = true
			n.c.born++
			n.id = fmt.Sprintf("n%d", n.c.born)
		}
		n.beat = time.Now()
		n.c.beats[n.id] = n.beat
		n.mu.Unlock()
		n.c.mu.Unlock()
	}
}

// disaster is three nodes to which something happens all the time.
type disaster struct {
	t     *testing.T
	f     *farm
	store *memory
	c     *cluster
	key   string
	rng   *rand.Rand
	nodes []*node
	ends  context.Context //nolint:containedctx // of the test
	kills int
	stops int

	endangered map[string]string // mailboxes between question and save when their node was killed, or stopped for too long, in this round
	lost       map[string]int    // by what happened
}

func (d *disaster) newNode() *node {
	d.c.mu.Lock()
	d.c.born++
	n := &node{c: d.c, store: d.store, next: d.f, id: fmt.Sprintf("n%d", d.c.born), beat: time.Now(), asking: map[string]bool{}}
	d.c.beats[n.id] = n.beat
	d.c.mu.Unlock()
	n.manager = storming(d.t, d.key, n, n, n)
	go n.heartbeat(d.ends)
	return n
}

// strike kills a node, which is replaced, or stops one for a while.
func (d *disaster) strike() {
	i := d.rng.IntN(len(d.nodes))
	n := d.nodes[i]
	what := "killed"
	n.mu.Lock()
	if d.rng.IntN(3) == 0 {
		n.killed = true
		d.kills++
	} else {
		stop := time.Duration(d.rng.IntN(30_000)) * time.Millisecond
		n.resumes = time.Now().Add(stop)
		d.stops++
		if stop < beatValid-beatEvery {
			what = "" // its session outlasts that: nothing may be lost
		} else {
			what = "stopped until its session was over"
		}
	}
	killed := n.killed
	for mailbox := range n.asking {
		if what != "" {
			d.endangered[mailbox] = what
		}
	}
	n.mu.Unlock()
	if killed {
		d.nodes[i] = d.newNode()
	}
}

// round makes every mailbox's token expire, lets all nodes ask for each, and strikes meanwhile. Those that need a person
// are connected again. It returns how many those were.
func (d *disaster) round(mailboxes int) (lost int) {
	time.Sleep(61 * time.Minute)
	d.endangered = map[string]string{}
	var wg sync.WaitGroup
	for i := range mailboxes {
		a := d.f.account(fmt.Sprintf("box%d", i))
		for _, n := range d.nodes {
			wg.Go(func() { _, _ = n.manager.Token(d.t.Context(), a, "") })
		}
	}
	wg.Go(func() {
		for range 1 + d.rng.IntN(2) {
			time.Sleep(time.Duration(d.rng.IntN(600)) * time.Millisecond)
			d.strike()
		}
	})
	wg.Wait()
	for i := range mailboxes { // whoever is left brings each mailbox to an end
		name := fmt.Sprintf("box%d", i)
		if d.settle(name) {
			lost++
			d.f.consent(name)
		}
	}
	return lost
}

// settle asks until the mailbox has a token, or needs a person.
func (d *disaster) settle(mailbox string) (lost bool) {
	for range 100 {
		_, err := d.nodes[0].manager.Token(d.t.Context(), d.f.account(mailbox), "")
		var person *GrantError
		switch {
		case err == nil:
			return false
		case errors.As(err, &person):
			d.lost[d.endangered[mailbox]]++
			if d.endangered[mailbox] == "" {
				d.t.Errorf("%s is lost without need: %+v", mailbox, person)
			}
			if !person.Interrupted {
				d.t.Errorf("%s is lost, and nobody says that an answer was: %+v", mailbox, person)
			}
			before := d.f.exchanges
			if _, err := d.nodes[1].manager.Token(d.t.Context(), d.f.account(mailbox), ""); err == nil || d.f.exchanges != before {
				d.t.Errorf("%s needs a person and is asked for again: %v", mailbox, err)
			}
			return true
		}
		time.Sleep(5 * time.Second)
	}
	d.t.Errorf("%s does not come to an end", mailbox)
	return false
}

// 500 rotations (10,000 in make storm), with replicas killed and stopped at random: at most one exchange each, and no grant lost but where an
// answer was, which the strict provider does not forgive.
func TestStormOfDisasters(t *testing.T) {
	mailboxes, rotations := 50, 500
	if os.Getenv("STORM") != "" {
		mailboxes, rotations = 100, 10_000
	}
	synctest.Test(t, func(t *testing.T) {
		ends, end := context.WithCancel(t.Context())
		defer end()
		d := &disaster{
			t: t, f: newFarm(mailboxes), store: newMemory(), key: NewKey(), rng: rand.New(rand.NewPCG(1, 2)), ends: ends,
			lost: map[string]int{},
			c:    &cluster{beats: map[string]time.Time{}, dead: map[string]bool{}},
		}
		for range 3 {
			d.nodes = append(d.nodes, d.newNode())
		}
		lost := 0
		for d.f.rotations < rotations && !t.Failed() {
			lost += d.round(mailboxes)
			d.store.writes = nil // it would remember every one
		}
		t.Logf("%d rotations, %d exchanges, %d overlaps, %d reuses, %d lost %v, %d kills, %d stops", d.f.rotations, d.f.exchanges, d.f.overlaps, d.f.reuses, lost, d.lost, d.kills, d.stops)
		// Each reuse is one of a grant whose answer was lost with a replica, and leads to a person: once.
		if d.f.reuses != lost || d.f.exchanges < d.f.rotations || d.kills == 0 || d.stops == 0 {
			t.Error("see above")
		}
	})
}
