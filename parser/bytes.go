package parser

import "strings"

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// isToken says whether a byte may stand in an RFC 2045 token.
func isToken(c byte) bool { return tokenBytes[c] }

var tokenBytes = func() (table [256]bool) {
	for c := byte('!'); c < 0x7f; c++ {
		table[c] = strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
	}
	return table
}()

// trim takes off the white space around a value.
func trim[T string | []byte](b T) T {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return trimRight(b)
}

func trimRight[T string | []byte](b T) T {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int { return int(hexValue[c]) }

var hexValue = func() (table [256]int8) {
	for c := range table {
		table[c] = -1
	}
	for value, digit := range []byte("0123456789abcdef") {
		table[digit] = int8(value)
		if digit >= 'a' {
			table[digit-'a'+'A'] = int8(value)
		}
	}
	return table
}()

// lower is strings.ToLower for ASCII: it does not touch, and so cannot break, other bytes.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
