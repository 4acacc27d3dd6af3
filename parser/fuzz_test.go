package parser

import (
	"os"
	"path/filepath"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/golden/*.eml", "testdata/torture/*.eml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) { check(t, raw) })
}

// Small limits reach every branch that cuts something off.
func FuzzLimits(f *testing.F) {
	f.Add([]byte("From: a@b, c@d\r\nContent-Type: multipart/mixed; a=1; b=2; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\n\r\nworld\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, raw []byte, n uint8) {
		small := int(n%8) + 1
		m := Options{Limits: Limits{
			Depth: small, Parts: small, HeaderFields: small, HeaderBytes: 8 * small, Params: small, Addresses: small, Messages: small,
			TextPart: small, TextTotal: 2 * small, Unwraps: small,
		}}.Parse(raw)
		if len(m.Email.Headers) > small || len(m.Leaves()) > small+1 || len(m.Email.To) > small {
			t.Errorf("limit %d: %d fields, %d leaves, %d recipients", small, len(m.Email.Headers), len(m.Leaves()), len(m.Email.To))
		}
		for id, v := range m.Email.BodyValues {
			if len(v.Value) > small {
				t.Errorf("limit %d: body value %s has %d bytes", small, id, len(v.Value))
			}
		}
		for _, d := range m.Defects {
			if d.Code == DefectPanic {
				t.Fatalf("the parser panicked: %s", d.Detail)
			}
		}
	})
}
