package publish

import (
	"errors"
	"fmt"
	"strings"
)

// What a call can fail with. Each is wrapped in an error whose text says what, where and why; test with errors.Is.
// After any of them the tail is unknown: call Recover before the next Commit.
var (
	// ErrConflict: the chain is not where the batch expects it; nothing was stored. Another writer was faster, or an
	// earlier batch of ours that we had given up landed after all.
	ErrConflict = errors.New("the chain has moved")
	// ErrUncertain: the answer did not come; the batch is stored completely or not at all, and Recover tells which.
	ErrUncertain = errors.New("no answer, it may or may not be stored")
	// ErrFull: the stream or its disk is full; nothing was stored. It passes when retention or a person makes room.
	ErrFull = errors.New("the stream is full")
	// ErrNoStream: the stream or the bucket does not exist, or JetStream is off. The operator must act; Setup creates
	// what is missing.
	ErrNoStream = errors.New("the stream does not exist")
	// ErrUnavailable: NATS is not reachable or has no leader at the moment; nothing was stored. It passes by itself.
	ErrUnavailable = errors.New("NATS is not available")
	// ErrInvalid: the caller's mistake; trying again will not help.
	ErrInvalid = errors.New("invalid call")
	// ErrMismatch: the bytes given to Put are not the bytes that were announced; nothing is stored.
	ErrMismatch = errors.New("the bytes do not match their digest or size")
)

// InUseError says that another process has the store directory of the built-in server.
type InUseError struct {
	Dir    string
	PID    int    // 0 if unknown
	Listen string // where that process's server takes connections; empty if nowhere, or unknown
}

func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID > 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the NATS store %s is in use by %s: stop it, give this one its own \"data\" directory, or run one "+
		"NATS server for both and set nats.url", e.Dir, holder)
}

// UnreachableError says that no NATS server answered.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach NATS at %s: %v: check that the server runs and that nats.url is right, or leave "+
		"nats.url empty to use the built-in server", e.URL, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Is makes every UnreachableError an ErrUnavailable.
func (e *UnreachableError) Is(target error) bool { return target == ErrUnavailable }

// LoginError says that the server refused who we are.
type LoginError struct {
	URL string
	Err error
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("NATS at %s refuses us: %v: check what logs us in (nats.creds, nkey, user, token or "+
		"jwt) and nats.tls", e.URL, e.Err)
}

func (e *LoginError) Unwrap() error { return e.Err }

// VersionError says that the server is too old.
type VersionError struct {
	URL, Version string
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("NATS at %s is version %s, and %d.%d or newer is needed (atomic batches): upgrade nats-server, or "+
		"leave nats.url empty to use the built-in server", e.URL, e.Version, minMajor, minMinor)
}

// PermissionError says that the account may not do something that is needed.
type PermissionError struct {
	Op      string // "publish to" or "subscribe to"
	Subject string
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("NATS does not allow us to %s %s: grant it to the user that we log in as", e.Op, e.Subject)
}

// TooLargeError says that one message cannot be stored whatever we do. Put its large parts into the object store.
type TooLargeError struct {
	ID          string // of the event
	Size, Limit int64  // in bytes, headers included
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("event %s is %d bytes with its headers, and the server takes %d: store attachments and the raw "+
		"message as objects, or raise max_payload of the NATS server", e.ID, e.Size, e.Limit)
}

// SettingsError lists what is wrong with a stream that we found.
type SettingsError struct {
	Stream      string
	Differences []Difference
}

// Difference is one setting that keeps a stream from holding our promises.
type Difference struct {
	Setting    string
	Have, Want string
	Fix        string // a sentence
}

func (e *SettingsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the stream %s cannot be used as it is:", e.Stream)
	for _, d := range e.Differences {
		fmt.Fprintf(&b, " %s is %s and must be %s. %s", d.Setting, d.Have, d.Want, d.Fix)
	}
	return b.String()
}
