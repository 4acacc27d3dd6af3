package sim

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
)

// modified is the base64 of modified UTF-7 (RFC 3501, section 5.1.3), in which folder names are written.
var modified = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// encodeName writes a folder name in modified UTF-7.
func encodeName(name string) string {
	var b strings.Builder
	var run []rune
	flush := func() {
		if len(run) == 0 {
			return
		}
		var octets []byte
		for _, u := range utf16.Encode(run) {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + modified.EncodeToString(octets) + "-")
		run = run[:0]
	}
	for _, r := range name {
		if r < ' ' || r > '~' {
			run = append(run, r)
			continue
		}
		flush()
		if b.WriteRune(r); r == '&' {
			b.WriteByte('-')
		}
	}
	flush()
	return b.String()
}

// decodeName reads a folder name in modified UTF-7; what is not valid stays as it is.
func decodeName(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "&")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		coded, after, closed := strings.Cut(rest, "-")
		octets, err := modified.DecodeString(coded)
		switch {
		case !closed, err != nil, len(octets)%2 != 0:
			b.WriteString("&")
			s = rest
			continue
		case coded == "":
			b.WriteByte('&')
		default:
			units := make([]uint16, 0, len(octets)/2)
			for i := 0; i < len(octets); i += 2 {
				units = append(units, uint16(octets[i])<<8|uint16(octets[i+1]))
			}
			b.WriteString(string(utf16.Decode(units)))
		}
		s = after
	}
}
