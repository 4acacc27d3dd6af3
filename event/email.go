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
	Ref      *Ref   `json:"ref,omitempty"`
}

// Auth is what the trusted Authentication-Results header says (RFC 8601).
type Auth struct {
	AuthServID string `json:"authservId"`
	SPF        string `json:"spf,omitempty"`
	DKIM       string `json:"dkim,omitempty"`
	DMARC      string `json:"dmarc,omitempty"`
}

// Class says what kind of message it is.
type Class struct {
	AutoReply bool   `json:"autoReply,omitempty"`
	Bulk      bool   `json:"bulk,omitempty"`
	List      string `json:"list,omitempty"` // List-Id without <>
	Bounce    bool   `json:"bounce,omitempty"`
	Calendar  bool   `json:"calendar,omitempty"`
}

// Defect is one repair that the parser made. Code is stable, PartID is empty for the message itself.
type Defect struct {
	Code   string `json:"code"`
	PartID string `json:"partId,omitempty"`
	Detail string `json:"detail,omitempty"`
}
