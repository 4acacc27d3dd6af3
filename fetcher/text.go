package fetcher

import (
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// notEOF turns the end of the connection into an error that no reader takes for the end of its data.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cutWord splits s at its first space.
func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(s, " ")
	return word, strings.TrimLeft(rest, " ")
}

// cutCode splits a response text into its response code, without brackets, and what follows it.
func cutCode(text string) (code, rest string, ok bool) {
	if !strings.HasPrefix(text, "[") {
		return "", text, false
	}
	code, rest, ok = strings.Cut(text[1:], "]")
	if !ok {
		return "", text, false
	}
	return code, strings.TrimLeft(rest, " "), true
}

// quote returns s as an IMAP quoted string. s has no line breaks.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// clip shortens a text of the server for an error message and takes out what a terminal or a log could stumble over.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // such as ESC, its 8-bit forms, and what turns the direction of a line
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}

// trailingLiteral returns the n of a line that ends in {n} or {n+}.
func trailingLiteral(line []byte) (n int64, ok bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, false
	}
	end := len(line) - 1
	if line[end-1] == '+' {
		end--
	}
	start := end
	for start > 0 && line[start-1] >= '0' && line[start-1] <= '9' {
		start--
	}
	if start == end || start == 0 || line[start-1] != '{' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(line[start:end]), 10, 64)
	if err != nil {
		return 1<<63 - 1, true // more than anyone can send
	}
	return n, true
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// toUTF7 returns a name in modified UTF-7 (RFC 3501, section 5.1.3).
func toUTF7(name string) string {
	var b strings.Builder
	for name != "" {
		n := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' })
		if n < 0 {
			n = len(name)
		}
		b.WriteString(strings.ReplaceAll(name[:n], "&", "&-"))
		name = name[n:]
		if n = strings.IndexFunc(name, func(r rune) bool { return r >= ' ' && r <= '~' }); n < 0 {
			n = len(name)
		}
		if n == 0 {
			continue
		}
		var wide []byte
		for _, unit := range utf16.Encode([]rune(name[:n])) {
			wide = append(wide, byte(unit>>8), byte(unit))
		}
		b.WriteString("&" + utf7Alphabet.EncodeToString(wide) + "-")
		name = name[n:]
	}
	return b.String()
}

// fromUTF7 returns the name that modified UTF-7 stands for; what is none stays as it is.
func fromUTF7(text string) string {
	if !isUTF7(text) {
		return text
	}
	var b strings.Builder
	for text != "" {
		plain, rest, coded := strings.Cut(text, "&")
		b.WriteString(plain)
		if !coded {
			break
		}
		var run string
		if run, text, _ = strings.Cut(rest, "-"); run == "" {
			b.WriteByte('&')
			continue
		}
		wide, _ := utf7Alphabet.DecodeString(run) // isUTF7 has tried it
		b.WriteString(string(utf16.Decode(utf16Units(wide))))
	}
	return b.String()
}

func utf16Units(b []byte) (units []uint16) {
	for i := 0; i+1 < len(b); i += 2 {
		units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
	}
	return units
}

// utf7Alphabet is that of modified UTF-7.
var utf7Alphabet = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()
