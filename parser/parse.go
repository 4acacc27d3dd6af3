// Package parser turns the bytes of a message into an event.Mail: pure and total.
//
// It takes every message that can be told from noise: what is broken is repaired, and each repair is a defect in the
// result with one of the Defect codes. All text in the result is valid UTF-8, the work grows linearly with the size of
// the message, and Limits bound what a hostile one can make of itself. Parse does no I/O: bytes to be stored are handed out
// as a Leaf, a view of the message that is decoded as it is read. VerifyDKIM, which nothing here calls, asks the DNS.
//
// A message goes through these hands:
//   - headerScan (headerscan.go, header.go) reads a header block;
//   - walk (multipart.go, boundary.go, entity.go) takes the message apart into parts and says what each of them is;
//   - the decoders (decode.go, base64.go, quoted.go, uudecode.go) give the bytes of a part, and charset.go with decodetext.go and
//     detect.go its text;
//   - words.go, address.go, date.go, ids.go and params.go read the values of single fields;
//   - builder (build.go, email.go, body.go) makes the event.Mail of it all; unpack.go and tnef.go find the files in a part;
//   - html.go, flowed.go and rtf.go make a text readable, and reply.go with attribution.go leaves of it what the author wrote;
//   - classify (class.go, bounce.go, notice.go, calendar.go, auth.go) says what kind of mail it is.
package parser

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/emersion/go-message/mail"

	"github.com/mailflume/mailflume/event"
)

// Options says how to parse. The zero value is what Parse uses.
type Options struct {
	Limits Limits
	// AuthServIDs are the names under which the mailbox's own server writes Authentication-Results, for example
	// "mx.google.com". Anyone can write such a header, so without a name Mail.Auth stays nil. The empty name means a field
	// without one, as Exchange Online writes it, and only if it is the topmost of all.
	AuthServIDs []string
}

// Mail is a parsed message: what goes into the event, and its leaves.
type Mail struct {
	event.Mail
	leaves []Leaf
	byID   map[string]int // nil if they are few
	raw    []byte
	limits Limits
	reason string
}

// Parse parses a message, or the header of one, with the default options.
func Parse(raw []byte) Mail { return Options{}.Parse(raw) }

// Parse parses a message, or the header of one. The result refers to raw, which must not change while a leaf is in use.
func (o Options) Parse(raw []byte) (m Mail) {
	defer func() {
		// No message is known that gets here. Should one be, it must not take the other messages with it.
		if p := recover(); p != nil {
			m = Mail{Mail: empty(raw), reason: "The parser failed on this message; its raw bytes are kept."}
			m.Defects = []event.Defect{{Code: DefectPanic, Detail: fmt.Sprintf("%T", p)}}
		}
	}()
	b := builders.Get().(*builder)
	b.options, b.limits, b.raw = o, o.Limits.withDefaults(), raw
	b.build()
	m = b.mail
	b.reset()
	builders.Put(b)
	return m
}

// Leaves returns every leaf of the message in order. An attached message is a leaf, and the leaves in it follow it.
func (m Mail) Leaves() []Leaf { return m.leaves }

// Leaf returns the leaf with the given part id.
func (m Mail) Leaf(partID string) (Leaf, bool) {
	i, ok := m.byID[partID]
	if m.byID == nil {
		i = slices.IndexFunc(m.leaves, func(l Leaf) bool { return l.PartID == partID })
		ok = i >= 0
	}
	if !ok {
		return Leaf{}, false
	}
	return m.leaves[i], true
}

// Header returns the header of the message as go-message reads and writes it.
func (m Mail) Header() mail.Header {
	raw, _ := unixLines(m.raw)
	scan := headerScan{raw: raw, limits: m.limits}
	h, _ := scan.scan()
	return h.message()
}

// Unparsable says whether the bytes are no message that can be made sense of, and why, in a sentence for a person that has
// no text from the message in it. That is rare: it takes bytes without a single header field that mail has, or a failure
// of the parser itself.
func (m Mail) Unparsable() (reason string, yes bool) { return m.reason, m.reason != "" }

// mailFields are the fields one of which every message has: one of them is enough to take bytes for a message.
var mailFields = []string{
	"From", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "Received", "Return-Path", "Sender", "Reply-To", "Delivered-To",
	"In-Reply-To", "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
	"X-Mailer", "DKIM-Signature", "Resent-From", "Resent-To", "Resent-Date", "Apparently-To", "List-Id", "Newsgroups",
	"Auto-Submitted", "Precedence", "X-Received", "Authentication-Results", "X-Original-To", "Envelope-To", "Status",
}

// isMailField says whether a field is one of mailFields or one of their families.
func isMailField[T string | []byte](name T) bool {
	if len(name) > 8 && is(name[:8], "Content-") || len(name) > 2 && is(name[:2], "X-") {
		return true
	}
	return slices.ContainsFunc(mailFields, func(known string) bool { return is(name, known) })
}

func (h *header) isMail() bool {
	return slices.ContainsFunc(h.fields, func(f field) bool { return isMailField(h.name(f)) })
}

// empty is the result for a message of which nothing is known.
func empty(raw []byte) event.Mail {
	return event.Mail{
		Email: event.Email{
			BlobID: sha256Hex(raw), Size: int64(len(raw)),
			Headers: []event.EmailHeader{}, BodyValues: map[string]event.EmailBodyValue{},
			TextBody: []event.EmailBodyPart{}, HTMLBody: []event.EmailBodyPart{}, Attachments: []event.EmailBodyPart{},
		},
		Attachments: []event.Attachment{},
		Defects:     []event.Defect{},
	}
}

// unixLines gives bytes that end their lines in CR alone the line ends that the rest of the package looks for.
func unixLines(raw []byte) ([]byte, bool) {
	if bytes.IndexByte(raw, '\n') >= 0 || bytes.IndexByte(raw, '\r') < 0 {
		return raw, false
	}
	return bytes.ReplaceAll(raw, []byte{'\r'}, []byte{'\n'}), true
}
