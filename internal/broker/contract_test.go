package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
)

// system is what a worker works with, and a look at what it left behind.
type system struct {
	mailbox.Stream
	mailbox.Bytes
	mailbox.Announcer
	mailbox.Floor
	mailbox.Journal
	mailbox.Deeds
	events  func(t *testing.T, mailbox string) []string // data, in order
	notices func(t *testing.T, mailbox string) []string
	object  func(t *testing.T, bucket, name string) []byte
}

func inMemory(*testing.T) system {
	b := broker.New()
	return system{
		b, b, b, b, b, b,
		func(_ *testing.T, mailbox string) (all []string) {
			for _, s := range b.Events(mailbox) {
				all = append(all, string(s.Data))
			}
			return all
		},
		func(_ *testing.T, mailbox string) []string { return b.Notices(mailbox) },
		func(t *testing.T, bucket, name string) []byte {
			data, ok := b.Object(name)
			if !ok || bucket != broker.Bucket {
				t.Errorf("no object %s in %s", name, bucket)
			}
			return data
		},
	}
}

func overNATS(t *testing.T) system {
	log := slog.New(slog.DiscardHandler)
	p, err := publish.Open(t.Context(), publish.Config{Embedded: publish.Embedded{Dir: t.TempDir(), Listen: "none"}}, log)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close(context.WithoutCancel(t.Context()))) })
	must(t, p.Setup(t.Context()))
	store, err := state.Open(t.Context(), p.JetStream(), state.Config{Bucket: "mailflume"})
	must(t, err)
	follow := func(t *testing.T, subjects string) (all []publish.Delivery) {
		usage, err := p.Usage(t.Context())
		must(t, err)
		// One more message says when all were seen: the filter may match none.
		must(t, p.Announce(t.Context(), publish.Notice{Mailbox: "end", What: "connected", ID: "end", Data: []byte("{}")}))
		for d, err := range p.Follow(t.Context(), ">") {
			must(t, err)
			if d.Seq > usage.Stream.LastSeq {
				return all
			}
			if strings.HasPrefix(d.Subject, subjects) {
				all = append(all, d)
			}
		}
		return all
	}
	return system{
		p, p, p, store, p, store,
		func(t *testing.T, mailbox string) (all []string) {
			for _, d := range follow(t, "mail."+mailbox+".") {
				all = append(all, string(d.Data))
			}
			return all
		},
		func(t *testing.T, mailbox string) (all []string) {
			for _, d := range follow(t, "mailbox."+mailbox+".") {
				all = append(all, d.Subject[strings.LastIndexByte(d.Subject, '.')+1:])
			}
			return all
		},
		func(t *testing.T, bucket, name string) []byte { return readObject(t, p.JetStream(), bucket, name) },
	}
}

func readObject(t *testing.T, js jetstream.JetStream, bucket, name string) []byte {
	t.Helper()
	o, err := js.ObjectStore(t.Context(), bucket)
	must(t, err)
	data, err := o.GetBytes(t.Context(), name)
	must(t, err)
	return data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contract runs a test on both.
func contract(t *testing.T, test func(t *testing.T, s system)) {
	for name, open := range map[string]func(t *testing.T) system{"in memory": inMemory, "over NATS": overNATS} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// batch makes events numbered from to to in a folder.
func batch(after uint64, folder string, from, to int) publish.Batch {
	b := publish.Batch{Mailbox: "box", After: after}
	for i := from; i <= to; i++ {
		b.Events = append(b.Events, publish.Event{
			Folder: folder, Route: "received", ID: fmt.Sprint("id-", i), Position: fmt.Sprint("position-", i),
			UID: uint32(i) + 1, Fingerprint: fmt.Sprint("print-", i), EmailID: fmt.Sprint("email-", i), Data: fmt.Append(nil, i),
		})
	}
	return b
}

func wantEvents(t *testing.T, s system, want string) {
	t.Helper()
	if got := strings.Join(s.events(t, "box"), " "); got != want {
		t.Errorf("the stream has %q, want %q", got, want)
	}
}

func TestCommitAfterTheTailAlone(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		first, err := s.Commit(t.Context(), batch(0, "INBOX", 1, 3))
		must(t, err)
		for name, stale := range map[string]uint64{"the empty chain": 0, "its middle": first.Seq - 1, "what is to come": first.Seq + 1} {
			if _, err := s.Commit(t.Context(), batch(stale, "Archive", 8, 9)); !errors.Is(err, publish.ErrConflict) {
				t.Errorf("a commit after %s: %v", name, err)
			}
		}
		second, err := s.Commit(t.Context(), batch(first.Seq, "Archive", 4, 4))
		must(t, err)
		if second.Seq <= first.Seq {
			t.Errorf("the tail went from %d to %d", first.Seq, second.Seq)
		}
		other := batch(0, "INBOX", 1, 1)
		other.Mailbox = "other"
		if _, err := s.Commit(t.Context(), other); err != nil {
			t.Errorf("another mailbox's chain: %v", err)
		}
		wantEvents(t, s, "1 2 3 4")
	})
}

