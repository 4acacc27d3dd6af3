package parser

import (
	"bytes"
	"strings"

	"github.com/mailflume/mailflume/event"
)

// classify says what kind of message it is, from its header, its parts and its text.
func classify(root *part, m *event.Mail) event.Class {
	h := root.header
	get := func(name string) string { return keyword(h, name) }
	var c event.Class
	r := findReports(root)
	// RFC 3834, and what older programs write.
	submitted := get("Auto-Submitted")
	precedence := get("Precedence")
	c.AutoReply = strings.HasPrefix(submitted, "auto-replied") || precedence == "auto_reply" || h.has("X-Autoreply") || h.has("X-Autorespond") ||
		h.has("X-Auto-Reply-From")
	c.List = mailingList(h)
	c.Bulk = precedence == "bulk" || precedence == "list" || precedence == "junk" || c.List != nil
	c.Signed, c.Encrypted = security(root)
	c.Placeholder = isPlaceholder(h, m)
	c.Calendar = invitation(root)
	if c.Complaint = complaint(r); c.Complaint == nil {
		c.Bounce = bounce(root, r, m)
	}
	return c
}

// keyword returns the first word of a field, in lower case, without parameters and comments.
func keyword(h header, name string) string {
	value, ok := h.last(name)
	if !ok {
		return ""
	}
	word, _, _ := strings.Cut(validText(value), ";")
	return lower(strings.TrimSpace(string(stripComment([]byte(word)))))
}

// mailingList reads the fields of a mailing list (RFC 2919, RFC 2369, RFC 8058), or returns nil.
func mailingList(h header) *event.List {
	if !h.has("List-Id") && !h.has("List-Unsubscribe") {
		return nil
	}
	l := event.List{ID: listID(h)}
	value, _ := h.last("List-Unsubscribe")
	const most = 10
	for _, piece := range bytes.SplitN(value, []byte{'<'}, most+2)[1:] {
		if address, _, closed := bytes.Cut(piece, []byte{'>'}); closed && len(l.Unsubscribe) < most {
			if address := cleanID(address); strings.Contains(address, ":") {
				l.Unsubscribe = append(l.Unsubscribe, address)
			}
		}
	}
	post, _ := h.last("List-Unsubscribe-Post")
	l.OneClick = strings.EqualFold(strings.ReplaceAll(string(post), " ", ""), "List-Unsubscribe=One-Click")
	return &l
}

// listID returns the identifier in a List-Id field (RFC 2919).
func listID(h header) string {
	value, ok := h.last("List-Id")
	if !ok {
		return ""
	}
	text := validText(value)
	if open := strings.LastIndexByte(text, '<'); open >= 0 {
		text, _, _ = strings.Cut(text[open+1:], ">")
	}
	return printable(text)
}

var securityProtocols = map[string]string{
	"application/pgp-signature": "pgp", "application/pgp-encrypted": "pgp",
	"application/pkcs7-signature": "smime", "application/x-pkcs7-signature": "smime",
}

// security says whether a message is signed and encrypted, and by what (RFC 8551, RFC 3156, RFC 9580). That is no more
// than what the message says of itself.
func security(root *part) (signed, encrypted string) {
	switch kind := root.media.value; kind {
	case "multipart/signed":
		signed = securityProtocols[lower(root.media.str("protocol"))]
		if signed == "" && len(root.parts) > 1 {
			signed = securityProtocols[root.parts[1].media.value]
		}
	case "multipart/encrypted":
		encrypted = securityProtocols[lower(root.media.str("protocol"))]
	case "application/pkcs7-mime", "application/x-pkcs7-mime":
		switch lower(root.media.str("smime-type")) {
		case "signed-data":
			signed = "smime"
		case "certs-only", "compressed-data":
		default:
			encrypted = "smime"
		}
	case "text/plain":
		body := bytes.TrimSpace(root.body)
		if bytes.HasPrefix(body, []byte("-----BEGIN PGP MESSAGE-----")) {
			encrypted = "pgp"
		}
		if bytes.HasPrefix(body, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
			signed = "pgp"
		}
	}
	return signed, encrypted
}

// isPlaceholder recognises what Exchange hands out in place of a message that it cannot convert.
//
// QUIRK(exchange): a message from "Microsoft Exchange Server" with the subject "Retrieval using the IMAP4 protocol failed
// for the following message: <UID>", since Exchange 2007 (MailKit issue 1451, offlineimap issue 62).
func isPlaceholder(h header, m *event.Mail) bool {
	text := subject(m)
	if h.has("Received") || !strings.HasPrefix(text, "Retrieval using the ") || !strings.Contains(text, "protocol failed for the following message") {
		return false
	}
	from, _ := h.last("From")
	return bytes.Contains(from, []byte("Microsoft Exchange Server"))
}

func subject(m *event.Mail) string {
	if m.Email.Subject == nil {
		return ""
	}
	return *m.Email.Subject
}
