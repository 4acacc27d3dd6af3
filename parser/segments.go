package parser

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

// segment is one piece of an RFC 2231 parameter: name*0*=value.
type segment struct {
	name    string
	index   int // whole, or its place
	percent bool
	value   []byte
}

// whole is the index of a segment that is the only one of its parameter: name*=value.
const whole = -1

func newSegment(name []byte, star int, value []byte) segment {
	seg := segment{name: lower(string(name[:star])), value: value}
	rest := name[star+1:]
	if seg.percent = len(rest) == 0; seg.percent {
		seg.index = whole
	}
	if before, ok := bytes.CutSuffix(rest, []byte{'*'}); ok {
		seg.percent, rest = true, before
	}
	if n, err := strconv.Atoi(string(rest)); err == nil && n >= 0 {
		seg.index = n
	}
	return seg
}

// joinSegments puts the pieces of RFC 2231 parameters together.
func joinSegments(segments []segment) []param {
	slices.SortStableFunc(segments, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.index, b.index))
	})
	var params []param
	complete := false
	for i, seg := range segments {
		switch {
		case i == 0 || segments[i-1].name != seg.name:
			params = append(params, param{name: seg.name})
			complete = seg.index == whole
		case complete || segments[i-1].index == seg.index:
			continue
		}
		p := &params[len(params)-1]
		value := seg.value
		if seg.percent {
			if !p.extended && len(p.value) == 0 {
				p.charset, value = cutCharset(value)
				value = bytes.Trim(value, `"`)
			}
			p.extended = true
			value = unpercent(value)
		}
		p.value = append(p.value, value...)
	}
	return params
}

// cutCharset splits charset'language'text.
func cutCharset(value []byte) (charset string, text []byte) {
	first := bytes.IndexByte(value, '\'')
	if first < 0 {
		return "", value
	}
	second := bytes.IndexByte(value[first+1:], '\'')
	if second < 0 { // one of the two is missing: "utf-8'name"
		if label := string(value[:first]); label != "" && findCharset(label).kind != charsetUnknown {
			return label, value[first+1:]
		}
		return "", value
	}
	return string(value[:first]), value[first+second+2:]
}

func unpercent(value []byte) []byte {
	if bytes.IndexByte(value, '%') < 0 {
		return value
	}
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			hi, lo := unhex(value[i+1]), unhex(value[i+2])
			if hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, value[i])
	}
	return out
}
