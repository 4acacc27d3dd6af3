// Package event holds the published types: CloudEvent, JMAP Email and its siblings.
//
// It uses the standard library alone, so that a consumer can import it to decode what it takes from the stream. It
// neither publishes nor parses: package publish puts events on the stream and package parser fills in a Mail.
package event

import (
	"time"
)

// The values of the CloudEvents attribute "type". The version is part of the type: within one version fields are only
// ever added.
const (
	TypeReceived = "mailflume.message.received.v1"
	TypeDead     = "mailflume.message.dead.v1"
)

// ContentType is the media type of a structured CloudEvent and the value of the NATS header Content-Type
// (CloudEvents NATS binding, section 3.2).
const ContentType = "application/cloudevents+json"

// The schema URNs that the CloudEvents attribute "dataschema" carries.
const (
	SchemaMessage = "urn:mailflume:schema:message:v1"
	SchemaMailbox = "urn:mailflume:schema:mailbox:v1"
)

// Cause says why a message was published when it was.
type Cause string

// The causes.
const (
	CauseLive      Cause = "live"      // it arrived while we were watching
	CauseCatchup   Cause = "catchup"   // it arrived while we were away
	CauseBackfill  Cause = "backfill"  // it was there before we were first started
	CauseReconcile Cause = "reconcile" // found again after the folder was reset
	CauseReplay    Cause = "replay"    // published again because someone asked for it
)

// Envelope is the part of a CloudEvent that every event has (CloudEvents 1.0, structured JSON mode).
type Envelope struct {
	SpecVersion     string    `json:"specversion"`       // always "1.0"
	ID              string    `json:"id"`                // deterministic; also the NATS header Mailflume-Id
	Source          string    `json:"source"`            // /mailboxes/<id>/folders/<token>, or /mailboxes/<id>
	Type            string    `json:"type"`              // one of the Type constants, or MailboxType
	Subject         string    `json:"subject,omitempty"` // the Message-ID, if the message has one
	Time            time.Time `json:"time,omitzero"`     // INTERNALDATE in UTC; for mailbox events the moment it happened
	DataContentType string    `json:"datacontenttype"`   // always "application/json"
	DataSchema      string    `json:"dataschema"`        // one of the Schema constants
	Cause           Cause     `json:"cause,omitempty"`   // extension attribute
}

// MessageEvent is a CloudEvent about a message: TypeReceived or TypeDead.
type MessageEvent struct {
	Envelope
	Data Message `json:"data"`
}

// MailboxEvent is a CloudEvent about a mailbox: MailboxType.
type MailboxEvent struct {
	Envelope
	Data MailboxChange `json:"data"`
}

// Message is the data of a MessageEvent: the parsed mail and where it came from.
type Message struct {
	Mailbox  Mailbox   `json:"mailbox"`
	IMAP     IMAP      `json:"imap"`
	Provider *Provider `json:"provider,omitempty"`
	Mail               // inlined: email, text, html, replyText, auth, class, attachments, defects
	Raw      *Ref      `json:"raw,omitempty"`  // the untouched bytes, if they were kept
	Dead     *Dead     `json:"dead,omitempty"` // in a dead event: why

	// Direction is Sent if the mailbox's owner sent the message, and absent if it arrived. What was sent is published only
	// where the configuration asks for it.
	Direction string `json:"direction,omitempty"`
}

// Sent is the Direction of what the mailbox's owner sent.
const Sent = "sent"

// Mailbox names the mailbox an event belongs to.
type Mailbox struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	Provider string `json:"provider"`
}

// IMAP says where the server keeps the message (RFC 9051).
type IMAP struct {
	Folder       string    `json:"folder"`
	UIDValidity  uint32    `json:"uidValidity"`
	UID          uint32    `json:"uid"`
	Flags        []string  `json:"flags"`
	InternalDate time.Time `json:"internalDate,omitzero"`
	Size         int64     `json:"size"` // octets received; for a message too large to fetch, what the server says
}

// Provider carries the identifiers of providers that have some. They are decimal or opaque strings, because Gmail's are
// 64 bits wide and JSON numbers are not.
type Provider struct {
	EmailID  string   `json:"emailId,omitempty"`  // X-GM-MSGID or EMAILID (RFC 8474)
	ThreadID string   `json:"threadId,omitempty"` // X-GM-THRID or THREADID (RFC 8474)
	Labels   []string `json:"labels,omitempty"`   // X-GM-LABELS
}

// Ref points at bytes in the object store. Name is <mailbox>/<sha256>, so equal bytes are stored once a mailbox.
type Ref struct {
	Bucket string `json:"bucket"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // lower-case hex
}

// Dead says why a message is dead.
type Dead struct {
	Reason string `json:"reason"` // one of the Reason constants
	Detail string `json:"detail"` // a sentence for a person; never text from the message
}

// The reasons for which a message is dead.
const (
	ReasonTooLarge   = "too_large"  // over the size limit; the event has its headers and size
	ReasonUnreadable = "unreadable" // the server lists it and does not hand it out
	ReasonUnparsable = "unparsable" // the parser gave up; raw has the bytes
)

// MailboxChange is the data of a MailboxEvent.
type MailboxChange struct {
	Mailbox Mailbox `json:"mailbox"`
	State   string  `json:"state"`            // what happened: one of the States
	Folder  string  `json:"folder,omitempty"` // where, if it concerns one folder
	Detail  string  `json:"detail,omitempty"` // a sentence for a person
	Hint    string  `json:"hint,omitempty"`   // what to do about it
}

// States lists what can happen to a mailbox: the last token of the subject mailbox.<mailbox>.<what>.
var States = []string{"connected", "auth_failed", "auth_expiring", "reset", "stale", "folder_missing", "recovered"}

// MailboxType returns the CloudEvents type of a mailbox event, for example "mailflume.mailbox.connected.v1".
func MailboxType(state string) string { return "mailflume.mailbox." + state + ".v1" }
