package configs

import (
	"strings"
	"testing"
)

// A host is a name or an address, and nothing else.
func TestHosts(t *testing.T) {
	for host, good := range map[string]bool{
		"imap.example.com": true, "imap.example.com.": true, "localhost": true, "mail_1": true, "a-b.c--d.example": true, "9.example": true,
		"post.bücher.example": true, "почта.рф": true, "192.0.2.1": true, "2001:db8::1": true, strings.Repeat("a", 253): true,
		".": false, ".example": false, "a..example": false, "example..": false, "-a.example": false, "a-.example": false, "a.-.example": false,
		"a b.example": false, "a/b": false, "a@b.example": false, "imap.example.com:993": false, "imaps://imap.example.com": false,
		"a\u200b.example": false, strings.Repeat("a", 254): false,
	} {
		text := "mailboxes:\n  - {name: a, address: a@example.com, provider: imap, host: '" + host + "', login: {password: env:PW}}\n"
		if got := mistakesOf(t, text, "PW=x"); (got == nil) != good {
			t.Errorf("%q: %v", host, got)
		}
	}
}
