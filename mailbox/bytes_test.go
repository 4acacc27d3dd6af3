package mailbox_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/nats-io/nats.go/jetstream"
)

// TestBytesAreTheServersOwn: whatever a message is made of, its raw bytes in the object store, read back with nats.go's own
// reader, are the server's, on the way of what is received and of what is dead.
func TestBytesAreTheServersOwn(t *testing.T) {
	many, mega := 5000, 1<<20
	if raced {
		many, mega = 200, 1<<18 // still many chunks
	}
	r := newRig(t, sim.Exchange)
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		"\r", "\n", "\r\n", "\r\r\n", "\n\r", "\x00", "\xff\xfe", ".\r\n", "--b\r\n", "From ", "Subject: ", "{3}\r\n", ")\r\n", "* BYE\r\n",
		"A1 OK\r\n", "=?utf-8?q?", "Content-Type: multipart/mixed; boundary=b\r\n", "\t", " ", "\xe2\x82", "\"", "\\", "(", "text", "\r\n\r\n",
	}
	for i := range many {
		raw := fmt.Appendf(nil, "Message-ID: <%d@example.test>\r\n", i)
		if i%2 == 0 {
			raw = nil // most of what follows is no mail then
		}
		for range random.IntN(60) {
			raw = append(raw, parts[random.IntN(len(parts))]...)
		}
		r.account.Deliver("INBOX", raw, time.Date(2026, 3, 1, 0, 0, i, 0, time.UTC))
	}
	lines := bytes.Repeat([]byte("0123456789abcde\n"), 25*mega/16)
	special := [][]byte{
		nil, []byte("\r\n"), []byte("\n"), []byte("\x00"), bytes.Repeat([]byte("x"), 10*mega),
		append([]byte("Subject: a line of megabytes\r\n\r\n"), bytes.Repeat([]byte("x"), 10*mega)...),
		append([]byte("Subject: large\r\n\r\n"), lines...), lines, bytes.Repeat([]byte("\r"), 1<<20),
		append([]byte("Subject: "), bytes.Repeat([]byte("x"), 1<<20)...), bytes.Repeat([]byte("a: b\r\n"), 100_000),
	}
	for _, raw := range special {
		r.account.Deliver("INBOX", raw, time.Time{})
	}
	w := r.worker()
	must(t, w.Drain(t.Context()))
	r.wantExactly("INBOX")
	objects := 0
	for _, e := range r.stored() {
		objects += r.readBack(e)
	}
	ways := w.Status().Published
	if least := uint64(many / 4); ways["received"] < least || ways["dead"] < least {
		t.Errorf("%v: too few of one way", ways)
	}
	t.Logf("%v of %d messages; %d objects read back", ways, many+len(special), objects)
}

// readBack fails unless the object store has every object that an event refers to, and the raw one is the server's message.
func (r *rig) readBack(e event.MessageEvent) (objects int) {
	r.t.Helper()
	if e.Data.Raw == nil {
		r.t.Fatalf("UID %d has no raw bytes", e.Data.IMAP.UID)
	}
	refs := []event.Ref{*e.Data.Raw}
	for _, a := range e.Data.Attachments {
		if a.Ref != nil {
			refs = append(refs, *a.Ref)
		}
	}
	for i, ref := range refs {
		store, err := r.publisher.JetStream().ObjectStore(r.t.Context(), ref.Bucket)
		must(r.t, err)
		sum, size, err := digest(r, store, ref.Name)
		if err != nil || sum != ref.SHA256 || size != ref.Size {
			r.t.Errorf("UID %d: object %s has %d bytes, SHA-256 %s: %v", e.Data.IMAP.UID, ref.Name, size, sum, err)
		}
		if want := sha256.Sum256(r.account.Raw(e.Data.IMAP.Folder, e.Data.IMAP.UID)); i == 0 && sum != hex.EncodeToString(want[:]) {
			r.t.Errorf("UID %d: the stored bytes are not the server's", e.Data.IMAP.UID)
		}
	}
	return len(refs)
}

func digest(r *rig, store jetstream.ObjectStore, name string) (sum string, size int64, err error) {
	o, err := store.Get(r.t.Context(), name)
	if err != nil {
		return "", 0, err
	}
	defer o.Close()
	h := sha256.New()
	size, err = io.Copy(h, o)
	return hex.EncodeToString(h.Sum(nil)), size, err
}
