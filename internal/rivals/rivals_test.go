package rivals

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/chaos"
	"github.com/mailflume/mailflume/internal/dovecot"
)

// The sizes of the fight.
const (
	mailboxes = 20
	portion   = 40 // messages
)

// TestHeadToHead kills each program as often as RIVALS says ("make rivals": 40 times). It prints a table, and fails if another
// program loses, doubles or damages less than mailflume, or has caught up sooner.
func TestHeadToHead(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("RIVALS"))
	if err != nil {
		t.Skip("make rivals runs it")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var users []string
	for i := range mailboxes {
		users = append(users, fmt.Sprintf("box-%d@example.org", i))
	}
	mails := newMails((2*kills+1)*portion, rand.New(rand.NewPCG(seed, 1)))
	results := []Result{fightOurs(t, seed, users, mails, kills)}
	for _, f := range fetchers {
		results = append(results, fightTheirs(t, f, seed, users, mails, kills))
	}
	t.Logf("\n%s", table(results))
	mine := results[0]
	for _, r := range results {
		if mine.Lost > r.Lost || mine.Duplicate > r.Duplicate || mine.Broken > r.Broken {
			t.Errorf("%s keeps mail better", r.Name)
		}
		if median(mine.CaughtUp) > median(r.CaughtUp) {
			t.Errorf("%s has caught up sooner: %v, mailflume %v", r.Name, median(r.CaughtUp), median(mine.CaughtUp))
		}
		if r.Kills < kills*9/10 {
			t.Errorf("%s was killed %d times only", r.Name, r.Kills)
		}
	}
}

func fightOurs(t *testing.T, seed uint64, users []string, mails []mail, kills int) Result {
	t.Helper()
	w, err := chaos.New(t.Context(), chaos.Options{
		Binary:    build(t, "mailflume", "github.com/mailflume/mailflume/cmd/mailflume"),
		NATS:      build(t, "nats-server", "github.com/nats-io/nats-server/v2"),
		Mailboxes: mailboxes, Seed: seed,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	a := &arena{server: w.Dovecot, users: users, rng: rand.New(rand.NewPCG(seed, 2))}
	r, err := a.fight(t.Context(), "mailflume", newOurs(w, mails), mails, kills)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fightTheirs(t *testing.T, f fetcher, seed uint64, users []string, mails []mail, kills int) Result {
	t.Helper()
	if _, err := exec.LookPath(f.program); err != nil {
		t.Fatalf("%s is not installed: make rivals installs it on Debian", f.program)
	}
	server, err := dovecot.Run(t.Context(), dovecot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dir, err := os.MkdirTemp("", "mf-rivals-") // that of the test is in one that only we may enter
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	run, err := f.prepare(dir, server, users)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	a := &arena{server: server, users: users, rng: rand.New(rand.NewPCG(seed, 2))}
	r, err := a.fight(ctx, f.name, run, mails, kills)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return r
}

// table is a table in Markdown.
func table(results []Result) string {
	var b strings.Builder
	b.WriteString("| | messages | kills | lost | duplicate | damaged | caught up after (median) | (worst) | first message after (median) |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %v | %v | %v |\n", r.Name, r.Messages, r.Kills, r.Lost, r.Duplicate, r.Broken,
			median(r.CaughtUp).Round(time.Millisecond), r.CaughtUp[len(r.CaughtUp)-1].Round(time.Millisecond),
			median(r.First).Round(time.Millisecond))
	}
	return b.String()
}

func build(t *testing.T, name, pkg string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return binary
}
