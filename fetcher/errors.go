package fetcher

import (
	"fmt"
	"time"
)

// AuthError says that the server refused the credentials, or this way to use them. If Stale, a fresh token may help:
// refresh once, and take the second refusal for final. Otherwise a person has to act, and Hint says how.
type AuthError struct {
	Text  string // what the server said
	Stale bool
	Hint  string
}

func (e *AuthError) Error() string { return "login refused: " + e.Text }

// ExpiredError says that the server ended the session because its token ran out. It is no failure: open a new Session
// with a fresh token at once.
type ExpiredError struct{ Text string }

func (e *ExpiredError) Error() string { return "session expired: " + e.Text }

// ThrottledError says that the server wants this account left alone. Wait is how long, if it said so.
type ThrottledError struct {
	Text    string
	Wait    time.Duration // 0 if the server gave no hint
	Longest time.Duration // if not 0: each time it says so again, Wait doubles, up to this
	Hint    string
}

func (e *ThrottledError) Error() string { return "throttled: " + e.Text }

// NotConnectedError is Exchange's way to accept a login and serve nothing. Intermittent, it is throttling; if it never
// worked since the token was granted, it is a missing permission and Hint says which.
type NotConnectedError struct {
	Text string
	Hint string
}

func (e *NotConnectedError) Error() string { return "authenticated but not connected: " + e.Text }

// ServerError is a refusal that names no reason we know. Time may heal it.
type ServerError struct {
	Command string // the verb, such as "EXAMINE"; "" if the server spoke unasked
	Text    string
}

// Temporary reports whether the refusal says nothing about what was asked for.
func (e *ServerError) Temporary() bool { return passing(e.Text) }

func (e *ServerError) Error() string {
	if e.Command == "" {
		return "server says: " + e.Text
	}
	return "server answers " + e.Command + ": " + e.Text
}

// ByeError is the farewell of a server that closed the connection for a reason that we do not know.
type ByeError struct{ Text string }

func (e *ByeError) Error() string { return "server closed the connection: " + e.Text }

// FolderError says that a folder cannot be read: it does not exist, or may not be opened.
type FolderError struct {
	Folder string
	Text   string
	Hint   string // what exists

	Missing bool // there is no such folder, or there is none any more
}

func (e *FolderError) Error() string { return fmt.Sprintf("folder %q: %s", e.Folder, e.Text) }

// ActionError says that the server will not do to messages what it was asked to: asking again is of no use until somebody
// acts.
type ActionError struct {
	Folder string // where the messages are
	What   string // what was to be done: "move to folder \"Done\""
	Text   string // why not
	Hint   string
}

func (e *ActionError) Error() string {
	return fmt.Sprintf("folder %q: cannot %s: %s", e.Folder, e.What, e.Text)
}

// LimitError says that the server sent more than any honest server would: the connection was cut to protect the
// process.
type LimitError struct{ What string }

func (e *LimitError) Error() string { return "server exceeds a limit: " + e.What }

// StallError says that a reply was due and no byte came for too long.
type StallError struct {
	After  time.Duration
	Others bool // it was slow, and others waited for their turn
}

func (e *StallError) Error() string { return fmt.Sprintf("no progress for %v", e.After) }

// Timeout is true.
func (e *StallError) Timeout() bool { return true }

// TLSError says that the connection could not be secured, so nothing secret was sent over it.
type TLSError struct {
	Text string
	Hint string
	Err  error
}

func (e *TLSError) Error() string {
	if e.Err != nil {
		return e.Text + ": " + e.Err.Error()
	}
	return e.Text
}

func (e *TLSError) Unwrap() error { return e.Err }
