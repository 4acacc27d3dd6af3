package state

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// The layout of the bucket. A key is the name of a table and the encoded id of a record, with a dot between them.
const (
	tablePositions = "p" // p.<mailbox>: how far each folder of the mailbox is done
	tableDeeds     = "d" // d.<mailbox>: up to where in its chain the mailbox was acted upon
	tableGrants    = "g" // g.<key>:     what package token keeps
	tableMailboxes = "m" // m.<mailbox>: the name and address that the mailbox was last configured with
	tableSessions  = "s" // s.<session>: a replica's claim to be alive
	tableOwners    = "o" // o.<mailbox>: the session that may carry the mailbox
	tableHealth    = "h" // h.<mailbox>: how the mailbox is, in the words of whoever carries it
	tableSignIns   = "c" // c.<key>:     a sign-in while the browser is away at the provider
)

// key returns the key of a record. Characters that a key or a subject cannot hold are encoded, so any id will do.
func key(table, id string) string { return table + "." + encode(id) }

// encode turns any text into one token of a KV key: [A-Za-z0-9-] stay, every other byte becomes "_" and two hex digits, and
// the empty text becomes "_". Different texts give different tokens.
func encode(id string) string {
	if id == "" {
		return "_"
	}
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// splitKey is the reverse of key. It reports false for a key that key does not make.
func splitKey(k string) (table, id string, ok bool) {
	table, token, ok := strings.Cut(k, ".")
	if !ok {
		return "", "", false
	}
	if token == "_" {
		return table, "", true
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '_' {
			b.WriteByte(token[i])
			continue
		}
		if i+3 > len(token) {
			return "", "", false
		}
		c, err := hex.DecodeString(token[i+1 : i+3])
		if err != nil {
			return "", "", false
		}
		b.Write(c)
		i += 2
	}
	return table, b.String(), true
}
