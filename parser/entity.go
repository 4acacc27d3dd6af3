package parser

import (
	"bytes"
	"strings"
)

// classify reads what the header of an entity says about its body. It says whether that has several Content-Types.
func (p *part) classify(kind string, limits Limits, note notes) (several bool) {
	value, ok := p.header.first("Content-Type")
	p.hasType = ok
	if several = p.header.repeats("Content-Type"); several {
		note.add(DefectTypeDuplicate)
	}
	if ok {
		p.media = readMedia(value, limits.Params, p.typeRoom[:])
	}
	if value, ok := p.header.first("Content-Disposition"); ok {
		p.disposition = readMedia(value, limits.Params, p.dispositionRoom[:])
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
	p.charset = strings.ToValidUTF8(cleanLabel(p.media.str("charset")), "\ufffd")
	p.readTransfer(note)
	if p.media.value == "message/partial" {
		note.add(DefectPartial)
	}
	return several
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
	const longest = 255
	slash := strings.IndexByte(s, '/')
	if slash <= 0 || slash == len(s)-1 || len(s) > longest {
		return false
	}
	for i := range len(s) {
		if i != slash && !isToken(s[i]) {
			return false
		}
	}
	return true
}

// fileName returns the name of the part as its header says it, decoded, or "". differ says that the two places for a name
// contradict each other.
func (p *part) fileName(w words) (name string, differ bool) {
	fromDisposition := p.disposition.name("filename", w)
	fromType := p.media.name("name", w)
	if fromDisposition != "" && fromType != "" {
		return fromDisposition, fromDisposition != fromType
	}
	name = cmpOr(fromDisposition, fromType)
	if name == "" { // some mailers swap the two
		name = p.disposition.name("name", w)
	}
	if name == "" {
		name = p.media.name("filename", w)
	}
	return name, false
}

// name returns a parameter that is a file name, decoded, or "".
func (m *media) name(which string, w words) string {
	param := m.get(which)
	if param == nil || len(bytes.TrimSpace(param.value)) == 0 {
		return ""
	}
	if !param.extended {
		return w.decode(param.value)
	}
	t := decodeText(param.value, param.charset, w.hint)
	if t.defect != "" {
		w.notes.add(DefectHeaderCharset)
	}
	if strings.Contains(t.value, "=?") { // encoded twice
		return w.decode([]byte(t.value))
	}
	return printable(t.value)
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
