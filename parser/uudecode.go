package parser

import "bytes"

// uuDecoder decodes a uuencoded part line by line: what stands between "begin" and "end".
type uuDecoder struct {
	raw    []byte
	pos    int
	inside bool
	done   bool
	repair bool
}

// next appends the bytes of the next line. It says no at the end.
func (d *uuDecoder) next(dst []byte) ([]byte, bool) {
	if d.done || d.pos >= len(d.raw) {
		d.repair = d.repair || !d.done
		return dst, false
	}
	line, next := lineAt(d.raw, d.pos)
	d.pos = next
	switch {
	case !d.inside:
		d.inside = bytes.HasPrefix(line, []byte("begin "))
	case bytes.Equal(bytes.TrimSpace(line), []byte("end")):
		d.done = true
	case len(line) > 0:
		dst = d.line(dst, line)
	}
	return dst, true
}

func (d *uuDecoder) line(dst, line []byte) []byte {
	want := int(line[0]-' ') & 63
	have := len(dst)
	for line = line[1:]; want > len(dst)-have && len(line) > 0; {
		var group [4]byte
		n := copy(group[:], line)
		line = line[n:]
		for i := range group {
			if i >= n {
				group[i] = ' ' // trailing spaces were cut off on the way
			}
			group[i] = (group[i] - ' ') & 63
		}
		dst = append(dst, group[0]<<2|group[1]>>4, group[1]<<4|group[2]>>2, group[2]<<6|group[3])
	}
	if len(dst)-have < want {
		d.repair = true
		return dst
	}
	return dst[:have+want]
}
