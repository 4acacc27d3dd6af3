package token

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
)

// Reseal seals the mailbox's grant with the keyring's first key, unless it is so already. Nothing else of it changes, and
// replicas go on meanwhile: whoever writes a record has read it before, and learns the new key by that. A renewal under
// way is waited for, since its result would be refused over a record that has changed.
func (m *Manager) Reseal(ctx context.Context, mailbox string) (changed bool, err error) {
	for {
		value, revision, over, err := m.get(ctx, mailbox)
		if err != nil {
			return false, storeError(mailbox, "read", err)
		}
		if value == nil || m.sealedFirst(value) {
			return false, nil
		}
		g, err := m.open(mailbox, value, revision, over)
		if err != nil {
			return false, err
		}
		if g.State == Refreshing && !m.orphaned(mailbox, g) {
			if err := pause(ctx, othersPoll); err != nil {
				return false, err
			}
			continue
		}
		err = m.put(ctx, mailbox, g.next(stamp(time.Now())))
		crash.At("key.rotate.row")
		if !errors.Is(err, errLost) {
			return err == nil, err
		}
	}
}

// sealedFirst reports whether all fields of a record are sealed with the first key.
func (m *Manager) sealedFirst(value []byte) bool {
	var r record
	if json.Unmarshal(value, &r) != nil {
		return false // read says what is wrong with it
	}
	prefix := sealVersion + "|" + (*m.keys.keys.Load())[0].id + "|"
	return strings.HasPrefix(r.Refresh, prefix) && strings.HasPrefix(r.Access, prefix) && strings.HasPrefix(r.Configured, prefix)
}
