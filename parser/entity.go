package parser

import (
	"bytes"
	"strings"
)

// classify reads what the header of an entity says about its body.
func (p *part) classify(kind string, limits Limits, note notes) {
	value, ok := p.header.first("Content-Type")
	p.hasType = ok
	if p.header.count("Content-Type") > 1 {
		note.add(DefectTypeDuplicate)
	}
	if ok {
		p.media = parseMedia(value, limits.Params)
	}
	if value, ok := p.header.first("Content-Disposition"); ok {
		p.disposition = parseMedia(value, limits.Params)
	}
	if p.media.more || p.disposition.more {
		note.add(DefectLimitParams)
	}
	if p.media.repair || p.media.twice || p.disposition.repair || p.disposition.twice {
		note.add(DefectTypeParam)
	}
	switch {
	case !ok:
		p.media.value = kind
	case !validType(p.media.value):
		note.add(DefectTypeInvalid)
		p.media.value = p.assumedType(kind)
	}
	p.multipart = strings.HasPrefix(p.media.value, "multipart/")
	p.readTransfer(note)
	if p.media.value == "message/partial" {
		note.add(DefectPartial)
	}
}

// assumedType is the type of an entity whose Content-Type is none.
func (p *part) assumedType(kind string) string {
	switch {
	case p.media.value == "multipart" || p.media.str("boundary") != "":
		return "multipart/mixed"
	case p.disposition.value == "attachment", p.media.str("name") != "":
		return "application/octet-stream"
	}
	return kind
}

func (p *part) readTransfer(note notes) {
	value, ok := p.header.first("Content-Transfer-Encoding")
	if !ok {
		return
	}
	transfer, proper, known := parseEncoding(value)
	if !proper {
		note.add(DefectEncodingLabel)
	}
	if !known {
		p.unknown = true
		note.add(DefectEncodingUnknown)
	}
	if !p.multipart { // RFC 2045, section 6.4: a multipart has none
		p.transfer = transfer
	}
}

// validType says whether s is type/subtype, both tokens.
func validType(s string) bool {
	kind, sub, ok := strings.Cut(s, "/")
	const longest = 255
	if !ok || kind == "" || sub == "" || len(s) > longest {
		return false
	}
	for i := range len(s) {
		if s[i] != '/' && !isToken(s[i]) {
			return false
		}
	}
	return strings.IndexByte(sub, '/') < 0
}

// charsetLabel is the charset parameter, cleaned, or "".
func (p *part) charsetLabel() string { return cleanLabel(p.media.str("charset")) }

// fileName returns the name of the part as its header says it, decoded, or nil. differ says that the two places for a
// name contradict each other.
func (p *part) fileName(w words) (name *string, differ bool) {
	fromDisposition, a := p.name(p.disposition, "filename", w)
	fromType, b := p.name(p.media, "name", w)
	switch {
	case a && b:
		return &fromDisposition, fromDisposition != fromType
	case a:
		return &fromDisposition, false
	case b:
		return &fromType, false
	}
	// Some mailers swap the two.
	if name, ok := p.name(p.disposition, "name", w); ok {
		return &name, false
	}
	if name, ok := p.name(p.media, "filename", w); ok {
		return &name, false
	}
	return nil, false
}

func (p *part) name(m media, which string, w words) (string, bool) {
	param, ok := m.get(which)
	if !ok || len(bytes.TrimSpace(param.value)) == 0 {
		return "", false
	}
	var name string
	if param.extended {
		t := decodeText(param.value, param.charset, w.hint)
		if t.defect != "" {
			w.problem(DefectHeaderCharset)
		}
		name = printable(t.value)
	} else {
		name = w.decode(param.value)
	}
	return name, name != ""
}

// leaves calls visit for every leaf, in order, those of attached messages after the message that holds them.
func (p *part) leaves(visit func(*part)) {
	if !p.multipart {
		visit(p)
	}
	if p.root != nil {
		p.root.leaves(visit)
	}
	for _, sub := range p.parts {
		sub.leaves(visit)
	}
}
