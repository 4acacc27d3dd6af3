// Package publish commits Events to the stream, exactly once, and stores large bytes beside it.
//
// # The chain
//
// All messages of one mailbox form one chain: each names the sequence of the one before it, and the server takes it only
// if that is still the last (see [Publisher.Commit]). This is the dedupe, the fence against a writer that was paused, and
// the recovery point in one. A writer therefore lives in two states. Its tail is unknown: it calls [Publisher.Recover].
// Its tail is known: it calls Commit, and only a clean acknowledgement leaves the tail known. After anything else it must
// recover and build the batch anew from the position it reads, never send the old one again.
//
// # What it does not do
//
// Nothing here waits between attempts or tries again; that is for the caller, who has the one backoff of the program. No
// mailbox id or folder name is encoded here either: every name is a token, made by event.Token.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/natsconn"
)

const (
	// maxInFlight bounds the commits under way: the server holds 50 open batches a stream.
	maxInFlight = 32
	// commitWait is longer than a failover usually takes (3.4 to 5.5 s), which saves many a recovery.
	commitWait = 5 * time.Second
	// readWait bounds one question to the server.
	readWait = 2 * time.Second
	// doubt is how long a stream that ends before what it acknowledged is taken for a leader that has been replaced and has
	// not noticed. After that it has lost something, or was restored from a backup.
	doubt = 30 * time.Second
)

// Publisher is the connection to NATS and what is needed to write to the stream. Its methods may be called by several
// goroutines; one mailbox's commits come from one goroutine at a time.
type Publisher struct {
	config Config
	nc     *nats.Conn
	calls  *natsconn.Calls // over nc
	js     jetstream.JetStream
	server *embedded // nil if the server is not ours

	slots   chan struct{} // one for each commit under way
	closing chan struct{}
	once    sync.Once
	denied  denials

	maxAge atomic.Int64 // of the stream, as Setup found it

	mu      sync.Mutex           // guards what follows, and is never held during I/O
	highest map[string]uint64    // mailbox -> highest sequence of its chain that we acked or read
	behind  map[string]time.Time // mailbox -> since when the stream ends before its highest
	born    time.Time            // when the stream was created, to know a new one from an old one
	back    chan struct{}        // closed when the connection comes back, and then replaced

	commitWait, readWait, doubt, skew time.Duration
}

// Open connects to NATS, or starts the built-in server. It changes nothing in an external server; see Setup. log gets
// what the server and the connection report between calls.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Publisher, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Publisher{
		config: c, slots: make(chan struct{}, maxInFlight), closing: make(chan struct{}), highest: map[string]uint64{}, behind: map[string]time.Time{},
		back:       make(chan struct{}),
		commitWait: commitWait, readWait: readWait, doubt: doubt, skew: clockSkew,
	}
	p.maxAge.Store(int64(c.Stream.maxAge()))
	if c.URL == "" {
		e, err := startEmbedded(ctx, c.Embedded, log)
		if err != nil {
			return nil, err
		}
		p.server = e
	}
	err := p.connect(ctx, log)
	if err != nil && p.server != nil {
		err = errors.Join(err, p.server.stop())
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Publisher) connect(ctx context.Context, log *slog.Logger) (err error) {
	if p.nc, err = connect(ctx, p.config, p.server, &p.denied, log, p.reconnected); err != nil {
		return err
	}
	p.js, err = jetstream.New(p.nc)
	if err != nil {
		p.nc.Close()
		return fmt.Errorf("use JetStream: %w", err)
	}
	p.calls = natsconn.Over(p.nc)
	return nil
}

// Close lets the commits under way end, as long as ctx allows, then closes the connection and stops the built-in server. Only
// the first call does something.
func (p *Publisher) Close(ctx context.Context) (err error) {
	p.once.Do(func() {
		close(p.closing)
		for range maxInFlight {
			select {
			case p.slots <- struct{}{}:
				continue
			case <-ctx.Done():
			}
			break
		}
		p.nc.Close()
		if p.server != nil {
			err = p.server.stop()
		}
	})
	return err
}

// Back returns a channel that is closed when the connection comes back the next time, so that whoever waits for that need
// not wait longer.
func (p *Publisher) Back() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.back
}

func (p *Publisher) reconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.back)
	p.back = make(chan struct{})
}

// JetStream returns the JetStream of the connection, for what package state keeps in the same server. It closes with the
// Publisher.
func (p *Publisher) JetStream() jetstream.JetStream { return p.js }

// MaxPayload returns how large a message the server takes at the moment, in bytes, headers included.
func (p *Publisher) MaxPayload() int64 { return p.nc.MaxPayload() }

// acquire takes one of the slots for commits.
func (p *Publisher) acquire(ctx context.Context) error {
	select {
	case <-p.closing:
		return fmt.Errorf("%w: it was closed", ErrUnavailable)
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closing:
		return fmt.Errorf("%w: it was closed", ErrUnavailable)
	}
}

func (p *Publisher) release() { <-p.slots }

// seen returns the highest sequence of the chain of mailbox that we acked or read.
func (p *Publisher) seen(mailbox string) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.highest[mailbox]
}

// saw records that the chain of mailbox reached seq.
func (p *Publisher) saw(mailbox string, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.highest[mailbox] = max(p.highest[mailbox], seq)
}
