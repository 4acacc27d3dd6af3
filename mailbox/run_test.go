package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
		stop := runs(t, w)
		eventually(t, "the login fails", func() bool { return w.Status().Failures > 0 })
		if got := fmt.Sprint(g.Unready()); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
		stop()
		if s := w.Status(); s.Sentence != "" || g.Unready() != nil {
			t.Errorf("%v: on another replica it is still %q", test.err, s.Sentence)
		}
	}
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
	stop := runs(t, w)
	eventually(t, "the login fails", func() bool { return w.Status().Failures > 0 })
	stop()
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
	stop := runs(t, w)
	if s := <-seen; s != mailbox.StateReading {
		t.Errorf("while its mail is being stored the mailbox is %q", s)
	}
	stop()
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

// That a mailbox needs its owner is told once, and again if nobody could hear it.
func TestNewsThatNobodyHeardIsToldAgain(t *testing.T) {
	c := newRig(t, sim.Exchange).config()
	news := &mute{left: 2}
	c.Announcer = news
	c.Open = func(context.Context) (mailbox.Session, []string, error) {
		return nil, nil, revoked{errors.New("revoked")}
	}
	w := mailbox.NewWorker(c)
	stop := runs(t, w)
	eventually(t, "the login fails often enough", func() bool { return w.Status().Failures > 6 })
	stop()
	if got := news.heard(); !slices.Equal(got, []string{"auth_failed"}) {
		t.Errorf("told %q, want auth_failed once", got)
	}
}

// revoked is an error that needs a person and is looked at again soon.
type revoked struct{ error }

func (revoked) Who() string                     { return "person" }
func (revoked) Advice() (sentence, hint string) { return "The grant was revoked.", "Sign in again." }

func (revoked) RetryIn() time.Duration { return 10 * time.Millisecond }

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
