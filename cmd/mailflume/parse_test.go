package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const parseSample = "From: \x1b[31mAnn <ann@example.org>\nSubject: a\u202eb\nContent-Type: multipart/mixed; boundary=b\n\n" +
	"--b\n\nhello\n--b\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: image/png; name=\"../x\x07.png\"\nContent-Transfer-Encoding: base64\n\naGVsbG8\n--b--\n"

func runParse(t *testing.T, args ...string) string {
	t.Helper()
	c := newParse()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetIn(strings.NewReader(parseSample))
	c.SetArgs(append(args, "-"))
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestParseLeaves(t *testing.T) {
	var got struct {
		File   string `json:"file"`
		Leaves []struct {
			PartID string `json:"partId"`
			Type   string `json:"type"`
			SHA256 string `json:"sha256"`
			Size   int    `json:"size"`
		} `json:"leaves"`
	}
	if err := json.Unmarshal([]byte(runParse(t, "--leaves")), &got); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range got.Leaves {
		ids = append(ids, l.PartID+" "+l.Type)
	}
	if want := []string{"1 text/plain", "2 message/rfc822", "2.1 image/png"}; !slices.Equal(ids, want) || got.Leaves[2].Size != 5 ||
		got.Leaves[2].SHA256 != "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" {
		t.Errorf("leaves %+v, want %v", got.Leaves, want)
	}
	if strings.Contains(runParse(t), `"leaves"`) {
		t.Error("leaves without --leaves")
	}
}

// A file that cannot be read does not keep those behind it in its folder from being parsed.
func TestParseFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "a.eml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.eml"), []byte(parseSample), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newParse()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(io.Discard)
	c.SetArgs([]string{dir})
	if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "a.eml") {
		t.Errorf("error %v", err)
	}
	if n := strings.Count(out.String(), `{"file":`); n != 1 || !strings.Contains(out.String(), "b.eml") {
		t.Errorf("%d messages: %s", n, out.String())
	}
}

// What stands in a message does not steer the terminal.
func TestParseExplain(t *testing.T) {
	got := runParse(t, "--explain")
	for _, r := range got {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q is printed", r)
		}
	}
	for _, want := range []string{"2.1 image/png", "encoding.base64", "Broken base64 was repaired.", "-> text", "mail from one to another"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

// Without a signature nothing is looked up.
func TestParseDKIM(t *testing.T) {
	if got := runParse(t, "--dkim"); !strings.Contains(got, `"dkim":[{"result":"none","reason":"no signature"}]`) {
		t.Errorf("%s", got)
	}
	if got := runParse(t, "--dkim", "--explain"); !strings.Contains(got, "signatures\n  none") {
		t.Errorf("%s", got)
	}
}
