package parser

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDecoders(t *testing.T) {
	for name, c := range map[string]struct {
		encoding  transfer
		raw, want string
		repaired  bool
	}{
		"base64":                 {encodingBase64, "aGVsbG8gd29ybGQ=\r\n", "hello world", false},
		"base64 odd lines":       {encodingBase64, "aGV\r\nsbG8\r\n=\r\n", "hello", false},
		"base64 no padding":      {encodingBase64, "aGVsbG8", "hello", true},
		"base64 junk":            {encodingBase64, "aGVs!!bG8=", "hello", true},
		"base64 in pieces":       {encodingBase64, "aGVs\nbG8=\nIHdvcmxk", "hello world", false},
		"base64 and a footer":    {encodingBase64, "aGVsbG8=\r\n\r\n-- \r\nlist footer\r\n", "hello", true},
		"base64 and a word":      {encodingBase64, "aGVsbG8= ignored\r\n\r\n", "hello", true},
		"base64 and more":        {encodingBase64, "aGVsbG8= d29y\r\nbGQ=", "helloworld", false},
		"base64 in one line":     {encodingBase64, "aGVsbG8= d29ybGQ=aGVsbG8h", "helloworldhello!", false},
		"base64 one letter":      {encodingBase64, "A", "", true},
		"base64 empty":           {encodingBase64, "", "", false},
		"quoted":                 {encodingQuoted, "caf=C3=A9 =\r\nau lait  \r\nx", "café au lait\r\nx", false},
		"quoted lower case":      {encodingQuoted, "caf=c3=a9", "café", false},
		"quoted bad escape":      {encodingQuoted, "100=% =ZZ =4", "100=% =ZZ =4", true},
		"quoted 8 bit":           {encodingQuoted, "caf\xe9=20x", "caf\xe9 x", false},
		"quoted soft and spaces": {encodingQuoted, "a=  \r\nb=", "ab", false},
		"uuencode":               {encodingUU, "begin 644 a\r\n%:&5L;&\\\r\n`\r\nend\r\n", "hello", false},
		"uuencode cut off":       {encodingUU, "begin 644 a\r\n%:&5L", "hel\x00\x00"[:3], true},
		"none":                   {encodingNone, "a=\r\n", "a=\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, defect := decodeAll(c.encoding, []byte(c.raw))
			if c.encoding == encodingUU && c.repaired {
				got = got[:3]
			}
			if string(got) != c.want || (defect != "") != c.repaired {
				t.Errorf("got %q (%s), want %q, repaired %v", got, defect, c.want, c.repaired)
			}
		})
	}
}

// Lines that are as long as the one before go another way, to the same bytes.
func TestBase64LinesAlike(t *testing.T) {
	pieces := []string{"YWJj", "ZGVm", "Z2g=", "YQ==", "\r\n", "\n", "\r\r\n", "\r\n\r\n", " ", "!", "YW", "=", "foot er"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var raw []byte
		for range random.IntN(24) {
			raw = append(raw, pieces[min(random.IntN(2*len(pieces)), random.IntN(len(pieces)))]...)
		}
		got, defect := decodeAll(encodingBase64, raw)
		slow := &base64Decoder{raw: raw}
		want := []byte{}
		for more := true; more; {
			slow.width = 0
			want, more = slow.next(want)
		}
		if !bytes.Equal(got, want) || defect != repaired(slow) {
			t.Fatalf("%q: got %q (%s), want %q (%s)", raw, got, defect, want, repaired(slow))
		}
	}
}

// However it is read, a leaf gives the same bytes.
func TestLeafReader(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef\r\n"), 20_000)
	encoded := base64.StdEncoding.EncodeToString(want)
	var lines strings.Builder
	for len(encoded) > 76 {
		lines.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	raw := "From: a@b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines.String() + encoded + "\r\n"
	l, ok := Parse([]byte(raw)).Leaf("1")
	if !ok || l.Size != int64(len(want)) || l.SHA256 != sha256Hex(want) || l.Encoding != "base64" {
		t.Fatalf("leaf %+v", l)
	}
	small, err := io.ReadAll(io.LimitReader(l.Open(), 1000))
	if err != nil || !bytes.Equal(small, want[:1000]) {
		t.Errorf("the first 1000 bytes differ (%v)", err)
	}
	whole, err := io.ReadAll(l.Open())
	if err != nil || !bytes.Equal(whole, want) {
		t.Errorf("read %d bytes (%v)", len(whole), err)
	}
	var copied bytes.Buffer
	if n, err := io.Copy(&copied, l.Open()); err != nil || n != l.Size || !bytes.Equal(copied.Bytes(), want) {
		t.Errorf("copied %d bytes (%v)", n, err)
	}
	if len(l.Raw()) < len(want) {
		t.Errorf("the raw leaf has %d bytes", len(l.Raw()))
	}
}

func TestCharsets(t *testing.T) {
	for _, c := range []struct{ bytes, label, want, defect string }{
		{"caf\xc3\xa9", "utf-8", "café", ""},
		{"caf\xe9", "iso-8859-1", "café", ""},
		{"\x93x\x94", "iso-8859-1", "“x”", ""},
		{"caf\xe9", "'iso-8859-1'", "café", ""},
		{"caf\xe9", "cp-1252", "café", ""},
		{"caf\xe9", "", "café", DefectCharsetWrong},
		{"caf\xe9", "utf-8", "café", DefectCharsetWrong},
		{"caf\xe9", "x-nobody", "café", DefectCharsetUnknown},
		{"plain", "x-nobody", "plain", ""},
		{"\xef\xbb\xbfbom", "utf-8", "bom", ""},
		{"\x82\xb1", "cp932", "こ", ""},
		{"\xc4\xe3", "gb2312", "你", ""},
		{"+AOk-+-", "utf-7", "é+", ""},
		{"\xff\xfeh\x00i\x00", "utf-16", "hi", ""},
		{"h\x00i\x00", "utf-16", "hi", ""},
		{"\x00h\x00i", "utf-16", "hi", ""},
		{"\x1b$B$3\x1b(B", "", "こ", ""},
		{"\x8e", "macintosh", "é", ""},
		{"\xa4", "iso8859_15", "€", ""},
		{"\xc1", "koi8r", "а", ""},
		{"\x82", "cp850", "é", ""},
		{"\x81\x00", "shift_jis", "\ufffd\x00", DefectCharsetBroken},
	} {
		got := decodeText([]byte(c.bytes), c.label, "")
		if got.value != c.want || got.defect != c.defect {
			t.Errorf("%q as %q: got %q (%s), want %q (%s)", c.bytes, c.label, got.value, got.defect, c.want, c.defect)
		}
	}
}
