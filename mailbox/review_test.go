package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// script is a session that yields what a test wrote, one list for each pass, and then fails with err.
type script struct {
	passes [][]fetcher.Message
	err    error
	ended  chan struct{} // if not nil: closed once all of a pass has been yielded
}

func (s *script) Messages(context.Context, map[string]fetcher.Position) iter.Seq2[fetcher.Message, error] {
	return func(yield func(fetcher.Message, error) bool) {
		if len(s.passes) == 0 {
			return
		}
		pass := s.passes[0]
		s.passes = s.passes[1:]
		for _, m := range pass {
			if !yield(m, nil) {
				return
			}
		}
		if s.ended != nil {
			close(s.ended)
		}
		if s.err != nil {
			yield(fetcher.Message{}, s.err)
		}
	}
}

func (s *script) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (s *script) Close() error                   { return nil }

// scripted returns a worker of the rig's mailbox that reads these folders from the script.
func (r *rig) scripted(s mailbox.Session, folders ...string) *mailbox.Worker {
	c := r.config()
	c.Open = func(context.Context) (mailbox.Session, []string, error) { return s, folders, nil }
	w := mailbox.NewWorker(c)
	r.t.Cleanup(w.Close)
	return w
}

// mail is message i as a session yields it, with the position that follows it.
func mail(t *testing.T, folder string, validity, uid uint32, i int, date time.Time, position string) fetcher.Message {
	t.Helper()
	p, err := fetcher.ParsePosition(position)
	must(t, err)
	raw := message(i)
	return fetcher.Message{
		Kind: fetcher.KindMail, Folder: folder, UIDValidity: validity, UID: uid, Raw: raw, Size: int64(len(raw)),
		InternalDate: date, Position: p,
	}
}

func relisted(m fetcher.Message) fetcher.Message {
	m.Relisted, m.Backfill = true, true
	return m
}

func reset(t *testing.T, folder string, was, is uint32, position string) fetcher.Message {
	t.Helper()
	p, err := fetcher.ParsePosition(position)
	must(t, err)
	return fetcher.Message{Kind: fetcher.KindReset, Folder: folder, Was: was, UIDValidity: is, Position: p}
}

func minute(n int) time.Time { return time.Date(2026, 3, 1, 12, n, 0, 0, time.UTC) }

// subjects counts the events on the stream by subject.
func (r *rig) subjects() map[string]int {
	n := make(map[string]int)
	for _, e := range r.stored() {
		n[*e.Data.Email.Subject]++
	}
	return n
}

// A folder that is listed again is measured by its own mail: what another folder got meanwhile does not make its new mail old.
func TestResetIsMeasuredByItsOwnFolder(t *testing.T) {
	r := newRig(t, sim.Exchange, "INBOX", "Archive")
	r.account.Deliver("INBOX", message(0), minute(0))
	r.account.Deliver("Archive", message(1), minute(1))
	must(t, r.worker().Drain(t.Context()))
	r.account.BumpUIDValidity("Archive")
	r.account.Deliver("Archive", message(2), minute(10))
	r.account.Deliver("INBOX", message(3), minute(20))
	must(t, r.worker().Drain(t.Context()))
	got := r.subjects()
	for _, want := range []string{"number 0", "number 1", "number 2", "number 3"} {
		if got[want] != 1 {
			t.Errorf("%q is on the stream %d times, want 1", want, got[want])
		}
	}
}

