package parser

import (
	"slices"
	"strings"

	"github.com/mailflume/mailflume/event"
)

// structure fills in the EmailBodyPart of a part and of the parts in it (RFC 8621, section 4.1.4).
func (b *builder) structure(p *part, out *event.EmailBodyPart) {
	out.Type = p.media.value
	if value, ok := p.header.first("Content-Language"); ok {
		for _, tag := range strings.Split(validText(value), ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				out.Language = append(out.Language, tag)
			}
		}
	}
	if value, ok := p.header.first("Content-Location"); ok && len(value) > 0 {
		out.Location = ptr(strings.Join(strings.Fields(validText(value)), ""))
	}
	if p.multipart {
		if p.disposition.value != "" {
			out.Disposition = ptr(p.disposition.value)
		}
		if cid := contentID(p); cid != "" {
			out.CID = ptr(cid)
		}
		out.SubParts = make([]event.EmailBodyPart, len(p.parts))
		for i, sub := range p.parts {
			b.structure(sub, &out.SubParts[i])
		}
		return
	}
	leaf := &b.mail.leaves[p.leaf]
	out.PartID, out.BlobID, out.Size = &leaf.PartID, &leaf.SHA256, leaf.Size
	if leaf.Disposition != "" {
		out.Disposition = &leaf.Disposition
	}
	if leaf.CID != "" {
		out.CID = &leaf.CID
	}
	if leaf.Name != "" {
		out.Name = &leaf.Name
	}
	if strings.HasPrefix(p.media.value, "text/") {
		out.Charset = &leaf.Charset
		if leaf.Charset == "" {
			out.Charset = ptr("us-ascii") // what a text without a charset is by the standard
		}
	}
}

func ptr(s string) *string { return &s }

// bodyLists collects textBody, htmlBody and attachments (RFC 8621, section 4.1.4).
type bodyLists struct {
	text, html, attachments []event.EmailBodyPart
	files                   bool // some of the attachments are what a person would call so
}

// attach adds a part to the attachments.
func (l *bodyLists) attach(p *event.EmailBodyPart, index int, multipartType string) {
	l.attachments = append(l.attachments, *p)
	file := p.Disposition != nil && *p.Disposition == "attachment"
	switch { // RFC 8621, section 4.1.4: what is processed automatically does not count
	case (multipartType == "signed" || multipartType == "report") && index > 0:
		return // the signature; the parts of a report
	case multipartType == "alternative" && strings.HasPrefix(p.Type, "text/"):
		// one more form of the text, such as the invitation that a calendar reads
	default:
		file = file || p.CID == nil
	}
	l.files = l.files || file
}

// split is parseStructure of RFC 8621, section 4.1.4. toText and toHTML say whether the lists are being filled: they are
// null there otherwise.
func (l *bodyLists) split(parts []event.EmailBodyPart, multipartType string, inAlternative, toHTML, toText bool) {
	textBefore, htmlBefore := len(l.text), len(l.html)
	first := 0
	if multipartType == "related" {
		first = rootOf(parts)
	}
	for i := range parts {
		p := &parts[i]
		sub, isMultipart := strings.CutPrefix(p.Type, "multipart/")
		if isMultipart {
			l.split(p.SubParts, sub, inAlternative || sub == "alternative", toHTML, toText)
			continue
		}
		if !isInline(p, i == first, multipartType) {
			l.attach(p, i, multipartType)
			continue
		}
		l.files = l.files || isMedia(p.Type) && p.CID == nil // a photo, though it is shown in its place
		if multipartType == "alternative" {
			switch {
			case p.Type == "text/plain" && toText:
				l.text = append(l.text, *p)
			case p.Type == "text/html" && toHTML:
				l.html = append(l.html, *p)
			case p.Type != "text/plain" && p.Type != "text/html":
				l.attach(p, i, multipartType)
			}
			continue
		}
		if inAlternative {
			toHTML = toHTML && p.Type != "text/plain"
			toText = toText && p.Type != "text/html"
		}
		if toText {
			l.text = append(l.text, *p)
		}
		if toHTML {
			l.html = append(l.html, *p)
		}
		if (!toText || !toHTML) && isMedia(p.Type) {
			l.attach(p, i, multipartType)
		}
	}
	if multipartType == "alternative" && toText && toHTML {
		// Found HTML only, or text only: it serves for both.
		switch text, html := len(l.text), len(l.html); {
		case text == textBefore && html != htmlBefore:
			l.text = append(l.text, l.html[htmlBefore:]...)
		case html == htmlBefore && text != textBefore:
			l.html = append(l.html, l.text[textBefore:]...)
		}
	}
}

func isMedia(kind string) bool {
	return strings.HasPrefix(kind, "image/") || strings.HasPrefix(kind, "audio/") || strings.HasPrefix(kind, "video/")
}

// rootOf returns which part of a multipart/related the others belong to: the first, but for pictures that stand before their
// HTML (RFC 2387, section 3.2, lets a parameter name it).
func rootOf(parts []event.EmailBodyPart) int {
	if len(parts) > 0 && isMedia(parts[0].Type) {
		html := func(p event.EmailBodyPart) bool { return p.Type == "text/html" || p.Type == "multipart/alternative" }
		return max(0, slices.IndexFunc(parts, html))
	}
	return 0
}

