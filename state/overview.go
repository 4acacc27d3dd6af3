package state

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/internal/natsconn"
)

// Overview is what the bucket says about who carries what. It is read without taking part: no session is begun for it.
type Overview struct {
	Replicas []Peer            // sorted by name; one that has died is among them until the others have noticed
	Owners   map[string]string // the id of the session that owns each mailbox; not those that nobody owns
	Health   map[string][]byte // by mailbox, what its owner last saved with SaveHealth
}

// Overview reads who carries what. Peer.Silent is by the clock of this machine and that of the server.
func (s *Store) Overview(ctx context.Context) (Overview, error) {
	sessions, err := s.list(ctx, tableSessions)
	if err != nil {
		return Overview{}, err
	}
	owners, err := s.list(ctx, tableOwners)
	if err != nil {
		return Overview{}, err
	}
	health, err := s.list(ctx, tableHealth)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{Owners: make(map[string]string), Health: make(map[string][]byte)}
	owned := make(map[string]int)
	for mailbox, r := range owners {
		var held owner
		if json.Unmarshal(r.value, &held) == nil && held.Session != "" {
			o.Owners[mailbox] = held.Session
			owned[held.Session]++
		}
	}
	for id, r := range sessions {
		var p session
		if json.Unmarshal(r.value, &p) != nil {
			continue
		}
		o.Replicas = append(o.Replicas, Peer{
			ID: id, Name: p.Name, Host: p.Process.Host, PID: p.Process.PID, Since: p.Since, Silent: max(0, time.Since(r.created)),
			Leaving: p.Leaving, Mailboxes: owned[id],
		})
	}
	slices.SortFunc(o.Replicas, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for mailbox, r := range health {
		o.Health[mailbox] = r.value
	}
	return o, nil
}

// SaveHealth saves what the owner of a mailbox has to say about it, for people. The last writer wins.
func (s *Store) SaveHealth(ctx context.Context, mailbox string, value []byte) error {
	ctx, end := s.call(ctx, s.writeLimit)
	defer end()
	k := key(tableHealth, mailbox)
	_, err := s.kv.Put(ctx, k, value)
	crash.At("record.put.acked")
	if err != nil {
		return fmt.Errorf("put %s: %w", k, natsconn.Cause(ctx, err))
	}
	return nil
}
