package event

import "time"

// Mail is everything that the bytes of a message alone tell.
type Mail struct {
	// The message as JMAP has it (RFC 8621).
	Email Email `json:"email"`
	// The text to read: the message's plain text or, if it has none, made from its HTML. Empty if there is neither.
	Text string `json:"text"`
	// The HTML to show, as the sender wrote it: it must be made safe before a browser gets it. Empty if there is none.
	HTML string `json:"html"`
	// The text without what it quotes and without signature, as far as that can be guessed.
	ReplyText string `json:"replyText"`
	// What the mailbox's own server found out about the sender. Absent if it has not said it in a header that can be trusted.
	Auth *Auth `json:"auth,omitempty"`
	// What kind of message it is. What does not apply is absent.
	Class Class `json:"class"`
	// The attached files.
	Attachments []Attachment `json:"attachments"`
	// What had to be repaired, in the order in which it was found; docs/defects.md explains the codes.
	Defects []Defect `json:"defects"`
}

// Email is a JMAP Email (RFC 8621, section 4). What only a mail store knows (id, mailboxIds, keywords, receivedAt) is absent
// when a file was parsed rather than a message fetched.
type Email struct {
	// The id of the event.
	ID string `json:"id,omitempty"`
	// The SHA-256 of the raw message, in hex.
	BlobID string `json:"blobId"`
	// What the provider calls the conversation. Absent where it has no name for it.
	ThreadID string `json:"threadId,omitempty"`
	// The folder, by its token in the subject.
	MailboxIDs map[string]bool `json:"mailboxIds,omitempty"`
	// The flags that the message had when it was read, as JMAP writes them: $seen, $flagged, $answered.
	Keywords map[string]bool `json:"keywords,omitempty"`
	// The size in bytes of what was fetched.
	Size int64 `json:"size"`
	// When the mail server received the message, in UTC.
	ReceivedAt *time.Time `json:"receivedAt,omitempty"`
	// The Message-ID, without <>: one, as a rule; null without the header field.
	MessageID []string `json:"messageId"`
	// The Message-IDs that it answers; null without the header field.
	InReplyTo []string `json:"inReplyTo"`
	// The Message-IDs of its conversation, the oldest first; null without the header field.
	References []string `json:"references"`
	// Who sent it for those in from; null without the header field.
	Sender []EmailAddress `json:"sender"`
	// Who wrote it; null without the header field.
	From []EmailAddress `json:"from"`
	// To whom it went; null without the header field.
	To []EmailAddress `json:"to"`
	// To whom a copy went; null without the header field.
	Cc []EmailAddress `json:"cc"`
	// To whom a copy went that the others do not know of; null without the header field.
	Bcc []EmailAddress `json:"bcc"`
	// Where to answer to; null without the header field: then to from.
	ReplyTo []EmailAddress `json:"replyTo"`
	// The subject, decoded; null without the header field.
	Subject *string `json:"subject"`
	// The Date of the message, with its offset, as the sender has it; null if it has none that can be read.
	SentAt *time.Time `json:"sentAt"`
	// Whether it has attachments that a person would call so.
	HasAttachment bool `json:"hasAttachment"`
	// The beginning of the text, on one line, of at most 256 characters.
	Preview string `json:"preview"`
	// All header fields in their order, undecoded.
	Headers []EmailHeader `json:"headers"`
	// The tree of its MIME parts; null if it was left out because the event would not fit into one NATS message.
	BodyStructure *EmailBodyPart `json:"bodyStructure"`
	// The decoded text of every part that is text, by partId.
	BodyValues map[string]EmailBodyValue `json:"bodyValues"`
	// The parts to show, if plain text is preferred.
	TextBody []EmailBodyPart `json:"textBody"`
	// The parts to show, if HTML is preferred.
	HTMLBody []EmailBodyPart `json:"htmlBody"`
	// The parts that are in neither list. For files, the attachments beside this email are easier to use.
	Attachments []EmailBodyPart `json:"attachments"`
}

// EmailAddress is one address of a header field (RFC 8621, section 4.1.2.3).
type EmailAddress struct {
	// The name beside the address, decoded; null if there is none.
	Name *string `json:"name"`
	// The address.
	Email string `json:"email"`
}

