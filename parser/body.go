package parser

import (
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
		out.Charset = ptr("us-ascii") // what a text without a charset is by the standard
		if leaf.Charset != "" {
			out.Charset = &leaf.Charset
		}
	}
}

func ptr(s string) *string { return &s }

// bodyLists collects textBody, htmlBody and attachments (RFC 8621, section 4.1.4).
type bodyLists struct {
	text, html, attachments []event.EmailBodyPart
}

// split is parseStructure of RFC 8621, section 4.1.4. toText and toHTML say whether the lists are being filled: they are
// null there otherwise.
func (l *bodyLists) split(parts []event.EmailBodyPart, multipartType string, inAlternative, toHTML, toText bool) {
	textBefore, htmlBefore := len(l.text), len(l.html)
	for i := range parts {
		p := &parts[i]
		sub, isMultipart := strings.CutPrefix(p.Type, "multipart/")
		if isMultipart {
			l.split(p.SubParts, sub, inAlternative || sub == "alternative", toHTML, toText)
			continue
		}
		if !isInline(p, i, multipartType) {
			l.attachments = append(l.attachments, *p)
			continue
		}
		if multipartType == "alternative" {
			switch {
			case p.Type == "text/plain" && toText:
				l.text = append(l.text, *p)
			case p.Type == "text/html" && toHTML:
				l.html = append(l.html, *p)
			case p.Type != "text/plain" && p.Type != "text/html":
				l.attachments = append(l.attachments, *p)
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
			l.attachments = append(l.attachments, *p)
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

// isInline says whether a part belongs to the body rather than being attached to it.
func isInline(p *event.EmailBodyPart, index int, multipartType string) bool {
	if p.Disposition != nil && *p.Disposition == "attachment" {
		return false
	}
	if p.Type != "text/plain" && p.Type != "text/html" && !isMedia(p.Type) {
		return false
	}
	return index == 0 || multipartType != "related" && (isMedia(p.Type) || p.Name == nil)
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
	for i := range l.attachments {
		p := &l.attachments[i]
		e.HasAttachment = e.HasAttachment || p.Disposition != nil && *p.Disposition == "attachment" || p.CID == nil
	}
	return l
}

// bodies fills in the structure, the lists, and the flat text and HTML made from them.
func (b *builder) bodies(root *part) {
	l := b.lists(root)
	m := &b.mail.Mail
	e := &m.Email
	var texts, replies, htmls []string
	for i := range l.text {
		p := &l.text[i]
		value := e.BodyValues[*p.PartID].Value
		switch p.Type {
		case "text/plain":
			value = b.forms[*p.PartID].apply(value)
			texts = append(texts, value)
			replies = append(replies, value)
		case "text/html":
			text, own := htmlText(value)
			texts = append(texts, text)
			if strings.TrimSpace(text[:own]) == "" {
				own = len(text) // nothing but a message that is passed on
			}
			replies = append(replies, text[:own])
		}
	}
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
