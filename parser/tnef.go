package parser

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// What Exchange and Outlook call their format winmail.dat: Transport Neutral Encapsulation Format ([MS-OXTNEF]).
const (
	tnefSignature = 0x223e9f78

	tnefBody       = 0x0002800c // attBody
	tnefCodePage   = 0x00069007 // attOemCodepage
	tnefProps      = 0x00069003 // attMsgProps
	tnefNext       = 0x00069002 // attAttachRenddata: another attachment starts
	tnefTitle      = 0x00018010 // attAttachTitle
	tnefData       = 0x0006800f // attAttachData
	tnefAttachment = 0x00069005 // attAttachment: properties of an attachment

	mapiBody        = 0x1000
	mapiRTF         = 0x1009
	mapiHTML        = 0x1013
	mapiData        = 0x3701
	mapiShortName   = 0x3704
	mapiLongName    = 0x3707
	mapiDisplayName = 0x3001
	mapiType        = 0x370e
	mapiContentID   = 0x3712
	mapiCodePage    = 0x3fde
)

// span is a piece of the bytes that are read.
type span struct{ start, end int }

// tnefFile is a file in a TNEF stream: a span of it, or bytes of its own if it was compressed.
type tnefFile struct {
	name, kind, cid string
	span            span
	own             []byte
	body            bool // of the message, rather than attached to it
	ranked          int  // how good the name is
	message         bool // the data is an embedded message: TNEF again
}

// tnef reads a TNEF stream.
type tnef struct {
	data     []byte
	files    []tnefFile
	most     int // files
	codePage int
	broken   bool
	own      int // bytes of decompressed files
}

// readTNEF lists the files in a TNEF stream. What cannot be read ends the list; broken says so.
func readTNEF(data []byte, most int) *tnef {
	t := &tnef{data: data, most: most}
	t.stream(span{0, len(data)}, 0)
	return t
}

// stream reads the attributes of a stream.
func (t *tnef) stream(s span, depth int) {
	const header, deepest = 6, 8
	if depth > deepest || s.end-s.start < header || binary.LittleEndian.Uint32(t.data[s.start:]) != tnefSignature {
		t.broken = true
		return
	}
	current := -1 // the attachment that attributes belong to
	for pos := s.start + header; pos < s.end && len(t.files) < t.most; {
		const head, checksum = 9, 2
		if s.end-pos < head || t.data[pos] != 1 && t.data[pos] != 2 {
			t.broken = true // garbage at the end
			return
		}
		id := binary.LittleEndian.Uint32(t.data[pos+1:])
		size := int(binary.LittleEndian.Uint32(t.data[pos+5:]))
		pos += head
		if size > s.end-pos {
			t.broken = true
			return
		}
		value := span{pos, pos + size}
		pos += size + checksum
		switch {
		case id == tnefCodePage && size >= 4:
			t.codePage = int(binary.LittleEndian.Uint32(t.data[value.start:]))
		case id == tnefBody:
			value.end = value.start + len(bytes.TrimRight(t.data[value.start:value.end], "\x00"))
			t.add(tnefFile{name: "message.txt", kind: "text/plain", span: value, body: true})
		case id == tnefProps:
			t.props(value, -1, depth)
		case id == tnefNext:
			current = t.add(tnefFile{})
		case current < 0:
		case id == tnefTitle:
			t.files[current].title(t.text8(value), 1)
		case id == tnefData:
			t.files[current].span = value
		case id == tnefAttachment:
			t.props(value, current, depth)
		}
	}
}

func (t *tnef) add(f tnefFile) int {
	t.files = append(t.files, f)
	return len(t.files) - 1
}

// title names a file, unless it has a better name.
func (f *tnefFile) title(name string, rank int) {
	if name = strings.Trim(name, " \x00"); name != "" && rank > f.ranked {
		f.name, f.ranked = name, rank
	}
}

