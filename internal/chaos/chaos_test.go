package chaos

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/process"
)

// The forms of this family: plain as a part of all tests, MAILFLUME_CHAOS=short in CI, MAILFLUME_CHAOS=long by "make chaos".
var form = os.Getenv("MAILFLUME_CHAOS")

// slowest is how long a restarted process may take to its first new event.
const slowest = 3 * time.Second

// programs is a directory for compiled programs; building is held by who adds one.
var (
	programs string
	building sync.Mutex
)

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "mf-programs-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(programs)
	os.Exit(code)
}

// build compiles a program of this module or of one that it depends on, once.
func build(tb testing.TB, pkg string) string {
	tb.Helper()
	building.Lock()
	defer building.Unlock()
	binary := filepath.Join(programs, filepath.Base(strings.TrimSuffix(pkg, "/v2")))
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	if out, err := exec.CommandContext(tb.Context(), "go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return binary
}

func buildMailflume(tb testing.TB) string {
	return build(tb, "github.com/mailflume/mailflume/cmd/mailflume")
}

func buildNATS(tb testing.TB) string { return build(tb, "github.com/nats-io/nats-server/v2") }

func newWorld(t *testing.T, o Options) *World {
	t.Helper()
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", o.Seed)
	w, err := New(t.Context(), o)
	if errors.Is(err, dovecot.ErrNotInstalled) {
		if ci, _ := strconv.ParseBool(os.Getenv("CI")); !ci {
			t.Skip("dovecot is not installed; scripts/test-deps.sh installs it on Debian")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// mails reads from the corpus that MAILFLUME_CORPUS names, or that lies beside the project, or makes mails up.
func mails(t *testing.T, n int) [][]byte {
	t.Helper()
	corpus := os.Getenv("MAILFLUME_CORPUS")
	if beside := "../../../shared/corpus"; corpus == "" {
		if _, err := os.Stat(beside); err == nil {
			corpus = beside
		}
	}
	all, err := Mails(corpus, n, rand.New(rand.NewPCG(uint64(n), 3)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestKillLoop(t *testing.T) {
	total, kills, limit := 100, 2, time.Minute
	switch form {
	case "short":
		total, kills = 300, 5
	case "long":
		total, kills, limit = 1000, 20, 5*time.Minute
	}
	alongside(t)
	binary := buildMailflume(t)
	for _, broker := range []string{"embedded server", "external server"} {
		t.Run(broker, func(t *testing.T) {
			o := Options{Binary: binary}
			if broker == "external server" {
				o.NATS = buildNATS(t)
			}
			w := newWorld(t, o)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			f, err := w.KillLoop(ctx, mails(t, total), kills)
			t.Logf("%s: %v", broker, f)
			if err != nil {
				t.Fatal(err)
			}
			most := slowest
			if form == "short" {
				most *= 4 // beside others
			}
			for i, d := range f.Resumed {
				if d > most {
					t.Errorf("restart %d: first new event after %v, want at most %v", i+1, d, most)
				}
			}
			if len(f.Resumed) != kills {
				t.Errorf("%d restarts were measured, want %d", len(f.Resumed), kills)
			}
		})
	}
}

// Killed in the midst of a backlog, where batches are large and much is fetched ahead.
func TestKillStorm(t *testing.T) {
	total, kills := 500, 5
	switch form {
	case "":
		t.Skip("make chaos runs it")
	case "long":
		total, kills = 5000, 60
	}
	alongside(t)
	for _, broker := range []string{"embedded server", "external server"} {
		t.Run(broker, func(t *testing.T) {
			o := Options{Binary: buildMailflume(t)}
			if broker == "external server" {
				o.NATS = buildNATS(t)
			}
			w := newWorld(t, o)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			f, err := w.KillStorm(ctx, madeUp(total, w.rng), kills)
			t.Logf("%s: %v", broker, f)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A thousand messages in two mailboxes, those that are there at the start and those that arrive later: one event each.
func TestEveryMessageOnce(t *testing.T) {
	w := newWorld(t, Options{Binary: buildMailflume(t)})
	all := mails(t, 1000)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := w.Deliver(ctx, w.rng, all[:900]...); err != nil {
		t.Fatal(err)
	}
	p, err := w.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	if err := w.Await(ctx, p, 900); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first 900 events %v after the start", time.Since(p.Began).Round(time.Millisecond))
	for some := all[900:]; len(some) > 0; some = some[10:] {
		if err := w.Deliver(ctx, w.rng, some[:10]...); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Await(ctx, p, len(all)); err != nil {
		t.Fatal(err)
	}
	v, _, err := w.Judge(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("%d events, %d token exchanges, dead: %q", v.Events, w.Exchanges(), v.Dead)
	err = p.Terminate()
	if code, failed := p.Wait(ctx); err != nil || failed != nil || code != 0 {
		t.Errorf("SIGTERM: exit code %d, %v, %v\n%s", code, err, failed, p.Output())
	}
}

func TestSecondProcessWithTheEmbeddedServer(t *testing.T) {
	w := newWorld(t, Options{Binary: buildMailflume(t)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Deliver(ctx, w.rng, mails(t, 10)...); err != nil {
		t.Fatal(err)
	}
	first, err := w.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Kill()
	if err := w.Await(ctx, first, 10); err != nil {
		t.Fatal(err)
	}
	second, err := w.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	code, err := second.Wait(ctx)
	if err != nil {
		second.Kill()
		t.Fatal(err)
	}
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	t.Log(second.Output())
	for what, want := range map[string]string{
		"the holder": strconv.Itoa(first.Pid()), "the directory": "data", "the setting for sharing": "nats.url",
	} {
		if !strings.Contains(second.Output(), want) {
			t.Errorf("the second process does not name %s, %q:\n%s", what, want, second.Output())
		}
	}
	if err := first.Running(); err != nil {
		t.Error(err)
	}
}

// Two processes with one config and an external server split the mailboxes; when one is killed, the other takes over.
func TestTwoProcessesWithAnExternalServer(t *testing.T) {
	const boxes = 12
	w := newWorld(t, Options{Binary: buildMailflume(t), NATS: buildNATS(t), Mailboxes: boxes, Lease: 2 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := mails(t, 300)
	if err := w.Deliver(ctx, w.rng, all[:100]...); err != nil {
		t.Fatal(err)
	}
	var ps [2]*process.Process
	var pages [2]string
	for i := range ps {
		port, err := process.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		pages[i] = "127.0.0.1:" + port
		if ps[i], err = w.Start(ctx, "MAILFLUME_HTTP_LISTEN="+pages[i]); err != nil {
			t.Fatal(err)
		}
		defer ps[i].Kill()
	}
	// All the while, mail arrives.
	feed := w.feed(ctx, all[100:200], 1)
	defer feed.stop()
	feed.more()
	for {
		a, b := owned(ctx, pages[0]), owned(ctx, pages[1])
		if len(a) > 0 && len(b) > 0 && len(a)+len(b) == boxes {
			t.Logf("one reads %v\nthe other %v", a, b)
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("they did not split the mailboxes: one reads %v, the other %v\n%s\n%s", a, b, ps[0].Output(), ps[1].Output())
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := feed.wait(); err != nil {
		t.Fatal(err)
	}
	if err := w.Await(ctx, ps[0], 200); err != nil {
		t.Fatal(err)
	}
	ps[0].Kill()
	begin := time.Now()
	if err := w.Deliver(ctx, w.rng, all[200:]...); err != nil {
		t.Fatal(err)
	}
	if err := w.Await(ctx, ps[1], len(all)); err != nil {
		t.Fatal(err)
	}
	t.Logf("the other had everything %v after the death of the one", time.Since(begin).Round(time.Millisecond))
	v, _, err := w.Judge(ctx)
	if err := errors.Join(err, v.Err()); err != nil {
		t.Error(err)
	}
	t.Logf("%d events of %d messages", v.Events, len(all))
}

var notElsewhere = regexp.MustCompile(`mailflume_mailbox_state\{mailbox="([^"]*)",state="elsewhere"\} 0`)

// owned asks a process which mailboxes it owns.
func owned(ctx context.Context, page string) []string {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+page+"/metrics", nil)
	if err != nil {
		return nil
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil
	}
	var boxes []string
	for _, m := range notElsewhere.FindAllSubmatch(text, -1) {
		boxes = append(boxes, string(m[1]))
	}
	return boxes
}
