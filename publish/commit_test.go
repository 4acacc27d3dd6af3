package publish

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/nats-io/nats.go/jetstream"
)

func TestCommitWritesTheChain(t *testing.T) {
	p := newPublisher(t)
	one := ev("INBOX", 1)
	one.Header = map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	one.EmailID = "a b\r\nInjected: 1%"
	seq := mustCommit(t, p, Batch{Mailbox: "m1", Events: []Event{one}})
	if seq != 1 {
		t.Fatalf("the first event has sequence %d", seq)
	}
	other := mustCommit(t, p, Batch{Mailbox: "m2", Events: evs("INBOX", 0, 3)})
	seq = mustCommit(t, p, Batch{Mailbox: "m1", After: seq, Events: evs("INBOX", 1, MaxBatch)})
	dead := ev("Sent_20Mail", 1)
	dead.Route = "dead"
	seq = mustCommit(t, p, Batch{Mailbox: "m1", After: seq, Events: append(evs("INBOX", 1+MaxBatch, 1), dead)})
	if want := uint64(1 + 3 + MaxBatch + 2); seq != want || other != 4 {
		t.Fatalf("tails %d and %d, want %d and 4", seq, other, want)
	}

	stream, err := p.js.Stream(t.Context(), "MAIL")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type": event.ContentType, "Mailflume-Id": "id-INBOX-1", "Mailflume-Position": "1",
		"Mailflume-Fingerprint": "fp-1", "traceparent": one.Header["traceparent"], "Nats-Msg-Id": "", "Injected": "",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if m.Subject != "mail.m1.INBOX.received" || string(m.Data) != string(one.Data) {
		t.Errorf("stored %s %s", m.Subject, m.Data)
	}

	entries := ledgerOf(t, p, "m1")
	if n := checkHistory(t, entries); n != 1+MaxBatch+2 {
		t.Errorf("%d events", n)
	}
	if entries[0].EmailID != one.EmailID {
		t.Errorf("email id comes back as %q", entries[0].EmailID)
	}
	if last := entries[len(entries)-1]; last.Folder != dead.Folder || last.Route != "dead" || last.Seq != seq {
		t.Errorf("last entry is %+v", last)
	}
}

func TestCommitRefusesAStaleTail(t *testing.T) {
	p := newPublisher(t)
	seq := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 5)})
	for _, after := range []uint64{0, seq - 1, seq + 1} {
		for _, n := range []int{1, 2} {
			_, err := p.Commit(t.Context(), Batch{Mailbox: "m", After: after, Events: evs("other", 0, n)})
			wantError(t, err, ErrConflict, "mailbox m", fmt.Sprint("after ", after))
		}
	}
	if n := checkHistory(t, ledgerOf(t, p, "m")); n != 5 {
		t.Errorf("%d events", n)
	}
}

// Two or four writers that expect the same tail: exactly one wins, whatever they write.
func TestCommitHasOneWinner(t *testing.T) {
	p := newPublisher(t)
	oneWinner(t, 210, "m", func(int) *Publisher { return p })
}

