package parser

import (
	"crypto/sha256"
	"hash"
	"io"
	"strings"
	"sync"
)

// transfer is a content transfer encoding.
type transfer int

const (
	encodingNone transfer = iota
	encodingBase64
	encodingQuoted
	encodingUU
)

func (e transfer) String() string {
	return [...]string{"", "base64", "quoted-printable", "uuencode"}[e]
}

// parseEncoding reads a Content-Transfer-Encoding. proper says whether it is one of the standard's words, known whether it
// was recognised at all.
func parseEncoding(value []byte) (e transfer, proper, known bool) {
	label := word(trim(value))
	switch label {
	case "7bit", "8bit", "binary":
		return encodingNone, true, true
	case "base64":
		return encodingBase64, true, true
	case "quoted-printable":
		return encodingQuoted, true, true
	}
	// What real mail says instead: "7-bit", "base64;", "Quoted Printable", "quoted-printable (x)", "\"base64\"".
	const longest = 100
	label = dropComments(label[:min(len(label), longest)])
	uuencoded := strings.Contains(label, "uue")
	label, _, _ = strings.Cut(strings.Trim(label, " \t\";',"), ";")
	label, _, _ = strings.Cut(label, ",")
	label = encodingMarks.Replace(label)
	switch {
	case strings.HasPrefix(label, "quoted"), label == "qp", label == "q":
		return encodingQuoted, false, true
	case strings.HasPrefix(label, "base64"), label == "b64", label == "b", label == "bas64":
		return encodingBase64, false, true
	case strings.HasPrefix(label, "7bit"), strings.HasPrefix(label, "8bit"), strings.HasPrefix(label, "binary"),
		label == "", label == "none", label == "plain", label == "utf8", label == "ascii", label == "usascii":
		return encodingNone, false, true
	case uuencoded:
		return encodingUU, true, true
	}
	return encodingNone, false, false
}

// encodingMarks are taken out of the name of a transfer encoding before it is compared.
var encodingMarks = strings.NewReplacer(" ", "", "\t", "", "-", "", "_", "", "/", "", "\"", "")

// decoder hands out decoded bytes piece by piece.
type decoder interface {
	next(dst []byte) (out []byte, more bool)
}

func newDecoder(e transfer, raw []byte) decoder {
	switch e {
	case encodingBase64:
		return &base64Decoder{raw: raw}
	case encodingQuoted:
		return &quotedDecoder{raw: raw}
	case encodingUU:
		return &uuDecoder{raw: raw}
	}
	return nil
}

// repaired returns the defect of what a decoder had to repair, or "".
func repaired(d decoder) string {
	switch d := d.(type) {
	case *base64Decoder:
		if d.repair {
			return DefectBase64
		}
	case *quotedDecoder:
		if d.repair {
			return DefectQuoted
		}
	case *uuDecoder:
		if d.repair {
			return DefectUuencode
		}
	}
	return ""
}

// decodeAll returns the decoded bytes and the defect that decoding them showed. Bytes without an encoding are a view.
func decodeAll(e transfer, raw []byte) (out []byte, defect string) {
	d := newDecoder(e, raw)
	if d == nil {
		return raw, ""
	}
	out = make([]byte, 0, decodedCap(e, len(raw)))
	for more := true; more; {
		out, more = d.next(out)
	}
	return out, repaired(d)
}

func decodedCap(e transfer, n int) int {
	if e == encodingQuoted {
		return n
	}
	return n/4*3 + 3
}

// chunkSize is how much is decoded before it is handed on.
const chunkSize = 32 << 10

// digester is what it takes to hash a part, kept for the next one.
type digester struct {
	hash  hash.Hash
	chunk []byte
}

var digesters = sync.Pool{New: func() any { return &digester{sha256.New(), make([]byte, 0, 2*chunkSize)} }}

// digest returns size and sha256 of the decoded bytes without holding them all.
func digest(e transfer, raw []byte) (size int64, sum, defect string) {
	d := newDecoder(e, raw)
	if d == nil {
		return int64(len(raw)), sha256Hex(raw), ""
	}
	use := digesters.Get().(*digester)
	defer digesters.Put(use)
	use.hash.Reset()
	buf := use.chunk[:0]
	for more := true; more; {
		buf, more = d.next(buf)
		if len(buf) >= chunkSize || !more {
			size += int64(len(buf))
			use.hash.Write(buf)
			buf = buf[:0]
		}
	}
	if cap(buf) <= 4*chunkSize {
		use.chunk = buf
	}
	return size, hexSum(use.hash), repaired(d)
}

func hexSum(h hash.Hash) string {
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return hexOf(sum)
}

func hexOf(sum [sha256.Size]byte) string {
	const digits = "0123456789abcdef"
	var text [2 * sha256.Size]byte
	for i, b := range sum {
		text[2*i], text[2*i+1] = digits[b>>4], digits[b&15]
	}
	return string(text[:])
}

func sha256Hex(b []byte) string {
	return hexOf(sha256.Sum256(b))
}

// decodingReader reads decoded bytes.
type decodingReader struct {
	decoder decoder
	buf     []byte
	read    int
	done    bool
}

// Read implements io.Reader.
func (r *decodingReader) Read(p []byte) (int, error) {
	for r.read == len(r.buf) {
		if r.done {
			return 0, io.EOF
		}
		r.fill()
	}
	n := copy(p, r.buf[r.read:])
	r.read += n
	return n, nil
}

func (r *decodingReader) fill() {
	r.buf, r.read = r.buf[:0], 0
	for more := true; len(r.buf) < chunkSize; {
		if r.buf, more = r.decoder.next(r.buf); !more {
			r.done = true
			return
		}
	}
}

// WriteTo implements io.WriterTo.
func (r *decodingReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if r.read == len(r.buf) {
			if r.done {
				return total, nil
			}
			r.fill()
			continue
		}
		n, err := w.Write(r.buf[r.read:])
		total += int64(n)
		r.read += n
		if err != nil {
			return total, err
		}
	}
}