// What was published while a folder is being listed again does not make the rest of the listing old, and is not counted
// against it, when a restart comes in between.
func TestResetGoesOnAfterARestart(t *testing.T) {
	r := newRig(t, sim.Exchange)
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;2;2;0;0;;"),
	}}}, "INBOX").Drain(t.Context()))
	broken := errors.New("the connection broke")
	err := r.scripted(&script{err: broken, passes: [][]fetcher.Message{{
		reset(t, "INBOX", 71, 72, "p1;72;0;5;3;0;1;;"),
		relisted(mail(t, "INBOX", 72, 1, 0, minute(0), "p1;72;1;5;4;0;1;;")),
		relisted(mail(t, "INBOX", 72, 2, 1, minute(30), "p1;72;2;5;5;0;1;;")),
	}}}, "INBOX").Drain(t.Context())
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		relisted(mail(t, "INBOX", 72, 3, 2, minute(20), "p1;72;3;5;6;0;1;;")), // came before the last, was put behind it
		relisted(mail(t, "INBOX", 72, 4, 1, minute(31), "p1;72;4;5;7;0;1;;")), // the same mail, delivered twice
	}}}, "INBOX").Drain(t.Context()))
	got := r.subjects()
	for want, n := range map[string]int{"number 0": 1, "number 1": 2, "number 2": 1} {
		if got[want] != n {
			t.Errorf("%q is on the stream %d times, want %d", want, got[want], n)
		}
	}
}

// Two messages with one header block are two messages where the provider has an identity for each.
func TestResetKeepsProviderIdentitiesApart(t *testing.T) {
	r := newRig(t, sim.Gmail)
	named := func(m fetcher.Message, id string) fetcher.Message { m.EmailID = id; return m }
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		named(mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;2;2;0;0;;"), "1001"),
	}}}, "INBOX").Drain(t.Context()))
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		reset(t, "INBOX", 71, 72, "p1;72;0;3;3;0;1;;"),
		named(relisted(mail(t, "INBOX", 72, 1, 0, minute(0), "p1;72;1;3;4;0;1;;")), "1001"),
		named(relisted(mail(t, "INBOX", 72, 2, 0, minute(5), "p1;72;2;3;5;0;1;;")), "1002"),
	}}}, "INBOX").Drain(t.Context()))
	if n := r.subjects()["number 0"]; n != 2 {
		t.Errorf("%d of the two messages are on the stream", n)
	}
}

// Of two positions with the same N the one that the stream acknowledged counts.
func TestStreamWinsOverTheFloor(t *testing.T) {
	r := newRig(t, sim.Exchange)
	must(t, r.scripted(&script{passes: [][]fetcher.Message{{
		mail(t, "INBOX", 71, 1, 0, minute(0), "p1;71;1;2;2;0;0;;"),
	}}}, "INBOX").Drain(t.Context()))
	_, note, revision, err := r.store.Positions(t.Context(), "anna")
	must(t, err)
	// What an owner saved that had not seen the message, and whose predecessor woke up and published it.
	_, err = r.store.SavePositions(t.Context(), "anna", map[string]string{"INBOX": "p1;71;0;2;2;0;0;;"}, note, revision)
	must(t, err)
	s := &asked{}
	must(t, r.scripted(s, "INBOX").Drain(t.Context()))
	if p := s.after["INBOX"]; !p.Settled(1) {
		t.Errorf("goes on after %v: the message would be published again", p)
	}
}

// asked is a session without news that remembers where it was to begin.
type asked struct {
	script
	after map[string]fetcher.Position
}

func (a *asked) Messages(ctx context.Context, after map[string]fetcher.Position) iter.Seq2[fetcher.Message, error] {
	a.after = after
	return a.script.Messages(ctx, after)
}

// stopping ends its worker's ctx while the first batch is being committed.
type stopping struct {
	*publish.Publisher
	stop    func()
	yielded <-chan struct{}
	commits int
}

func (s *stopping) Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error) {
	if s.commits++; s.commits == 1 {
		<-s.yielded // there is more to commit
		s.stop()
	}
	return s.Publisher.Commit(ctx, b)
}

