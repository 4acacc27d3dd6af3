package parser

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// torture is what a message of testdata/torture must give.
type torture struct {
	Subject     string      `json:"subject"`
	From        [][2]string `json:"from"`
	Date        string      `json:"date"`
	Text        string      `json:"text"`
	Attachments []struct {
		Name   string `json:"name"`
		SHA256 string `json:"sha256"`
	} `json:"attachments"`
}

// Each message has one fault of real mail. All of them are right.
func TestTorture(t *testing.T) {
	files, err := filepath.Glob("testdata/torture/*.eml")
	if err != nil || len(files) < 91 {
		t.Fatalf("%d torture messages (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".eml"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(strings.TrimSuffix(file, ".eml") + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var want torture
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			compareTorture(t, want, check(t, raw))
		})
	}
}

func compareTorture(t *testing.T, want torture, m Mail) {
	t.Helper()
	equal := func(what, got, want string) {
		if got != want {
			t.Errorf("%s is %q, want %q", what, got, want)
		}
	}
	if reason, dead := m.Unparsable(); dead {
		t.Errorf("it is unparsable: %s", reason)
	}
	if m.Email.Subject == nil {
		t.Fatal("no subject")
	}
	equal("subject", squeeze(*m.Email.Subject), want.Subject)
	date := ""
	if m.Email.SentAt != nil {
		date = m.Email.SentAt.UTC().Format(time.RFC3339)
	}
	equal("date", date, want.Date)
	var from [][2]string
	for _, a := range m.Email.From {
		pair := [2]string{"", a.Email}
		if a.Name != nil {
			pair[0] = squeeze(*a.Name)
		}
		from = append(from, pair)
	}
	if !slices.Equal(from, want.From) {
		t.Errorf("from is %q, want %q", from, want.From)
	}
	plain := ""
	for _, l := range slices.Backward(m.Leaves()) {
		if l.Within == "" && l.Type == "text/plain" && l.Disposition != "attachment" {
			plain = m.Email.BodyValues[l.PartID].Value
		}
	}
	equal("text", squeeze(plain), want.Text)
	var got, wanted []string
	for _, l := range m.Leaves() {
		if l.Within == "" && l.Size > 0 && !strings.HasPrefix(l.Type, "text/") && !strings.HasPrefix(l.Type, "message/") {
			got = append(got, baseName(l.Name)+" "+l.SHA256)
		}
	}
	for _, a := range want.Attachments {
		if a.SHA256 != "" {
			wanted = append(wanted, a.Name+" "+a.SHA256)
		}
	}
	if !slices.Equal(got, wanted) {
		t.Errorf("attachments are %q, want %q", got, wanted)
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }
