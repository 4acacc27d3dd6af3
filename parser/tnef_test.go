package parser

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

// attribute is one attribute of a TNEF stream.
func attribute(level byte, id uint32, value string) string {
	b := []byte{level}
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	sum := uint16(0)
	for i := range len(value) {
		sum += uint16(value[i])
	}
	return string(binary.LittleEndian.AppendUint16(append(b, value...), sum))
}

func le32(values ...uint32) string {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return string(b)
}

// binaryProp is a MAPI property of a type whose values have a size.
func binaryProp(id, kind uint32, value string) string {
	padded := value + strings.Repeat("\x00", (4-len(value)%4)%4)
	return le32(id<<16|kind, 1, uint32(len(value))) + padded
}

func tnefStream(attributes ...string) string {
	return le32(tnefSignature) + "\x01\x00" + strings.Join(attributes, "")
}

func winmail(stream string) []byte {
	return []byte("From: a@b.org\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n" +
		base64.StdEncoding.EncodeToString([]byte(stream)))
}

func TestTNEF(t *testing.T) {
	inner := tnefStream(attribute(2, tnefNext, ""), attribute(2, tnefTitle, "in.txt\x00"), attribute(2, tnefData, "inner"))
	stream := tnefStream(
		attribute(1, tnefCodePage, le32(1252, 0)),
		attribute(1, tnefProps, le32(3)+le32(0x3fde0003, 1252)+binaryProp(mapiHTML, 0x102, "<p>caf\xe9</p>")+le32(0x80010003)+strings.Repeat("g", 16)+le32(0, 7, 1)),
		attribute(2, tnefNext, ""),
		attribute(2, tnefTitle, "LONGNA~1.PDF\x00"),
		attribute(2, tnefData, "%PDF"),
		attribute(2, tnefAttachment, le32(3)+binaryProp(mapiLongName, 0x1f, "l\x00o\x00n\x00g\x00.\x00p\x00d\x00f\x00\x00\x00")+
			binaryProp(mapiType, 0x1e, "application/pdf\x00")+binaryProp(mapiContentID, 0x1e, "c@d\x00")),
		attribute(2, tnefNext, ""),
		attribute(2, tnefAttachment, le32(1)+binaryProp(mapiData, 0x0d, strings.Repeat("i", 16)+inner)),
	)
	m := check(t, winmail(stream))
	want := []string{"1 winmail.dat application/ms-tnef ", "1.1 message.html text/html <p>caf\xe9</p>", "1.2 long.pdf application/pdf %PDF", "1.3 in.txt text/plain inner"}
	if len(m.Leaves()) != len(want) || len(m.Attachments) != len(want) || !m.Email.HasAttachment {
		t.Fatalf("leaves %+v, attachments %+v", m.Leaves(), m.Attachments)
	}
	for i, l := range m.Leaves() {
		b, err := io.ReadAll(l.Open())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			b = nil
		}
		if got := l.PartID + " " + l.Name + " " + l.Type + " " + string(b); got != want[i] {
			t.Errorf("leaf %q, want %q", got, want[i])
		}
		if c := m.Attachments[i].Container; (c == "1") != (i > 0) {
			t.Errorf("container %q of %s", c, l.PartID)
		}
	}
	if m.Text != "café" || m.HTML != "<p>café</p>" || hasDefect(m, DefectTNEF) {
		t.Errorf("text %q, HTML %q, defects %v", m.Text, m.HTML, m.Defects)
	}
	for n := range len(stream) { // cut off anywhere
		m := check(t, winmail(stream[:n]))
		if n < 6 && !hasDefect(m, DefectTNEF) {
			t.Errorf("cut off at %d: defects %v", n, m.Defects)
		}
	}
}

func FuzzTNEF(f *testing.F) {
	f.Add([]byte(tnefStream(attribute(2, tnefNext, ""), attribute(2, tnefTitle, "a.txt\x00"), attribute(2, tnefData, "x"))))
	f.Add([]byte(tnefStream(attribute(1, tnefProps, le32(1)+binaryProp(mapiRTF, 0x102, "compressed")))))
	f.Fuzz(func(t *testing.T, stream []byte) {
		raw := winmail(string(stream))
		m := Parse(raw)
		total := int64(0)
		for _, l := range m.Leaves()[min(1, len(m.Leaves())):] {
			b, err := io.ReadAll(l.Open())
			if err != nil || int64(len(b)) != l.Size || sha256Hex(b) != l.SHA256 {
				t.Errorf("leaf %s: %d bytes (%v), want %d", l.PartID, len(b), err, l.Size)
			}
			total += l.Size
		}
		if total > int64(20*len(stream)+1000) {
			t.Errorf("%d bytes became %d", len(stream), total)
		}
	})
}

// The example of [MS-OXRTFCP], section 3.1: the compressed form, and one that reads what it writes.
func TestDecompressRTF(t *testing.T) {
	for compressed, want := range map[string]string{
		"\x2d\x00\x00\x00\x2b\x00\x00\x00LZFu\xf1\xc5\xc7\xa7\x03\x00\x0a\x00rcpg125\x42\x32\x0a\xf3\x20hel\x09\x00\x20bw\x05\xb0ld}\x0a\x80\x0f\xa0": "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n",
		"\x1a\x00\x00\x00\x1c\x00\x00\x00LZFu\xe2\xd4\x4b\x51\x41\x00\x04\x20WXYZ\x0d\x6e\x7d\x01\x0e\xb0":                                            "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}",
		"\x0f\x00\x00\x00\x03\x00\x00\x00MELA\x00\x00\x00\x00abc":                                                                                     "abc",
	} {
		got, ok := decompressRTF([]byte(compressed), 1000)
		if string(got) != want || !ok {
			t.Errorf("got %q (%v), want %q", got, ok, want)
		}
	}
	if _, ok := decompressRTF([]byte("\x1a\x00\x00\x00\x1c\x00\x00\x00LZFu\x00\x00\x00\x00"), 10); ok {
		t.Error("more was decompressed than allowed")
	}
}

func TestUuencodedInText(t *testing.T) {
	const file = "begin 644 a.txt\r\n%:&5L;&\\\r\n`\r\nend\r\n"
	m := check(t, []byte("From: a@b.org\r\n\r\nBefore.\r\n"+file+"Between.\r\nbegin 12 reading here\r\n"+file+"After."))
	if want := "Before.\nBetween.\nbegin 12 reading here\nAfter."; m.Text != want || m.ReplyText != want {
		t.Errorf("text %q, want %q", m.Text, want)
	}
	if len(m.Attachments) != 2 || m.Attachments[1].Name != "a.txt" || m.Attachments[1].Size != 5 || m.Attachments[1].PartID != "1.2" {
		t.Fatalf("attachments %+v", m.Attachments)
	}
	l, _ := m.Leaf("1.2")
	if b, err := io.ReadAll(l.Open()); err != nil || !bytes.Equal(b, []byte("hello")) {
		t.Errorf("got %q (%v)", b, err)
	}
	if !strings.Contains(m.Email.BodyValues["1"].Value, "begin 644") {
		t.Error("the body value is not what the part holds")
	}
	m = check(t, []byte("From: a@b.org\n\nbegin 644 but\nnot a file, and no\nend\n"))
	if len(m.Attachments) != 0 || !strings.HasPrefix(m.Text, "begin 644 but") {
		t.Errorf("text %q, attachments %+v", m.Text, m.Attachments)
	}
}
