package mailbox_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// TestBytesAreTheServersOwn is bar 13: whatever a message is made of, its raw bytes on the stream are the server's, on the
// way of what is received and of what is dead.
func TestBytesAreTheServersOwn(t *testing.T) {
	many := 5000
	if raced {
		many = 200
	}
	r := newRig(t, sim.Exchange)
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		"\r", "\n", "\r\n", "\r\r\n", "\n\r", "\x00", "\xff\xfe", ".\r\n", "--b\r\n", "From ", "Subject: ", "{3}\r\n", ")\r\n", "* BYE\r\n",
		"A1 OK\r\n", "=?utf-8?q?", "Content-Type: multipart/mixed; boundary=b\r\n", "\t", " ", "\xe2\x82", "\"", "\\", "(", "text", "\r\n\r\n",
	}
	for i := range many {
		raw := fmt.Appendf(nil, "Message-ID: <%d@example.test>\r\n", i)
		if i%5 == 0 {
			raw = nil
		}
		for range random.IntN(60) {
			raw = append(raw, parts[random.IntN(len(parts))]...)
		}
		r.account.Deliver("INBOX", raw, time.Date(2026, 3, 1, 0, 0, i, 0, time.UTC))
	}
	for _, raw := range [][]byte{
		nil, []byte("\r\n"), []byte("\n"), []byte("\x00"), bytes.Repeat([]byte("x"), 10<<20),
		append([]byte("Subject: large\r\n\r\n"), bytes.Repeat([]byte("0123456789abcde\n"), 25<<16)...), bytes.Repeat([]byte("\r"), 1<<20),
		append([]byte("Subject: "), bytes.Repeat([]byte("x"), 1<<20)...), bytes.Repeat([]byte("a: b\r\n"), 100_000),
	} {
		r.account.Deliver("INBOX", raw, time.Time{})
	}
	w := r.worker()
	must(t, w.Drain(t.Context()))
	r.wantExactly("INBOX")
	t.Logf("%v of %d", w.Status().Published, many+9)
}
