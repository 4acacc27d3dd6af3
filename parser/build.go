package parser

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mailflume/mailflume/event"
)

// builders are kept for the next message: without what belongs to the last one, but with the room it took.
var builders = sync.Pool{New: func() any {
	const parts, fields, text = 32, 256, 8 << 10 // what nearly all mail has
	return &builder{room: room{parts: make([]part, 0, parts), fields: make([]field, 0, fields), text: make([]byte, 0, text)}}
}}

// room is memory that nothing in a Mail refers to.
type room struct {
	parts  []part
	fields []field    // of the headers of all parts
	text   []byte     // of the part that is being decoded
	lines  []lineSpan // of the text
}

// builder makes a Mail of a message.
type builder struct {
	room    room
	walk    walk
	options Options
	limits  Limits
	raw     []byte
	lines   []byte // raw, with the line ends that the package looks for
	defects defects
	mail    Mail
	hint    string // the charset of the first text that names one
	text    int    // bytes of body values so far

	textLines textLines                   // of mail.Text
	forms     map[string]textForm         // of texts that are not read as they stand, by part id
	contained struct{ text, html string } // in a winmail.dat
}

// reset forgets the message.
func (b *builder) reset() {
	const mostText, mostLines = 256 << 10, 10_000
	clear(b.room.parts)
	kept := room{parts: b.room.parts[:0], fields: b.room.fields[:0]}
	if cap(b.room.text) <= mostText {
		kept.text = b.room.text
	}
	if cap(b.textLines.spans) <= mostLines {
		kept.lines = b.textLines.spans
	}
	*b = builder{}
	b.room = kept
}

// build makes the Mail of the message.
func (b *builder) build() {
	m := &b.mail
	m.Mail = empty(b.raw)
	raw, bareCR := unixLines(b.raw)
	if bareCR {
		b.defects.add(DefectHeaderBareCR, "")
	}
	b.lines = raw
	w := &b.walk
	w.start(raw, b.limits, &b.defects)
	w.room = &b.room
	root, _ := w.entity(0, place{id: "1", kind: "text/plain"})
	m.raw, m.limits = b.raw, b.limits
	if !root.header.isMail() {
		m.reason = "The bytes have no header field that mail has."
		b.defects.add(DefectHeaderNone, "")
	}
	b.hint = charsetHint(root)
	leaves := 0
	root.leaves(func(*part) { leaves++ })
	m.leaves = make([]Leaf, 0, leaves)
	root.leaves(b.leaf)
	m.byID = index(m.leaves)
	b.fields(root.header)
	b.bodies(root)
	b.attachments(root)
	m.Class = classify(root, &m.Mail, b.textLines)
	m.Auth = authentication(root.header, b.options.AuthServIDs)
	m.Defects = append(m.Defects, b.defects.list...)
}

// charsetHint returns the charset of the first text part that names one which is more than ASCII.
func charsetHint(root *part) string {
	hint := ""
	root.leaves(func(p *part) {
		if hint == "" && strings.HasPrefix(p.media.value, "text/") {
			if label := p.charset; findCharset(label).kind == charsetTable {
				hint = label
			}
		}
	})
	if hint == "" {
		hint = wordHint(&root.header)
	}
	return hint
}

// wordHint returns the charset of the first encoded word of the subject or the sender, if it is more than ASCII.
func wordHint(h *header) string {
	const longest = 80
	for _, f := range h.fields {
		if !h.named(f, "Subject") && !h.named(f, "From") {
			continue
		}
		_, word, _ := bytes.Cut(h.value(f), []byte("=?"))
		if name, _, ok := bytes.Cut(word[:min(len(word), longest)], []byte{'?'}); ok {
			if label := cleanLabel(string(name)); findCharset(label).kind == charsetTable {
				return label
			}
		}
	}
	return ""
}

// words returns how to read header text of a part.
func (b *builder) words(partID string) words {
	return words{hint: b.hint, notes: notes{&b.defects, partID}}
}

