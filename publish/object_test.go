package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	var seed [32]byte
	seed[0], seed[1] = byte(n), byte(n>>8)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// read gets an object as a consumer does: with nats.go.
func read(t *testing.T, p *Publisher, name string) []byte {
	t.Helper()
	store, err := p.js.ObjectStore(t.Context(), "mail")
	if err != nil {
		t.Fatal(err)
	}
	b, err := store.GetBytes(timeout(t, 20*time.Second), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stored is how many messages the bucket's stream holds.
func inBucket(t *testing.T, p *Publisher) uint64 {
	t.Helper()
	u, err := p.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u.Bucket.Messages
}

func TestPutIsReadByNATS(t *testing.T) {
	p := newPublisher(t)
	for _, n := range []int{0, 1, usualChunk - 1, usualChunk, usualChunk + 1, 3 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			want := randomBytes(n)
			// One byte or a few at a time: chunks are full all the same.
			ref, err := p.Put(t.Context(), "m", sumOf(want), int64(n), iotest.HalfReader(bytes.NewReader(want)))
			if err != nil {
				t.Fatal(err)
			}
			if ref.Bucket != "mail" || ref.Name != "m/"+sumOf(want) || ref.Size != int64(n) || ref.SHA256 != sumOf(want) {
				t.Errorf("reference %+v", ref)
			}
			if got := read(t, p, ref.Name); !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, want %d", len(got), n)
			}
			store, err := p.js.ObjectStore(t.Context(), "mail")
			if err != nil {
				t.Fatal(err)
			}
			info, err := store.GetInfo(t.Context(), ref.Name)
			if err != nil || info.Chunks != uint32((n+usualChunk-1)/usualChunk) || info.Size != uint64(n) {
				t.Errorf("info %+v, %v", info, err)
			}
		})
	}
	// nats.go also lists and deletes what we wrote.
	store, err := p.js.ObjectStore(t.Context(), "mail")
	if err != nil {
		t.Fatal(err)
	}
	list, err := store.List(t.Context())
	if err != nil || len(list) != 6 {
		t.Fatalf("%d objects, %v", len(list), err)
	}
	for _, o := range list {
		if err := store.Delete(t.Context(), o.Name); err != nil {
			t.Error(err)
		}
	}
	want := randomBytes(1)
	if _, err := p.Put(t.Context(), "m", sumOf(want), 1, bytes.NewReader(want)); err != nil { // deleted: put again
		t.Fatal(err)
	}
	read(t, p, "m/"+sumOf(want))
}

func TestPutWithSmallMessages(t *testing.T) {
	srv := external(t, t.TempDir(), "max_payload: 5000")
	p := mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL()}))
	want := randomBytes(50_000)
	ref, err := p.Put(t.Context(), "m", sumOf(want), int64(len(want)), bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, p, ref.Name), want) {
		t.Error("read something else")
	}
}

func TestPutStoresOnce(t *testing.T) {
	p := newPublisher(t)
	want := randomBytes(300_000)
	put := func() {
		t.Helper()
		if _, err := p.Put(t.Context(), "m", sumOf(want), int64(len(want)), bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
	}
	put()
	n := inBucket(t, p)
	put()
	if got := inBucket(t, p); got != n {
		t.Errorf("put again: %d messages, were %d", got, n)
	}
	// Older than the stream's max_age: its bytes would go before the event that refers to them.
	p.maxAge.Store(int64(50 * time.Millisecond))
	time.Sleep(60 * time.Millisecond)
	put()
	if got := inBucket(t, p); got <= n {
		t.Errorf("an old copy was not put again: %d messages", got)
	}
	if !bytes.Equal(read(t, p, "m/"+sumOf(want)), want) {
		t.Error("read something else")
	}
	p.maxAge.Store(0) // the stream keeps for ever, and so does the bucket
	n = inBucket(t, p)
	put()
	if got := inBucket(t, p); got != n {
		t.Errorf("put again: %d messages, were %d", got, n)
	}
}

func TestPutLeavesNothingBehind(t *testing.T) {
	p := newPublisher(t)
	good := randomBytes(500_000)
	other := randomBytes(500_001)
	broken := errors.New("the disk is broken")
	for name, c := range map[string]struct {
		r    io.Reader
		want error
	}{
		"too short":     {bytes.NewReader(good[:400_000]), ErrMismatch},
		"too long":      {bytes.NewReader(append(good[:len(good):len(good)], 1)), ErrMismatch},
		"endless":       {rand.NewChaCha8([32]byte{}), ErrMismatch},
		"other bytes":   {bytes.NewReader(other[1:]), ErrMismatch},
		"empty":         {bytes.NewReader(nil), ErrMismatch},
		"reader breaks": {io.MultiReader(bytes.NewReader(good[:300_000]), iotest.ErrReader(broken)), broken},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Put(t.Context(), "m", sumOf(good), int64(len(good)), c.r)
			wantError(t, err, c.want, "m/"+sumOf(good))
			if n := inBucket(t, p); n != 0 {
				t.Errorf("%d messages are left", n)
			}
		})
	}
	for _, sum := range []string{"", "xyz", sumOf(good)[1:], "A" + sumOf(good)[1:]} {
		_, err := p.Put(t.Context(), "m", sum, 1, bytes.NewReader(good))
		wantError(t, err, ErrInvalid)
	}
	_, err := p.Put(t.Context(), "a/b", sumOf(good), 1, bytes.NewReader(good))
	wantError(t, err, ErrInvalid)
}

