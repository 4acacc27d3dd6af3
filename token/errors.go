package token

import (
	"fmt"
	"time"
)

// Problem is what went wrong with a grant, said for people. It never holds a token or a secret.
type Problem struct {
	Code     string    `json:"code"`               // such as "invalid_grant", "AADSTS700082"
	Sentence string    `json:"sentence"`           // what is wrong
	Hint     string    `json:"hint,omitempty"`     // what to do about it
	Detail   string    `json:"detail,omitempty"`   // what the provider said, shortened
	TraceID  string    `json:"trace_id,omitempty"` // what the provider's support asks for
	At       time.Time `json:"at"`                 // when it was met first
}

// Trace is what the provider's support asks for; empty if the provider gave nothing.
func (p Problem) Trace() string { return p.TraceID }

func (p Problem) text() string {
	s := p.Sentence
	if p.Code != "" {
		s += " [" + p.Code + "]"
	}
	return s
}

// GrantError says that a person must act: the mailbox has no grant, or the provider does not accept it any more. It is
// remembered in the grant's record, so that no replica asks again before RetryAt, or until another refresh token is
// configured.
type GrantError struct {
	Mailbox string
	Problem
	Interrupted bool      // an earlier answer was lost, so that the provider may have seen a refresh token twice
	RetryAt     time.Time // zero: only another refresh token helps
}

func (e *GrantError) Error() string { return "grant of mailbox " + e.Mailbox + ": " + e.text() }

// ClientError says that the operator must act: the OAuth client is refused, or cannot be used as configured. If it is the
// client itself, every mailbox of it is given this same value until it is tried again, so that one alert for each Client is
// enough. What only one mailbox, its domain or its tenant meets holds up none of the others.
type ClientError struct {
	Client string
	Problem
	Err error // the cause if it is local, such as a secret that cannot be read
}

func (e *ClientError) Error() string {
	s := "OAuth client " + e.Client + ": " + e.text()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ClientError) Unwrap() error { return e.Err }

// UnavailableError says that time heals it: the token endpoint, or the store of grants, does not answer usefully. Wait is
// how long to leave it alone at least; asking earlier gives the same error without a request.
type UnavailableError struct {
	Problem
	Wait time.Duration
	Err  error
}

func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return e.text()
	}
	return e.text() + ": " + e.Err.Error()
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// SealError says that a stored grant cannot be opened: a key is missing or another one, or the record was altered. The
// operator must act; nothing is overwritten, since the right key may yet turn up.
type SealError struct {
	Mailbox string
	KeyID   string
	Reason  string
	Hint    string
}

func (e *SealError) Error() string {
	return fmt.Sprintf("the stored grant of mailbox %s cannot be opened: %s", e.Mailbox, e.Reason)
}