func oneWinner(t *testing.T, rounds int, mailbox string, publisher func(i int) *Publisher) {
	t.Helper()
	tail, total := uint64(0), 0
	for round := range rounds {
		writers := 2 + 2*(round%2)
		var wins, seq atomic.Uint64
		var stored atomic.Int64
		var wg sync.WaitGroup
		for i := range writers {
			n := 1
			if (round+i)%3 == 0 {
				n = 2 + rand.IntN(6)
			}
			wg.Go(func() {
				b := Batch{Mailbox: mailbox, After: tail, Events: evs(fmt.Sprint("f", i), round*100, n)}
				r, err := publisher(i).Commit(t.Context(), b)
				switch {
				case err == nil:
					wins.Add(1)
					seq.Store(r.Seq)
					stored.Add(int64(n))
				case !errors.Is(err, ErrConflict):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		// On a cluster a lone winner is not certain: a commit can be refused because another one, refused too, is in flight.
		if wins.Load() != 1 {
			t.Fatalf("round %d has %d winners", round, wins.Load())
		}
		tail, total = seq.Load(), total+int(stored.Load())
	}
	if c := mustRecover(t, publisher(0), mailbox); c.Seq != tail {
		t.Errorf("the tail is %d, the last winner has %d", c.Seq, tail)
	}
	if n := len(ledgerOf(t, publisher(0), mailbox)); n != total {
		t.Errorf("%d events stored, %d acknowledged", n, total)
	}
}

// The commit lands and its answer is lost: Recover shows it, and building anew repeats nothing.
func TestCommitWhoseAnswerIsLost(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	x := newProxy(t, srv.Addr().String())
	p := mustSetup(t, mustOpen(t, Config{URL: x.url()}))
	w := &writer{p: p, mailbox: "m", folders: []string{"INBOX"}}
	if err := w.step(t.Context(), "INBOX", 3); err != nil {
		t.Fatal(err)
	}
	patience := p.commitWait
	for _, n := range []int{1, 4} {
		p.commitWait = 500 * time.Millisecond
		x.silence(true)
		wantError(t, w.step(t.Context(), "INBOX", n), ErrUncertain)
		x.silence(false)
		p.commitWait = patience
		eventually(t, 10*time.Second, "connected again", func() bool { return w.step(t.Context(), "INBOX", 2) == nil })
	}
	if n := checkHistory(t, ledgerOf(t, p, "m")); n != 3+1+2+4+2 {
		t.Errorf("%d events", n)
	}
}

// What is refused for want of a connection was not sent, and is not sent later.
func TestCommitWithoutConnection(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	x := newProxy(t, srv.Addr().String())
	p := mustSetup(t, mustOpen(t, Config{URL: x.url()}))
	x.l.Close()
	x.cut()
	eventually(t, 5*time.Second, "disconnected", func() bool { return !p.Status().Connected })
	for _, n := range []int{1, 3} {
		start := time.Now()
		_, err := p.Commit(t.Context(), Batch{Mailbox: "m", Events: evs("INBOX", 0, n)})
		wantError(t, err, ErrUnavailable)
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %v to say so", d)
		}
	}
}

func TestCommitChecksItsInput(t *testing.T) {
	p := newPublisher(t)
	with := func(f func(e *Event)) Batch {
		e := ev("INBOX", 1)
		f(&e)
		return Batch{Mailbox: "m", Events: []Event{e}}
	}
	for name, b := range map[string]Batch{
		"no events":        {Mailbox: "m"},
		"too many":         {Mailbox: "m", Events: evs("INBOX", 0, MaxBatch+1)},
		"no mailbox":       {Events: evs("INBOX", 0, 1)},
		"wildcard":         {Mailbox: "*", Events: evs("INBOX", 0, 1)},
		"dot":              {Mailbox: "a.b", Events: evs("INBOX", 0, 1)},
		"folder":           with(func(e *Event) { e.Folder = "In box" }),
		"route":            with(func(e *Event) { e.Route = ">" }),
		"no id":            with(func(e *Event) { e.ID = "" }),
		"no position":      with(func(e *Event) { e.Position = "" }),
		"line in position": with(func(e *Event) { e.Position = "1\r\nNats-Msg-Id: x" }),
		"reserved header":  with(func(e *Event) { e.Header = map[string]string{"nats-msg-id": "x"} }),
		"our header":       with(func(e *Event) { e.Header = map[string]string{"Mailflume-Id": "x"} }),
		"line in header":   with(func(e *Event) { e.Header = map[string]string{"a": "x\ny"} }),
		"bad header name":  with(func(e *Event) { e.Header = map[string]string{"a: b": "x"} }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Commit(t.Context(), b)
			wantError(t, err, ErrInvalid)
		})
	}
	if c := mustRecover(t, p, "m"); c.Seq != 0 {
		t.Errorf("something was stored: %d", c.Seq)
	}
}

// The largest message that is accepted here is also accepted by the server, and one byte more is refused here.
func TestCommitKnowsTheSizeLimit(t *testing.T) {
	srv := external(t, t.TempDir(), "max_payload: 4096")
	p := mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL()}))
	if p.MaxPayload() != 4096 {
		t.Fatalf("max payload is %d", p.MaxPayload())
	}
	sized := func(n, extra int) Batch {
		b := Batch{Mailbox: "m", Events: evs("INBOX", 0, n)}
		msgs, err := p.messages(b)
		if err != nil {
			t.Fatal(err)
		}
		last := &b.Events[n-1]
		last.Data = append(last.Data, make([]byte, 4096-int(wireSize(msgs[n-1]))+extra)...)
		return b
	}
	var tooLarge *TooLargeError
	for _, n := range []int{1, 3} {
		_, err := p.Commit(t.Context(), sized(n, 1))
		if !errors.As(err, &tooLarge) || tooLarge.Limit != 4096 || tooLarge.Size != 4097 {
			t.Fatalf("error is %v", err)
		}
		wantText(t, err, tooLarge.ID, "4097 bytes")
	}
	b := sized(3, 0)
	tail := mustCommit(t, p, b)
	b = sized(1, 0)
	b.After = tail
	mustCommit(t, p, b)

	// A limit that someone put on the stream later is reported in the same way.
	stream, err := p.js.Stream(t.Context(), "MAIL")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	c.MaxMsgSize = 1000
	if _, err := p.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.After++
	if _, err := p.Commit(t.Context(), b); !errors.As(err, &tooLarge) {
		t.Fatalf("error is %v", err)
	}
}

