package chaos

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// observer writes down every change of the records that replicas keep: positions, owners, sessions. It sees them as they
// are written; while the broker is away it may miss what was overwritten meanwhile.
type observer struct {
	end  context.CancelFunc
	gone chan struct{}

	mu       sync.Mutex
	saved    []Saved
	owned    []Owned
	sessions map[string]int // the process of each session
}

// Saved is a revision of the record that keeps the positions of a mailbox.
type Saved struct {
	Mailbox   string
	Revision  uint64
	At        time.Time
	Positions map[string]string // by folder
}

// Owned is a revision of the record that names the owner of a mailbox.
type Owned struct {
	Mailbox string
	At      time.Time
	Process int // 0: nobody
}

func observe(ctx context.Context, js jetstream.JetStream) *observer {
	ctx, cancel := context.WithCancel(ctx)
	o := &observer{end: cancel, gone: make(chan struct{}), sessions: map[string]int{}}
	go func() {
		defer close(o.gone)
		for next := uint64(1); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			o.follow(ctx, js, &next)
		}
	}()
	return o
}

func (o *observer) stop() {
	o.end()
	<-o.gone
}

const records = "$KV.mailflume."

// follow reads the records from a sequence on until something fails.
func (o *observer) follow(ctx context.Context, js jetstream.JetStream, next *uint64) {
	opening, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := js.OrderedConsumer(opening, "KV_mailflume", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{records + "p.*", records + "o.*", records + "s.*"},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next,
	})
	if err != nil {
		return // there is none yet, or no broker
	}
	all, err := c.Messages(jetstream.PullHeartbeat(500 * time.Millisecond))
	if err != nil {
		return
	}
	defer all.Stop()
	defer context.AfterFunc(ctx, all.Stop)()
	for {
		m, err := all.Next()
		if err != nil {
			return
		}
		if meta, err := m.Metadata(); err == nil && len(m.Data()) > 0 {
			o.note(strings.TrimPrefix(m.Subject(), records), m.Data(), meta.Sequence.Stream, meta.Timestamp)
			*next = meta.Sequence.Stream + 1
		}
	}
}

func (o *observer) note(key string, data []byte, revision uint64, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var record struct {
		Positions map[string]string
		Session   string
		Process   struct{ PID int }
	}
	table, id, ok := strings.Cut(key, ".")
	if !ok || json.Unmarshal(data, &record) != nil {
		return
	}
	switch id = decode(id); table {
	case "p":
		o.saved = append(o.saved, Saved{id, revision, at, record.Positions})
	case "o":
		o.owned = append(o.owned, Owned{id, at, o.sessions[record.Session]})
	case "s":
		o.sessions[id] = record.Process.PID
	}
}

var escaped = regexp.MustCompile(`_[0-9a-f]{2}`)

// decode undoes how ids are written in keys.
func decode(id string) string {
	return escaped.ReplaceAllStringFunc(id, func(s string) string {
		c, _ := hex.DecodeString(s[1:])
		return string(c)
	})
}

// records returns what was seen so far.
func (o *observer) records() ([]Saved, []Owned) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Saved(nil), o.saved...), append([]Owned(nil), o.owned...)
}

// owners returns the process of each mailbox's owner.
func (o *observer) owners() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	owners := map[string]int{}
	for _, one := range o.owned {
		owners[one.Mailbox] = one.Process
	}
	return owners
}
