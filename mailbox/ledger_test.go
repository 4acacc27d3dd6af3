package mailbox

import (
	"encoding/binary"
	"encoding/hex"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// held returns how many bytes are in use.
func held() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold is freed by the second only
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// sums are of events, in no order.
func sums(n int) []string {
	all := make([]string, n)
	for i := range all {
		var sum [32]byte
		binary.BigEndian.PutUint64(sum[:], uint64(i)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(sum[24:], uint64(i))
		all[i] = hex.EncodeToString(sum[:])
	}
	return all
}

// Of an event we hold four bytes, or sixteen where they decide alone, for as long as the stream does, however they came.
func TestLedgerIsSmall(t *testing.T) {
	all := sums(20_000) // to add one costs as much as there are
	var l ledger
	for range 2 { // what is added again is there already
		for _, sum := range all {
			l.ids.add(markOf(sum))
			l.hints.add(hintOf(sum))
		}
	}
	if ids, hints := cap(l.ids)*len(mark{}), cap(l.hints)*4; ids > 20*len(all) || hints > 5*len(all) {
		t.Errorf("%d events take %d bytes by their ids, and %d by hints", len(all), ids, hints)
	}
	for _, sum := range all {
		if !l.ids.has(markOf(sum)) || !l.hints.has(hintOf(sum)) {
			t.Fatalf("%s is not known", sum)
		}
	}
	strange := 0
	for _, sum := range sums(40_000)[20_000:] {
		if l.ids.has(markOf(sum)) {
			t.Errorf("%s is known", sum)
		}
		if l.hints.has(hintOf(sum)) {
			strange++
		}
	}
	if strange > 4 {
		t.Errorf("hints at %d of 20,000 that are not there", strange)
	}
}

// Traces stay few however long the chain is: beyond maxTraces the oldest are forgotten, and never the newest.
func TestTracesAreBounded(t *testing.T) {
	const all = 3*maxTraces + 2 // it forgets twice
	sum := sums(all)
	s := &traces{newest: make(map[mark]int32)}
	before := held()
	for i := range maxTraces {
		s.add(markOf(sum[i]), trace{spot: spot{uid: uint32(i + 1)}})
	}
	each := float64(held()-before) / maxTraces
	t.Logf("%.0f bytes an event", each)
	if each > 100 {
		t.Errorf("%.0f bytes an event", each)
	}
	for i := maxTraces; i < all; i++ {
		s.add(markOf(sum[i/2*2]), trace{spot: spot{uid: uint32(i + 1)}}) // each twice
	}
	if n := len(s.all); n > 2*maxTraces || n < maxTraces || len(s.newest) > n {
		t.Errorf("%d traces, %d fingerprints", n, len(s.newest))
	}
	for range s.of(markOf(sum[1])) {
		t.Error("the oldest is known")
	}
	var uids []uint32
	for t := range s.of(markOf(sum[all-2])) {
		uids = append(uids, t.uid)
	}
	if len(uids) != 2 || uids[0] != all || uids[1] != all-1 {
		t.Errorf("the newest fingerprint is of %v", uids)
	}
}

// Where messages lie is held while somebody asks, and all of it no longer than the stream may have changed.
func TestWhatALedgerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Worker{ledger: &ledger{read: time.Now(), traces: &traces{asked: time.Now()}}}
		for range 3 {
			time.Sleep(tracesHeld)
			w.forget()
			if w.ledger.traces == nil {
				t.Fatal("the traces were dropped although somebody had just asked")
			}
			w.ledger.traces.asked = time.Now()
		}
		time.Sleep(tracesHeld + time.Second)
		if w.forget(); w.ledger.traces != nil {
			t.Error("nobody asks for the traces, and they are held")
		}
		time.Sleep(ledgerAge)
		if w.forget(); w.ledger != nil {
			t.Error("the ledger is held although the stream may have dropped half of it")
		}
	})
}
