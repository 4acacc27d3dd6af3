package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// Every grant is sealed with the new key while others read and renew grants with a keyring that was read before; then the
// old key is not needed any more. 500 grants, and 10,000 in make storm.
func TestKeysRotate(t *testing.T) {
	grants := 500
	if os.Getenv("STORM") != "" {
		grants = 10_000
	}
	r := newRig(t)
	r.unconnected(sim.Gmail, "box", "127.0.0.1:1", "google", "")
	r.more += "sealing_key: file:key\n"
	old := token.NewKey()
	r.file("key", old)
	config, err := configs.Load(r.write())
	r.must(err)
	d, err := openDesk(t.Context(), config)
	r.must(err)
	defer func() { r.must(d.close(t.Context())) }()
	_, account, err := d.account("box")
	r.must(err)
	user := r.world.Account("box@mail.test")
	granted, err := d.tokens.Redeem(t.Context(), account, user.RefreshToken("the-client"), "")
	r.must(err)
	each := func(do func(account token.Account)) {
		var wg sync.WaitGroup
		slots := make(chan struct{}, 64)
		for i := range grants {
			a := account
			a.Mailbox = fmt.Sprintf("box-%d", i)
			slots <- struct{}{}
			wg.Go(func() { do(a); <-slots })
		}
		wg.Wait()
	}
	each(func(a token.Account) {
		if err := d.tokens.Save(t.Context(), a, granted); err != nil {
			t.Error(err)
		}
	})
	fresh := token.NewKey()
	r.file("key", fresh+"\n"+old)
	newer, err := config.Keyring()
	r.must(err)
	rotator := *d
	rotator.tokens, err = newTokens(newer, d.store, loneSession{}, slog.New(slog.DiscardHandler))
	r.must(err)
	var load sync.WaitGroup
	load.Go(func() {
		each(func(a token.Account) {
			if _, err := d.tokens.Token(t.Context(), a, ""); err != nil {
				t.Error(err)
			}
		})
	})
	start, before := time.Now(), processorTime()
	changed, all, err := rotator.rotate(t.Context())
	took := time.Since(start)
	load.Wait()
	t.Logf("%d of %d grants in %v, %v of processor time with the load beside it", changed, all, took, processorTime()-before)
	if err != nil || all != grants || changed != grants || took > within {
		t.Errorf("%d of %d in %v: %v", changed, all, took, err)
	}
	r.file("key", fresh)
	only, err := config.Keyring()
	r.must(err)
	tokens, err := newTokens(only, d.store, loneSession{}, slog.New(slog.DiscardHandler))
	r.must(err)
	for i := range grants {
		if s, err := tokens.Status(t.Context(), fmt.Sprintf("box-%d", i)); err != nil || s.State != token.Idle {
			t.Fatalf("%+v, %v", s, err)
		}
	}
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestKeysCommands(t *testing.T) {
	code, line, _ := command(t.Context(), "keys", "new")
	if _, err := token.NewKeyring(func() (string, error) { return line, nil }); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	r := newRig(t)
	r.box(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	path := r.write()
	if code, out, errs := command(t.Context(), "check", "-c", path); code != 0 {
		t.Fatalf("%s %s", out, errs)
	}
	key, err := os.ReadFile(r.dir + "/data/sealing-key")
	r.must(err)
	r.file("data/sealing-key", line+string(key))
	if code, out, errs := command(t.Context(), "keys", "rotate", "-c", path); code != 0 || !strings.HasPrefix(out, "1 of 1 grants") {
		t.Errorf("exit code %d, %s, %s", code, out, errs)
	}
	r.file("data/sealing-key", line)
	if code, out, errs := command(t.Context(), "check", "-c", path); code != 0 {
		t.Errorf("%s %s", out, errs)
	}
	r.file("data/sealing-key", token.NewKey())
	if code, out, _ := command(t.Context(), "check", "-c", path); code != exitFailed || !strings.Contains(out, "Put the line of the key") {
		t.Errorf("with another key: exit code %d, %s", code, out)
	}
	if code, _, errs := command(t.Context(), "run", "-c", path); code != exitUsage || !strings.Contains(errs, "sealing_key") || !strings.Contains(errs, "Put the line of the key") {
		t.Errorf("run with another key: exit code %d, %s", code, errs)
	}
}

// loneSession is that of a process that has the store for itself.
type loneSession struct{}

func (loneSession) ID() string               { return "alone" }
func (loneSession) Remaining() time.Duration { return time.Minute }
func (loneSession) Alive(string) bool        { return true }