func TestCommitIntoAFullStream(t *testing.T) {
	c := embeddedConfig(t.TempDir())
	c.Stream.MaxBytes = 64 << 10
	p := mustSetup(t, mustOpen(t, c))
	fill := func(n int) Batch {
		b := Batch{Mailbox: "m", After: mustRecover(t, p, "m").Seq}
		for i := range n {
			e := ev("INBOX", i+1)
			e.Data = make([]byte, 10<<10)
			b.Events = append(b.Events, e)
		}
		return b
	}
	var err error
	for range 10 {
		if _, err = p.Commit(t.Context(), fill(1)); err != nil {
			break
		}
	}
	wantError(t, err, ErrFull)
	_, err = p.Commit(t.Context(), fill(3))
	wantError(t, err, ErrFull)
	before := mustRecover(t, p, "m").Seq

	stream, err := p.js.Stream(t.Context(), "MAIL")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	if after := mustCommit(t, p, fill(3)); after != before+3 {
		t.Errorf("the tail goes from %d to %d", before, after)
	}
}

func TestCommitWithoutStream(t *testing.T) {
	p := newPublisher(t)
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 5)})
	if err := p.js.DeleteStream(t.Context(), "MAIL"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 3} {
		_, err := p.Commit(t.Context(), Batch{Mailbox: "m", After: 5, Events: evs("INBOX", 5, n)})
		wantError(t, err, ErrNoStream, "MAIL")
	}
	_, err := p.Recover(t.Context(), "m", nil)
	wantError(t, err, ErrNoStream)
	wantError(t, p.Announce(t.Context(), Notice{Mailbox: "m", What: "stale", ID: "1"}), ErrNoStream)

	// A new stream begins a new chain; that it is shorter than the old one is no reason to refuse it.
	mustSetup(t, p)
	if c := mustRecover(t, p, "m", "INBOX"); c.Seq != 0 || len(c.Folders) != 0 {
		t.Errorf("chain of a new stream: %+v", c)
	}
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 2)})
}

