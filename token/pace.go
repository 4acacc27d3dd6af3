package token

import (
	"context"
	"time"
)

// exchangesPerSecond is how many grants this process renews at one provider in a second, at most: a thousand tokens that
// expire together must not look like an attack. Three replicas stay below 50.
const exchangesPerSecond = 16

// pace spaces out the exchanges with one provider.
type pace struct {
	slot chan struct{} // one: whoever has it is next
	next time.Time     // when the next exchange may be; only for who has the slot
}

// turn is a flight's place in the queue of its provider.
type turn struct {
	pace *pace
	held bool
}

// turn returns a place in the queue of the client's provider. It is not in the queue before take.
func (m *Manager) turn(c Client) *turn {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.paces[c.host()]
	if p == nil {
		p = &pace{slot: make(chan struct{}, 1)}
		m.paces[c.host()] = p
	}
	return &turn{pace: p}
}

// free takes the turn if nobody is before it.
func (t *turn) free() bool {
	if t.held {
		return true
	}
	select {
	case t.pace.slot <- struct{}{}:
		t.held = true
	default:
		return false
	}
	if time.Now().Before(t.pace.next) {
		t.giveBack()
		return false
	}
	return true
}

// take waits for the turn.
func (t *turn) take(ctx context.Context) error {
	select {
	case t.pace.slot <- struct{}{}:
		t.held = true
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return pause(ctx, time.Until(t.pace.next))
}

// use says that the exchange begins now.
func (t *turn) use() {
	t.pace.next = time.Now().Add(time.Second / exchangesPerSecond)
	t.giveBack()
}

// giveBack leaves the turn to the next one, unless it was not taken.
func (t *turn) giveBack() {
	if t.held {
		t.held = false
		<-t.pace.slot
	}
}

// crowded is said when the turn does not come in time.
func crowded(a Account, err error) error {
	return &UnavailableError{Wait: 5 * time.Second, Err: err, Problem: Problem{
		Code: "many_renewals", At: time.Now(), Sentence: "So many grants are renewed at once that that of mailbox " + a.Mailbox + " has to wait.",
		Hint: "Nothing to do; its turn comes.",
	}}
}
