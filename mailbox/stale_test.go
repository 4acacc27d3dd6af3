package mailbox_test

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/broker"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
)

// notices returns what was announced of the rig's mailbox, in order.
func (r *rig) notices(state string) []event.MailboxChange {
	r.t.Helper()
	usage, err := r.publisher.Usage(r.t.Context())
	must(r.t, err)
	var all []event.MailboxChange
	if usage.Stream.Messages == 0 {
		return nil
	}
	for d, err := range r.publisher.Follow(r.t.Context(), ">") {
		must(r.t, err)
		if d.Subject == "mailbox.anna."+state {
			var e event.MailboxEvent
			must(r.t, json.Unmarshal(d.Data, &e))
			all = append(all, e.Data)
		}
		if d.Seq == usage.Stream.LastSeq {
			break
		}
	}
	return all
}

// lapse is what may become of a stream, and what is said then.
var lapses = map[string]struct {
	lose func(r *rig)
	says string
}{
	"purged": {func(r *rig) {
		stream, err := r.publisher.JetStream().Stream(r.t.Context(), "MAIL")
		must(r.t, err)
		must(r.t, stream.Purge(r.t.Context()))
	}, "The stream was purged"},
	"one mailbox purged": {func(r *rig) {
		stream, err := r.publisher.JetStream().Stream(r.t.Context(), "MAIL")
		must(r.t, err)
		must(r.t, stream.Purge(r.t.Context(), jetstream.WithPurgeSubject("mail.anna.>")))
	}, "The stream was purged"},
	"made anew": {func(r *rig) {
		must(r.t, r.publisher.JetStream().DeleteStream(r.t.Context(), "MAIL"))
		must(r.t, r.publisher.Setup(r.t.Context()))
	}, "The stream was deleted and made anew"},
	"without record": {func(r *rig) {
		kv, err := r.publisher.JetStream().KeyValue(r.t.Context(), "mailflume")
		must(r.t, err)
		must(r.t, kv.Purge(r.t.Context(), "p.anna"))
	}, "There is no record of positions"},
}

// Where a promise cannot be kept it is said, once: as an event, in the status, and by whoever carries the mailbox next.
func TestLostEventsAreAnnounced(t *testing.T) {
	for name, lapse := range lapses {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, sim.Exchange)
			r.deliver("INBOX", 0, 3)
			must(t, r.worker().Drain(t.Context()))
			if n := r.notices("stale"); len(n) != 0 {
				t.Fatalf("announced before anything happened: %+v", n)
			}
			lapse.lose(r)
			r.deliver("INBOX", 3, 2)
			w := r.worker()
			must(t, w.Drain(t.Context()))
			must(t, w.Drain(t.Context()))
			n := r.notices("stale")
			if len(n) != 1 || !strings.HasPrefix(n[0].Detail, lapse.says) || n[0].Hint == "" {
				t.Errorf("announced %+v, want once %q", n, lapse.says)
			}
			for who, s := range map[string]mailbox.Status{"its finder": w.Status(), "the next owner": status(t, r)} {
				if !strings.HasPrefix(s.Notice, lapse.says) || s.NoticeHint == "" || s.NoticeAt.IsZero() {
					t.Errorf("%s shows %q", who, s.Notice)
				}
			}
			if n := r.notices("stale"); len(n) != 1 {
				t.Errorf("announced %d times", len(n))
			}
			got := r.subjects()
			if got["number 3"] != 1 || got["number 4"] != 1 || len(got) > 5 {
				t.Errorf("the stream has %v", got)
			}
		})
	}
}

func status(t *testing.T, r *rig) mailbox.Status {
	w := r.worker()
	must(t, w.Drain(t.Context()))
	return w.Status()
}

// Events that retention removed are told apart from events that somebody removed.
func TestExpiredEventsAreAnnounced(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 3)
	must(t, r.worker().Drain(t.Context()))
	js := r.publisher.JetStream()
	stream, err := js.Stream(t.Context(), "MAIL")
	must(t, err)
	c := stream.CachedInfo().Config
	c.MaxAge = time.Second
	_, err = js.UpdateStream(t.Context(), c)
	must(t, err)
	for i := 0; ; i++ {
		if info, err := stream.Info(t.Context()); err == nil && info.State.Msgs == 0 {
			break
		}
		if i > 300 {
			t.Fatal("nothing expires")
		}
		time.Sleep(50 * time.Millisecond)
	}
	w := r.worker()
	must(t, w.Drain(t.Context()))
	if s := w.Status(); !strings.HasPrefix(s.Notice, "Retention has removed") {
		t.Errorf("shows %q", s.Notice)
	}
}