func TestRecoverTellsTailAndFolders(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		empty, err := s.Recover(t.Context(), "box", []string{"INBOX"})
		must(t, err)
		if empty.Seq != 0 || len(empty.Folders) != 0 {
			t.Errorf("an empty chain is %+v", empty)
		}
		r, err := s.Commit(t.Context(), batch(0, "INBOX", 1, 3))
		must(t, err)
		r, err = s.Commit(t.Context(), batch(r.Seq, "Archive", 4, 5))
		must(t, err)
		c, err := s.Recover(t.Context(), "box", []string{"INBOX", "Archive", "Empty"})
		must(t, err)
		if c.Seq != r.Seq || len(c.Folders) != 2 {
			t.Errorf("%+v, want the tail %d and two folders", c, r.Seq)
		}
		if in, arch := c.Folders["INBOX"], c.Folders["Archive"]; in.ID != "id-3" || in.Position != "position-3" || arch.ID != "id-5" {
			t.Errorf("%+v", c.Folders)
		}
		c, err = s.Recover(t.Context(), "box", nil)
		must(t, err)
		if c.Seq != r.Seq || len(c.Folders) != 0 {
			t.Errorf("asked for no folder: %+v", c)
		}
	})
}

func TestWhatCannotBeStoredIsRefusedWhole(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		if _, err := s.Commit(t.Context(), batch(0, "INBOX", 1, 0)); !errors.Is(err, publish.ErrInvalid) {
			t.Errorf("an empty batch: %v", err)
		}
		if _, err := s.Commit(t.Context(), batch(0, "INBOX", 1, publish.MaxBatch+1)); !errors.Is(err, publish.ErrInvalid) {
			t.Errorf("a batch that is too long: %v", err)
		}
		large := batch(0, "INBOX", 1, 3)
		large.Events[1].Data = make([]byte, s.MaxPayload()+1)
		_, err := s.Commit(t.Context(), large)
		if tooLarge, ok := errors.AsType[*publish.TooLargeError](err); !ok || tooLarge.ID != "id-2" {
			t.Errorf("an event that is too large: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Commit(ctx, batch(0, "INBOX", 1, 1)); err == nil {
			t.Error("a commit after its ctx has ended succeeds")
		}
		_, err = s.Commit(t.Context(), batch(0, "INBOX", 1, publish.MaxBatch))
		must(t, err)
		if n := len(s.events(t, "box")); n != publish.MaxBatch {
			t.Errorf("%d events, want %d", n, publish.MaxBatch)
		}
	})
}

