package event

import "time"

// Mail is everything that the bytes of a message alone tell.
type Mail struct {
	Email       Email        `json:"email"`
	Text        string       `json:"text"`      // the text to read: text/plain parts, or made from HTML
	HTML        string       `json:"html"`      // the HTML to show, unsanitised; empty if there is none
	ReplyText   string       `json:"replyText"` // Text without quoted text and signature; a heuristic
	Auth        *Auth        `json:"auth,omitempty"`
	Class       Class        `json:"class"`
	Attachments []Attachment `json:"attachments"`
	Defects     []Defect     `json:"defects"` // what had to be repaired, in order of appearance
}

// Email is a JMAP Email (RFC 8621, section 4). Fields that only a mail store knows (id, mailboxIds, keywords, receivedAt)
// are absent when a file was parsed rather than a message fetched.
type Email struct {
	ID            string                    `json:"id,omitempty"`
	BlobID        string                    `json:"blobId"` // sha256 of the raw message, lower-case hex
	ThreadID      string                    `json:"threadId,omitempty"`
	MailboxIDs    map[string]bool           `json:"mailboxIds,omitempty"` // folder tokens
	Keywords      map[string]bool           `json:"keywords,omitempty"`   // lower case, "$seen"
	Size          int64                     `json:"size"`
	ReceivedAt    *time.Time                `json:"receivedAt,omitempty"` // INTERNALDATE, UTC
	MessageID     []string                  `json:"messageId"`            // without <>
	InReplyTo     []string                  `json:"inReplyTo"`
	References    []string                  `json:"references"`
	Sender        []EmailAddress            `json:"sender"`
	From          []EmailAddress            `json:"from"`
	To            []EmailAddress            `json:"to"`
	Cc            []EmailAddress            `json:"cc"`
	Bcc           []EmailAddress            `json:"bcc"`
	ReplyTo       []EmailAddress            `json:"replyTo"`
	Subject       *string                   `json:"subject"`
	SentAt        *time.Time                `json:"sentAt"` // the Date header with its offset
	HasAttachment bool                      `json:"hasAttachment"`
	Preview       string                    `json:"preview"` // at most 256 characters
	Headers       []EmailHeader             `json:"headers"` // in order, raw
	BodyStructure *EmailBodyPart            `json:"bodyStructure"`
	BodyValues    map[string]EmailBodyValue `json:"bodyValues"` // of every text part, by partId
	TextBody      []EmailBodyPart           `json:"textBody"`
	HTMLBody      []EmailBodyPart           `json:"htmlBody"`
	Attachments   []EmailBodyPart           `json:"attachments"`
}

// EmailAddress is one mailbox of an address header (RFC 8621, section 4.1.2.3). Name is nil if there is none.
type EmailAddress struct {
	Name  *string `json:"name"`
	Email string  `json:"email"`
}

// EmailHeader is one header field in its raw form (RFC 8621, section 4.1.2.1), made valid UTF-8.
type EmailHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EmailBodyPart is one MIME part (RFC 8621, section 4.1.4). A multipart has SubParts and neither PartID nor BlobID.
type EmailBodyPart struct {
	PartID      *string         `json:"partId"`
	BlobID      *string         `json:"blobId"` // sha256 of the decoded bytes, lower-case hex
	Size        int64           `json:"size"`   // of the decoded bytes
	Name        *string         `json:"name"`
	Type        string          `json:"type"`
	Charset     *string         `json:"charset"`
	Disposition *string         `json:"disposition"`
	CID         *string         `json:"cid"` // without <>
	Language    []string        `json:"language"`
	Location    *string         `json:"location"`
	SubParts    []EmailBodyPart `json:"subParts,omitempty"`
}

// EmailBodyValue is the text of one part as valid UTF-8 (RFC 8621, section 4.1.4).
type EmailBodyValue struct {
	Value             string `json:"value"`
	IsEncodingProblem bool   `json:"isEncodingProblem"`
	IsTruncated       bool   `json:"isTruncated"`
}

