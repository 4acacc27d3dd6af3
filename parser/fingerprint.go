package parser

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
)

// volatileFields differ between two fetches of one message: a server writes them anew (Exchange makes a new boundary at
// each fetch), or a mail program keeps its own state in them.
var volatileFields = map[string]bool{
	"content-type": true, "status": true, "x-status": true, "x-uid": true, "x-uidl": true, "x-keywords": true, "x-imap": true, "x-imapbase": true,
	"x-mozilla-status": true, "x-mozilla-status2": true, "x-mozilla-keys": true, "x-gmail-labels": true, "x-gm-thrid": true,
	"x-evolution": true, "content-length": true, "lines": true,
}

// Fingerprint tells one message from another by what does not change between two fetches of it: it is the sha256, in
// lower-case hex, of the fields of its header, sorted, without those that are volatile and without Content-Type. Line
// ends and folds do not count. The header alone gives the same fingerprint as the whole message. Bytes without a header, of
// which there may be several in one second, are told apart by themselves.
func Fingerprint(raw []byte) string {
	raw, _ = unixLines(raw)
	scan := headerScan{raw: raw, limits: DefaultLimits()}
	h, _ := scan.scan()
	lines := make([]string, 0, len(h.fields))
	for _, f := range h.fields {
		if name := lower(string(h.name(f))); !volatileFields[name] {
			lines = append(lines, name+":"+strings.Join(strings.Fields(string(bytes.ToValidUTF8(unfold(h.value(f)), []byte{'?'}))), " "))
		}
	}
	slices.Sort(lines)
	sum := sha256.New()
	if len(h.fields) == 0 {
		sum.Write(raw)
	}
	for _, line := range lines {
		sum.Write([]byte(line + "\n"))
	}
	return hexSum(sum)
}