// After a purge nothing is there to compare with: what is listed again after a UIDVALIDITY change and is older than the
// newest that was published is counted, not published twice.
func TestResetAfterAPurge(t *testing.T) {
	r := newRig(t, sim.Exchange)
	r.deliver("INBOX", 0, 5)
	must(t, r.worker().Drain(t.Context()))
	lapses["purged"].lose(r)
	r.account.BumpUIDValidity("INBOX")
	r.deliver("INBOX", 5, 1)
	w := r.worker()
	must(t, w.Drain(t.Context()))
	if got := r.subjects(); len(got) != 2 || got["number 4"] != 1 || got["number 5"] != 1 {
		t.Errorf("the stream has %v, want number 4, which is as new as the newest that was published, and number 5", got)
	}
	if n := w.Status().Dropped["before_reset"]; n != 4 {
		t.Errorf("%d messages are counted, want 4", n)
	}
}

// A record of positions that is not what was written: where the stream knows every folder it is made anew, nothing is lost
// and nothing comes twice; where it does not, nothing is read and the operator is told.
func TestDamagedPositionRecord(t *testing.T) {
	damages := map[string]func(r *rig, value, older []byte) []byte{
		"truncated": func(_ *rig, v, _ []byte) []byte { return v[:len(v)/2] },
		"zeroed":    func(_ *rig, v, _ []byte) []byte { return make([]byte, len(v)) },
		"empty":     func(_ *rig, v, _ []byte) []byte { return []byte{} },
		"flipped":   func(_ *rig, v, _ []byte) []byte { v[len(v)/3] ^= 0x20; return v },
		"older":     func(_ *rig, _, older []byte) []byte { return older },
		"foreign": func(r *rig, _, _ []byte) []byte {
			_, err := r.store.SavePositions(r.t.Context(), "berta", map[string]string{"INBOX": "p1;71;90;91;91;0;0;;"}, "", 0)
			must(r.t, err)
			return record(r, "berta")
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, sim.Exchange)
			r.deliver("INBOX", 0, 3)
			must(t, r.worker().Drain(t.Context()))
			older := record(r, "anna")
			r.deliver("INBOX", 3, 3)
			must(t, r.worker().Drain(t.Context()))
			overwrite(r, damage(r, record(r, "anna"), older))
			r.deliver("INBOX", 6, 2)
			w := r.worker()
			must(t, w.Drain(t.Context()))
			r.wantExactly("INBOX")
			want := "The record of positions was damaged"
			if name == "older" { // the stream is ahead of it, as it is after a crash, and counts
				want = ""
			}
			if s := w.Status(); !strings.HasPrefix(s.Notice, want) || (s.Notice == "") != (want == "") {
				t.Errorf("shows %q, want %q", s.Notice, want)
			}
		})
	}
}

// Of a folder without an event nobody knows where it stands once the record is damaged.
func TestDamagedPositionRecordOfAQuietFolder(t *testing.T) {
	r := newRig(t, sim.Exchange, "INBOX", "Archive")
	r.deliver("INBOX", 0, 3)
	must(t, r.worker().Drain(t.Context()))
	sound := record(r, "anna")
	overwrite(r, []byte("{"))
	r.deliver("Archive", 3, 1)
	r.deliver("INBOX", 4, 1)
	for range 2 {
		v := mailbox.Classify(r.worker().Drain(t.Context()))
		if v.Class != mailbox.Operator || !strings.Contains(v.Sentence, "damaged") || !strings.Contains(v.Hint, "p.anna") {
			t.Fatalf("%+v", v)
		}
	}
	if n := len(r.stored()); n != 3 {
		t.Errorf("%d events, want the 3 from before", n)
	}
	overwrite(r, sound)
	must(t, r.worker().Drain(t.Context()))
	r.wantExactly("INBOX", "Archive")
}

// A position that this version cannot read is for the operator, and no connection failure that passes.
func TestClassifyAPositionOfAnotherVersion(t *testing.T) {
	r := newRig(t, sim.Exchange)
	_, err := r.store.SavePositions(t.Context(), "anna", map[string]string{"INBOX": "p9;1"}, "", 0)
	must(t, err)
	v := mailbox.Classify(r.worker().Drain(t.Context()))
	if v.Class != mailbox.Operator || !strings.Contains(v.Sentence, "INBOX") || v.Hint == "" {
		t.Errorf("%+v", v)
	}
}

func record(r *rig, id string) []byte {
	r.t.Helper()
	kv, err := r.publisher.JetStream().KeyValue(r.t.Context(), "mailflume")
	must(r.t, err)
	e, err := kv.Get(r.t.Context(), "p."+id)
	must(r.t, err)
	return e.Value()
}

func overwrite(r *rig, value []byte) {
	r.t.Helper()
	kv, err := r.publisher.JetStream().KeyValue(r.t.Context(), "mailflume")
	must(r.t, err)
	_, err = kv.Put(r.t.Context(), "p.anna", value)
	must(r.t, err)
}