// text8 decodes text of the stream's code page, up to its first NUL.
func (t *tnef) text8(s span) string {
	text, _, _ := bytes.Cut(t.data[s.start:s.end], []byte{0})
	return decodeText(text, codePageLabel(t.codePage), "").value
}

func (t *tnef) text16(s span) string {
	units := make([]uint16, 0, (s.end-s.start)/2)
	for i := s.start; i+1 < s.end; i += 2 {
		units = append(units, binary.LittleEndian.Uint16(t.data[i:]))
	}
	text, _, _ := strings.Cut(string(utf16.Decode(units)), "\x00")
	return text
}

// property is one value of a MAPI property.
type property struct {
	id    int
	kind  uint16
	value span
}

func (t *tnef) text(p property) string {
	if p.kind == 0x1f {
		return t.text16(p.value)
	}
	return t.text8(p.value)
}

// props reads the MAPI properties of an attachment, or of the message if current is -1.
func (t *tnef) props(s span, current, depth int) {
	scan := propScan{data: t.data, pos: s.start, end: s.end}
	for p, ok := scan.next(); ok && len(t.files) < t.most; p, ok = scan.next() {
		if current < 0 {
			t.messageProp(p)
			continue
		}
		f := &t.files[current]
		switch p.id {
		case mapiLongName:
			f.title(t.text(p), 4)
		case mapiShortName:
			f.title(t.text(p), 3)
		case mapiDisplayName:
			f.title(t.text(p), 2)
		case mapiType:
			f.kind = lower(printable(t.text(p)))
		case mapiContentID:
			f.cid = cleanID([]byte(strings.Trim(t.text(p), "<>")))
		case mapiData:
			f.span = p.value
			const object, id = 0x0d, 16 // the id of an interface stands before an object
			if p.kind == object && p.value.end-p.value.start >= id {
				f.span.start += id
				f.message = f.span.end-f.span.start > 6 && binary.LittleEndian.Uint32(t.data[f.span.start:]) == tnefSignature
			}
		}
	}
	t.broken = t.broken || scan.broken
	if current >= 0 && t.files[current].message {
		inner := t.files[current].span
		t.files = append(t.files[:current], t.files[current+1:]...)
		t.stream(inner, depth+1)
	}
}

// messageProp keeps the body of a message.
func (t *tnef) messageProp(p property) {
	switch p.id {
	case mapiCodePage:
		if p.kind == 3 && p.value.end-p.value.start >= 4 {
			t.codePage = int(binary.LittleEndian.Uint32(t.data[p.value.start:]))
		}
	case mapiBody:
		f := tnefFile{name: "message.txt", kind: "text/plain", span: p.value, body: true}
		if p.kind == 0x1f {
			f.own = []byte(t.text16(p.value))
		} else if n := f.span.end - 1; n >= f.span.start && t.data[n] == 0 {
			f.span.end = n
		}
		t.add(f)
	case mapiHTML:
		f := tnefFile{name: "message.html", kind: "text/html", span: p.value, body: true}
		if n := f.span.end - 1; n >= f.span.start && t.data[n] == 0 {
			f.span.end = n
		}
		t.add(f)
	case mapiRTF:
		const most = 32 << 20
		if rtf, ok := decompressRTF(t.data[p.value.start:p.value.end], most-t.own); ok {
			t.own += len(rtf)
			t.add(tnefFile{name: "message.rtf", kind: "text/rtf", own: rtf, body: true})
		} else {
			t.broken = true
		}
	}
}

// codePageLabel returns the charset of a Windows code page.
func codePageLabel(page int) string {
	switch {
	case page == 0, page == 65001, page == 20127:
		return ""
	case page > 28590 && page <= 28605:
		return "iso-8859-" + itoa(page-28590)
	}
	if label, ok := map[int]string{
		20866: "koi8-r", 21866: "koi8-u", 50220: "iso-2022-jp", 50221: "iso-2022-jp", 51932: "euc-jp", 51949: "euc-kr", 54936: "gb18030", 10000: "macintosh",
	}[page]; ok {
		return label
	}
	return "cp" + itoa(page)
}
