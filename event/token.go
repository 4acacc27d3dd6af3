package event

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// MaxToken is the longest subject token that Token returns, in bytes.
const MaxToken = 64

// Token turns a mailbox id or a folder name into one token of a NATS subject: characters of [A-Za-z0-9-] stay, every
// other byte becomes "_" and two hex digits. Different names give different tokens; a name whose token would be longer
// than MaxToken is cut and ends in a hash of the whole name. The empty name gives "_".
func Token(name string) string {
	if name == "" {
		return "_"
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		default:
			b.WriteByte('_')
			b.WriteString(hex.EncodeToString([]byte{c}))
		}
	}
	token := b.String()
	if len(token) <= MaxToken {
		return token
	}
	// "__" cannot stand in an uncut token, so a cut one never equals an uncut one.
	sum := sha256.Sum256([]byte(name))
	return token[:MaxToken-2-32] + "__" + hex.EncodeToString(sum[:16])
}
