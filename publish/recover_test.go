package publish

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRecoverReadsTailAndFolders(t *testing.T) {
	p := newPublisher(t)
	if c := mustRecover(t, p, "m", "INBOX"); c.Seq != 0 || len(c.Folders) != 0 {
		t.Errorf("a new chain is %+v", c)
	}
	tail := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	tail = mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("Sent", 0, 2)})
	mustCommit(t, p, Batch{Mailbox: "m2", Events: evs("INBOX", 0, 9)})
	dead := ev("INBOX", 4)
	dead.Route = "dead"
	tail = mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: []Event{dead}})
	c := mustRecover(t, p, "m", "INBOX", "Sent", "Drafts")
	in, sent := c.Folders["INBOX"], c.Folders["Sent"]
	if c.Seq != tail || in.Position != "4" || in.Seq != tail || in.ID != dead.ID || sent.Position != "2" || sent.Seq != 5 || len(c.Folders) != 2 {
		t.Errorf("chain %+v", c)
	}
	if d := time.Since(in.Time); d < 0 || d > time.Minute {
		t.Errorf("stored at %v", in.Time)
	}
	if c := mustRecover(t, p, "m"); c.Seq != tail {
		t.Errorf("without folders: %+v", c)
	}
	_, err := p.Recover(t.Context(), "m.*", nil)
	wantError(t, err, ErrInvalid)
	_, err = p.Recover(t.Context(), "m", []string{">"})
	wantError(t, err, ErrInvalid)
}

// While someone writes, the picture is still of one moment: every folder is as far as the tail says.
func TestRecoverIsOneMoment(t *testing.T) {
	p := newPublisher(t)
	folders := []string{"a", "b", "c", "d"}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		w := &writer{p: p, mailbox: "m", folders: folders}
		for i := 0; ctx.Err() == nil; i++ {
			if err := w.step(ctx, folders[i%4], 1); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		}
	})
	reads, pictures := 0, 0
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); reads++ {
		c, err := p.Recover(t.Context(), "m", folders)
		if err != nil {
			wantError(t, err, ErrConflict)
			continue
		}
		pictures++
		sum := 0
		for _, f := range c.Folders {
			n, _ := strconv.Atoi(f.Position)
			sum += n
		}
		if uint64(sum) != c.Seq { // the only mailbox: as many events as sequences
			t.Fatalf("the folders have %d events, the chain %d: %+v", sum, c.Seq, c)
		}
	}
	cancel()
	wg.Wait()
	if pictures == 0 {
		t.Error("never a picture")
	}
	t.Logf("%d of %d reads met no writer for long", pictures, reads)
}

func TestRecoverDoesNotGoBackwards(t *testing.T) {
	p := newPublisher(t)
	tail := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	p.saw("m", tail+7) // as if a leader that has since been replaced by an older one had told us
	_, err := p.Recover(t.Context(), "m", []string{"INBOX"})
	wantError(t, err, ErrUnavailable, "former leader")
	mustCommit(t, p, Batch{Mailbox: "other", Events: evs("INBOX", 0, 7)})
	if c := mustRecover(t, p, "m", "INBOX"); c.Seq != tail { // the stream has got there, so it is true
		t.Errorf("chain %+v", c)
	}
}

// A leader that was replaced and has not noticed may answer, and the next question be answered by the one in its place: a chain
// that is shorter than we know it is not taken for that at once. What the two say is played here, on a server without JetStream.
func TestRecoverAsksAgainAfterAFormerLeader(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true})
	must(t, err)
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	p, nc := mustOpen(t, Config{URL: srv.ClientURL()}), connectPlain(t, srv.ClientURL())
	answers := map[string][]string{"STREAM.INFO": {`{"created":"2026-01-01T00:00:00Z","state":{"first_seq":1,"last_seq":7}}`}}
	for _, seq := range []int{7, 3, 7} {
		answers["STREAM.MSG.GET"] = append(answers["STREAM.MSG.GET"], fmt.Sprintf(`{"message":{"subject":"mail.m.INBOX.received","seq":%d}}`, seq))
	}
	for api, all := range answers {
		_, err := nc.Subscribe("$JS.API."+api+".MAIL", func(m *nats.Msg) {
			if err := m.Respond([]byte(all[0])); err != nil {
				t.Error(err)
			}
			all = append(all[1:], all[0])
		})
		must(t, err)
	}
	must(t, nc.Flush())
	for range 2 {
		if c := mustRecover(t, p, "m"); c.Seq != 7 {
			t.Errorf("chain %+v", c)
		}
	}
}