// Asked to stop, a worker finishes the commit that is under way and begins no other.
func TestStoppingBeginsNoCommit(t *testing.T) {
	r := newRig(t, sim.Exchange)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	yielded := make(chan struct{})
	var pass []fetcher.Message
	for uid := uint32(1); uid <= publish.MaxBatch+50; uid++ {
		p := fetcher.Position{UIDValidity: 71, Low: uid, N: uint64(uid)}
		pass = append(pass, mail(t, "INBOX", 71, uid, int(uid), minute(0), p.String()))
	}
	s := &stopping{Publisher: r.publisher, stop: stop, yielded: yielded}
	c := r.config()
	c.Raw, c.Stream = mailbox.RawNever, s
	c.Open = func(context.Context) (mailbox.Session, []string, error) {
		return &script{passes: [][]fetcher.Message{pass}, ended: yielded}, []string{"INBOX"}, nil
	}
	w := mailbox.NewWorker(c)
	defer w.Close()
	if err := w.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain gives %v", err)
	}
	if s.commits != 1 {
		t.Errorf("%d commits were begun, want the first only", s.commits)
	}
	if len(r.stored()) == 0 {
		t.Error("the commit that was under way is not on the stream")
	}
}

// A mailbox that comes back to this replica goes on from what the stream says, not from what was true when it left.
func TestMailboxThatComesBackIsClaimedAnew(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 2)
	w := r.worker()
	watch := func(w *mailbox.Worker, n uint64) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		eventually(t, "the worker has read everything", func() bool {
			return w.Status().State == mailbox.StateWatching && w.Status().Published["received"] >= n
		})
		stop()
		<-ended
	}
	watch(w, 2)
	r.deliver("INBOX", 2, 2)
	watch(r.worker(), 2) // another replica has it for a while
	r.deliver("INBOX", 4, 2)
	watch(w, 4)
	r.wantExactly("INBOX")
	if f := w.Status().Failures; f != 0 {
		t.Errorf("%d failures: it went on from where it had been", f)
	}
}

// Readiness is for whoever runs the program: a mailbox that its owner must help, or that time helps, is not their business.
func TestUnready(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&fetcher.TLSError{Text: "the server's certificate is not trusted"}, "mailbox Anna: The connection to the mail server cannot be secured: the server's certificate is not trusted"},
		{&fetcher.AuthError{Text: "no"}, "<nil>"},
		{errors.New("no route to host"), "<nil>"},
	} {
		c := newRig(t, sim.Exchange).config()
		c.Open = func(context.Context) (mailbox.Session, []string, error) { return nil, nil, test.err }
		w := mailbox.NewWorker(c)
		g := mailbox.NewGroup(w)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		eventually(t, "the login fails", func() bool { return w.Status().Failures > 0 })
		if got := fmt.Sprint(g.Unready()); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
		stop()
		<-ended
		if s := w.Status(); s.Sentence != "" || g.Unready() != nil {
			t.Errorf("%v: on another replica it is still %q", test.err, s.Sentence)
		}
	}
}

// refusing is a stream that takes nothing, once.
type refusing struct {
	*publish.Publisher
	refused bool
}

func (r *refusing) Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error) {
	if !r.refused {
		r.refused = true
		return publish.Receipt{}, publish.ErrUnavailable
	}
	return r.Publisher.Commit(ctx, b)
}

// A message that is dropped is counted once, however often its batch is tried.
func TestDropsAreCountedOnce(t *testing.T) {
	r := newRig(t, sim.Gmail, "INBOX", `\All`)
	r.deliver("INBOX", 0, 3)
	must(t, r.worker().Drain(t.Context()))
	r.account.BumpUIDValidity("INBOX")
	r.deliver("INBOX", 3, 1)
	c := r.config()
	c.Stream = &refusing{Publisher: r.publisher}
	w := mailbox.NewWorker(c)
	defer w.Close()
	if err := w.Drain(t.Context()); !errors.Is(err, publish.ErrUnavailable) {
		t.Fatal(err)
	}
	must(t, w.Drain(t.Context()))
	if n := w.Status().Dropped["already_published"]; n != 4 { // the new one is in both folders
		t.Errorf("%d were counted, want 4", n)
	}
}

