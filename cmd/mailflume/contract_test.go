package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/contract"
	"github.com/mailflume/mailflume/internal/samples"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// Whatever a running mailflume puts on the stream, in either mode, is what the AsyncAPI document and the JSON Schema say: its
// subject, its headers and its payload.
func TestStreamIsAsDocumented(t *testing.T) {
	for _, mode := range []string{"structured", "binary"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			url := broker(t)
			r := newRig(t)
			r.more = fmt.Sprintf("nats: {url: %q}\nsealing_key: file:key\nevents: {mode: %s}\nlimits: {message_size: 64KiB}\n", url, mode)
			r.file("key", token.NewKey())
			boxes := []*sim.Account{
				r.box(sim.Gmail, "sales", r.listen(sim.Gmail), "google", ""),
				r.box(sim.Exchange, "support.team", r.listen(sim.Exchange), "microsoft", ", folders: [INBOX, Missing]"),
			}
			n := 0
			for i, m := range samples.All() {
				boxes[i%2].Deliver("INBOX", m.Raw, time.Now())
				n++
			}
			boxes[0].Deliver("INBOX", []byte("Subject: too large\r\n\r\n"+strings.Repeat("x", 100<<10)), time.Now())
			boxes[1].DeliverMessage("INBOX", sim.Message{Raw: []byte("Subject: no date\r\n\r\nx"), NoDate: true})
			n += 2
			background(t, "run", "-c", r.write())
			nc, err := nats.Connect(url)
			r.must(err)
			t.Cleanup(nc.Close)
			js, err := jetstream.New(nc)
			r.must(err)
			var consumer jetstream.Consumer
			eventually(t, "there is a stream", func() bool {
				consumer, err = js.OrderedConsumer(t.Context(), "MAIL", jetstream.OrderedConsumerConfig{})
				return err == nil
			})
			messages, err := consumer.Messages()
			r.must(err)
			t.Cleanup(messages.Stop)
			routes := make(map[string]int)
			for routes["mail received"]+routes["mail dead"] < n || routes["mailbox connected"] < 1 || routes["mailbox folder_missing"] < 1 {
				m, err := messages.Next(jetstream.NextMaxWait(within))
				if err != nil {
					t.Fatalf("%v, after %v", err, routes)
				}
				if err := contract.Message(m.Subject(), m.Headers(), m.Data()); err != nil {
					t.Errorf("%v\nheaders %v\n%.1000s", err, m.Headers(), m.Data())
				}
				tokens := strings.Split(m.Subject(), ".")
				routes[tokens[0]+" "+tokens[len(tokens)-1]]++
			}
			if routes["mail dead"] < 1 {
				t.Errorf("nothing is dead: %v", routes)
			}
		})
	}
}

// README names every subcommand, and no other.
func TestReadmeNamesEveryCommand(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `mailflume ") {
			listed++
		}
	}
	commands := 0
	for _, c := range newRoot().Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		commands++
		if !strings.Contains(string(page), "\n| `mailflume "+c.Name()) {
			t.Errorf("README.md does not list mailflume %s", c.Name())
		}
	}
	if listed != commands {
		t.Errorf("README.md lists %d commands, there are %d", listed, commands)
	}
}