// isInline says whether a part belongs to the body rather than being attached to it.
func isInline(p *event.EmailBodyPart, first bool, multipartType string) bool {
	if p.Disposition != nil && *p.Disposition == "attachment" {
		return false
	}
	if p.Type != "text/plain" && p.Type != "text/html" && !isMedia(p.Type) {
		return false
	}
	return first || multipartType != "related" && (isMedia(p.Type) || p.Name == nil)
}

// lists fills in the structure, and the lists made from it.
func (b *builder) lists(root *part) bodyLists {
	own := 0 // leaves of the message itself
	for i := range b.mail.leaves {
		if b.mail.leaves[i].Within == "" {
			own++
		}
	}
	// Nearly all mail has one text to show, in each of two lists, and the other leaves are attached.
	const most = 8
	room := make([]event.EmailBodyPart, 3+min(max(own-1, 0), most))
	b.structure(root, &room[0])
	l := bodyLists{text: room[1:1:2], html: room[2:2:3], attachments: room[3:3]} // empty, never null
	l.split(room[:1], "mixed", false, true, true)
	e := &b.mail.Email
	e.BodyStructure = &room[0]
	e.TextBody = l.text
	e.HTMLBody = l.html
	e.Attachments = l.attachments
	for i := range b.mail.leaves {
		leaf := &b.mail.leaves[i]
		e.HasAttachment = e.HasAttachment || leaf.Container != "" && leaf.Within == ""
	}
	e.HasAttachment = e.HasAttachment || l.files
	return l
}

// bodies fills in the structure, the lists, and the flat text and HTML made from them.
func (b *builder) bodies(root *part) {
	l := b.lists(root)
	m := &b.mail.Mail
	e := &m.Email
	var room [2][4]string // more than nearly all mail has
	texts, replies := b.readable(l.text, room[0][:0], room[1][:0])
	if len(l.text) > 0 && l.text[0].Type == "text/plain" && strings.TrimSpace(joinTexts(texts)) == "" {
		// Newsletters have a text part that is empty beside the HTML.
		texts, replies = b.readable(l.html, texts[:0], replies[:0])
	}
	var htmls []string
	for _, p := range l.html {
		if p.Type == "text/html" {
			htmls = append(htmls, e.BodyValues[*p.PartID].Value)
		}
	}
	if b.contained.text+b.contained.html != "" && strings.TrimSpace(joinTexts(texts)) == "" {
		text, own := htmlText(b.contained.html)
		texts, replies, htmls = []string{text}, []string{text[:own]}, []string{b.contained.html}
		if b.contained.text != "" {
			texts, replies = []string{b.contained.text}, []string{b.contained.text}
		}
	}
	m.Text = withoutNUL(joinTexts(texts))
	m.HTML = withoutNUL(joinTexts(htmls))
	b.textLines = splitLines(m.Text, b.room.lines)
	if reply := withoutNUL(joinTexts(replies)); reply == m.Text {
		m.ReplyText = replyLines(b.textLines)
	} else {
		m.ReplyText = replyText(reply)
	}
	e.Preview = preview(m.Text)
}

// readable appends the texts of some parts as they are to be read, and what of each of them is not a message that it quotes.
func (b *builder) readable(parts []event.EmailBodyPart, texts, replies []string) ([]string, []string) {
	for i := range parts {
		p := &parts[i]
		text := b.mail.Email.BodyValues[*p.PartID].Value
		own := -1
		switch p.Type {
		case "text/plain":
			text = b.forms[*p.PartID].apply(text)
		case "text/html":
			text, own = htmlText(text)
		default:
			continue
		}
		if len(texts) > 0 && parts[i-1].Type != p.Type && sameWords(texts[len(texts)-1], text) {
			continue // both forms of one text, in a multipart/mixed
		}
		if own < 0 || strings.TrimSpace(text[:own]) == "" {
			own = len(text) // nothing is quoted, or nothing but a message that is passed on is there
		}
		texts = append(texts, text)
		replies = append(replies, text[:own])
	}
	return texts, replies
}

// sameWords says whether two texts differ in nothing but white space.
func sameWords(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

// joinTexts puts the texts of several parts on lines of their own.
func joinTexts(texts []string) string {
	if len(texts) == 1 {
		return texts[0]
	}
	var out strings.Builder
	for _, t := range texts {
		if out.Len() > 0 && !strings.HasSuffix(out.String(), "\n") {
			out.WriteByte('\n')
		}
		out.WriteString(t)
	}
	return out.String()
}

// attachments lists every leaf of the message itself whose bytes the body values do not hold whole, so that what is
// stored and what is inline make up the message. That is the JMAP list, media in the body, and text that was cut off.
func (b *builder) attachments(root *part) {
	attached := b.mail.Email.Attachments // in the order of the leaves
	if len(attached) > 0 {
		b.mail.Attachments = make([]event.Attachment, 0, len(attached))
	}
	for i := range b.mail.leaves {
		l := &b.mail.leaves[i]
		if len(attached) > 0 && attached[0].PartID == &l.PartID {
			attached = attached[1:]
		} else if value, isText := b.mail.Email.BodyValues[l.PartID]; l.Within != "" || isText && !value.IsTruncated {
			continue
		}
		b.mail.Attachments = append(b.mail.Attachments, event.Attachment{
			PartID: l.PartID, Name: l.Name, SafeName: safeName(l.Name, l.PartID, l.Type), Type: l.Type, Size: l.Size, SHA256: l.SHA256,
			Inline: l.Disposition == "inline" || l.Disposition != "attachment" && l.CID != "", CID: l.CID, Container: l.Container,
		})
	}
}
