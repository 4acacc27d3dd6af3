package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
)

// many are mailboxes in which a message can be in several folders, and move between them.
var many = []account{
	{"labels", sim.Gmail, "google", "gmail", []string{"INBOX", "[Gmail]/All Mail"}, "seen: true"},
	{"folders", sim.Exchange, "microsoft", "outlook", []string{"INBOX", "Archive", "Junk Email"}, ""},
	{"inbox", sim.Exchange, "microsoft", "outlook", []string{"INBOX"}, "flag: true"},
}

// TestDeathsInARow lets the program die again and again at points drawn by lot, often before it has recovered from the last
// time, while mail comes, moves, and is numbered anew. The long form draws anew each time; CRASH_SEED tells the same again, as far as
// time lets it.
func TestDeathsInARow(t *testing.T) {
	seed := uint64(6) // the same each time where others wait for the outcome: many deaths, and folders that are numbered anew
	if form == "long" {
		seed = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("CRASH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range []setting{{replicas: 1, builtIn: true}, {replicas: 1}} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			s.boxes, s.more = many, ", idle_refresh: 1s"
			r := &row{w: newWorld(t, s, death{}), rng: rand.New(rand.NewPCG(seed, uint64(i))), deaths: map[string]int{}}
			t.Logf("seed %d", seed)
			n := rounds(4, 20, 150)
			for range n {
				r.happen()
				r.die()
			}
			r.w.start()
			r.w.all()
			r.w.stop()
			v := r.w.judge()
			t.Logf("%d deaths at %d points and %d by chance, %d messages, %d moves, %d changes of UIDVALIDITY: %d events, %d lost, %d duplicate, %d out of order, %d wrong, %d positions back or ahead",
				r.at, len(r.deaths), r.chance, r.mails, r.moves, r.resets, v.Events, len(v.Lost), len(v.Duplicate), len(v.Disorder), len(v.Wrong), len(v.Position))
		})
	}
}

// row is a row of deaths.
type row struct {
	w                    *world
	rng                  *rand.Rand
	mails, moves, resets int
	at, chance           int // deaths at a point, and others
	deaths               map[string]int
}

// happen changes something in the mailboxes.
func (r *row) happen() {
	for range 1 + r.rng.IntN(3) {
		box := r.w.boxes[r.rng.IntN(len(r.w.boxes))]
		folder := box.folders[r.rng.IntN(len(box.folders))]
		switch what := r.rng.IntN(10); {
		case what == 0:
			r.w.renumber(box, folder)
			r.resets++
		case what < 4 && box.name == "folders":
			r.move(box)
		case what == 4:
			r.mails++
			r.w.noMails++
			r.w.deliver(box, box.folders[0], noMail(r.mails))
		case what == 5:
			r.mails++
			r.w.deliver(box, box.folders[0], large(r.mails))
		default:
			for range 1 + r.rng.IntN(4) {
				r.mails++
				r.w.deliver(box, box.folders[0], mail(r.mails))
			}
		}
	}
}

// move moves a message as its owner does, if there is one.
func (r *row) move(box *mailbox) {
	n := r.rng.IntN(len(box.folders))
	from, to := box.folders[n], box.folders[(n+1)%len(box.folders)]
	uids := box.UIDs(from)
	if len(uids) == 0 {
		return
	}
	box.Move(from, uids[r.rng.IntN(len(uids))], to)
	r.w.see(box)
	r.moves++
}

// elsewhere are the points that a program does not come by which only reads and publishes.
var elsewhere = []string{"key.file.written", "key.check.written", "oauth.callback", "grant.stored", "grant.revoked", "key.rotate.row", "drain.begin", "drain.end"}

// die starts the program and waits until it dies: at the n-th hit of a point, or when all is published.
func (r *row) die() {
	t := r.w.t
	t.Helper()
	points := slices.DeleteFunc(slices.Clone(crash.Points), func(p crash.Point) bool { return slices.Contains(elsewhere, p.Name) })
	point := points[r.rng.IntN(len(points))].Name
	n := 1 + r.rng.IntN(1<<r.rng.IntN(4))
	if strings.HasPrefix(point, "token.") {
		r.w.boxes[r.rng.IntN(len(r.w.boxes))].ExpireTokens()
		n = 1
	}
	p, err := process.Start(r.w.ctx, r.w.dir, []string{fmt.Sprintf("CRASH=%s:%d", point, n)}, binary(t), "run", "--config", r.w.config)
	r.w.must(err)
	defer p.Kill()
	for deadline := time.Now().Add(patience); p.Running() == nil; time.Sleep(5 * time.Millisecond) {
		if n, err := r.w.count(); err == nil && n >= len(r.w.served) {
			r.chance++
			return
		}
		if time.Now().After(deadline) {
			p.Kill()
			r.w.judge() // what is missing?
			t.Fatalf("neither dead at %s:%d nor done after %v\n%s", point, n, patience, p.Output())
		}
	}
	if _, killed := p.KilledBy(); !killed {
		t.Fatal(p.Running())
	}
	r.at++
	r.deaths[point]++
}