// Retention and an operator's purge remove the checkpoint. That is an empty chain, not an error.
func TestRecoverAfterRetention(t *testing.T) {
	p := newPublisher(t)
	tail := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	if c := mustRecover(t, p, "m"); c.Seq != tail {
		t.Fatalf("chain %+v", c)
	}
	s, err := p.js.Stream(t.Context(), "MAIL")
	must(t, err)
	config := s.CachedInfo().Config
	config.MaxAge, config.Duplicates = time.Second, time.Second
	_, err = p.js.UpdateStream(t.Context(), config)
	must(t, err)
	eventually(t, 10*time.Second, "expired", func() bool { return mustRecover(t, p, "m", "INBOX").Seq == 0 })
	_, err = p.Commit(t.Context(), Batch{Mailbox: "m", After: tail, Events: evs("INBOX", 3, 1)})
	wantError(t, err, ErrConflict)
	if next := mustCommit(t, p, Batch{Mailbox: "m", After: 0, Events: evs("INBOX", 3, 2)}); next != tail+2 {
		t.Errorf("tail %d", next)
	}

	p = newPublisher(t)
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	mustCommit(t, p, Batch{Mailbox: "other", Events: evs("INBOX", 0, 3)})
	s, err = p.js.Stream(t.Context(), "MAIL")
	must(t, err)
	must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject(chainFilter("m"))))
	if c := mustRecover(t, p, "m", "INBOX"); c.Seq != 0 {
		t.Errorf("chain %+v", c)
	}
	if c := mustRecover(t, p, "other", "INBOX"); c.Folders["INBOX"].Position != "3" {
		t.Errorf("chain %+v", c)
	}
}

func TestLedger(t *testing.T) {
	p := newPublisher(t)
	var tail uint64
	for i := range 23 { // more than one part
		tail = mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("INBOX", i*MaxBatch, MaxBatch)})
		if i%7 == 0 {
			mustCommit(t, p, Batch{Mailbox: fmt.Sprint("x", i), Events: evs("INBOX", 0, 3)})
		}
	}
	entries := ledgerOf(t, p, "m")
	if n := checkHistory(t, entries); n != 2300 || entries[n-1].Seq != tail {
		t.Fatalf("%d entries, the last %+v", n, entries[n-1])
	}
	if e := entries[41]; e.ID != "id-INBOX-42" || e.Fingerprint != "fp-42" || e.EmailID != "1042" || e.Folder != "INBOX" || e.Route != "received" || e.Time.IsZero() {
		t.Errorf("entry %+v", e)
	}
	// It ends at the tail it is given, even if more follows.
	n := 0
	for e, err := range p.Ledger(t.Context(), "m", entries[1499].Seq) {
		if err != nil || e.Seq > entries[1499].Seq {
			t.Fatalf("%+v, %v", e, err)
		}
		n++
	}
	if n != 1500 {
		t.Errorf("%d entries", n)
	}
	for range p.Ledger(t.Context(), "m", tail) { // the reader may stop
		break
	}
	for range p.Ledger(t.Context(), "m", 0) {
		t.Error("an empty chain has an entry")
	}
	s, err := p.js.Stream(t.Context(), "MAIL")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := s.Info(t.Context()); err != nil || info.State.Consumers != 0 {
		t.Errorf("%d consumers are left, %v", info.State.Consumers, err)
	}
}

// A ledger that cannot be read to its end is an error, not a short ledger.
func TestLedgerWithoutItsEnd(t *testing.T) {
	p := newPublisher(t)
	p.commitWait = 300 * time.Millisecond
	tail := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	var last error
	n := 0
	for _, err := range p.Ledger(t.Context(), "m", tail+1) {
		if last = err; err == nil {
			n++
		}
	}
	wantError(t, last, ErrUnavailable, "mailbox m")
	if n != 3 {
		t.Errorf("%d entries", n)
	}
	if err := p.js.DeleteStream(t.Context(), "MAIL"); err != nil {
		t.Fatal(err)
	}
	for _, err := range p.Ledger(t.Context(), "m", tail) {
		wantError(t, err, ErrNoStream)
	}
}
