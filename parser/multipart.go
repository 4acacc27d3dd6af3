package parser

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// part is one MIME entity. A leaf has a body; a multipart has parts; an attached message is a leaf that has a root too.
type part struct {
	id          string
	within      string // the id of the attached message that the part is in, or ""
	header      header
	media       media
	disposition media
	charset     string // the label, cleaned, or ""
	hasType     bool
	multipart   bool
	transfer    transfer
	unknown     bool   // the transfer encoding is unknown
	body        []byte // still encoded
	leaf        int    // its place among the leaves of the message
	parts       []*part
	root        *part

	typeRoom        [3]param // of media, as many as nearly all parts have
	dispositionRoom [1]param
}

// walk takes a message apart in one pass: a line that starts with "--" is compared with the boundaries of all multiparts
// that are open, so that an inner one that is not closed costs nothing.
type walk struct {
	raw     []byte
	limits  Limits
	defects *defects
	parts   int
	count   *int  // parts so far, shared with the walks of encoded messages
	room    *room // for parts and their headers; nil if there is none
	unwraps int
	guesses int
	open    []openBoundary  // of the multiparts that are open, innermost last
	few     [4]openBoundary // where they are as long as they are few
	lengths uint64          // a bit for each length that one of them has, modulo 64
	spaced  int             // how many of them end in white space that counts
}

func newWalk(raw []byte, limits Limits, d *defects) *walk {
	w := new(walk)
	w.start(raw, limits, d)
	return w
}

// start prepares for a message.
func (w *walk) start(raw []byte, limits Limits, d *defects) {
	*w = walk{raw: raw, limits: limits, defects: d}
	w.count = &w.parts
	w.open = w.few[:0]
}

func (w *walk) newPart() *part {
	if w.room == nil || len(w.room.parts) == cap(w.room.parts) {
		return new(part)
	}
	n := len(w.room.parts)
	w.room.parts = w.room.parts[:n+1]
	return &w.room.parts[n]
}

// place says where an entity stands.
type place struct {
	id     string // the id it has if it is a leaf
	prefix string // what the ids of its parts start with, if it is an attached message
	within string
	kind   string // the type it has if it names none
	depth  int
	inside int  // how many attached messages it is in
	part   bool // not a message
}

// entity reads the entity at pos and returns the delimiter that ends it.
func (w *walk) entity(pos int, at place) (*part, delimiter) {
	*w.count++
	p := w.newPart()
	p.id, p.within = at.id, at.within
	note := notes{w.defects, at.defectID()}
	scan := headerScan{raw: w.raw, pos: pos, part: at.part, limits: w.limits, notes: note, walk: w}
	var body int
	p.header, body = scan.scan()
	if several := p.classify(at.kind, w.limits, note); several && !p.multipart {
		w.declaredAgain(p, body)
	}
	deep := at.depth >= w.limits.Depth || isMessage(p.media.value) && at.inside >= w.limits.Messages
	switch {
	case deep && (p.multipart || isMessage(p.media.value)):
		note.add(DefectLimitDepth)
		p.multipart = false
		p.media.value = "application/octet-stream"
	case p.multipart:
		return p, w.multipart(p, body, at)
	case isMessage(p.media.value):
		return p, w.message(p, body, at)
	}
	d := w.next(body)
	p.body = w.raw[min(body, d.before):d.before]
	if p.transfer == encodingBase64 && strings.HasPrefix(p.media.value, "text/") && isProse(p.body) {
		p.transfer = encodingNone
		note.add(DefectBase64)
	}
	return p, d
}

// declaredAgain makes a multipart of an entity whose first Content-Type says otherwise, if the first of the others that is
// a multipart names a boundary with which the body starts: a program has added its field to one that was there.
func (w *walk) declaredAgain(p *part, body int) {
	for _, f := range p.header.fields {
		if !p.header.named(f, "Content-Type") {
			continue
		}
		m := parseMedia(unfold(p.header.value(f)), w.limits.Params)
		boundary := m.str("boundary")
		if !strings.HasPrefix(m.value, "multipart/") || boundary == "" {
			continue
		}
		level := w.push(boundary)
		d := w.next(body)
		w.pop()
		if d.level == level && blank(w.raw[min(body, d.before):d.before]) {
			p.media, p.multipart, p.transfer, p.charset = m, true, encodingNone, ""
		}
		return
	}
}

func isMessage(kind string) bool { return kind == "message/rfc822" || kind == "message/global" }

// inner is what the ids of the parts start with.
func (at place) inner() string {
	if at.part {
		return at.id + "."
	}
	return at.prefix
}

// defectID is the part that a defect names: none for the message itself.
func (at place) defectID() string {
	if at.prefix == "" && !at.part {
		return ""
	}
	return at.id
}

