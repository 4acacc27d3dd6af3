package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/chaos"
	"github.com/mailflume/mailflume/internal/crash"
)

var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "mf-crashtest-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(programs)
	os.Exit(code)
}

var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "mailflume")
	out, err := exec.Command("go", "build", "-tags", "crashpoints", "-o", path, "github.com/mailflume/mailflume/cmd/mailflume").CombinedOutput()
	return path + string(out), err
})

// binary returns the path of mailflume with crash points in it.
func binary(tb testing.TB) string {
	tb.Helper()
	path, err := built()
	if err != nil {
		tb.Fatalf("build mailflume: %v\n%s", err, path)
	}
	return path
}

// form is that of the whole family: plain as a part of all tests, "short" in CI, "long" by make chaos.
var form = os.Getenv("MAILFLUME_CHAOS")

// settings are the two ways in which mailflume is run: alone with its own server, which dies with it, and as two replicas.
var settings = []setting{{replicas: 1, builtIn: true}, {replicas: 2}}

// census tells the story without a death and counts how often it comes by each point.
func census(t *testing.T, s setting) map[string]int {
	t.Helper()
	w := newWorld(t, s, death{})
	w.tell()
	w.judge()
	w.tokens()
	counts := map[string]int{}
	for _, p := range crash.Points {
		if n := w.hitsOf(p.Name); n > 0 {
			counts[p.Name] = n
		}
	}
	return counts
}

// hitsOf returns the first, the middle and the last of n hits, as far as they differ.
func hitsOf(n int) []int {
	return slices.DeleteFunc(slices.Compact([]int{min(n, 1), (n + 1) / 2, n}), func(h int) bool { return h == 0 })
}

// tally is what all deaths came to.
type tally struct {
	mu     sync.Mutex
	deaths map[string]int
	events int
}

func (a *tally) add(d death, v chaos.Verdict) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deaths[d.point]++
	a.events += v.Events
}

// dieAt tells the story with a death. How often a point is passed differs a little from telling to telling: if this one
// does not come so far, its own last hit is taken for the next.
func dieAt(t *testing.T, s setting, d death, a *tally) {
	t.Helper()
	for range 5 {
		w := newWorld(t, s, d)
		w.tell()
		v := w.judge()
		w.tokens()
		if w.died {
			t.Logf("died at %v: %d events, %d lost, %d duplicate, %d wrong, %d positions back or ahead", d, v.Events, len(v.Lost), len(v.Duplicate), len(v.Wrong), len(v.Position))
			a.add(d, v)
			return
		}
		if d.n = w.hitsOf(d.point); d.n == 0 {
			break
		}
	}
	t.Errorf("nobody died at %v", d)
}

// TestEveryCrashPoint kills the program at every point, starts it again, and wants nothing lost, nothing twice, nothing
// damaged: at the first, the middle and the last hit, alone and with a second replica. The short form takes one of these
// for each point, by the seed of the day; the plain one a few points, always the same.
func TestEveryCrashPoint(t *testing.T) {
	seed := uint64(time.Now().Unix() / 86400)
	if form == "" {
		seed = 1
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	a := &tally{deaths: map[string]int{}}
	var want []string
	t.Run("deaths", func(t *testing.T) {
		counts := map[string]map[string]int{}
		for _, s := range settings {
			counts[s.String()] = census(t, s)
		}
		for _, p := range crash.Points {
			if form == "" && !slices.Contains(plain, p.Name) {
				continue
			}
			want = append(want, p.Name)
			type one struct {
				setting
				death
			}
			var all []one
			for _, s := range settings {
				for _, n := range hitsOf(counts[s.String()][p.Name]) {
					all = append(all, one{s, death{p.Name, n}})
				}
			}
			if form != "long" && len(all) > 0 {
				i := rng.IntN(len(all))
				all = all[i : i+1]
			}
			for _, o := range all {
				t.Run(fmt.Sprintf("%v/%v", o.death, o.setting), func(t *testing.T) {
					t.Parallel()
					dieAt(t, o.setting, o.death, a)
				})
			}
		}
	})
	deaths := 0
	for _, name := range want {
		deaths += a.deaths[name]
		if a.deaths[name] == 0 {
			t.Errorf("nobody died at %s", name)
		}
	}
	t.Logf("seed %d: %d deaths at %d of %d points, %d events; whatever was lost, twice or wrong is an error above", seed, deaths, len(a.deaths), len(crash.Points), a.events)
}

// plain are the points that the plain form tries.
var plain = []string{"token.response.read", "fetch.literal.partial", "puback.received"}
