package crashtest

import (
	"bytes"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
)

// killer makes a message that kills whoever parses it.
func killer(n int) []byte {
	return append([]byte(crash.Poison+"\r\n"), mail(n)...)
}

// TestKillers puts messages into the mailboxes that end the process which parses them. Each is published as dead, with the
// server's own bytes, and what lies before and behind it as it is; nobody goes on dying.
func TestKillers(t *testing.T) {
	for _, s := range settings {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, death{})
			w.connect()
			n := 0
			add := func(box *mailbox, makes ...func(int) []byte) {
				for _, m := range makes {
					n++
					raw := m(n)
					if bytes.Contains(raw, []byte(crash.Poison)) {
						w.noMails++
					}
					w.deliver(box, "INBOX", raw)
				}
			}
			add(w.boxes[0], mail, mail, killer, mail, killer, killer, mail)
			add(w.boxes[1], killer)
			add(w.boxes[2], mail, mail)
			deaths := w.survive()
			for _, box := range w.boxes { // and later, in a mailbox that was read to its end
				add(box, mail, killer, mail)
			}
			later := w.survive()
			w.stop()
			v := w.judge()
			// Two mailboxes have killers at first, all three later: each may cost each replica its life once.
			if deaths > 2*s.replicas || later > 3*s.replicas || deaths == 0 || later == 0 {
				t.Errorf("%d and %d deaths of %d killers", deaths, later, w.noMails)
			}
			t.Logf("%d messages that kill: %d deaths, then %d more; %d events, %d of them dead, %d lost, %d duplicate, %d wrong",
				w.noMails, deaths, later, v.Events, len(v.Dead), len(v.Lost), len(v.Duplicate), len(v.Wrong))
		})
	}
}

// survive runs the program, and starts it again whenever it dies, until all is published.
func (w *world) survive() (deaths int) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		n, err := w.count()
		for i, p := range w.replicas {
			if p == nil || p.Running() == nil {
				continue
			}
			if _, killed := p.KilledBy(); !killed {
				w.t.Fatal(p.Running())
			}
			w.replicas[i] = nil
			deaths++
		}
		w.start()
		if err == nil && n >= len(w.served) {
			return deaths
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d deaths, %d of %d events, %v\n%s", deaths, n, len(w.served), err, w.replicas[0].Output())
		}
	}
}
