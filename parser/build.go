package parser

import (
	"bytes"
	"strings"

	"github.com/mailflume/mailflume/event"
)

// builder makes a Mail of a message.
type builder struct {
	options Options
	limits  Limits
	raw     []byte
	lines   []byte // raw, with the line ends that the package looks for
	defects defects
	mail    Mail
	hint    string // the charset of the first text that names one
	text    int    // bytes of body values so far

	flows     map[string]flow             // of flowed texts, by part id
	contained struct{ text, html string } // in a winmail.dat
}

func (b *builder) build() Mail {
	m := &b.mail
	m.Mail = empty(b.raw)
	raw, bareCR := unixLines(b.raw)
	if bareCR {
		b.defects.add(DefectHeaderBareCR, "")
	}
	b.lines = raw
	w := newWalk(raw, b.limits, &b.defects)
	root, _ := w.entity(0, place{id: "1", kind: "text/plain"})
	m.header = root.header
	if !root.header.isMail() {
		m.reason = "The bytes have no header field that mail has."
		b.defects.add(DefectHeaderNone, "")
	}
	b.hint = charsetHint(root)
	m.byID = make(map[string]int, *w.count)
	m.leaves = make([]Leaf, 0, *w.count)
	root.leaves(b.leaf)
	b.fields(root.header)
	structure := b.structure(root)
	m.Email.BodyStructure = &structure
	b.bodies(structure)
	b.attachments(root)
	m.Class = classify(root, m.Mail)
	m.Auth = authentication(root.header, b.options.AuthServIDs)
	m.Defects = append(m.Defects, b.defects.list...)
	return *m
}

// charsetHint returns the charset of the first text part that names one which is more than ASCII.
func charsetHint(root *part) string {
	hint := ""
	root.leaves(func(p *part) {
		if hint == "" && strings.HasPrefix(p.media.value, "text/") {
			if label := p.charsetLabel(); findCharset(label).kind == charsetTable {
				hint = label
			}
		}
	})
	return hint
}

// words returns how to read header text of a part.
func (b *builder) words(partID string) words {
	return words{hint: b.hint, problem: func(code string) { b.defects.add(code, partID) }}
}

// leaf decodes a leaf: its size, its hash and, if it is text of the message itself, its body value.
func (b *builder) leaf(p *part) {
	l := Leaf{
		PartID: p.id, Within: p.within, Type: p.media.value, Disposition: p.disposition.value,
		Encoding: p.transfer.String(), transfer: p.transfer, raw: p.body,
	}
	if strings.HasPrefix(l.Type, "text/") {
		l.Charset = p.charsetLabel()
	}
	if name, differ := p.fileName(b.words(p.id)); name != nil {
		l.Name = *name
		if differ {
			b.defects.add(DefectNameConflict, p.id)
		}
	}
	l.CID = contentID(p)
	var defect string
	var uuencoded []byte // a text in which files may stand
	if p.within == "" && strings.HasPrefix(l.Type, "text/") {
		var decoded []byte
		decoded, defect = decodeAll(p.transfer, p.body)
		l.Size, l.SHA256 = int64(len(decoded)), sha256Hex(decoded)
		b.mail.Email.BodyValues[p.id] = b.value(p, decoded, defect)
		if l.Type == "text/plain" {
			uuencoded = decoded
			if f := flowOf(p); f.flowed {
				if b.flows == nil {
					b.flows = make(map[string]flow)
				}
				b.flows[p.id] = f
			}
		}
	} else {
		l.Size, l.SHA256, defect = digest(p.transfer, p.body)
	}
	if defect != "" {
		b.defects.add(defect, p.id)
	}
	b.addLeaf(l)
	b.unpackUU(p, uuencoded)
	if isTNEF(p, l.Name) {
		b.unpackTNEF(p, l.Size)
	}
}

func contentID(p *part) string {
	value, _ := p.header.first("Content-ID")
	if ids, _ := messageIDs(value); len(ids) > 0 {
		return ids[0]
	}
	return cleanID(bytes.Trim(value, "<>"))
}

// value makes the body value of a text part (RFC 8621, section 4.1.4).
func (b *builder) value(p *part, decoded []byte, defect string) event.EmailBodyValue {
	var v event.EmailBodyValue
	room := min(b.limits.TextPart, b.limits.TextTotal-b.text)
	if len(decoded) > room {
		decoded = decoded[:room]
		v.IsTruncated = true
		b.defects.add(DefectLimitText, p.id)
	}
	label := p.charsetLabel()
	if label == "" && p.media.value == "text/html" {
		label = metaCharset(decoded)
	}
	t := decodeText(decoded, label, b.hint)
	if t.defect != "" {
		detail := ""
		if t.defect == DefectCharsetUnknown && isToken8(label) {
			detail = label
		}
		b.defects.addDetail(t.defect, p.id, detail)
	}
	v.Value = newlines(t.value)
	if len(v.Value) > room { // tables make up to three bytes of one
		v.Value = cutText(v.Value, room)
		v.IsTruncated = true
		b.defects.add(DefectLimitText, p.id)
	}
	if v.IsTruncated {
		v.Value = strings.TrimSuffix(v.Value, "\ufffd")
	}
	b.text += len(v.Value)
	v.IsEncodingProblem = t.defect != "" || defect != "" || p.unknown
	return v
}

// isToken8 says whether a label is short and plain enough to be shown.
func isToken8(label string) bool {
	for i := range len(label) {
		if !isToken(label[i]) {
			return false
		}
	}
	return len(label) <= 40
}

// newlines replaces CRLF with LF (RFC 8621, section 4.1.4).
func newlines(s string) string {
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(s, "\r\r\n", "\n")
		s = strings.ReplaceAll(s, "\r\n", "\n")
		if strings.IndexByte(s, '\n') < 0 {
			s = strings.ReplaceAll(s, "\r", "\n")
		}
	}
	return s
}

// withoutNUL takes out what many databases do not store.
func withoutNUL(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "")
}

// cutText cuts a text to at most n bytes, never in the middle of a character.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