// While the bucket with the positions does not answer, the mail server is not the one to wait for.
func TestClassifyTheFloor(t *testing.T) {
	r := newRig(t, sim.Exchange)
	c := r.config()
	c.Floor = deaf{}
	w := mailbox.NewWorker(c)
	defer w.Close()
	v := mailbox.Classify(w.Drain(t.Context()))
	if !v.Ours || v.Class != mailbox.Passing || !strings.HasPrefix(v.Sentence, "The positions cannot be kept") {
		t.Errorf("%+v", v)
	}
}

type deaf struct{}

func (deaf) Positions(context.Context, string) (map[string]string, string, uint64, error) {
	return nil, "", 0, errors.New("nats: timeout")
}

func (deaf) SavePositions(context.Context, string, map[string]string, string, uint64) (uint64, error) {
	return 0, errors.New("nats: timeout")
}

// A server that repeats the address in what it says does not bring it into the log.
func TestNoAddressInTheLog(t *testing.T) {
	c := newRig(t, sim.Exchange).config()
	var log strings.Builder
	c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Open = func(context.Context) (mailbox.Session, []string, error) {
		return nil, nil, &fetcher.AuthError{Text: "no mailbox for " + strings.ToUpper(c.Mailbox.Address)}
	}
	w := mailbox.NewWorker(c)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	eventually(t, "the login fails", func() bool { return w.Status().Failures > 0 })
	stop()
	<-ended
	if text := log.String(); strings.Contains(strings.ToLower(text), c.Mailbox.Address) || !strings.Contains(text, "no mailbox for <address>") {
		t.Error(text)
	}
}

// Reading a large mailbox for the first time takes hours, in which it is not "logging in".
func TestFirstPassIsReading(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 1)
	c := r.config()
	seen := make(chan mailbox.State, 1)
	var w *mailbox.Worker
	c.Bytes = watched{r.publisher, func() { seen <- w.Status().State }}
	w = mailbox.NewWorker(c)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	if s := <-seen; s != mailbox.StateReading {
		t.Errorf("while its mail is being stored the mailbox is %q", s)
	}
	stop()
	<-ended
}

// watched tells when bytes are stored.
type watched struct {
	*publish.Publisher
	tell func()
}

func (w watched) Put(ctx context.Context, mailbox, sum string, size int64, r io.Reader) (event.Ref, error) {
	w.tell()
	return w.Publisher.Put(ctx, mailbox, sum, size, r)
}

// Where the stream lost what it had, as it does with an old mailbox's events, the floor says how far the mail was read:
// nothing comes twice, what is new comes, and nobody hears of a failure.
func TestStreamThatLostItsMail(t *testing.T) {
	for name, lose := range map[string]func(r *rig){
		"purged": func(r *rig) {
			stream, err := r.publisher.JetStream().Stream(r.t.Context(), "MAIL")
			must(r.t, err)
			must(r.t, stream.Purge(r.t.Context()))
		},
		"made anew": func(r *rig) {
			must(r.t, r.publisher.JetStream().DeleteStream(r.t.Context(), "MAIL"))
			must(r.t, r.publisher.Setup(r.t.Context()))
		},
	} {
		for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
			t.Run(name+"/"+string(provider), func(t *testing.T) {
				r := newRig(t, provider)
				r.deliver("INBOX", 0, 3)
				w := r.worker()
				must(t, w.Drain(t.Context()))
				lose(r)
				r.deliver("INBOX", 3, 1)
				must(t, w.Drain(t.Context()))
				r.deliver("INBOX", 4, 1)
				must(t, w.Drain(t.Context()))
				must(t, r.worker().Drain(t.Context()))
				got := r.subjects()
				if len(got) != 2 || got["number 3"] != 1 || got["number 4"] != 1 {
					t.Errorf("the stream has %v, want 3 and 4 once each", got)
				}
			})
		}
	}
}

// revoked is an error that needs a person and is looked at again soon.
type revoked struct{ error }

func (revoked) Who() string                     { return "person" }
func (revoked) Advice() (sentence, hint string) { return "The grant was revoked.", "Sign in again." }
func (revoked) RetryIn() time.Duration          { return 10 * time.Millisecond }

