package parser

import (
	"bytes"
	"strings"
	"unicode"
)

// messageIDs reads the ids of a Message-ID, In-Reply-To or References field, without angle brackets (RFC 8621, section
// 4.1.2.5). odd says that something in the field is none by the standard.
func messageIDs(value []byte) (ids []string, odd bool) {
	for len(value) > 0 {
		open := bytes.IndexByte(value, '<')
		if open < 0 {
			break
		}
		end := open + 1
		for end < len(value) && value[end] != '>' && value[end] != '<' {
			end++
		}
		odd = odd || end == len(value)
		if id := cleanID(value[open+1 : end]); id != "" {
			if ids == nil {
				const many = 100
				ids = make([]string, 0, min(many, 1+bytes.Count(value[end:], []byte{'<'})))
			}
			ids = append(ids, id)
			odd = odd || !strings.Contains(id, "@")
		}
		value = value[end:]
		if len(value) > 0 && value[0] == '>' {
			value = value[1:]
		}
	}
	if ids != nil {
		return ids, odd
	}
	// No brackets at all: every word with an @ is one, else the only word.
	value = bytes.TrimSpace(value)
	alone := !bytes.ContainsFunc(value, unicode.IsSpace)
	if n := bytes.Count(value, []byte{'@'}); n > 0 {
		ids = make([]string, 0, n)
	}
	for word := range bytes.FieldsSeq(value) {
		if bytes.IndexByte(word, '@') <= 0 && !alone {
			continue
		}
		if id := cleanID(bytes.Trim(word, ",;\"'>")); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, len(value) > 0
}

// cleanID takes white space and control characters out of an id.
func cleanID(id []byte) string {
	if isVisible(id) {
		return string(id)
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(id), "\ufffd"))
}

// isVisible says whether all bytes are letters, digits or signs of ASCII.
func isVisible(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
