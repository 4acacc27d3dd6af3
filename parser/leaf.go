package parser

import (
	"bytes"
	"io"
)

// Leaf is a MIME part that holds no parts: a view of the message, decoded as it is read.
type Leaf struct {
	PartID      string
	Within      string // the part id of the attached message that it is in; empty in the message itself
	Container   string // the part id of the winmail.dat, or of the text, that it was taken out of
	Type        string // lower case, "image/png"
	Name        string // as the message says it, decoded; it can be a path
	Charset     string // as the message says it; empty if it does not
	Disposition string // lower case; empty if there is none
	CID         string // Content-ID without <>
	Encoding    string // base64, quoted-printable, uuencode; empty if there is none
	Size        int64  // of the decoded bytes
	SHA256      string // of the decoded bytes, lower-case hex

	transfer transfer
	raw      []byte
	section  bool  // it is a piece of the decoded bytes
	skip     int64 // that starts here
}

// Open returns a reader of the decoded bytes. Each call starts anew.
func (l Leaf) Open() io.Reader {
	if l.section {
		return &sectionReader{from: &decodingReader{decoder: newDecoder(l.transfer, l.raw)}, skip: l.skip, left: l.Size}
	}
	if d := newDecoder(l.transfer, l.raw); d != nil {
		return &decodingReader{decoder: d}
	}
	return bytes.NewReader(l.raw)
}

// Raw returns the bytes as they stand in the message, still encoded; for a leaf out of a container, those of the container.
func (l Leaf) Raw() []byte { return l.raw }