// EmailHeader is one header field in its raw form (RFC 8621, section 4.1.2.1), made valid UTF-8.
type EmailHeader struct {
	// The field's name, as it is written in the message.
	Name string `json:"name"`
	// What follows the colon, undecoded, with its line breaks.
	Value string `json:"value"`
}

// EmailBodyPart is one MIME part (RFC 8621, section 4.1.4).
type EmailBodyPart struct {
	// The part's name within the message; null for a multipart.
	PartID *string `json:"partId"`
	// The SHA-256 of the decoded bytes, in hex; null for a multipart.
	BlobID *string `json:"blobId"`
	// The size of the decoded bytes.
	Size int64 `json:"size"`
	// The file's name, decoded; null if there is none.
	Name *string `json:"name"`
	// The media type, in lower case.
	Type string `json:"type"`
	// The charset of a text, as the message names it; null if it is no text.
	Charset *string `json:"charset"`
	// The Content-Disposition, in lower case; null if there is none.
	Disposition *string `json:"disposition"`
	// The Content-ID, without <>; null if there is none.
	CID *string `json:"cid"`
	// The languages of Content-Language; null if there are none.
	Language []string `json:"language"`
	// The Content-Location; null if there is none.
	Location *string `json:"location"`
	// The parts of a multipart.
	SubParts []EmailBodyPart `json:"subParts,omitempty"`
}

// EmailBodyValue is the text of one part as valid UTF-8 (RFC 8621, section 4.1.4).
type EmailBodyValue struct {
	// The text.
	Value string `json:"value"`
	// Whether some of it could not be decoded.
	IsEncodingProblem bool `json:"isEncodingProblem"`
	// Whether it was cut off.
	IsTruncated bool `json:"isTruncated"`
}

// Attachment is one attached file.
type Attachment struct {
	// The name of its part within the message.
	PartID string `json:"partId"`
	// The file's name as the message has it, decoded. Not safe to be used as the name of a file. Empty if there is none.
	Name string `json:"name"`
	// The file's name made safe: never a path, without control characters, of at most 120 bytes.
	SafeName string `json:"safeName"`
	// The media type that the message claims, in lower case.
	Type string `json:"type"`
	// The size of the decoded file in bytes.
	Size int64 `json:"size"`
	// The SHA-256 of the decoded file, in hex.
	SHA256 string `json:"sha256"`
	// Whether the message wants it shown in its place, such as a picture in the HTML, rather than listed as a file.
	Inline bool `json:"inline"`
	// The Content-ID, by which the HTML refers to it (cid:), without <>.
	CID string `json:"cid,omitempty"`
	// The partId of the winmail.dat, or of the text, that the file was found in. A winmail.dat is listed too.
	Container string `json:"container,omitempty"`
	// Where the file is in the Object Store. Absent if attachments are not kept (events.attachments of the configuration).
	Ref *Ref `json:"ref,omitempty"`
}

// Auth is what the trusted Authentication-Results header says (RFC 8601): a result in lower case, such as "pass", "fail",
// "softfail" or "none". What the server did not check is absent.
type Auth struct {
	// The name of the server that checked. Empty where the server leaves it out, as Exchange Online does.
	AuthServID string `json:"authservId"`
	// Whether the sending host may send for the domain of the envelope's sender (SPF).
	SPF string `json:"spf,omitempty"`
	// Whether a signature of a domain holds (DKIM); "pass" if one of several does.
	DKIM string `json:"dkim,omitempty"`
	// Whether the domain in from stands behind the message (DMARC).
	DMARC string `json:"dmarc,omitempty"`
}

// DKIM is what became of one DKIM signature (RFC 6376, RFC 8601). It is in no event: mailflume parse --dkim prints it.
type DKIM struct {
	Domain   string `json:"domain,omitempty"` // that signed (d=)
	Selector string `json:"selector,omitempty"`
	Result   string `json:"result"` // "pass", "fail", "temperror", "permerror", or "none" for a message without a signature
	Reason   string `json:"reason,omitempty"`
}