// rolledBack is a stream that ends before what it has acknowledged.
type rolledBack struct {
	*broker.Broker
	last uint64
}

func (b rolledBack) Recover(ctx context.Context, box string, folders []string) (publish.Chain, error) {
	c, err := b.Broker.Recover(ctx, box, folders)
	if b.last > 0 {
		c.Seq, c.Stream.Last = b.last, b.last
	}
	return c, err
}

// A stream that ends before what it acknowledged may be a leader that does not know of its successor: that passes. If it
// stays so, the server has lost mail that we told to be safe, and that is said.
func TestAStreamThatForgotIsAnnounced(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		stop := s.run()
		s.deliver(0, 3)
		time.Sleep(time.Minute)
		stop()
		c := s.config()
		c.Stream = rolledBack{l.broker, 1}
		w := mailbox.NewWorker(c)
		defer w.Close()
		if v := mailbox.Classify(w.Drain(l.t.Context())); v.Class != mailbox.Passing || !v.Ours {
			t.Errorf("at first: %+v", v)
		}
		time.Sleep(time.Minute)
		if err := w.Drain(l.t.Context()); err != nil {
			t.Errorf("later: %v", err)
		}
		if s := w.Status().Notice; !strings.Contains(s, "has lost some") {
			t.Errorf("shows %q", s)
		}
	})
}

// A mailbox without a complete pass for hours is announced as stale whatever keeps it, and as recovered afterwards.
func TestAMailboxThatIsNotReadIsStale(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		stop := s.run()
		defer stop()
		time.Sleep(time.Hour)
		if n := l.broker.Notices("anna"); slices.Contains(n, "stale") {
			t.Fatalf("announced %q while all was well", n)
		}
		s.a.Throttle(48 * time.Hour)
		s.a.DropConnections()
		time.Sleep(mailbox.DefaultStaleAfter - time.Hour)
		if n := l.broker.Notices("anna"); slices.Contains(n, "stale") {
			t.Errorf("announced too early: %q", n)
		}
		time.Sleep(26 * time.Hour)
		n := l.broker.Notices("anna")
		if i := slices.Index(n, "stale"); i < 0 || slices.Contains(n[i+1:], "stale") || slices.Contains(n[i+1:], "recovered") {
			t.Errorf("announced %q", n)
		}
		if st := s.w.Status(); st.StaleSince.IsZero() || st.Sentence == "" {
			t.Errorf("status %+v", st)
		}
		time.Sleep(48 * time.Hour)
		n = l.broker.Notices("anna")
		if n[len(n)-1] != "recovered" {
			t.Errorf("announced %q at the end", n)
		}
		if st := s.w.Status(); !st.StaleSince.IsZero() {
			t.Errorf("still stale: %+v", st)
		}
	})
}

// A pass that hangs is as stale as one that fails.
func TestAPassThatHangsIsStale(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		c := s.config()
		c.Open = func(ctx context.Context) (mailbox.Session, []string, error) {
			<-ctx.Done()
			return nil, nil, io.ErrUnexpectedEOF
		}
		w := mailbox.NewWorker(c)
		stop := runs(l.t, w)
		time.Sleep(mailbox.DefaultStaleAfter + time.Hour)
		if n := l.broker.Notices("anna"); !slices.Contains(n, "stale") {
			t.Errorf("announced %q", n)
		}
		stop()
	})
}

// A folder that cannot be read is announced with its name while the others are, and once it can be again.
func TestAFolderThatCannotBeReadIsAnnounced(t *testing.T) {
	inLab(t, plainWorld, func(l *lab) {
		s := l.add(sim.Exchange, "anna")
		gone := &fetcher.FolderError{Folder: "Orders", Text: "does not exist"}
		c := s.config()
		c.Open = func(context.Context) (mailbox.Session, []string, error) {
			return &moody{errs: []error{nil, gone, gone, nil, nil}}, []string{"INBOX", "Orders"}, nil
		}
		w := mailbox.NewWorker(c)
		stop := runs(l.t, w)
		time.Sleep(time.Hour)
		stop()
		if n := l.broker.Notices("anna"); !slices.Equal(n, []string{"connected", "stale", "recovered"}) {
			t.Errorf("announced %q", n)
		}
	})
}

// moody is a session without mail whose passes end with these errors, one a minute.
type moody struct {
	script
	errs []error
}

func (m *moody) Messages(context.Context, map[string]fetcher.Position) iter.Seq2[fetcher.Message, error] {
	return func(yield func(fetcher.Message, error) bool) {
		if len(m.errs) == 0 {
			return
		}
		err := m.errs[0]
		if m.errs = m.errs[1:]; err != nil {
			yield(fetcher.Message{}, err)
		}
	}
}

func (m *moody) Wait(ctx context.Context) error {
	select {
	case <-time.After(time.Minute):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
