package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

const storeTimeout = 5 * time.Second // of one Get or Set

// errLost says that the record is not what it was: somebody else has written it.
var errLost = errors.New("the record of the grant has changed")

// read gets the record and opens it. If there is none its state is Absent.
func (m *Manager) read(ctx context.Context, mailbox string) (*grant, error) {
	value, revision, over, err := m.get(ctx, mailbox)
	if err != nil {
		return nil, storeError(mailbox, "read", err)
	}
	return m.open(mailbox, value, revision, over)
}

// open opens what get has read.
func (m *Manager) open(mailbox string, value []byte, revision, over uint64) (*grant, error) {
	if value == nil {
		m.mu.Lock()
		delete(m.highest, mailbox)
		m.mu.Unlock()
		return &grant{State: Absent, stored: revision}, nil
	}
	g, err := decode(m.keys, mailbox, value)
	if err != nil {
		return nil, err
	}
	g.stored = revision
	if g.Over != over {
		return nil, rolledBack(mailbox, "it was written when another record was there than the one that it takes the place of")
	}
	return g, m.notRolledBack(mailbox, g)
}

// put writes g over the revision that it was read at. If the store gives an error the record tells whether g is there all
// the same. errLost if something else is.
func (m *Manager) put(ctx context.Context, mailbox string, g *grant) error {
	if g.value == nil { // each sealing differs, so that a second try writes what the first one did
		value, err := g.encode(m.keys, mailbox)
		if err != nil {
			return err
		}
		g.value = value
	}
	ctxSet, cancel := context.WithTimeout(ctx, storeTimeout)
	revision, err := m.store.Set(ctxSet, mailbox, g.value, g.stored)
	cancel()
	if err != nil {
		current, at, _, errGet := m.get(ctx, mailbox) // whatever err is: it may be that of a second try
		switch {
		case errGet != nil:
			return storeError(mailbox, "write", errors.Join(err, errGet))
		case current != nil && bytes.Equal(current, g.value):
			revision = at // the answer was lost, the write was not
		case at != g.stored, errors.Is(err, fs.ErrExist):
			return errLost
		default:
			return storeError(mailbox, "write", err)
		}
	}
	g.stored = revision
	return m.notRolledBack(mailbox, g)
}

// get asks the store; value is nil if it has none.
func (m *Manager) get(ctx context.Context, mailbox string) (value []byte, revision, over uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	value, revision, over, err = m.store.Get(ctx, mailbox)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, revision, 0, nil
	}
	if err == nil && value == nil {
		value = []byte{} // there is a record, and it is no good
	}
	return value, revision, over, err
}

func storeError(mailbox, verb string, err error) error {
	return &UnavailableError{Wait: time.Second, Err: err, Problem: Problem{
		Code: "store_unavailable", At: time.Now(), Sentence: fmt.Sprintf("Cannot %s the grant of mailbox %s in the store.", verb, mailbox),
		Hint: "Nothing to do if it passes; else check NATS.",
	}}
}

// mark is the newest record of a mailbox that this process has seen.
type mark struct{ stored, revision uint64 }

// notRolledBack refuses a record that was written after the newest that we know and is yet older inside. A record that was
// written before it is but a stale read.
func (m *Manager) notRolledBack(mailbox string, g *grant) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.highest[mailbox]
	if g.stored > known.stored && g.Revision < known.revision {
		return rolledBack(mailbox, fmt.Sprintf("revision %d was stored before, and now it is %d", known.revision, g.Revision))
	}
	if g.stored > known.stored {
		m.highest[mailbox] = mark{stored: g.stored, revision: g.Revision}
	}
	return nil
}

func rolledBack(mailbox, why string) error {
	return &SealError{
		Mailbox: mailbox,
		Reason:  "it was rolled back: " + why,
		Hint:    "Somebody wrote an older record over the newer one. If a backup of all of NATS was restored on purpose, restart the program; else " + forget,
	}
}