// mute is an announcer that fails the first times.
type mute struct {
	mu   sync.Mutex
	left int
	told []string
}

func (m *mute) Announce(_ context.Context, n publish.Notice) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left >= 0 {
		return publish.ErrUnavailable
	}
	m.told = append(m.told, n.What)
	return nil
}

func (m *mute) heard() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.told)
}

// That a mailbox needs its owner is told once, and again if nobody could hear it.
func TestNewsThatNobodyHeardIsToldAgain(t *testing.T) {
	c := newRig(t, sim.Exchange).config()
	news := &mute{left: 2}
	c.Announcer = news
	c.Open = func(context.Context) (mailbox.Session, []string, error) {
		return nil, nil, revoked{errors.New("revoked")}
	}
	w := mailbox.NewWorker(c)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	eventually(t, "the login fails often enough", func() bool { return w.Status().Failures > 6 })
	stop()
	<-ended
	if got := news.heard(); !slices.Equal(got, []string{"auth_failed"}) {
		t.Errorf("told %q, want auth_failed once", got)
	}
}

// What another folder published in the same pass does not make old what a folder without events of its own is yet to tell:
// in Gmail's All Mail there are few that were not in the inbox first.
func TestResetIsMeasuredBeforeThePass(t *testing.T) {
	r := newRig(t, sim.Gmail, "INBOX", `\All`)
	r.account.Deliver("INBOX", message(0), minute(0))
	must(t, r.worker().Drain(t.Context()))
	r.account.Deliver("[Gmail]/All Mail", message(1), minute(1))
	r.account.BumpUIDValidity("[Gmail]/All Mail")
	r.account.Deliver("INBOX", message(2), minute(2))
	must(t, r.worker().Drain(t.Context()))
	got := r.subjects()
	for i := range 3 {
		if n := got[fmt.Sprintf("number %d", i)]; n != 1 {
			t.Errorf("message %d is on the stream %d times, want 1", i, n)
		}
	}
}

// Mail, renumbered folders, restarts and faults in any order: each message is on the stream once.
func TestResetsAndFaultsInAnyOrder(t *testing.T) {
	for seed := range uint64(16) {
		provider, watched, folders := sim.Exchange, []string{"INBOX", "Archive"}, []string{"INBOX", "Archive"}
		if seed%2 == 0 {
			provider, watched, folders = sim.Gmail, []string{"INBOX", `\All`}, []string{"INBOX", "[Gmail]/All Mail"}
		}
		t.Run(fmt.Sprint(provider, seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t, provider, watched...)
			var log []string
			n, w := 0, (*mailbox.Worker)(nil)
			restart := func() {
				if w != nil {
					w.Close()
				}
				f := &faulty{Publisher: r.publisher, floor: r.store, fail: int64(rng.IntN(40)), after: rng.IntN(2) == 0}
				c := r.config()
				c.Stream, c.Bytes, c.Floor = f, f, f
				w = mailbox.NewWorker(c)
			}
			restart()
			for range 25 {
				folder := folders[rng.IntN(len(folders))]
				switch rng.IntN(7) {
				case 0, 1, 2:
					for range 1 + rng.IntN(4) {
						log = append(log, fmt.Sprintf("number %d comes to %s", n, folder))
						r.account.Deliver(folder, message(n), minute(n))
						n++
					}
				case 3:
					log = append(log, folder+" is renumbered")
					r.account.BumpUIDValidity(folder)
					restart()
				case 4:
					log = append(log, "restart")
					restart()
				default:
					log = append(log, fmt.Sprint("drain: ", w.Drain(t.Context())))
				}
			}
			w.Close()
			must(t, r.worker().Drain(t.Context()))
			got := r.subjects()
			for i := range n {
				if c := got[fmt.Sprintf("number %d", i)]; c != 1 {
					t.Errorf("number %d is on the stream %d times", i, c)
				}
			}
			if t.Failed() {
				t.Log(strings.Join(log, "\n"))
			}
		})
	}
}
