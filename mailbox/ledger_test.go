package mailbox

import (
	"fmt"
	"runtime"
	"testing"
)

// held returns how many bytes are in use.
func held() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A ledger stays small however long the chain is: beyond maxTraces it forgets the oldest, and never the newest.
func TestLedgerIsBounded(t *testing.T) {
	sum := func(i int) string { return fmt.Sprintf("%032x%032x", i, 0) }
	before := held()
	l := &ledger{newest: make(map[mark]int32)}
	for i := range maxTraces {
		l.add(sum(i), "INBOX", trace{uid: uint32(i + 1)})
	}
	each := float64(held()-before) / maxTraces
	t.Logf("%.0f bytes an event", each)
	if each > 100 {
		t.Errorf("%.0f bytes an event", each)
	}
	const all = 3*maxTraces + 2 // it forgets twice
	for i := maxTraces; i < all; i++ {
		l.add(sum(i/2*2), "Archive", trace{uid: uint32(i + 1)}) // each twice
	}
	if n := len(l.traces); n > 2*maxTraces || n < maxTraces || len(l.newest) > n {
		t.Errorf("%d traces, %d fingerprints", n, len(l.newest))
	}
	if l.last(sum(1)) >= 0 {
		t.Error("the oldest is known")
	}
	var uids []uint32
	for i := l.last(sum(all - 2)); i >= 0 && len(uids) < 5; i = l.traces[i].before {
		uids = append(uids, l.traces[i].uid)
	}
	if len(uids) != 2 || uids[0] != all || uids[1] != all-1 {
		t.Errorf("the newest fingerprint is of %v", uids)
	}
}