// multipart reads the parts of p, whose body starts at the given place.
func (w *walk) multipart(p *part, body int, at place) delimiter {
	boundary := ""
	if param := p.media.get("boundary"); param != nil {
		boundary = w.boundary(string(bytes.TrimLeft(param.value, " \t")), body)
	}
	guessed := false
	if boundary == "" {
		w.defects.add(DefectBoundaryNone, at.defectID())
		boundary, guessed = w.guess(body, len(w.raw)), true
	}
	d := delimiter{level: -1, before: len(w.raw), after: len(w.raw)}
	if boundary != "" {
		d = w.children(p, body, boundary, at)
	} else {
		d = w.next(body)
	}
	if len(p.parts) == 0 && !guessed {
		if other := w.guess(body, d.before); other != "" {
			w.defects.add(DefectBoundaryWrong, at.defectID())
			d = w.children(p, body, other, at)
		}
	}
	if len(p.parts) == 0 && !blank(w.raw[min(body, d.before):d.before]) {
		w.defects.add(DefectNoParts, at.defectID())
		p.multipart = false
		p.media.value = "text/plain"
		p.body = w.raw[body:d.before]
		p.readTransfer(notes{}) // that of a text counts
	}
	return d
}

// children reads the parts between the lines of a boundary.
func (w *walk) children(p *part, body int, boundary string, at place) delimiter {
	level := w.push(boundary)
	defer w.pop()
	kind := "text/plain"
	if p.media.value == "multipart/digest" {
		kind = "message/rfc822"
	}
	closed := false
	prefix := at.inner()
	d := w.next(body)
	if d.level == level {
		w.beforeFirst(p, w.raw[min(body, d.before):d.before], at)
	}
	for d.level == level {
		if d.closing {
			closed = true
			if w.outerHas(boundary) { // what follows is its
				w.pop()
				after := w.next(d.after)
				w.push(boundary)
				return after
			}
			d = w.next(d.after)
			continue
		}
		if *w.count >= w.limits.Parts {
			w.defects.add(DefectLimitParts, "")
			d = w.next(d.after)
			continue
		}
		if len(p.parts) > 0 && blank(w.raw[d.after:]) {
			break // the last line of all: the two dashes that close it were lost
		}
		if closed {
			w.defects.add(DefectAfterClose, at.defectID())
		}
		id := prefix + strconv.Itoa(len(p.parts)+1)
		child, next := w.entity(d.after, place{
			id: id, within: at.within, kind: kind, depth: at.depth + 1, inside: at.inside, part: true,
		})
		if p.parts == nil {
			const usual = 4
			p.parts = make([]*part, 0, usual)
		}
		p.parts = append(p.parts, child)
		d = next
	}
	if !closed && len(p.parts) > 0 {
		w.defects.add(DefectNotClosed, at.defectID())
	}
	return d
}

// beforeFirst makes a part of the text before the first boundary line if a multipart in another has a second Content-Type,
// one of a leaf, right behind its own: then the boundary line that should stand between the two was lost. In the header of
// a message the second one is more often what a gateway added.
func (w *walk) beforeFirst(p *part, text []byte, at place) {
	if !at.part || blank(text) {
		return
	}
	isType := func(f field) bool { return p.header.named(f, "Content-Type") }
	first := slices.IndexFunc(p.header.fields, isType)
	if first < 0 || *w.count >= w.limits.Parts {
		return
	}
	rest := p.header
	rest.fields = rest.fields[first+1:]
	if len(rest.fields) == 0 || !isType(rest.fields[0]) {
		return
	}
	*w.count++
	id := at.inner() + "1"
	child := &part{id: id, within: at.within, header: rest, body: text}
	child.classify("text/plain", w.limits, notes{w.defects, id})
	if child.multipart || isMessage(child.media.value) {
		return
	}
	p.parts = append(p.parts, child)
}

// message reads an attached message. One without a transfer encoding is read where it stands.
func (w *walk) message(p *part, body int, at place) delimiter {
	inner := place{id: p.id + ".1", prefix: p.id + ".", within: p.id, kind: "text/plain", depth: at.depth + 1, inside: at.inside + 1}
	if p.transfer == encodingBase64 && w.fieldAt(body) {
		p.transfer = encodingNone
		w.defects.add(DefectBase64, at.defectID())
	}
	if p.transfer != encodingNone {
		d := w.next(body)
		p.body = w.raw[min(body, d.before):d.before]
		if w.unwraps < w.limits.Unwraps && *w.count < w.limits.Parts {
			decoded, _ := decodeAll(p.transfer, p.body)
			sub := newWalk(decoded, w.limits, w.defects)
			sub.count, sub.room, sub.unwraps = w.count, w.room, w.unwraps+1
			p.root, _ = sub.entity(0, inner)
		}
		return d
	}
	if *w.count >= w.limits.Parts {
		d := w.next(body)
		p.body = w.raw[min(body, d.before):d.before]
		return d
	}
	root, d := w.entity(body, inner)
	p.root = root
	p.body = w.raw[min(body, d.before):d.before]
	return d
}

// fieldAt says whether the first line from pos on that is not blank is a header field, which no base64 is.
func (w *walk) fieldAt(pos int) bool {
	for pos < len(w.raw) && isSpace(w.raw[pos]) {
		pos++
	}
	line, _ := lineAt(w.raw, pos)
	_, ok := strictName(line)
	return ok
}