// The subjects went to another stream: what it acknowledges is not our receipt.
func TestCommitTakenByAnotherStream(t *testing.T) {
	p := newPublisher(t)
	if err := p.js.DeleteStream(t.Context(), "MAIL"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "THIEF", Subjects: []string{"mail.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := p.Commit(t.Context(), Batch{Mailbox: "m", Events: evs("INBOX", 0, 1)})
	wantError(t, err, ErrNoStream, "THIEF")
	err = p.Setup(t.Context())
	wantError(t, err, ErrNoStream, "nats stream find")
}

func TestCommitsInFlightAreBounded(t *testing.T) {
	p := newPublisher(t)
	for range maxInFlight {
		if err := p.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Commit(ctx, Batch{Mailbox: "m", Events: evs("INBOX", 0, 1)})
	wantError(t, err, context.DeadlineExceeded)
	if errors.Is(err, ErrUncertain) {
		t.Error("nothing was sent, and the error says that it may be stored")
	}
	p.release()
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 1)})
	for range maxInFlight - 1 {
		p.release()
	}
	mustClose(t, p)
	_, err = p.Commit(t.Context(), Batch{Mailbox: "m", Events: evs("INBOX", 0, 1)})
	wantError(t, err, ErrUnavailable, "closed")
}

func TestAnnounce(t *testing.T) {
	p := newPublisher(t)
	for _, what := range event.States {
		n := Notice{Mailbox: "m", What: what, ID: "id-" + what, Data: []byte(`{}`)}
		if err := p.Announce(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	m, err := p.last(t.Context(), "mailbox.m.auth_failed")
	if err != nil || m.Header.Get("Mailflume-Id") != "id-auth_failed" || m.Header.Get("Content-Type") != event.ContentType {
		t.Errorf("stored %+v, %v", m, err)
	}
	wantError(t, p.Announce(t.Context(), Notice{Mailbox: "m", What: "a.b"}), ErrInvalid)
	var tooLarge *TooLargeError
	n := Notice{Mailbox: "m", What: "stale", Data: make([]byte, p.MaxPayload())}
	if err := p.Announce(t.Context(), n); !errors.As(err, &tooLarge) {
		t.Errorf("error is %v", err)
	}
}

func TestAnswersSayWhoMustAct(t *testing.T) {
	for _, c := range []struct {
		code int
		text string
		want error
	}{
		{10071, "wrong last sequence: 7", ErrConflict},
		{10164, "wrong last sequence", ErrConflict},
		{10158, "duplicate message id is in process", ErrConflict},
		{10201, "batch contains duplicate id", ErrConflict},
		{10176, "atomic publish batch is incomplete", ErrUnavailable},
		{10210, "too many inflight", ErrUnavailable},
		{10008, "JetStream system temporarily unavailable", ErrUnavailable},
		{10009, "no suitable peers", ErrUnavailable},
		{10023, "insufficient resources", ErrFull},
		{10047, "insufficient storage resources available", ErrFull},
		{10077, "maximum bytes exceeded", ErrFull},
		{10077, "write: no space left on device", ErrFull},
		{10077, "write: input/output error", ErrUnavailable},
		{10059, "stream not found", ErrNoStream},
		{10039, "JetStream not enabled for account", ErrNoStream},
		{99999, "something new", ErrUnavailable},
	} {
		if got := (&answerError{Code: c.code, Text: c.text}).kind(); got != c.want {
			t.Errorf("%d %s is %v, want %v", c.code, c.text, got, c.want)
		}
	}
	p := &Publisher{config: Config{}.withDefaults()}
	for text, want := range map[string]error{
		`{"stream":"MAIL","seq":3,"duplicate":true}`: ErrConflict,
		`{"stream":"MAIL"}`:                          ErrUncertain,
		`{}`:                                         ErrUncertain,
		`oops`:                                       ErrUncertain,
		``:                                           ErrUncertain,
		`{"error":{"err_code":10071,"description":"wrong"}}`: ErrConflict,
	} {
		if _, err := p.parseAck([]byte(text), "MAIL"); !errors.Is(err, want) {
			t.Errorf("%s is %v, want %v", text, err, want)
		}
	}
}

func TestChainFilterIsOneString(t *testing.T) {
	if f := chainFilter("m"); f != "mail.m.>" || strings.Contains(f, " ") {
		t.Errorf("filter is %q: changing it needs every writer to stop first", f)
	}
}