// Class says what kind of message it is. A field that is absent says no.
type Class struct {
	// Whether a program answered (RFC 3834): an out-of-office note, for example. Do not answer to it.
	AutoReply bool `json:"autoReply,omitempty"`
	// Whether it was sent to many: a newsletter, for example.
	Bulk bool `json:"bulk,omitempty"`
	// The mailing list that it came through.
	List *List `json:"list,omitempty"`
	// Present if it says that mail from this mailbox was not delivered, or not yet.
	Bounce *Bounce `json:"bounce,omitempty"`
	// Present if a provider reports that somebody did not want mail from this mailbox.
	Complaint *Complaint `json:"complaint,omitempty"`
	// The invitation, the answer to one, or the cancellation that it brings.
	Calendar *Calendar `json:"calendar,omitempty"`
	// Present if it is signed. Nobody has checked the signature.
	Signed string `json:"signed,omitempty"`
	// Present if it is encrypted, so that its text cannot be read here.
	Encrypted string `json:"encrypted,omitempty"`
	// Whether the mail server could not hand out the message and wrote this in its place.
	Placeholder bool `json:"placeholder,omitempty"`
}

// List is the mailing list that a message came through (RFC 2919, RFC 2369, RFC 8058).
type List struct {
	// The List-Id, without <>. Empty if the list has none.
	ID string `json:"id"`
	// Where to unsubscribe (mailto: and https: addresses), in the list's order.
	Unsubscribe []string `json:"unsubscribe,omitempty"`
	// Whether a POST to the https address unsubscribes at once.
	OneClick bool `json:"oneClick,omitempty"`
}

// Bounce says that a message of ours was not delivered, or not yet (RFC 3464, and the text of servers that do not follow it).
type Bounce struct {
	// The addresses that were not reached.
	Recipients []BouncedRecipient `json:"recipients"`
	// The Message-ID of what was sent, without <>.
	MessageID string `json:"messageId,omitempty"`
}

// BouncedRecipient is one address that was not reached. What the report does not say is empty.
type BouncedRecipient struct {
	// The address.
	Recipient string `json:"recipient"`
	// The status code (RFC 3463), such as 5.1.1: with 5 it is for good, with 4 for now.
	Status string `json:"status"`
	// Whether it has failed for good, or is late and still being tried.
	Action string `json:"action"`
	// What the refusing server said, on one line.
	Reason string `json:"reason"`
}

// Complaint is a report of the recipient's provider that a message of ours was unwanted (RFC 5965).
type Complaint struct {
	// What is complained of, such as abuse, fraud, virus or not-spam (Feedback-Type). Empty if the report does not say.
	Type string `json:"type"`
	// Who complains.
	Recipient string `json:"recipient,omitempty"`
	// The Message-ID of what was sent, without <>.
	MessageID string `json:"messageId,omitempty"`
}

// Calendar is the first event of an iCalendar part (RFC 5546).
type Calendar struct {
	// What it asks for, in upper case: REQUEST invites, REPLY answers, CANCEL calls off. Empty if it does not say.
	Method string `json:"method"`
	// The event's name, the same in every message about it.
	UID string `json:"uid"`
	// How often the event was changed: a higher number replaces a lower one.
	Sequence int `json:"sequence"`
	// The event's title.
	Summary string `json:"summary,omitempty"`
	// When it begins.
	Start *CalendarTime `json:"start,omitempty"`
	// When it ends. Of a whole day, the day after.
	End *CalendarTime `json:"end,omitempty"`
	// Which one of a series is meant. Absent if all are.
	RecurrenceID *CalendarTime `json:"recurrenceId,omitempty"`
	// Who invites.
	Organizer *Attendee `json:"organizer,omitempty"`
	// Who is invited; in an answer, who answers.
	Attendees []Attendee `json:"attendees,omitempty"`
}

// CalendarTime is a time as the calendar gives it.
type CalendarTime struct {
	// 2026-03-02T10:00:00Z; without the Z it is local to timeZone; 2026-03-02 is a whole day.
	Time string `json:"time"`
	// The zone as the calendar names it: mostly, but not always, one of the IANA database.
	TimeZone string `json:"timeZone,omitempty"`
}

// Attendee is one who is invited, or invites.
type Attendee struct {
	// The address.
	Email string `json:"email"`
	// The name.
	Name string `json:"name,omitempty"`
	// The answer, in upper case: ACCEPTED, DECLINED, TENTATIVE, or NEEDS-ACTION while there is none.
	Status string `json:"status,omitempty"`
}

// Defect is one repair that was made.
type Defect struct {
	// Which one. A code keeps its meaning.
	Code string `json:"code"`
	// The part that was repaired. Absent if it is the message itself.
	PartID string `json:"partId,omitempty"`
	// More about it.
	Detail string `json:"detail,omitempty"`
}
