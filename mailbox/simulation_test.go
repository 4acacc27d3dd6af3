package mailbox_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// replica is a process that believes that the mailbox is its own.
type replica struct {
	line   *line
	cancel context.CancelFunc
	ended  chan struct{}
}

// simulation is a history while it runs.
type simulation struct {
	h        history
	world    *sim.World
	account  *sim.Account
	grant    *grant
	broker   *broker.Broker
	rng      *rand.Rand
	replicas [2]*replica
	mails    map[string]string // sha256 by subject, of every message that was delivered
	late     map[string]bool   // by subject: the server showed it later than others that came after it
	serial   uint64

	mu      sync.Mutex
	trouble bool
	out     time.Time // until then the broker is away
}

func (s *simulation) odds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.trouble {
		return 0
	}
	return s.h.Trouble
}

func (s *simulation) isOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.out)
}

func (s *simulation) set(trouble bool, out time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble, s.out = trouble, time.Now().Add(out)
}

// play runs a history in a bubble, and then until everything has come to rest.
func play(t *testing.T, h history) (s *simulation) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s = &simulation{
			h: h, world: sim.New(sim.Options{Seed: h.Seed}), broker: broker.New(), rng: rand.New(rand.NewPCG(h.Seed, 1)),
			mails: map[string]string{}, late: map[string]bool{},
		}
		defer s.world.Close()
		s.account = s.world.AddAccount(h.Provider, "anna@example.test")
		s.account.Set(func(q *sim.Quirks) { q.WireChunk, q.WireDelay = 500, h.Wire })
		s.grant = &grant{a: s.account}
		s.start(0)
		for _, step := range h.Steps {
			s.take(step)
			synctest.Wait() // what happens in no time is over, so that a history has one outcome
			time.Sleep(step.Then)
		}
		s.rest()
	})
	return s
}

// finishDrafts takes the mark of all drafts away, where they lie.
func (s *simulation) finishDrafts() {
	for _, folder := range []string{"INBOX", archiveName(s.h.Provider)} {
		for _, uid := range s.account.UIDs(folder) {
			if len(s.account.Flags(folder, uid)) > 0 {
				s.account.SetFlags(folder, uid)
			}
		}
	}
}

// rest ends all trouble, and gives one replica the time that the longest wait takes.
func (s *simulation) rest() {
	s.set(false, 0)
	s.account.ClearFaults()
	s.stop(1)
	s.start(0)
	time.Sleep(3 * time.Hour)
	s.finishDrafts()
	time.Sleep(time.Hour)
	s.stop(0)
}

func (s *simulation) take(step step) {
	uids := s.account.UIDs("INBOX")
	which := step.Count % 2
	switch step.What {
	case "deliver":
		s.deliver("INBOX", step.Count, sim.Message{})
	case "deliver elsewhere":
		s.deliver(archiveName(s.h.Provider), step.Count, sim.Message{})
	case "deliver late":
		if len(s.broker.Events("anna")) == 0 {
			return // older than every event: after a change of UIDVALIDITY nobody could tell it from old mail
		}
		s.deliver("INBOX", 1, sim.Message{Hide: step.Count % 4})
	case "deliver with holes":
		s.deliver("INBOX", 1, sim.Message{Holes: step.Count % 3})
	case "deliver a draft":
		if len(s.broker.Events("anna")) > 0 { // as above
			s.deliver("INBOX", 1, sim.Message{Flags: []string{`\Draft`}})
		}
	case "finish drafts":
		s.finishDrafts()
	case "expunge":
		if len(uids) > 0 {
			s.account.Expunge("INBOX", uids[s.rng.IntN(len(uids))])
		}
	case "move":
		if len(uids) > 0 {
			s.account.Move("INBOX", uids[s.rng.IntN(len(uids))], archiveName(s.h.Provider))
		}
	case "kill":
		s.kill(which)
	case "kill and restart":
		s.kill(which)
		s.start(which)
	case "stop":
		s.stop(which)
	case "start":
		s.start(which)
	case "trouble":
		s.set(true, 0)
	case "calm":
		s.set(false, 0)
	case "outage":
		s.set(false, time.Duration(step.Count)*10*time.Minute)
	default:
		s.annoy(step)
	}
}

