package rivals

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
)

// mail is a message that was put on the server.
type mail struct {
	id   string // in its Harness-Id field, which no fetcher changes
	raw  []byte
	body string // digest of its body
}

const idField = "Harness-Id: "

// newMails makes n messages of 1 to 20 kB.
func newMails(n int, rng *rand.Rand) []mail {
	mails := make([]mail, n)
	for i := range mails {
		id := fmt.Sprintf("%08d", i)
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s%s\r\nMessage-ID: <%s@rivals.example>\r\nFrom: Ann <ann@example.org>\r\nTo: box@example.org\r\n"+
			"Subject: number %d\r\nDate: Sat, 21 Nov 2026 09:30:00 +0000\r\nContent-Type: text/plain\r\n\r\n", idField, id, id, i)
		for range 15 + rng.IntN(300) {
			fmt.Fprintf(&b, "%016x %016x %016x\r\n", rng.Uint64(), rng.Uint64(), rng.Uint64())
		}
		mails[i] = mail{id: id, raw: b.Bytes(), body: bodyDigest(b.Bytes())}
	}
	return mails
}

// bodyDigest hashes what follows the header, with line ends as a Maildir keeps them.
func bodyDigest(raw []byte) string {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	_, body, _ := bytes.Cut(raw, []byte("\n\n"))
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// mailID finds the Harness-Id field in a header; it is empty when there is none.
func mailID(raw []byte) string {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	header, _, _ := bytes.Cut(raw, []byte("\n\n"))
	for line := range bytes.SplitSeq(header, []byte("\n")) {
		if id, ok := bytes.CutPrefix(line, []byte(idField)); ok {
			return string(id)
		}
	}
	return ""
}
