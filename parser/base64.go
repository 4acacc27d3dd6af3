package parser

import (
	"bytes"
	"encoding/base64"
)

// base64Decoder decodes line by line. A proper line goes through encoding/base64 at once; anything else is read letter by
// letter: foreign characters are skipped, padding may be missing, pieces with padding of their own may follow each other.
type base64Decoder struct {
	raw     []byte
	pos     int
	quantum uint32 // letters of a group that is not complete
	letters int
	padded  bool // padding was seen
	repair  bool

	width int // letters on the last line, if it was a proper one
	feed  int // bytes of its line break
}

// next appends the bytes of the next line. It says no at the end.
func (d *base64Decoder) next(dst []byte) ([]byte, bool) {
	if d.pos >= len(d.raw) {
		if d.letters > 0 {
			d.repair = true
			dst = d.flush(dst)
			return dst, true
		}
		return dst, false
	}
	if d.width > 0 && d.letters == 0 {
		if dst = d.alike(dst); d.pos >= len(d.raw) {
			return dst, false
		}
	}
	end := bytes.IndexByte(d.raw[d.pos:], '\n')
	next := len(d.raw)
	line := d.raw[d.pos:]
	if end >= 0 {
		line, next = d.raw[d.pos:d.pos+end], d.pos+end+1
	}
	const longest = 1 << 16 // a message without line breaks is decoded in pieces
	if len(line) > longest {
		line, next = line[:longest], d.pos+longest
	}
	start := d.pos
	d.pos = next
	for len(line) > 0 && isSpace(line[len(line)-1]) {
		line = line[:len(line)-1]
	}
	if len(line) == 0 {
		return dst, true
	}
	if d.padded && !properBase64(line) {
		// Text after the end, such as the footer of a mailing list.
		d.pos = len(d.raw)
		d.repair = true
		return dst, true
	}
	if d.letters == 0 && len(line)%4 == 0 {
		have := len(dst)
		want := base64.StdEncoding.DecodedLen(len(line))
		dst = grow(dst, want)
		n, err := base64.StdEncoding.Decode(dst[have:have+want], line)
		if err == nil {
			if n < want || line[len(line)-1] == '=' {
				d.padded = true
			} else if feed := next - start - len(line); end >= 0 && feed <= len("\r\n") && len(line) <= longest/2 {
				d.width, d.feed = len(line), feed
			}
			return dst[:have+n], true
		}
		dst = dst[:have]
	}
	return d.letter(dst, line), true
}

// alike appends the lines that are as long as the last one, as all but the last of a part are, up to a chunk of them.
func (d *base64Decoder) alike(dst []byte) []byte {
	want := d.width / 4 * 3
	step := d.width + d.feed
	enough := len(dst) + chunkSize
	for len(dst) < enough && d.pos+step <= len(d.raw) {
		line := d.raw[d.pos : d.pos+d.width]
		if d.raw[d.pos+step-1] != '\n' || d.feed == 2 && d.raw[d.pos+d.width] != '\r' {
			break
		}
		have := len(dst)
		dst = grow(dst, want)
		// A line break or padding in the line gives fewer bytes: it is for the slower way, then.
		if n, err := base64.StdEncoding.Decode(dst[have:], line); err != nil || n != want {
			dst = dst[:have]
			break
		}
		d.pos += step
	}
	return dst
}

// isProse says whether what is labelled base64 is text as it stands: words with marks between them, from the first line on.
func isProse(raw []byte) bool {
	const window, longest = 1000, 24
	raw = bytes.TrimLeft(raw[:min(len(raw), window)], " \t\r\n")
	if first, _ := lineAt(raw, 0); properBase64(trimRight(first)) {
		return false
	}
	run, spaces, marks := 0, 0, 0
	for i, c := range raw {
		switch {
		case base64Value[c] < 64 || c == '=':
			if run++; run > longest {
				return false
			}
			continue
		case !isSpace(c):
			marks++
		case c == ' ' && i > 0 && !isSpace(raw[i-1]):
			spaces++
		}
		run = 0
	}
	return marks > 0 && spaces > 0
}

// letter decodes a line letter by letter.
func (d *base64Decoder) letter(dst, line []byte) []byte {
	padded := false
	for i, c := range line {
		v := base64Value[c]
		if padded && v < 64 {
			if padded = false; isSpace(line[i-1]) && blank(d.raw[d.pos:]) && !startsPiece(line[i:]) {
				d.repair = true
				return dst
			}
		}
		switch {
		case v < 64:
			d.quantum = d.quantum<<6 | uint32(v)
			d.letters++
			if d.letters == 4 {
				dst = append(dst, byte(d.quantum>>16), byte(d.quantum>>8), byte(d.quantum))
				d.quantum, d.letters = 0, 0
			}
		case c == '=':
			d.padded, padded = true, true
			dst = d.flush(dst)
		case !isSpace(c):
			d.repair = true
		}
	}
	return dst
}

// startsPiece says whether what stands behind padding and a space on the last line is more base64, up to its own padding,
// and not a word that somebody added.
func startsPiece(line []byte) bool {
	n := 0
	for n < len(line) && base64Value[line[n]] < 64 {
		n++
	}
	for n < len(line) && line[n] == '=' {
		n++
	}
	return n%4 == 0 && (n == len(line) || base64Value[line[n]] < 64 || isSpace(line[n]))
}

// flush writes what an incomplete group holds.
func (d *base64Decoder) flush(dst []byte) []byte {
	switch d.letters {
	case 2:
		dst = append(dst, byte(d.quantum>>4))
	case 3:
		dst = append(dst, byte(d.quantum>>10), byte(d.quantum>>2))
	}
	d.quantum, d.letters = 0, 0
	return dst
}

func properBase64(line []byte) bool {
	if len(line)%4 != 0 {
		return false
	}
	for _, c := range bytes.TrimRight(line, "=") {
		if base64Value[c] >= 64 {
			return false
		}
	}
	return true
}

func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) < n {
		bigger := make([]byte, len(dst), 2*cap(dst)+n)
		copy(bigger, dst)
		dst = bigger
	}
	return dst[:len(dst)+n]
}

// base64Value holds the value of each letter, 255 for what is none.
var base64Value = func() (table [256]byte) {
	for i := range table {
		table[i] = 255
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(letters) {
		table[letters[i]] = byte(i)
	}
	return table
}()
