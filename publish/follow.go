package publish

import (
	"context"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
)

// Delivery is one event as a subscriber gets it.
type Delivery struct {
	Seq         uint64 // in the stream; 0 if NATS does not tell
	Subject     string
	ContentType string
	ID          string // of the event, see Event
	Data        []byte
}

// Follow yields what is stored under filter, such as "mail.>", from the first event on and then what comes, in order and
// each once. It ends when ctx does, or with an error.
func (p *Publisher) Follow(ctx context.Context, filter string) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		cons, err := p.js.OrderedConsumer(ctx, p.config.Stream.Name, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverAllPolicy,
		})
		if err != nil {
			yield(Delivery{}, p.apiError("follow the stream "+p.config.Stream.Name, "", err))
			return
		}
		messages, err := cons.Messages()
		if err != nil {
			yield(Delivery{}, fmt.Errorf("follow the stream %s: %w", p.config.Stream.Name, err))
			return
		}
		defer messages.Stop()
		for {
			m, err := messages.Next(jetstream.NextContext(ctx))
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Delivery{}, fmt.Errorf("follow the stream %s: %w", p.config.Stream.Name, err))
				return
			}
			if !yield(delivery(m), nil) {
				return
			}
		}
	}
}

func delivery(m jetstream.Msg) Delivery {
	d := Delivery{
		Subject: m.Subject(), ContentType: m.Headers().Get(headerContentType), ID: m.Headers().Get(headerID), Data: m.Data(),
	}
	if meta, err := m.Metadata(); err == nil {
		d.Seq = meta.Sequence.Stream
	}
	return d
}
