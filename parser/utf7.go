package parser

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeUTF7 decodes UTF-7 (RFC 2152): "+" starts base64 of UTF-16, "+-" is a plus.
func decodeUTF7(b []byte) text {
	var out strings.Builder
	t := text{}
	for i := 0; i < len(b); {
		c := b[i]
		if c != '+' {
			if c >= utf8.RuneSelf {
				t.defect = DefectCharsetBroken
				out.WriteRune(rune(c))
			} else {
				out.WriteByte(c)
			}
			i++
			continue
		}
		i++
		start := i
		for i < len(b) && base64Value[b[i]] < 64 {
			i++
		}
		switch {
		case i > start:
			out.WriteString(utf7Shifted(b[start:i]))
		case i < len(b) && b[i] == '-':
			out.WriteByte('+')
		default:
			out.WriteByte('+')
			continue
		}
		if i < len(b) && b[i] == '-' {
			i++
		}
	}
	t.value = strings.ToValidUTF8(out.String(), "\ufffd")
	return t
}

func utf7Shifted(letters []byte) string {
	var units []uint16
	acc, bits := uint32(0), 0
	for _, c := range letters {
		acc = acc<<6 | uint32(base64Value[c])
		bits += 6
		if bits >= 16 {
			bits -= 16
			units = append(units, uint16(acc>>bits))
		}
	}
	return string(utf16.Decode(units))
}