func TestPutIntoAFullOrMissingBucket(t *testing.T) {
	p := newPublisher(t)
	s, err := p.js.Stream(t.Context(), "OBJ_mail")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.MaxBytes = 300_000
	if _, err := p.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b := randomBytes(1 << 20)
	_, err = p.Put(t.Context(), "m", sumOf(b), int64(len(b)), bytes.NewReader(b))
	wantError(t, err, ErrFull)
	if n := inBucket(t, p); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	if err := p.js.DeleteStream(t.Context(), "OBJ_mail"); err != nil {
		t.Fatal(err)
	}
	_, err = p.Put(t.Context(), "m", sumOf(b), int64(len(b)), bytes.NewReader(b))
	wantError(t, err, ErrNoStream)
}

// Connections die in the middle of puts, up to ten times in each, so that it comes to an end on a slow machine, too. What Put
// calls stored can be read, whatever happened on the way.
func TestPutOverABadLine(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	x := newProxy(t, srv.Addr().String())
	p := mustSetup(t, mustOpen(t, Config{URL: x.url()}))
	p.commitWait, p.readWait = 5*time.Second, 5*time.Second
	var left atomic.Int32 // so often it dies
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(20+rand.IntN(150)) * time.Millisecond):
				if left.Add(-1) >= 0 {
					x.cut()
				}
			}
		}
	})
	const good = 8
	for i := range good {
		b := randomBytes(400_000 + i)
		left.Store(10)
		eventually(t, time.Minute, "put", func() bool {
			_, err := p.Put(t.Context(), "m", sumOf(b), int64(len(b)), bytes.NewReader(b))
			return err == nil
		})
	}
	close(stop)
	wg.Wait()
	q := mustOpen(t, Config{URL: srv.ClientURL()})
	store, err := q.js.ObjectStore(t.Context(), "mail")
	if err != nil {
		t.Fatal(err)
	}
	list, err := store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if got := read(t, q, o.Name); "m/"+sumOf(got) != o.Name {
			t.Errorf("%s has other bytes", o.Name)
		}
	}
	if len(list) < good {
		t.Errorf("%d objects, %d were acknowledged", len(list), good)
	}
}

// A large object costs one chunk of memory, not itself: nothing is read before the chunk before it is stored.
func TestPutReadsNoFurtherThanItHasStored(t *testing.T) {
	p := newPublisher(t)
	b := randomBytes(2 << 20)
	r, taken := bytes.NewReader(b), 0
	_, err := p.Put(t.Context(), "m", sumOf(b), int64(len(b)), readerFunc(func(to []byte) (int, error) {
		if stored := inBucket(t, p); int(stored) < taken/usualChunk {
			t.Errorf("%d bytes are read and %d chunks stored", taken, stored)
		}
		n, err := r.Read(to[:min(len(to), 10_000)])
		taken += n
		return n, err
	}))
	if err != nil || taken != len(b) {
		t.Fatalf("%d bytes read, %v", taken, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
