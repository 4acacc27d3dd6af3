package parser

import "bytes"

// quotedDecoder decodes quoted-printable line by line. A "=" that starts no escape stays as it is.
type quotedDecoder struct {
	raw    []byte
	pos    int
	repair bool
}

// next appends the bytes of the next line. It says no at the end.
func (d *quotedDecoder) next(dst []byte) ([]byte, bool) {
	if d.pos >= len(d.raw) {
		return dst, false
	}
	line, lineBreak := d.raw[d.pos:], []byte(nil)
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line, lineBreak = line[:end], line[end:end+1]
		if end > 0 && line[end-1] == '\r' {
			line, lineBreak = line[:end-1], d.raw[d.pos+end-1:d.pos+end+1]
		}
	}
	d.pos += len(line) + len(lineBreak)
	for len(line) > 0 && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t') {
		line = line[:len(line)-1]
	}
	bare := line // without more CR, which some gateways put there
	for len(bare) > 0 && isSpace(bare[len(bare)-1]) {
		bare = bare[:len(bare)-1]
	}
	if n := len(bare); n > 0 && bare[n-1] == '=' { // a soft line break
		line, lineBreak = bare[:n-1], nil
	}
	return append(d.escapes(dst, line), lineBreak...), true
}

func (d *quotedDecoder) escapes(dst, line []byte) []byte {
	for {
		equals := bytes.IndexByte(line, '=')
		if equals < 0 {
			return append(dst, line...)
		}
		dst = append(dst, line[:equals]...)
		line = line[equals:]
		for len(line) >= 3 && line[0] == '=' {
			hi, lo := unhex(line[1]), unhex(line[2])
			if hi < 0 || lo < 0 {
				break
			}
			dst = append(dst, byte(hi<<4|lo))
			line = line[3:]
		}
		if len(line) > 0 && line[0] == '=' {
			d.repair = true
			dst = append(dst, '=')
			line = line[1:]
		}
	}
}
