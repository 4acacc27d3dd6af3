package parser

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// unpackWindow is how large a container can be that is unpacked: to take it apart takes a decoded copy, for as long as
// the message is being parsed.
const unpackWindow = 64 << 20

// isTNEF says whether a part is a winmail.dat.
func isTNEF(p *part, name string) bool {
	switch p.media.value {
	case "application/ms-tnef", "application/vnd.ms-tnef", "application/x-ms-tnef":
		return true
	case "application/octet-stream":
		return strings.EqualFold(baseName(name), "winmail.dat")
	}
	return false
}

// unpackTNEF adds the files in a winmail.dat as leaves behind it.
func (b *builder) unpackTNEF(p *part, size int64) {
	room := b.limits.Parts - len(b.mail.leaves)
	if size > unpackWindow || room <= 0 {
		b.defects.add(DefectLimitParts, "")
		return
	}
	decoded, _ := decodeAll(p.transfer, p.body)
	t := readTNEF(decoded, room)
	if t.broken {
		b.defects.add(DefectTNEF, p.id)
	}
	var rtf []byte
	for i, f := range t.files {
		l := Leaf{
			PartID: p.id + "." + strconv.Itoa(i+1), Within: p.within, Container: p.id, Name: printable(f.name), Type: f.kind, CID: f.cid, Disposition: "attachment",
		}
		if !validType(l.Type) {
			l.Type = typeOf(l.Name)
		}
		file := f.own
		if file == nil {
			file = decoded[f.span.start:f.span.end]
		}
		if f.own != nil || p.transfer == encodingNone {
			l.raw = file
		} else { // the decoded copy is not kept
			l.raw, l.transfer, l.section, l.skip = p.body, p.transfer, true, int64(f.span.start)
		}
		l.Size, l.SHA256 = int64(len(file)), sha256Hex(file)
		b.addLeaf(l)
		if f.body && p.within == "" {
			b.containedBody(f.kind, file, codePageLabel(t.codePage))
		}
		if f.body && f.kind == "text/rtf" {
			rtf = file
		}
	}
	if p.within == "" && b.contained.text+b.contained.html == "" {
		b.containedRTF(rtf)
	}
}

// containedRTF is containedBody for RTF, which is what Outlook writes if nothing else is in its winmail.dat.
func (b *builder) containedRTF(rtf []byte) {
	text, isHTML := rtfText(rtf, min(b.limits.TextPart, b.limits.TextTotal-b.text))
	b.text += len(text)
	if isHTML {
		b.contained.html = text
	} else {
		b.contained.text = text
	}
}

// containedBody keeps the text in a winmail.dat for a message that has no other.
func (b *builder) containedBody(kind string, raw []byte, label string) {
	if kind != "text/plain" && kind != "text/html" {
		return
	}
	if kind == "text/html" {
		label = cmpOr(metaCharset(raw), label)
	}
	room := min(b.limits.TextPart, b.limits.TextTotal-b.text)
	text, _ := bodyText(raw[:min(len(raw), room)], label, b.hint)
	text = cutText(text, room)
	b.text += len(text)
	if kind == "text/plain" {
		b.contained.text = cmpOr(b.contained.text, text)
	} else {
		b.contained.html = cmpOr(b.contained.html, text)
	}
}

// unpackUU adds the files that stand uuencoded in a text as leaves behind it, and says whether there are any.
func (b *builder) unpackUU(p *part, decoded []byte) (found bool) {
	pos := 0
	for n := 1; ; n++ {
		block, ok := findUU(decoded, pos)
		if !ok {
			return found
		}
		found = true
		if len(b.mail.leaves) >= b.limits.Parts {
			b.defects.add(DefectLimitParts, "")
			return found
		}
		pos = block.end
		l := Leaf{
			PartID: p.id + "." + strconv.Itoa(n), Container: p.id, Name: b.words(p.id).decode(block.name), Disposition: "attachment",
			Encoding: encodingUU.String(), transfer: encodingUU, raw: decoded[block.start:block.end],
		}
		if p.transfer != encodingNone { // the decoded bytes are not kept
			l.raw = bytes.Clone(l.raw)
		}
		l.Type = typeOf(l.Name)
		var defect string
		if l.Size, l.SHA256, defect = digest(l.transfer, l.raw); defect != "" {
			b.defects.add(defect, l.PartID)
		}
		b.addLeaf(l)
	}
}