// leaf decodes a leaf: its size, its hash and, if it is text of the message itself, its body value.
func (b *builder) leaf(p *part) {
	p.leaf = len(b.mail.leaves)
	b.addLeaf(Leaf{
		PartID: p.id, Within: p.within, Type: p.media.value, Disposition: p.disposition.value,
		Encoding: p.transfer.String(), transfer: p.transfer, raw: p.body,
	})
	l := &b.mail.leaves[p.leaf]
	if strings.HasPrefix(l.Type, "text/") {
		l.Charset = p.charset
	}
	var differ bool
	if l.Name, differ = p.fileName(b.words(p.id)); differ {
		b.defects.add(DefectNameConflict, p.id)
	}
	l.CID = contentID(p)
	var defect string
	readable := p.within == "" && l.Type == "text/plain"
	var decoded []byte
	if p.within == "" && strings.HasPrefix(l.Type, "text/") {
		decoded, defect = b.decode(p)
		l.Size, l.SHA256 = int64(len(decoded)), sha256Hex(decoded)
		b.mail.Email.BodyValues[p.id] = b.value(p, decoded, defect)
	} else {
		l.Size, l.SHA256, defect = digest(p.transfer, p.body)
	}
	if defect != "" {
		b.defects.add(defect, p.id)
	}
	if readable {
		b.form(p, decoded)
	}
	if isTNEF(p, l.Name) {
		b.unpackTNEF(p, l.Size)
	}
}

// decode returns the decoded bytes of a text. They are good until the next one is decoded.
func (b *builder) decode(p *part) (decoded []byte, defect string) {
	d := newDecoder(p.transfer, p.body)
	if d == nil {
		return p.body, ""
	}
	decoded = slices.Grow(b.room.text[:0], decodedCap(p.transfer, len(p.body)))
	for more := true; more; {
		decoded, more = d.next(decoded)
	}
	b.room.text = decoded
	return decoded, repaired(d)
}

// form takes the files out of a text, and notes what else is to be done before it is read.
func (b *builder) form(p *part, decoded []byte) {
	form := textForm{flow: flowOf(p), files: b.unpackUU(p, decoded)}
	if form == (textForm{}) {
		return
	}
	if b.forms == nil {
		b.forms = make(map[string]textForm)
	}
	b.forms[p.id] = form
}

// textForm says what is to be done with a text before it is read.
type textForm struct {
	flow  flow
	files bool // uuencoded files stand in it
}

// apply returns the text to read.
func (f textForm) apply(text string) string {
	if f.files {
		text = withoutUU(text)
	}
	return f.flow.unwrap(text)
}

func contentID(p *part) string {
	value, ok := p.header.first("Content-ID")
	if !ok {
		return ""
	}
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
	label, hint := p.charset, b.hint
	if p.media.value == "text/html" {
		label, hint = htmlCharset(decoded, label, hint)
	}
	var problem string
	if v.Value, problem = bodyText(decoded, label, hint); problem != "" {
		detail := ""
		if problem == DefectCharsetUnknown && isToken8(label) {
			detail = label
		}
		b.defects.addDetail(problem, p.id, detail)
	}
	if len(v.Value) > room { // tables make up to three bytes of one
		v.Value = cutText(v.Value, room)
		v.IsTruncated = true
		b.defects.add(DefectLimitText, p.id)
	}
	if v.IsTruncated {
		v.Value = strings.TrimSuffix(v.Value, "\ufffd")
	}
	b.text += len(v.Value)
	v.IsEncodingProblem = problem != "" || defect != "" || p.unknown
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

// bodyText is decodeText with LF for CRLF (RFC 8621, section 4.1.4). Text that is UTF-8 already, as nearly all is, is copied
// once.
func bodyText(b []byte, label, hint string) (value, defect string) {
	if label == "utf-8" || label == "us-ascii" || label == "" {
		if !bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) && utf8.Valid(b) && !escapesJapanese(b) {
			return newlines(b), ""
		}
	}
	t := decodeText(b, label, hint)
	if strings.IndexByte(t.value, '\r') >= 0 {
		t.value = newlines([]byte(t.value))
	}
	return t.value, t.defect
}

// newlines makes LF of CRLF, however many CR there are, and of CR where there is no LF at all.
func newlines(b []byte) string {
	if bytes.IndexByte(b, '\r') < 0 {
		return string(b)
	}
	if bytes.IndexByte(b, '\n') < 0 {
		return strings.ReplaceAll(string(b), "\r", "\n")
	}
	var out strings.Builder
	out.Grow(len(b))
	for {
		start := bytes.IndexByte(b, '\r')
		if start < 0 {
			out.Write(b)
			return out.String()
		}
		end := start
		for end < len(b) && b[end] == '\r' {
			end++
		}
		if end < len(b) && b[end] == '\n' {
			out.Write(b[:start])
		} else {
			out.Write(b[:end])
		}
		b = b[end:]
	}
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
