package mailbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/crash"
	"github.com/mailflume/mailflume/parser"
)

// Routes: the last token of mail.<mailbox>.<folder>.<route>.
const (
	routeReceived = "received"
	routeDead     = "dead"
)

// draft is an event before its bytes are stored and its JSON is made.
type draft struct {
	event       event.MessageEvent
	mail        parser.Mail
	raw         []byte // to be kept, or nil
	whole       []byte // to be kept if the event cannot hold all of it, or nil
	route       string
	folder      string
	position    string
	fingerprint string
	emailID     string
}

// build makes the event of a message. It is a pure function of the message and its mailbox, so that whichever of several
// attempts lands on the stream is right; only cause depends on when we saw it.
func (c Config) build(m fetcher.Message, cause event.Cause) *draft {
	crash.With("parse.begin", m.Raw)
	mail := c.Parse.Parse(m.Raw)
	crash.At("parse.end")
	fingerprint := ""
	if len(m.Raw) > 0 {
		fingerprint = parser.Fingerprint(m.Raw)
	}
	return c.assemble(m, cause, mail, fingerprint, death(m, mail))
}

// assemble puts together what is known of a message.
func (c Config) assemble(m fetcher.Message, cause event.Cause, mail parser.Mail, fingerprint string, dead *event.Dead) *draft {
	if m.InternalDate = m.InternalDate.UTC(); m.InternalDate.Year() < 1 || m.InternalDate.Year() > 9999 { // which JSON cannot say
		m.InternalDate = time.Time{}
	}
	d := &draft{
		mail: mail, route: routeReceived, folder: m.Folder, position: m.Position.String(), emailID: m.EmailID,
		fingerprint: fingerprint,
	}
	d.event.Data = event.Message{
		Mailbox: c.Mailbox,
		Mail:    mail.Mail,
		IMAP: event.IMAP{
			Folder: m.Folder, UIDValidity: m.UIDValidity, UID: m.UID, Flags: notNil(m.Flags),
			InternalDate: m.InternalDate, Size: m.Size,
		},
		Dead: dead,
	}
	if m.EmailID != "" {
		d.event.Data.Provider = &event.Provider{EmailID: m.EmailID, ThreadID: m.ThreadID, Labels: m.Labels}
	}
	if m.Sent {
		d.event.Data.Direction = event.Sent
	}
	if d.event.Data.Dead != nil {
		d.route = routeDead
	}
	if m.Kind == fetcher.KindMail && c.keepRaw(d) {
		d.raw = m.Raw
	}
	if m.Kind == fetcher.KindMail && c.Raw != RawNever {
		d.whole = m.Raw
	}
	c.fillEmail(&d.event.Data, m)
	d.event.Envelope = c.envelope(d, m, cause)
	return d
}

// keepRaw says whether the untouched bytes are kept. A dead message always keeps them.
func (c Config) keepRaw(d *draft) bool {
	switch {
	case d.route == routeDead, c.Raw == RawAlways:
		return true
	case c.Raw == RawNever:
		return false
	default:
		return len(d.mail.Defects) > 0
	}
}

// death returns why a message is dead, or nil.
func death(m fetcher.Message, mail parser.Mail) *event.Dead {
	switch m.Kind {
	case fetcher.KindTooLarge:
		return &event.Dead{
			Reason: event.ReasonTooLarge,
			Detail: fmt.Sprintf("The message has %d bytes, more than limits.message_size allows; its header is here, the message is in the mailbox.", m.Size),
		}
	case fetcher.KindUnreadable:
		return &event.Dead{
			Reason: event.ReasonUnreadable,
			Detail: "The server lists the message and did not hand it out in several attempts; open it in the mailbox.",
		}
	}
	if why, dead := mail.Unparsable(); dead {
		return &event.Dead{Reason: event.ReasonUnparsable, Detail: why}
	}
	return nil
}

