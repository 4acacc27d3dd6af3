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
	CauseLive      Cause = "live"      // it arrived while it was being watched for
	CauseCatchup   Cause = "catchup"   // it arrived while nobody was watching
	CauseBackfill  Cause = "backfill"  // it was there before the mailbox was first seen
	CauseReconcile Cause = "reconcile" // it was found when the server had numbered the folder anew
	CauseReplay    Cause = "replay"    // published again because someone asked for it
)

// Envelope is the part of a CloudEvent that every event has (CloudEvents 1.0, structured JSON mode).
//
// The sentence of each field, here and below, is its description in the JSON Schema and in docs/event.md.
type Envelope struct {
	// The version of CloudEvents.
	SpecVersion string `json:"specversion"`
	// The name of the event, the same in every attempt to publish it, and in the NATS header Mailflume-Id. An event whose id
	// was handled before is to be dropped.
	ID string `json:"id"`
	// Where it happened: /mailboxes/<mailbox>/folders/<folder>, or /mailboxes/<mailbox>, with the tokens of the subject.
	Source string `json:"source"`
	// What happened, and in which version of this schema.
	Type string `json:"type"`
	// The Message-ID, without <>. Absent if the message has none that is usable.
	Subject string `json:"subject,omitempty"`
	// When the mail server received the message (INTERNALDATE, UTC); absent if it does not say. Of what happened to a mailbox,
	// when it happened.
	Time time.Time `json:"time,omitzero"`
	// The media type of data.
	DataContentType string `json:"datacontenttype"`
	// The $id of the schema of data.
	DataSchema string `json:"dataschema"`
	// Why the message was published when it was. An attribute that CloudEvents does not have.
	Cause Cause `json:"cause,omitempty"`
}

// MessageEvent is a CloudEvent about a message: it was received, or it is dead.
type MessageEvent struct {
	Envelope
	// The message.
	Data Message `json:"data"`
}

// MailboxEvent is a CloudEvent about what happened to a mailbox.
type MailboxEvent struct {
	Envelope
	// What happened to the mailbox.
	Data MailboxChange `json:"data"`
}

// Message is the data of a MessageEvent: the parsed mail and where it came from.
type Message struct {
	// The mailbox that the message is in.
	Mailbox Mailbox `json:"mailbox"`
	// Where the mail server keeps the message.
	IMAP IMAP `json:"imap"`
	// What the provider calls the message. Absent where the provider has no names of its own for messages.
	Provider *Provider `json:"provider,omitempty"`
	Mail               // its fields stand beside these
	// Where the untouched bytes of the message are, if they were kept (events.raw of the configuration).
	Raw *Ref `json:"raw,omitempty"`
	// Why the message is dead. Only in events of that type.
	Dead *Dead `json:"dead,omitempty"`
	// Present if the mailbox's owner sent the message, which is published only where the configuration asks for it (include).
	Direction string `json:"direction,omitempty"`
}

// Sent is the Direction of what the mailbox's owner sent.
const Sent = "sent"

// Mailbox names the mailbox that an event belongs to.
type Mailbox struct {
	// What subjects and events call the mailbox. It does not change when the mailbox gets another name or address.
	ID string `json:"id"`
	// What the configuration calls the mailbox.
	Name string `json:"name"`
	// The mailbox's mail address.
	Address string `json:"address"`
	// The mailbox's provider, as the configuration says it.
	Provider string `json:"provider"`
}

// IMAP says where the server keeps a message (RFC 9051). With folder, uidValidity and uid a program can open it there.
type IMAP struct {
	// The folder's name in full.
	Folder string `json:"folder"`
	// The folder's UIDVALIDITY: uid is good under this one only.
	UIDValidity uint32 `json:"uidValidity"`
	// The message's UID in the folder.
	UID uint32 `json:"uid"`
	// The flags that the message had when it was read, such as \Seen.
	Flags []string `json:"flags"`
	// When the mail server received the message, in UTC; absent if it does not say.
	InternalDate time.Time `json:"internalDate,omitzero"`
	// The size in bytes: of what was fetched, or of a message too large to be fetched, what the server says.
	Size int64 `json:"size"`
}

// Provider has a provider's own names. They are text, because Gmail's are 64 bits wide and numbers in JSON are not.
type Provider struct {
	// The message's id, the same in whichever folder it lies: Gmail's X-GM-MSGID, or EMAILID (RFC 8474).
	EmailID string `json:"emailId,omitempty"`
	// The id of the conversation: Gmail's X-GM-THRID, or THREADID (RFC 8474).
	ThreadID string `json:"threadId,omitempty"`
	// Gmail's labels, without that of the folder itself.
	Labels []string `json:"labels,omitempty"`
}

// Ref says where bytes are in the Object Store of the NATS server.
type Ref struct {
	// The Object Store bucket.
	Bucket string `json:"bucket"`
	// The object's name: the mailbox's token, a slash, and the SHA-256.
	Name string `json:"name"`
	// How many bytes there are.
	Size int64 `json:"size"`
	// The SHA-256 of the bytes, in hex.
	SHA256 string `json:"sha256"`
}

// Dead says why a message is dead.
type Dead struct {
	// Why, in a word.
	Reason string `json:"reason"`
	// Why, in a sentence for a person. It has no text from the message.
	Detail string `json:"detail"`
}

// The reasons for which a message is dead.
const (
	ReasonTooLarge   = "too_large"  // over limits.message_size; the event has its header and size
	ReasonUnreadable = "unreadable" // the server lists it and does not hand it out
	ReasonUnparsable = "unparsable" // no sense could be made of its bytes, which raw leads to
)

// MailboxChange is the data of a MailboxEvent.
type MailboxChange struct {
	// The mailbox.
	Mailbox Mailbox `json:"mailbox"`
	// What happened: the last token of the subject.
	State string `json:"state"`
	// The folder that it concerns. Absent if it concerns all of the mailbox.
	Folder string `json:"folder,omitempty"`
	// What happened, in a sentence for a person.
	Detail string `json:"detail,omitempty"`
	// What to do about it, for a person.
	Hint string `json:"hint,omitempty"`
}

// What can happen to a mailbox.
const (
	StateConnected     = "connected"      // it was read, for the first time since the program began with it
	StateAuthFailed    = "auth_failed"    // somebody must act before it can be read: sign in again, as a rule
	StateAuthExpiring  = "auth_expiring"  // what it logs in with ends before long
	StateReset         = "reset"          // the server has numbered a folder anew; only what the stream lacks is published
	StateStale         = "stale"          // it was not read for hours, or a promise about its events could not be kept
	StateFolderMissing = "folder_missing" // a folder of the configuration is not there
	StateRecovered     = "recovered"      // it, or the folder, is read again
)

// States lists what can happen to a mailbox: the last token of the subject mailbox.<mailbox>.<what>.
var States = []string{
	StateConnected, StateAuthFailed, StateAuthExpiring, StateReset, StateStale, StateFolderMissing, StateRecovered,
}

// MailboxType returns the CloudEvents type of a mailbox event, for example "mailflume.mailbox.connected.v1".
func MailboxType(state string) string { return "mailflume.mailbox." + state + ".v1" }