// annoy does what the provider or the way to it does.
func (s *simulation) annoy(step step) {
	switch step.What {
	case "drop connections":
		s.account.DropConnections()
	case "expire tokens":
		s.account.ExpireTokens()
	case "renumber":
		s.account.BumpUIDValidity("INBOX")
	case "stall":
		s.account.Inject(sim.Stall([]string{"SEARCH", "FETCH", "EXAMINE"}[step.Count%3], -1))
	case "cut":
		s.account.Inject(sim.CutLiteral(step.Count * 10))
	case "throttle":
		s.account.Throttle(time.Duration(step.Count) * time.Minute)
	case "unavailable":
		s.account.Inject(sim.Unavailable())
	case "idle dies":
		s.account.Inject(sim.IdleDies(time.Duration(step.Count) * time.Minute))
	}
}

func (s *simulation) deliver(folder string, n int, m sim.Message) {
	for range n {
		number := len(s.mails)
		s.late[fmt.Sprintf("number %d", number)] = m.Hide > 0 || m.Holes > 0 || len(m.Flags) > 0
		m.Raw = message(number)
		sum := sha256.Sum256(m.Raw)
		s.mails[fmt.Sprintf("number %d", number)] = hex.EncodeToString(sum[:])
		s.account.DeliverMessage(folder, m)
	}
}

// start starts a replica, unless it runs.
func (s *simulation) start(i int) {
	if s.replicas[i] != nil {
		return
	}
	s.serial++
	l := &line{Broker: s.broker, world: s, rng: rand.New(rand.NewPCG(s.h.Seed, 10+s.serial))}
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{l, cancel, make(chan struct{})}
	fetch := fetcher.Config{
		Addr: "localhost:143", Security: fetcher.Plain, User: s.account.Address(), Folders: s.h.Folders, Start: fetcher.Start{All: true},
		Random: chance(s.h.Seed, 1000+s.serial),
		Dial:   func(context.Context, string, string) (net.Conn, error) { return s.world.IMAP(s.h.Provider).Pipe(), nil },
	}
	w := mailbox.NewWorker(mailbox.Config{
		Mailbox: event.Mailbox{ID: "anna", Name: "anna", Address: s.account.Address()}, Raw: mailbox.RawAlways,
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			session, err := fetcher.Open(ctx, fetch, s.grant)
			if err != nil {
				return nil, nil, err
			}
			return session, session.Folders(), nil
		},
		Stream: l, Bytes: l, Announcer: l, Floor: l, Random: chance(s.h.Seed, 2000+s.serial),
	})
	go func() { defer close(r.ended); w.Run(ctx) }()
	s.replicas[i] = r
}

// kill is kill -9: from now on nothing of what the replica does has an effect.
func (s *simulation) kill(i int) {
	if r := s.replicas[i]; r != nil {
		r.line.kill()
		s.stop(i)
	}
}

// stop stops a replica politely.
func (s *simulation) stop(i int) {
	if r := s.replicas[i]; r != nil {
		r.cancel()
		<-r.ended
		s.replicas[i] = nil
	}
}

// TestSimulation plays histories that are drawn at random: mail that comes, moves and goes, replicas that are killed, restarted
// and active at the same time, a broker that is away, late, or answers nothing, and a server with all its moods. Each
// message is on the stream once, with its bytes. SIMULATION says how many histories, and draws new ones each time; what fails is
// shrunk, and rapid prints the seed that shows it again.
func TestSimulation(t *testing.T) {
	n := 300
	if raced {
		n = 60
	}
	if want, err := strconv.Atoi(os.Getenv("SIMULATION")); err == nil {
		n = want
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800))                                     // many short lives
	if os.Getenv("SIMULATION") == "" && flag.Lookup("rapid.seed").Value.String() == "0" { // where others wait for the outcome, it is the same each time
		must(t, flag.Set("rapid.seed", "1"))
	}
	must(t, flag.Set("rapid.checks", strconv.Itoa(n/2)))
	began := time.Now()
	var events atomic.Int64
	t.Run("histories", func(t *testing.T) {
		for half := range 2 {
			t.Run(strconv.Itoa(half), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(rt *rapid.T) {
					s := play(t, histories.Draw(rt, "history"))
					all := s.outcomes(t)
					events.Add(int64(len(all)))
					if wrong := s.judge(all); len(wrong) > 0 {
						rt.Fatalf("%s\n%s", strings.Join(wrong, "\n"), s.log(t))
					}
				})
			})
		}
	})
	t.Logf("%d histories, %d events in %v", n, events.Load(), time.Since(began).Round(time.Millisecond))
}

// The same history ends the same way: the same events, in the same order.
func TestSameHistorySameLog(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // else two replicas race
	n := 100
	if raced {
		n = 40
	}
	for i := range n {
		h := histories.Example(i)
		if first, second := play(t, h).log(t), play(t, h).log(t); first != second {
			t.Errorf("history %d, %+v:\n%s\nand then\n%s", i, h, first, second)
		}
	}
}