// fillEmail adds to the JMAP Email what only the mail store knows (RFC 8621, section 4.1.1).
func (c Config) fillEmail(d *event.Message, m fetcher.Message) {
	e := &d.Email
	e.ID = c.identity(m)
	e.ThreadID = m.ThreadID
	e.MailboxIDs = map[string]bool{event.Token(m.Folder): true}
	e.Keywords = keywords(m.Flags)
	if !m.InternalDate.IsZero() {
		e.ReceivedAt = &m.InternalDate
	}
}

// keywords turns IMAP flags into JMAP keywords (RFC 8621, section 4.1.1): \Seen is $seen, \Recent and \Deleted are none.
func keywords(flags []string) map[string]bool {
	k := make(map[string]bool, len(flags))
	for _, f := range flags {
		f = strings.ToLower(f)
		switch {
		case f == `\recent`, f == `\deleted`:
		case strings.HasPrefix(f, `\`):
			k["$"+f[1:]] = true
		default:
			k[f] = true
		}
	}
	return k
}

// maxMessageID is how long a Message-ID may be to name its event: as long as a line (RFC 5322, section 2.1.1). It stands in
// a NATS header too.
const maxMessageID = 998

func (c Config) envelope(d *draft, m fetcher.Message, cause event.Cause) event.Envelope {
	e := event.Envelope{
		SpecVersion:     "1.0",
		ID:              d.event.Data.Email.ID,
		Source:          "/mailboxes/" + event.Token(c.Mailbox.ID) + "/folders/" + event.Token(m.Folder),
		Type:            event.TypeReceived,
		Time:            m.InternalDate,
		DataContentType: "application/json",
		DataSchema:      event.SchemaMessage,
		Cause:           cause,
	}
	if d.route == routeDead {
		e.Type = event.TypeDead
	}
	if ids := d.mail.Email.MessageID; len(ids) > 0 && len(ids[0]) <= maxMessageID {
		e.Subject = ids[0]
	}
	return e
}

// identity returns the deterministic id of a message's event: a hash of the mailbox's id and the message's identity, which
// is what the provider calls it wherever it lies (X-GM-MSGID, EMAILID), else its folder, UIDVALIDITY and UID.
func (c Config) identity(m fetcher.Message) string {
	h := sha256.New()
	parts := []string{"uid", m.Folder, strconv.FormatUint(uint64(m.UIDValidity), 10), strconv.FormatUint(uint64(m.UID), 10)}
	if m.EmailID != "" {
		parts = []string{"email", m.EmailID}
	}
	for _, part := range append([]string{c.Mailbox.ID}, parts...) {
		io.WriteString(h, strconv.Itoa(len(part))+":"+part) //nolint:errcheck // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// keepBytes stores the attachments and, if it is to be kept, the raw message, before the event that refers to them exists.
func (c Config) keepBytes(ctx context.Context, d *draft) error {
	mailbox := event.Token(c.Mailbox.ID)
	for i := range d.event.Data.Attachments {
		a := &d.event.Data.Attachments[i]
		leaf, ok := d.mail.Leaf(a.PartID)
		if !ok || c.Describe {
			continue
		}
		ref, err := c.Bytes.Put(ctx, mailbox, leaf.SHA256, leaf.Size, leaf.Open())
		if err != nil {
			return fmt.Errorf("store an attachment of UID %d in folder %q: %w", d.event.Data.IMAP.UID, d.folder, err)
		}
		a.Ref = &ref
	}
	if d.raw == nil {
		return nil
	}
	return c.storeRaw(ctx, d)
}

func (c Config) storeRaw(ctx context.Context, d *draft) error {
	sum := sha256.Sum256(d.raw)
	ref, err := c.Bytes.Put(ctx, event.Token(c.Mailbox.ID), hex.EncodeToString(sum[:]), int64(len(d.raw)), bytes.NewReader(d.raw))
	if err != nil {
		return fmt.Errorf("store the raw bytes of UID %d in folder %q: %w", d.event.Data.IMAP.UID, d.folder, err)
	}
	d.event.Data.Raw = &ref
	return nil
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
