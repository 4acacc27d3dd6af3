// Package samples holds mails of our own making, for the demo and for tests: an invoice, a reply, a bounce, a broken one.
//
// No text in them is anyone else's, and every address is under a domain that can belong to nobody.
package samples

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed mail/*.eml
var files embed.FS

// A Mail is one sample.
type Mail struct {
	Name string // such as "invoice"
	Raw  []byte // with CRLF line ends, and a Date and Message-ID of its own
}

// The placeholders of the files.
var (
	dateMark = []byte("{{date}}")
	idMark   = []byte("{{message-id}}")
)

// load reads the files, sorted by name, and gives them the line ends of mail.
var load = sync.OnceValue(func() []Mail {
	entries, err := files.ReadDir("mail")
	if err != nil {
		panic(err) // the files are in the binary
	}
	var mails []Mail
	for _, e := range entries {
		raw, err := files.ReadFile(path.Join("mail", e.Name()))
		if err != nil {
			panic(err)
		}
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
		mails = append(mails, Mail{strings.TrimSuffix(e.Name(), ".eml"), raw})
	}
	return mails
})

// epoch is the date of the samples that All returns.
var epoch = time.Date(2026, 11, 20, 9, 30, 0, 0, time.FixedZone("", 3600))

// All returns every sample, sorted by name, always with the same bytes.
func All() []Mail {
	var mails []Mail
	for i, m := range load() {
		mails = append(mails, Mail{m.Name, filled(m, i, epoch)})
	}
	return mails
}

// Get returns the sample with this name, with the same bytes as in All; it panics if there is none.
func Get(name string) []byte {
	for _, m := range All() {
		if m.Name == name {
			return m.Raw
		}
	}
	panic("samples: no mail " + name)
}

// Nth returns the n-th mail of an endless row that goes through the samples again and again. Each has its own Message-ID,
// so that no two are the same message, and the Date when.
func Nth(n int, when time.Time) []byte {
	mails := load()
	return filled(mails[n%len(mails)], n, when)
}

func filled(m Mail, n int, when time.Time) []byte {
	raw := bytes.ReplaceAll(m.Raw, dateMark, []byte(when.Format(time.RFC1123Z)))
	id := fmt.Sprintf("<%s.%d.%d@samples.example>", m.Name, n, when.Unix())
	return bytes.ReplaceAll(raw, idMark, []byte(id))
}
