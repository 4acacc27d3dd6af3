package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/publish"
)

// Class says who must act on an error.
type Class string

// The classes.
const (
	Passing  Class = "passes"   // nobody: it passes by itself
	Person   Class = "person"   // the mailbox's owner
	Operator Class = "operator" // whoever runs this program
)

// Verdict is what an error means for a mailbox.
type Verdict struct {
	Class    Class
	Sentence string        // what is wrong, for a person; without secrets and without text from a mail
	Hint     string        // what to do about it; may be empty
	Wait     time.Duration // what the other side asked for; 0 if it did not
	Longest  time.Duration // if not 0: asked for again and again, Wait doubles, up to this
	Lasting  time.Duration // if not 0: after so long without ever having worked, the mailbox's owner must act
	Expected bool          // part of life: no failure at all
	State    string        // of what needs a person: what is announced, one of event.States
	Ours     bool          // our own stream: trying again soon is no impoliteness
}

// adviser is an error that says itself who must act; those of package token do.
type adviser interface {
	error
	Who() string // a Class
	Advice() (sentence, hint string)
	RetryIn() time.Duration
}

// Classify says what an error means for a mailbox. What it does not know passes: trying again is never wrong, only slow.
func Classify(err error) Verdict {
	for _, known := range []func(error) (Verdict, bool){fromAdviser, fromServer, fromStream, fromFloor, fromParser} {
		if v, ok := known(err); ok {
			if v.State == "" {
				v.State = "auth_failed" // what needs a person is, as a rule, the login
			}
			return v
		}
	}
	if errors.Is(err, context.Canceled) {
		return Verdict{Class: Passing, Sentence: "stopped", Expected: true}
	}
	return Verdict{Class: Passing, Sentence: "The connection failed: " + err.Error()}
}

func fromAdviser(err error) (Verdict, bool) {
	var a adviser
	if !errors.As(err, &a) {
		return Verdict{}, false
	}
	sentence, hint := a.Advice()
	return Verdict{Class: Class(a.Who()), Sentence: sentence, Hint: hint, Wait: a.RetryIn()}, true
}

// lasting is after how long a login that serves nothing is no outage any more, if the mailbox never worked.
const lasting = 30 * time.Minute

// fromServer knows what the mail server says.
func fromServer(err error) (Verdict, bool) {
	var (
		expired      *fetcher.ExpiredError
		auth         *fetcher.AuthError
		throttled    *fetcher.ThrottledError
		notConnected *fetcher.NotConnectedError
		folder       *fetcher.FolderError
		insecure     *fetcher.TLSError
		proxy        *fetcher.ProxyError
		action       *fetcher.ActionError
	)
	switch {
	case errors.As(err, &action):
		return Verdict{Class: Person, Sentence: fmt.Sprintf("In folder %q the mail server does not %s: %s", action.Folder, action.What, action.Text), Hint: action.Hint}, true
	case errors.As(err, &expired):
		return Verdict{Class: Passing, Sentence: "The session ended with its token.", Expected: true}, true
	case errors.As(err, &auth):
		return Verdict{Class: Person, Sentence: "The mail server refuses the login: " + auth.Text, Hint: auth.Hint}, true
	case errors.As(err, &throttled):
		return Verdict{Class: Passing, Sentence: "The mail server asks us to slow down: " + throttled.Text, Hint: throttled.Hint, Wait: throttled.Wait, Longest: throttled.Longest}, true
	case errors.As(err, &notConnected):
		return Verdict{Class: Passing, Sentence: "The mail server accepts the login and serves nothing: " + notConnected.Text, Hint: notConnected.Hint, Lasting: lasting}, true
	case errors.As(err, &folder):
		v := Verdict{Class: Person, Sentence: fmt.Sprintf("Folder %q cannot be read: %s", folder.Folder, folder.Text), Hint: folder.Hint, State: "stale"}
		if folder.Missing {
			v.State = "folder_missing"
		}
		return v, true
	case errors.As(err, &proxy) && proxy.Hint != "":
		return Verdict{Class: Operator, Sentence: "The mail server cannot be reached: " + proxy.Error(), Hint: proxy.Hint}, true
	case errors.As(err, &insecure):
		return Verdict{Class: Operator, Sentence: "The connection to the mail server cannot be secured: " + insecure.Error(), Hint: insecure.Hint}, true
	}
	return Verdict{}, false
}

// operatorWait is how often what the operator can mend in NATS is tried again: it costs nobody else anything.
const operatorWait = 15 * time.Second

// fromStream knows what NATS says.
func fromStream(err error) (Verdict, bool) {
	var (
		permission *publish.PermissionError
		settings   *publish.SettingsError
		version    *publish.VersionError
		login      *publish.LoginError
		tooLarge   *publish.TooLargeError
		inUse      *publish.InUseError
	)
	switch {
	case errors.Is(err, errMoved):
		return Verdict{Class: Passing, Sentence: err.Error(), Expected: true, Ours: true}, true
	case errors.As(err, &permission):
		return Verdict{Class: Operator, Sentence: err.Error(), Wait: operatorWait, Ours: true}, true
	case errors.As(err, &settings), errors.As(err, &version), errors.As(err, &login),
		errors.As(err, &tooLarge), errors.As(err, &inUse), errors.Is(err, publish.ErrInvalid), errors.Is(err, errPayload):
		return Verdict{Class: Operator, Sentence: err.Error(), Ours: true}, true
	case errors.Is(err, publish.ErrNoStream):
		return Verdict{
			Class: Operator, Sentence: err.Error(), Wait: operatorWait, Ours: true,
			Hint: "Create the stream again, or restart mailflume, which does.",
		}, true
	case errors.Is(err, publish.ErrFull):
		return Verdict{
			Class: Passing, Sentence: "The stream is full; the mail waits in the mailbox.", Wait: 10 * time.Second,
			Hint: "Raise nats.stream.max_bytes, shorten nats.stream.max_age, or give the NATS server more disk; after its disk was full, a NATS server that is not the built-in one must be restarted.",
		}, true
	case errors.Is(err, publish.ErrConflict), errors.Is(err, publish.ErrUncertain), errors.Is(err, publish.ErrUnavailable):
		return Verdict{Class: Passing, Sentence: "The stream does not take mail at the moment: " + err.Error(), Ours: true}, true
	}
	return Verdict{}, false
}

// floorError is a failure of the position store.
type floorError struct{ err error }

func (e *floorError) Error() string { return "positions: " + e.err.Error() }
func (e *floorError) Unwrap() error { return e.err }

// positionError says that a position is not what we wrote. Nobody but the operator can tell what it was.
type positionError struct{ text, hint string }

func (e *positionError) Error() string { return e.text }

// fromFloor knows the position store: a lost race means that another replica has claimed the mailbox.
func fromFloor(err error) (Verdict, bool) {
	var floor *floorError
	var position *positionError
	switch {
	case errors.As(err, &position):
		return Verdict{Class: Operator, Sentence: position.text, Hint: position.hint}, true
	case errors.Is(err, fs.ErrExist):
		return Verdict{Class: Passing, Sentence: "Another replica has claimed the mailbox.", Ours: true}, true
	case errors.As(err, &floor):
		return Verdict{Class: Passing, Sentence: "The positions cannot be kept at the moment: " + floor.err.Error(), Ours: true}, true
	}
	return Verdict{}, false
}
