package samples_test

import (
	"bytes"
	"encoding/base64"
	"net/mail"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/samples"
)

func TestAll(t *testing.T) {
	all := samples.All()
	if len(all) < 12 {
		t.Errorf("%d samples, want 12 or more", len(all))
	}
	for _, m := range all {
		t.Run(m.Name, func(t *testing.T) {
			bare := bytes.ReplaceAll(m.Raw, []byte("\r\n"), nil)
			if bytes.ContainsAny(bare, "\r\n") {
				t.Error("a line end that is not CRLF")
			}
			if bytes.Contains(m.Raw, []byte("{{")) {
				t.Error("a placeholder is left")
			}
			if !bytes.HasSuffix(m.Raw, []byte("\r\n")) {
				t.Error("the last line has no end")
			}
			parsed, err := mail.ReadMessage(bytes.NewReader(m.Raw))
			if m.Name == "broken" {
				if err == nil {
					t.Error("it is not broken enough for net/mail")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parsed.Header.Date(); err != nil {
				t.Error(err)
			}
			for _, name := range []string{"Message-Id", "From", "To", "Subject"} {
				if parsed.Header.Get(name) == "" {
					t.Errorf("no %s", name)
				}
			}
		})
	}
}

func TestInvoicePDF(t *testing.T) {
	_, rest, _ := bytes.Cut(samples.Get("invoice"), []byte("base64\r\n\r\n"))
	coded, _, _ := bytes.Cut(rest, []byte("\r\n\r\n--"))
	pdf, err := base64.StdEncoding.DecodeString(string(coded))
	if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF-1.4")) || !bytes.HasSuffix(pdf, []byte("%%EOF\n")) {
		t.Errorf("%d octets, %v", len(pdf), err)
	}
}

func TestNth(t *testing.T) {
	when := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	seen := make(map[string]int)
	for n := range 100 {
		raw := samples.Nth(n, when)
		if !bytes.Contains(raw, []byte("Date: Sat, 21 Nov 2026 08:00:00 +0000\r\n")) {
			t.Fatalf("mail %d has another date", n)
		}
		if first, twice := seen[string(raw)]; twice {
			t.Fatalf("mails %d and %d are the same", first, n)
		}
		seen[string(raw)] = n
	}
	if !bytes.Equal(samples.Nth(3, when), samples.Nth(3, when)) {
		t.Error("the same mail twice differs")
	}
}
