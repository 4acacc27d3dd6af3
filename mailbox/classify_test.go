package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/token"
)

// Every typed error of the rooms around has one meaning, however deep it is wrapped.
func TestClassify(t *testing.T) {
	problem := token.Problem{Code: "invalid_grant", Sentence: "It is revoked.", Hint: "Sign in again."}
	type want struct {
		class    mailbox.Class
		sentence string // a part of it
		hint     string // a part of it
		wait     time.Duration
		expected bool
	}
	for _, c := range []struct {
		err error
		want
	}{
		{&fetcher.ExpiredError{Text: "BYE Session expired"}, want{mailbox.Passing, "ended with its token", "", 0, true}},
		{&fetcher.AuthError{Text: "NO nope", Hint: "do this"}, want{mailbox.Person, "refuses the login: NO nope", "do this", 0, false}},
		{&fetcher.ThrottledError{Text: "BAD slow", Wait: time.Minute, Hint: "wait"}, want{mailbox.Passing, "slow down: BAD slow", "wait", time.Minute, false}},
		{&fetcher.NotConnectedError{Text: "BAD not connected", Hint: "grant it"}, want{mailbox.Passing, "serves nothing: BAD not connected", "grant it", 0, false}},
		{&fetcher.FolderError{Folder: "Sales", Text: "does not exist", Hint: "there is INBOX"}, want{mailbox.Person, `Folder "Sales" cannot be read: does not exist`, "there is INBOX", 0, false}},
		{&fetcher.TLSError{Text: "bad certificate", Hint: "set ca"}, want{mailbox.Operator, "cannot be secured: bad certificate", "set ca", 0, false}},
		{&fetcher.ProxyError{Proxy: "p:1", Status: "403 Forbidden", Hint: "see NO_PROXY"}, want{mailbox.Operator, "the proxy p:1 answers: 403 Forbidden", "see NO_PROXY", 0, false}},
		{&fetcher.ProxyError{Proxy: "p:1", Status: "502 Bad Gateway"}, want{mailbox.Passing, "502 Bad Gateway", "", 0, false}},
		{&fetcher.ServerError{Command: "EXAMINE", Text: "NO later"}, want{mailbox.Passing, "NO later", "", 0, false}},
		{&fetcher.ByeError{Text: "bye"}, want{mailbox.Passing, "bye", "", 0, false}},
		{&fetcher.LimitError{What: "line"}, want{mailbox.Passing, "exceeds a limit: line", "", 0, false}},
		{&fetcher.StallError{After: time.Minute}, want{mailbox.Passing, "no progress for 1m0s", "", 0, false}},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, want{mailbox.Passing, "refused", "", 0, false}},

		{&publish.PermissionError{Op: "publish to", Subject: "mail.>"}, want{mailbox.Operator, "publish to mail.>", "", 15 * time.Second, false}},
		{&publish.SettingsError{Stream: "MAIL"}, want{mailbox.Operator, "MAIL", "", 0, false}},
		{&publish.VersionError{URL: "nats://x", Version: "2.10.0"}, want{mailbox.Operator, "2.10.0", "", 0, false}},
		{&publish.LoginError{URL: "nats://x", Err: errors.New("no")}, want{mailbox.Operator, "refuses us", "", 0, false}},
		{&publish.TooLargeError{ID: "x", Size: 2, Limit: 1}, want{mailbox.Operator, "max_payload", "", 0, false}},
		{&publish.InUseError{Dir: "data", PID: 7}, want{mailbox.Operator, "process 7", "", 0, false}},
		{&publish.UnreachableError{URL: "nats://x", Err: errors.New("refused")}, want{mailbox.Passing, "cannot reach NATS", "", 0, false}},
		{publish.ErrConflict, want{mailbox.Passing, "does not take mail", "", 0, false}},
		{publish.ErrUncertain, want{mailbox.Passing, "does not take mail", "", 0, false}},
		{publish.ErrUnavailable, want{mailbox.Passing, "does not take mail", "", 0, false}},
		{publish.ErrFull, want{mailbox.Passing, "stream is full", "max_bytes", 10 * time.Second, false}},
		{publish.ErrNoStream, want{mailbox.Operator, "does not exist", "Create the stream", 15 * time.Second, false}},
		{publish.ErrInvalid, want{mailbox.Operator, "invalid call", "", 0, false}},

		{&token.GrantError{Mailbox: "a", Problem: problem}, want{mailbox.Person, "It is revoked.", "Sign in again.", time.Minute, false}},
		{&token.ClientError{Client: "google", Problem: problem}, want{mailbox.Operator, "OAuth client google: It is revoked.", "Sign in again.", time.Minute, false}},
		{&token.UnavailableError{Problem: problem, Wait: time.Hour}, want{mailbox.Passing, "It is revoked.", "Sign in again.", time.Hour, false}},
		{&token.SealError{Mailbox: "a", Reason: "no key", Hint: "bring the key"}, want{mailbox.Operator, "cannot be opened: no key", "bring the key", time.Minute, false}},

		{fs.ErrExist, want{mailbox.Passing, "Another replica", "", 0, false}},
		{context.Canceled, want{mailbox.Passing, "stopped", "", 0, true}},
		{context.DeadlineExceeded, want{mailbox.Passing, "deadline exceeded", "", 0, false}},
		{errors.New("who knows"), want{mailbox.Passing, "who knows", "", 0, false}},
	} {
		for _, err := range []error{c.err, fmt.Errorf("mailbox x: %w", fmt.Errorf("pass: %w", c.err)), errors.Join(nil, c.err)} {
			v := mailbox.Classify(err)
			if v.Class != c.class || v.Wait != c.wait || v.Expected != c.expected ||
				!strings.Contains(v.Sentence, c.sentence) || !strings.Contains(v.Hint, c.hint) {
				t.Errorf("%T %v:\n got %+v\nwant %+v", c.err, err, v, c.want)
			}
		}
	}
}

// Of two errors that come together the one that knows who must act counts.
func TestClassifyPrefersWhatItKnows(t *testing.T) {
	err := errors.Join(context.Canceled, errors.New("unknown"), &fetcher.AuthError{Text: "NO"})
	if v := mailbox.Classify(err); v.Class != mailbox.Person {
		t.Errorf("%+v", v)
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
