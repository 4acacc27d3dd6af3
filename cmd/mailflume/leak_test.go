package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/sim"
)

// A service that is asked to stop, whenever that is, leaves no goroutine behind.
func TestNothingIsLeftRunning(t *testing.T) {
	world := sim.New(sim.Options{})
	defer world.Close()
	imap, err := world.IMAP(sim.Exchange).Listen()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := "data: data\nhttp: {listen: \"127.0.0.1:0\"}\nnats: {embedded: {listen: none}}\nmailboxes:\n"
	for i := range 8 {
		a := world.AddAccount(sim.Exchange, fmt.Sprintf("box-%d@example.test", i))
		for n := range 20 {
			a.Deliver("INBOX", fmt.Appendf(nil, "From: a@example.test\r\nSubject: %d\r\n\r\nHello.\r\n", n), time.Now())
		}
		file := filepath.Join(dir, fmt.Sprint("token-", i))
		if err := os.WriteFile(file, []byte(a.AccessToken(time.Hour)), 0o600); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("  - {name: box-%d, address: %s, provider: imap, host: 127.0.0.1, port: %s, security: plain, start: all, login: {token_file: %s}}\n",
			i, a.Address(), imap[len("127.0.0.1:"):], file)
	}
	file := filepath.Join(dir, "mailflume.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := configs.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	config.Data = filepath.Join(dir, "data")
	others := []goleak.Option{
		// The server's ends of the connections see that ours are closed.
		goleak.IgnoreAnyFunction("github.com/mailflume/mailflume/internal/sim.(*session).run"),
		// A nats-server 2.15.2 that is stopped while it makes a stream leaves the store of it behind.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	}
	began := 0
	before := goleak.IgnoreCurrent()
	for round := range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, config, slog.New(slog.DiscardHandler), func(*service) { began++ }) }()
		time.Sleep(time.Duration(round)*50*time.Millisecond + rand.N(50*time.Millisecond))
		cancel()
		if err := <-ended; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := goleak.Find(append(others, before)...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if began == 0 {
		t.Error("it never came as far as reading")
	}
}
