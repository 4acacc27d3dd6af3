package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func TestKeysAreValidAndReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "id")
		k := key(tableOwners, id)
		for i := range len(k) {
			c := k[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' && i == 1) {
				t.Fatalf("key %q of %q", k, id)
			}
		}
		if table, back, ok := splitKey(k); !ok || table != tableOwners || back != id {
			t.Fatalf("%q -> %q -> %q, %q, %v", id, k, table, back, ok)
		}
	})
}

func TestRecordsAreComparedAndSet(t *testing.T) {
	b := newBroker(t)
	s, ctx := b.store(b.url()), t.Context()
	const id = "alice@example.com/refresh token"
	if _, _, _, err := s.Get(ctx, id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of nothing: %v", err)
	}
	if _, err := s.Set(ctx, id, []byte("x"), 7); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Set of nothing at 7: %v", err)
	}
	first, err := s.Set(ctx, id, []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(ctx, id, []byte("again"), 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Set at 0 of what exists: %v", err)
	}
	second, err := s.Set(ctx, id, []byte("two"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(ctx, id, []byte("late"), first); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Set at an old revision: %v", err)
	}
	if err := s.Delete(ctx, id, first); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Delete at an old revision: %v", err)
	}
	if value, revision, over, err := s.Get(ctx, id); string(value) != "two" || revision != second || over != first || err != nil {
		t.Errorf("Get: %q, %d over %d, %v", value, revision, over, err)
	}
	if err := s.Delete(ctx, id, second); err != nil {
		t.Fatal(err)
	}
	_, marker, _, err := s.Get(ctx, id)
	if !errors.Is(err, fs.ErrNotExist) || marker <= second {
		t.Errorf("Get of what was deleted: %d, %v", marker, err)
	}
	if _, err := s.Set(ctx, id, []byte("zombie"), second); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Set at the revision before the deletion: %v", err)
	}
	third, err := s.Set(ctx, id, []byte("three"), 0)
	if err != nil || third <= second {
		t.Errorf("Set after the deletion: %d, %v", third, err)
	}
	if value, _, over, err := s.Get(ctx, id); string(value) != "three" || over != marker || err != nil {
		t.Errorf("Get: %q over %d, %v", value, over, err)
	}
}

// Over which revision a record was written, only the server can say: what others write around the Store is not proven.
func TestOverIsProven(t *testing.T) {
	b := newBroker(t)
	s, ctx := b.store(b.url()), t.Context()
	first, err := s.Set(ctx, "k", []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, over, err := s.Get(ctx, "k"); over != 0 || err != nil {
		t.Errorf("the first is over %d, %v", over, err)
	}
	other, err := s.Set(ctx, "other", []byte("x"), 0)
	if err != nil {
		t.Fatal(err)
	}
	subject := "$KV." + s.kv.Bucket() + "." + key(tableGrants, "k")
	forge := func(headers ...string) error {
		m := &nats.Msg{Subject: subject, Data: []byte("forged"), Header: nats.Header{}}
		for i := 0; i < len(headers); i += 2 {
			m.Header.Set(headers[i], headers[i+1])
		}
		_, err := s.js.PublishMsg(ctx, m)
		return err
	}
	const seq, of = jetstream.ExpectedLastSubjSeqHeader, jetstream.ExpectedLastSubjSeqSubjHeader
	for _, tt := range []struct {
		name    string
		headers []string
		refused bool
	}{
		{name: "as nats kv put does"},
		{name: "over what is not there any more", headers: []string{seq, fmt.Sprint(first)}, refused: true},
		{name: "over nothing", headers: []string{seq, "0"}, refused: true},
		{name: "compared with another key", headers: []string{seq, fmt.Sprint(other), of, "$KV." + s.kv.Bucket() + "." + key(tableGrants, "other")}},
		{name: "compared with no key", headers: []string{seq, "0", of, "$KV." + s.kv.Bucket() + ".nothing"}},
	} {
		if err := forge(tt.headers...); (err != nil) != tt.refused {
			t.Errorf("%s: %v", tt.name, err)
		}
		if value, _, over, err := s.Get(ctx, "k"); string(value) != "forged" || over != Unproven || err != nil {
			t.Errorf("%s: %q over %d, %v", tt.name, value, over, err)
		}
	}
}

func TestOneOfManyWritersWins(t *testing.T) {
	b := newBroker(t)
	const writers, rounds = 4, 25
	stores := make([]*Store, writers)
	for i := range stores {
		stores[i] = b.store(b.url())
	}
	var revision uint64
	for range rounds {
		var won atomic.Uint64
		var wins atomic.Int32
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() {
				next, err := s.Set(t.Context(), "counter", fmt.Append(nil, i), revision)
				switch {
				case err == nil:
					wins.Add(1)
					won.Store(next)
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d writers won", wins.Load())
		}
		revision = won.Load()
	}
}

func TestAWriteWithoutAnAnswerIsAmbiguous(t *testing.T) {
	b := newBroker(t)
	p := newProxy(t, b.url()[len("nats://"):])
	s := b.store(p.url())
	revision, err := s.Set(t.Context(), "k", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	p.freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = s.Set(ctx, "k", []byte("2"), revision)
	if !errors.Is(err, ErrAmbiguous) || !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, fs.ErrExist) {
		t.Errorf("Set: %v", err)
	}
	p.thaw()
	eventually(t, soon, "the write arrives after all", func() bool {
		value, _, _, err := s.Get(t.Context(), "k")
		return err == nil && string(value) == "2"
	})
}

func TestPositionsAreWrittenEvenIfEqual(t *testing.T) {
	b := newBroker(t)
	s, ctx := b.store(b.url()), t.Context()
	got, _, revision, err := s.Positions(ctx, "sales")
	if len(got) != 0 || revision != 0 || err != nil {
		t.Fatalf("Positions of nothing: %v, %d, %v", got, revision, err)
	}
	want := map[string]string{"INBOX": "1:2:3", "Entwürfe/[Gmail]": "4"}
	first, err := s.SavePositions(ctx, "sales", want, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.SavePositions(ctx, "sales", want, "what was noted", first)
	if err != nil || second <= first {
		t.Fatalf("a claim must write: %d, %v", second, err)
	}
	if _, err := s.SavePositions(ctx, "sales", map[string]string{"INBOX": "0"}, "", first); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the owner before the claim: %v", err)
	}
	got, note, revision, err := s.Positions(ctx, "sales")
	if !maps.Equal(got, want) || note != "what was noted" || revision != second || err != nil {
		t.Errorf("Positions: %v, %d, %v", got, revision, err)
	}
	if _, err := s.SavePositions(ctx, "sales", map[string]string{"\xff": "0"}, "", second); err == nil {
		t.Error("a folder name that JSON would change was saved")
	}
}

func TestOpenCompletesABucketAndRefusesOneInMemory(t *testing.T) {
	b := newBroker(t)
	js, ctx := b.store(b.url()).js, t.Context()
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "old", History: 5}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, js, Config{Bucket: "old"})
	if err != nil {
		t.Fatal(err)
	}
	status, err := s.kv.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status.History() != 1 || status.LimitMarkerTTL() < minMarkerTTL {
		t.Errorf("history %d, markers %v", status.History(), status.LimitMarkerTTL())
	}
	if _, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "ram", Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, js, Config{Bucket: "ram"}); err == nil {
		t.Error("a bucket in memory was opened")
	}
}
