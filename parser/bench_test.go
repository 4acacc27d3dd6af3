//go:build unix

package parser

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
)

// smallMails are real mails if MAILFLUME_CORPUS names some, else our own: those that go-message can read to the end.
func smallMails(b *testing.B) [][]byte {
	b.Helper()
	dir := os.Getenv("MAILFLUME_CORPUS")
	if dir == "" {
		dir = "testdata"
	}
	var mails [][]byte
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".eml") {
			return err
		}
		raw, err := os.ReadFile(path)
		if len(raw) < 100<<10 && walkTheirs(raw) == nil {
			mails = append(mails, raw)
		}
		return err
	})
	if err != nil || len(mails) == 0 {
		b.Fatal("no messages", err)
	}
	return mails
}

// largeMails are mails with text, HTML and an attachment of 20 KB to 6 MB.
func largeMails() [][]byte {
	var mails [][]byte
	for _, size := range []int{20 << 10, 100 << 10, 1 << 20, 6 << 20} {
		mails = append(mails, mailWith(size))
	}
	return mails
}

func mailWith(size int) []byte {
	file := make([]byte, size)
	for i := range file {
		file[i] = byte(i * i >> 3)
	}
	encoded := base64.StdEncoding.EncodeToString(file)
	var m bytes.Buffer
	m.Grow(len(encoded) + len(encoded)/30 + 20_000)
	m.WriteString("From: a@b.org\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=\"--==b\"\r\n\r\n----==b\r\n")
	m.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	m.WriteString(strings.Repeat("Caf=C3=A9 au lait, and some more text on a line that goes on=\r\n and on.\r\n", 40))
	m.WriteString("----==b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	m.WriteString(strings.Repeat("<p class=3D\"a\">Caf=C3=A9 au lait, and some more text on a line that goes=\r\n on.</p>\r\n", 40))
	m.WriteString("----==b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for len(encoded) > 76 {
		m.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	m.WriteString(encoded + "\r\n----==b--\r\n")
	return m.Bytes()
}

// The same work on the same messages: take them apart, decode every part, text as UTF-8, hash every attachment. parse is
// all that Parse does; floor is line-wise base64 and sha256 alone.
func BenchmarkWalk(b *testing.B) {
	for _, mix := range []struct {
		name  string
		mails [][]byte
	}{{"small", smallMails(b)}, {"large", largeMails()}} {
		total := 0
		for _, raw := range mix.mails {
			total += len(raw)
		}
		for _, impl := range []struct {
			name string
			walk func(raw []byte)
		}{
			{"go-message", func(raw []byte) { _ = walkTheirs(raw) }},
			{"walk", walkOurs},
			{"parse", func(raw []byte) { Parse(raw) }},
			{"floor", walkFloor},
		} {
			if impl.name == "floor" && mix.name == "small" {
				continue
			}
			b.Run("mix="+mix.name+"/impl="+impl.name, func(b *testing.B) {
				b.SetBytes(int64(total))
				b.ReportAllocs()
				start := cpuTime(b)
				for b.Loop() {
					for _, raw := range mix.mails {
						impl.walk(raw)
					}
				}
				b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// cpuTime is the time that this process has used, which what else runs on the machine does not change.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// walkOurs does the work that walkTheirs does.
func walkOurs(raw []byte) {
	var d defects
	w := newWalk(raw, DefaultLimits(), &d)
	root, _ := w.entity(0, place{id: "1", kind: "text/plain"})
	root.leaves(func(p *part) {
		if strings.HasPrefix(p.media.value, "text/") {
			decoded, _ := decodeAll(p.transfer, p.body)
			decodeText(decoded, p.charset, "")
			return
		}
		digest(p.transfer, p.body)
	})
}

func walkTheirs(raw []byte) error {
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return walkEntity(e)
}

func walkEntity(e *message.Entity) error {
	if m := e.MultipartReader(); m != nil {
		for {
			sub, err := m.NextPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := walkEntity(sub); err != nil {
				return err
			}
		}
	}
	kind, _, err := e.Header.ContentType()
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(kind, "text/"):
		_, err = io.ReadAll(e.Body)
	case kind == "message/rfc822": // we take it apart and hash it, too
		var raw []byte
		if raw, err = io.ReadAll(e.Body); err == nil {
			sha256.Sum256(raw)
			err = walkTheirs(raw)
		}
	default:
		_, err = io.Copy(sha256.New(), e.Body)
	}
	return err
}

// walkFloor decodes every line that is base64 and hashes it, a piece at a time.
func walkFloor(raw []byte) {
	h := sha256.New()
	var piece [chunkSize + 100]byte
	n := 0
	for pos := 0; pos < len(raw); {
		line, next := lineAt(raw, pos)
		pos = next
		if len(line)%4 != 0 || len(line) > 76 {
			continue
		}
		if m, err := base64.StdEncoding.Decode(piece[n:], line); err == nil {
			n += m
		}
		if n >= chunkSize {
			h.Write(piece[:n])
			n = 0
		}
	}
	h.Write(piece[:n])
	h.Sum(nil)
}

// What is hostile costs no more than 50 ms a megabyte.
func BenchmarkHostile(b *testing.B) {
	const size = 1 << 20
	for _, name := range slices.Sorted(maps.Keys(hostile)) {
		raw := []byte(hostile[name](size))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			start := cpuTime(b)
			for b.Loop() {
				Parse(raw)
			}
			b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N)/1e6/(float64(len(raw))/size), "ms/MB")
		})
	}
}

// An attachment is hashed as it is decoded: nothing holds it whole.
func TestLargeAttachmentTakesNoMemory(t *testing.T) {
	const size, most = 25 << 20, 8 << 20
	raw := mailWith(size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m := Parse(raw)
	l, ok := m.Leaf("3")
	n, err := io.Copy(io.Discard, l.Open())
	runtime.ReadMemStats(&after)
	if !ok || l.Size != size || n != size || err != nil {
		t.Fatalf("leaf %+v, read %d (%v)", l, n, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > most {
		t.Errorf("%d bytes were allocated", used)
	}
}
