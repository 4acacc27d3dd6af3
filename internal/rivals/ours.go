package rivals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/mailflume/mailflume/internal/chaos"
	"github.com/mailflume/mailflume/internal/process"
)

// ours is mailflume in the world of the chaos tests.
type ours struct {
	world *chaos.World
	mails map[string]mail // by sha256 of the whole
}

func newOurs(w *chaos.World, mails []mail) *ours {
	o := &ours{w, map[string]mail{}}
	for _, m := range mails {
		sum := sha256.Sum256(m.raw)
		o.mails[hex.EncodeToString(sum[:])] = m
	}
	return o
}

func (o *ours) start(ctx context.Context) (*process.Process, error) { return o.world.Start(ctx) }

func (o *ours) count(ctx context.Context) (int, error) { return o.world.Count(ctx) }

// delivered takes an event for one of the mails only if the raw bytes beside it are those of the mail, all of them.
func (o *ours) delivered(ctx context.Context) ([]delivery, error) {
	stored, err := o.world.Read(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]delivery, len(stored))
	for i, s := range stored {
		m := o.mails[s.SHA256] // of a damaged one: nothing
		all[i] = delivery{m.id, m.body, s.At}
	}
	return all, nil
}

// ends: it goes on until it is stopped.
func (o *ours) ends() bool { return false }
