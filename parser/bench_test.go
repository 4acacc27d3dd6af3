package parser

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
)

// smallMails are real mails if MAILFLUME_CORPUS names some, else our own.
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
		if len(raw) < 100<<10 {
			mails = append(mails, raw)
		}
		return err
	})
	if err != nil || len(mails) == 0 {
		b.Fatal("no messages", err)
	}
	return mails
}

// largeMails are mails with an attachment of 100 KB to 6 MB.
func largeMails(*testing.B) [][]byte {
	var mails [][]byte
	for _, size := range []int{100 << 10, 1 << 20, 6 << 20} {
		encoded := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("0123456789\n"), size/11))
		var m bytes.Buffer
		m.WriteString("From: a@b.org\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=\"--==b\"\r\n\r\n----==b\r\n")
		m.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
		m.WriteString(strings.Repeat("Caf=C3=A9 au lait, and some more text on a line that goes on=\r\n and on.\r\n", 100))
		m.WriteString("----==b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		for len(encoded) > 76 {
			m.WriteString(encoded[:76] + "\r\n")
			encoded = encoded[76:]
		}
		m.WriteString(encoded + "\r\n----==b--\r\n")
		mails = append(mails, m.Bytes())
	}
	return mails
}

func BenchmarkParse(b *testing.B) {
	for name, mails := range map[string][][]byte{"small": smallMails(b), "large": largeMails(b)} {
		total := 0
		for _, raw := range mails {
			total += len(raw)
		}
		b.Run(name+"/mailflume", func(b *testing.B) {
			b.SetBytes(int64(total))
			b.ReportAllocs()
			for b.Loop() {
				for _, raw := range mails {
					Parse(raw)
				}
			}
		})
		b.Run(name+"/walk", func(b *testing.B) {
			b.SetBytes(int64(total))
			b.ReportAllocs()
			for b.Loop() {
				for _, raw := range mails {
					walkOurs(raw)
				}
			}
		})
		b.Run(name+"/go-message", func(b *testing.B) {
			b.SetBytes(int64(total))
			b.ReportAllocs()
			for b.Loop() {
				for _, raw := range mails {
					walkTheirs(raw)
				}
			}
		})
	}
}

// walkOurs does the work that walkTheirs does: take the message apart, decode every part, hash every attachment.
func walkOurs(raw []byte) {
	var d defects
	w := newWalk(raw, DefaultLimits(), &d)
	root, _ := w.entity(0, place{id: "1", kind: "text/plain"})
	root.leaves(func(p *part) {
		if strings.HasPrefix(p.media.value, "text/") {
			decoded, _ := decodeAll(p.transfer, p.body)
			decodeText(decoded, p.charsetLabel(), "")
			return
		}
		digest(p.transfer, p.body)
	})
}

func walkTheirs(raw []byte) {
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil && e == nil {
		return
	}
	walkEntity(e)
}

func walkEntity(e *message.Entity) {
	if m := e.MultipartReader(); m != nil {
		for {
			sub, err := m.NextPart()
			if sub == nil || errors.Is(err, io.EOF) {
				return
			}
			walkEntity(sub)
		}
	}
	kind, _, _ := e.Header.ContentType() //nolint:errcheck // as a program would that goes on
	if strings.HasPrefix(kind, "text/") {
		io.ReadAll(e.Body) //nolint:errcheck // the same
		return
	}
	io.Copy(sha256.New(), e.Body) //nolint:errcheck // the same
}