func TestLedgerEndsAtTheTailThatWasTold(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		r, err := s.Commit(t.Context(), batch(0, "INBOX", 1, 3))
		must(t, err)
		_, err = s.Commit(t.Context(), batch(r.Seq, "Archive", 4, 5))
		must(t, err)
		var got []string
		for e, err := range s.Ledger(t.Context(), "box", r.Seq) {
			must(t, err)
			got = append(got, e.ID+" "+e.Folder+" "+e.Route+" "+e.Position+" "+e.Fingerprint+" "+e.EmailID+" "+fmt.Sprint(e.UID))
		}
		if len(got) != 3 || got[2] != "id-3 INBOX received position-3 print-3 email-3 4" {
			t.Errorf("%q", got)
		}
		var later []string
		for e, err := range s.LedgerSince(t.Context(), "box", 2, r.Seq+1) {
			must(t, err)
			later = append(later, e.ID)
		}
		if fmt.Sprint(later) != "[id-3 id-4]" {
			t.Errorf("after 2: %q", later)
		}
		for range s.Ledger(t.Context(), "box", 0) {
			t.Error("the ledger of an empty chain has an entry")
		}
	})
}

func TestDeedsAreSavedByCompareAndSet(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		first, err := s.SaveDeeds(t.Context(), "box", map[string]uint64{"": 3}, 0)
		must(t, err)
		if _, err := s.SaveDeeds(t.Context(), "box", map[string]uint64{"": 4}, 0); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second first record: %v", err)
		}
		if done, revision, err := s.LoadDeeds(t.Context(), "box"); err != nil || revision != first || done[""] != 3 {
			t.Errorf("%v at %d, %v", done, revision, err)
		}
		must(t, s.ForgetDeeds(t.Context(), "box", first))
		if done, revision, err := s.LoadDeeds(t.Context(), "box"); err != nil || revision != 0 || done != nil {
			t.Errorf("forgotten: %v at %d, %v", done, revision, err)
		}
		_, err = s.SaveDeeds(t.Context(), "box", map[string]uint64{"": 5}, 0)
		must(t, err)
	})
}

func TestFloorIsSavedByCompareAndSet(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		none, _, revision, err := s.Positions(t.Context(), "box")
		must(t, err)
		if len(none) != 0 || revision != 0 {
			t.Errorf("at first: %v at %d", none, revision)
		}
		first, err := s.SavePositions(t.Context(), "box", map[string]string{"INBOX": "a"}, "", 0)
		must(t, err)
		for _, stale := range []uint64{0, first + 1} {
			if _, err := s.SavePositions(t.Context(), "box", map[string]string{"INBOX": "b"}, "", stale); !errors.Is(err, fs.ErrExist) {
				t.Errorf("saved at revision %d: %v", stale, err)
			}
		}
		want := map[string]string{"INBOX": "c", "Größe/&": "d"}
		second, err := s.SavePositions(t.Context(), "box", want, "noted", first)
		must(t, err)
		got, note, revision, err := s.Positions(t.Context(), "box")
		must(t, err)
		if !maps.Equal(got, want) || note != "noted" || revision != second || second <= first {
			t.Errorf("%v at %d, want %v at %d", got, revision, want, second)
		}
	})
}

func TestObjectsAreWhatWasAnnounced(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		const text = "some bytes"
		hash := sha256.Sum256([]byte(text))
		sum := hex.EncodeToString(hash[:])
		if _, err := s.Put(t.Context(), "box", sum, int64(len(text)), strings.NewReader("other text")); !errors.Is(err, publish.ErrMismatch) {
			t.Errorf("other bytes: %v", err)
		}
		for range 2 {
			ref, err := s.Put(t.Context(), "box", sum, int64(len(text)), strings.NewReader(text))
			must(t, err)
			if ref.Name != "box/"+sum || ref.Size != int64(len(text)) || ref.SHA256 != sum {
				t.Errorf("%+v", ref)
			}
			if got := s.object(t, ref.Bucket, ref.Name); string(got) != text {
				t.Errorf("read back: %q", got)
			}
		}
	})
}

func TestNoticesAreNoChain(t *testing.T) {
	contract(t, func(t *testing.T, s system) {
		for _, what := range []string{"connected", "auth_failed", "connected"} {
			must(t, s.Announce(t.Context(), publish.Notice{Mailbox: "box", What: what, ID: "x", Data: []byte("{}")}))
		}
		_, err := s.Commit(t.Context(), batch(0, "INBOX", 1, 1))
		must(t, err)
		if got := strings.Join(s.notices(t, "box"), " "); got != "connected auth_failed connected" {
			t.Errorf("%q", got)
		}
	})
}