func (b *builder) addLeaf(l Leaf) {
	b.mail.leaves = append(b.mail.leaves, l)
}

// few is how many leaves are found without an index.
const few = 8

// index returns where each leaf stands by its part id, or nil if they are few.
func index(leaves []Leaf) map[string]int {
	if len(leaves) <= few {
		return nil
	}
	byID := make(map[string]int, len(leaves))
	for i := range leaves {
		byID[leaves[i].PartID] = i
	}
	return byID
}

// typeOf guesses a type from the end of a name.
func typeOf(name string) string {
	name = lower(name)
	for kind, extension := range extensions {
		if strings.HasSuffix(name, extension) && kind != "application/ics" && kind != "text/x-vcard" {
			return kind
		}
	}
	return "application/octet-stream"
}

// uuBlock is a uuencoded file in a text.
type uuBlock struct {
	span
	name []byte
}

// findUU returns the first uuencoded file from pos on: "begin 644 name", lines that are uuencoded, "end".
func findUU(text []byte, pos int) (uuBlock, bool) {
	for pos < len(text) {
		i := bytes.Index(text[pos:], []byte("begin "))
		if i < 0 {
			break
		}
		start := pos + i
		line, next := lineAt(text, start)
		pos = next
		name, ok := uuBegin(line)
		if !ok || start > 0 && text[start-1] != '\n' {
			continue
		}
		for lines := 0; next < len(text); lines++ {
			if text[next] == '\n' {
				next++
				pos = next
				continue
			}
			line, next = lineAt(text, next)
			if lines > 0 && len(line) > 2 && string(bytes.TrimSpace(line)) == "end" {
				return uuBlock{span{start, next}, name}, true
			}
			if !uuLine(line) {
				break
			}
			pos = next
		}
	}
	return uuBlock{}, false
}

// uuBegin reads "begin 644 name".
func uuBegin(line []byte) (name []byte, ok bool) {
	mode, name, ok := bytes.Cut(line[len("begin "):], []byte{' '})
	if !ok || len(mode) < 3 || len(mode) > 4 || len(bytes.Trim(mode, "01234567")) > 0 {
		return nil, false
	}
	return bytes.TrimSpace(name), len(bytes.TrimSpace(name)) > 0
}

// uuLine says whether a line is uuencoded: its first letter gives its length.
func uuLine(line []byte) bool {
	if len(line) == 0 {
		return true // an empty line of data that lost its space
	}
	for _, c := range line {
		if c < ' ' || c > '`' {
			return false
		}
	}
	size := int(line[0]-' ') & 63
	return len(line)-1 <= (size+2)/3*4+2
}

// withoutUU takes the uuencoded files out of a text.
func withoutUU(text string) string {
	raw := []byte(text)
	var out strings.Builder
	pos := 0
	for {
		block, ok := findUU(raw, pos)
		if !ok {
			break
		}
		out.Write(raw[pos:block.start])
		pos = block.end
	}
	if pos == 0 {
		return text
	}
	out.Write(raw[pos:])
	return out.String()
}

// sectionReader reads a piece of decoded bytes.
type sectionReader struct {
	from       io.Reader
	skip, left int64
}

// Read implements io.Reader.
func (r *sectionReader) Read(p []byte) (int, error) {
	if r.skip > 0 {
		if _, err := io.CopyN(io.Discard, r.from, r.skip); err != nil {
			return 0, err
		}
		r.skip = 0
	}
	if r.left <= 0 {
		return 0, io.EOF
	}
	n, err := r.from.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}