// Attachment is one attached file. Ref is set once the bytes are in the object store.
type Attachment struct {
	PartID   string `json:"partId"`
	Name     string `json:"name"`     // as the message says it, decoded
	SafeName string `json:"safeName"` // never a path, no control or bidi characters, at most 120 bytes
	Type     string `json:"type"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Inline   bool   `json:"inline"`
	CID      string `json:"cid,omitempty"`
	// Container is the part id of the winmail.dat, or of the text with uuencoded files in it, that the file was taken out
	// of. A winmail.dat is listed too.
	Container string `json:"container,omitempty"`
	Ref       *Ref   `json:"ref,omitempty"`
}

// Auth is what the trusted Authentication-Results header says (RFC 8601).
type Auth struct {
	AuthServID string `json:"authservId"`
	SPF        string `json:"spf,omitempty"`
	DKIM       string `json:"dkim,omitempty"`
	DMARC      string `json:"dmarc,omitempty"`
}

// DKIM is what became of one DKIM signature (RFC 6376, RFC 8601).
type DKIM struct {
	Domain   string `json:"domain,omitempty"` // that signed (d=)
	Selector string `json:"selector,omitempty"`
	Result   string `json:"result"` // "pass", "fail", "temperror", "permerror", or "none" for a message without a signature
	Reason   string `json:"reason,omitempty"`
}

// Class says what kind of message it is. A field that is absent says no.
type Class struct {
	AutoReply   bool       `json:"autoReply,omitempty"` // a program answered (RFC 3834)
	Bulk        bool       `json:"bulk,omitempty"`      // sent to many
	List        *List      `json:"list,omitempty"`
	Bounce      *Bounce    `json:"bounce,omitempty"`
	Complaint   *Complaint `json:"complaint,omitempty"`
	Calendar    *Calendar  `json:"calendar,omitempty"`
	Signed      string     `json:"signed,omitempty"`      // "smime" or "pgp"; nobody has checked the signature
	Encrypted   string     `json:"encrypted,omitempty"`   // "smime" or "pgp"; the text is not readable here
	Placeholder bool       `json:"placeholder,omitempty"` // the server could not hand out the message and wrote this in its place
}

// List is the mailing list that a message came through (RFC 2919, RFC 2369, RFC 8058).
type List struct {
	ID          string   `json:"id"`                    // List-Id without <>; empty if the list names none
	Unsubscribe []string `json:"unsubscribe,omitempty"` // addresses (mailto:, https:) in order
	OneClick    bool     `json:"oneClick,omitempty"`    // a POST to the https address unsubscribes
}

// Bounce says that a message of ours was not delivered, or not yet (RFC 3464, and the text of servers that do not follow it).
type Bounce struct {
	Recipients []BouncedRecipient `json:"recipients"`
	MessageID  string             `json:"messageId,omitempty"` // of the message that was sent, without <>
}

// BouncedRecipient is one address that was not reached. A field that the report does not give is empty.
type BouncedRecipient struct {
	Recipient string `json:"recipient"`
	Status    string `json:"status"` // RFC 3463: "5.1.1"; 5 is for good, 4 is for now
	Action    string `json:"action"` // "failed" or "delayed"
	Reason    string `json:"reason"` // what the server said, on one line
}

// Complaint is a report of the recipient's provider that a message of ours was unwanted (RFC 5965).
type Complaint struct {
	Type      string `json:"type"` // Feedback-Type: "abuse", "fraud", "not-spam", "auth-failure", ...
	Recipient string `json:"recipient,omitempty"`
	MessageID string `json:"messageId,omitempty"` // of the message that was sent, without <>
}

// Calendar is the first event of an iCalendar part (RFC 5546).
type Calendar struct {
	Method       string        `json:"method"` // "REQUEST", "REPLY", "CANCEL", ...; empty if the part names none
	UID          string        `json:"uid"`
	Sequence     int           `json:"sequence"`
	Summary      string        `json:"summary,omitempty"`
	Start        *CalendarTime `json:"start,omitempty"`
	End          *CalendarTime `json:"end,omitempty"`
	RecurrenceID *CalendarTime `json:"recurrenceId,omitempty"` // one occurrence of a series is meant
	Organizer    *Attendee     `json:"organizer,omitempty"`
	Attendees    []Attendee    `json:"attendees,omitempty"`
}

// CalendarTime is a time as the calendar gives it: "2026-03-02T10:00:00Z", a local time without the Z in the zone that
// TimeZone names, or a whole day "2026-03-02".
type CalendarTime struct {
	Time     string `json:"time"`
	TimeZone string `json:"timeZone,omitempty"`
}

// Attendee is one who is invited, or invites.
type Attendee struct {
	Email  string `json:"email"`
	Name   string `json:"name,omitempty"`
	Status string `json:"status,omitempty"` // "ACCEPTED", "DECLINED", "TENTATIVE", "NEEDS-ACTION", ...
}

// Defect is one repair that the parser made. Code is stable, PartID is empty for the message itself.
type Defect struct {
	Code   string `json:"code"`
	PartID string `json:"partId,omitempty"`
	Detail string `json:"detail,omitempty"`
}
