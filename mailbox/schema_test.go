package mailbox

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/contract"
	"github.com/mailflume/mailflume/internal/samples"
	"github.com/mailflume/mailflume/parser"
)

// shelf keeps bytes as an object store does, and takes events of any size up to payload.
type shelf struct {
	payload int64
	kept    map[string]string // by the SHA-256
}

func (s *shelf) Put(_ context.Context, mailbox, sum string, size int64, r io.Reader) (event.Ref, error) {
	text, err := io.ReadAll(r)
	s.kept[sum] = string(text)
	return event.Ref{Bucket: "mail", Name: mailbox + "/" + sum, Size: size, SHA256: sum}, err
}

func (s *shelf) MaxPayload() int64 { return s.payload }

// made returns the event that a worker makes of a message.
func made(t *testing.T, c Config, m fetcher.Message) []byte {
	t.Helper()
	e, err := c.finish(t.Context(), c.build(m, event.CauseCatchup))
	if err != nil {
		t.Fatal(err)
	}
	return e.Data
}

func fetched(raw string) fetcher.Message {
	return fetcher.Message{
		Kind: fetcher.KindMail, Folder: "INBOX", UIDValidity: 7, UID: 42, Flags: []string{`\Seen`},
		InternalDate: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Size: int64(len(raw)), Raw: []byte(raw),
	}
}

func fits(t *testing.T, c Config, m fetcher.Message) {
	t.Helper()
	err := contract.Event
	if c.Binary {
		err = func(data []byte) error { return contract.Data(event.SchemaMessage, data) }
	}
	if data := made(t, c, m); err(data) != nil {
		t.Errorf("%v\n%.2000s", err(data), data)
	}
}

// schemaConfig is of a worker whose stream takes events up to a size.
func schemaConfig(payload int64) Config {
	return Config{
		Mailbox: event.Mailbox{ID: "sales@example.test", Name: "Sales", Address: "sales@example.test", Provider: "gmail"},
		Parse:   parser.Options{AuthServIDs: []string{"mx.google.com", ""}}, Bytes: &shelf{payload, map[string]string{}},
	}
}

// Whatever a message is like, its event is what the schema says, also when the message is dead. That of one that had to be cut is, too:
// TestEncodeCutsWhatDoesNotFit.
func TestEventsFitTheSchema(t *testing.T) {
	mails := map[string]string{"empty": "", "no mail": "\x00\xff"}
	for _, m := range samples.All() {
		mails[m.Name] = string(m.Raw)
	}
	files, err := filepath.Glob("../parser/testdata/*/*.eml")
	if err != nil || len(files) < 50 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		mails[file] = string(raw)
	}
	for name, raw := range mails {
		t.Run(name, func(t *testing.T) {
			c, m := schemaConfig(128<<10), fetched(raw)
			fits(t, c, m)
			m.InternalDate, m.EmailID, m.ThreadID, m.Labels, m.Sent = time.Time{}, "1", "2", []string{`\Important`}, true
			c.Binary, c.Raw, c.Describe = true, RawAlways, true
			fits(t, c, m)
			m.Kind, m.Raw, c.Binary = fetcher.KindTooLarge, m.Raw[:len(m.Raw)/2], false
			fits(t, c, m)
		})
	}
	unreadable := fetched("")
	unreadable.Kind = fetcher.KindUnreadable
	fits(t, schemaConfig(1<<20), unreadable)
	w := NewWorker(schemaConfig(1 << 20))
	if err := contract.Event(finished(t, w, w.poisoned(fetched("x"), event.CauseLive, whyHangs))); err != nil {
		t.Error(err)
	}
}

// So are the events of real mail, where MAILFLUME_CORPUS names some.
func TestEventsOfRealMailFitTheSchema(t *testing.T) {
	dir := os.Getenv("MAILFLUME_CORPUS")
	if dir == "" {
		t.Skip("MAILFLUME_CORPUS names no folder of messages")
	}
	c := Config{
		Mailbox: event.Mailbox{ID: "sales", Name: "Sales", Address: "sales@example.test", Provider: "outlook"},
		Parse:   parser.Options{AuthServIDs: []string{"mx.google.com", ""}}, Bytes: &shelf{1 << 20, map[string]string{}}, Raw: RawNever,
	}
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "messages"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		if err := contract.Event(made(t, c, fetched(string(raw)))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d messages, %v", n, err)
	}
	t.Logf("%d messages", n)
}

func finished(t *testing.T, w *Worker, d *draft) []byte {
	t.Helper()
	e, err := w.c.finish(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return e.Data
}

// What does not fit into an event is not lost: the raw message is kept for it, unless that is never wanted.
func TestWhatIsCutIsKept(t *testing.T) {
	raw := plainHead + "\r\n" + strings.Repeat("All of this is wanted. ", 20_000)
	for policy, wanted := range map[RawPolicy]bool{RawOnDefect: true, RawAlways: true, RawNever: false} {
		for _, long := range []bool{true, false} {
			s := &shelf{256 << 10, map[string]string{}}
			c := Config{Mailbox: event.Mailbox{ID: "sales"}, Parse: parser.Options{}, Bytes: s, Raw: policy}
			m := fetched(raw)
			if !long {
				m = fetched(raw[:1000])
			}
			e, err := c.finish(t.Context(), c.build(m, event.CauseLive))
			if err != nil {
				t.Fatal(err)
			}
			ref := decode(t, e).Data.Raw
			if kept := ref != nil && s.kept[ref.SHA256] == string(m.Raw); kept != (wanted && long || policy == RawAlways) || kept != (len(s.kept) == 1) {
				t.Errorf("%s, long %v: kept %v, %d objects", policy, long, kept, len(s.kept))
			}
			if int64(len(e.Data)) > s.payload-headroom {
				t.Errorf("%s: %d bytes", policy, len(e.Data))
			}
		}
	}
}

// In binary mode, too, there is no time where the server says none.
func TestNoTimeInBinaryMode(t *testing.T) {
	d := drafted(plainHead+"\r\nx", func(m *fetcher.Message) { m.InternalDate = time.Time{} })
	e, err := d.encode(1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	if at, there := e.Header["ce-time"]; there {
		t.Errorf("ce-time is %s", at)
	}
}
