package token

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// reKey puts a new key above the present ones.
func (h *house) reKey() { h.keys = NewKey() + "\n" + h.keys }

// Sealing anew changes nothing but the key; replicas that do not know the new key yet learn it from the record.
func TestReseal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		a := account("alice", "rt-canary-0")
		running := h.replica("s1")
		first := h.must(running, a, "")
		before := h.stored("alice")
		old := running.keys.IDs()[0]
		h.reKey()
		rotator := h.replica("rotator")
		for i, want := range []bool{true, false} {
			if did, err := rotator.Reseal(t.Context(), "alice"); err != nil || did != want {
				t.Fatalf("%d: %v, %v", i, did, err)
			}
		}
		after := h.stored("alice")
		if after.refresh.Reveal() != before.refresh.Reveal() || after.access.Reveal() != first || after.State != Idle || after.Attempt != before.Attempt {
			t.Errorf("%+v, was %+v", after, before)
		}
		if strings.Contains(string(h.store.entries["alice"].value), old+"|") {
			t.Error("a field is sealed with the old key")
		}
		if second := h.must(running, a, first); second == first {
			t.Error("no second token")
		}
		if strings.Contains(string(h.store.entries["alice"].value), old+"|") {
			t.Error("the replica went on with the old key")
		}
		if did, err := rotator.Reseal(t.Context(), "nobody"); did || err != nil {
			t.Errorf("%v, %v", did, err)
		}
	})
}

// A renewal under way is waited for: what it brings would be refused over a record that has changed.
func TestResealDuringRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		h.provider.latency = 5 * time.Second
		a := account("alice", "rt-canary-0")
		running := h.replica("s1")
		h.reKey()
		go func() {
			if _, err := running.Token(t.Context(), a, ""); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Second)
		if did, err := h.replica("rotator").Reseal(t.Context(), "alice"); !did || err != nil {
			t.Errorf("%v, %v", did, err)
		}
		if g := h.stored("alice"); g.State != Idle || g.refresh.Reveal() != "rt-canary-1" {
			t.Errorf("%+v", g)
		}
		if h.provider.count() != 1 || h.provider.reuses != 0 {
			t.Errorf("%d exchanges", h.provider.count())
		}
	})
}

// What cannot be opened is not overwritten.
func TestResealWithoutTheOldKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lenient)
		h.must(h.replica("s1"), account("alice", "rt-canary-0"), "")
		value := string(h.store.entries["alice"].value)
		h.keys = NewKey()
		_, err := h.replica("rotator").Reseal(t.Context(), "alice")
		if e := wantError[*SealError](t, err); !strings.Contains(e.Hint, "Put the line of the key") {
			t.Errorf("%+v", e)
		}
		if string(h.store.entries["alice"].value) != value {
			t.Error("the record was changed")
		}
	})
}
