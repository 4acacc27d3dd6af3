package parser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// nastyNames are file names that get out of a folder, name a device, deceive a reader or break a program.
func nastyNames() []string {
	names := []string{
		"", ".", "..", "...", " ", ". .", "~", "/", `\`, "//", `\\`, "C:", "C:a", `C:\`, `\\server\share\x`, `\\?\C:\x`, `\\.\pipe\x`, "file:///etc/passwd",
		"a/", `a\`, "/etc/passwd", "a\x00.exe", "a.txt\x00/../../b", "a:b", "a.txt::$DATA", "a.txt:hidden", "$(id)", "`id`", "a;rm -rf x", "a|b", "a>b", "a<b",
		"a\"b", "a'b", "a*b", "a?b", "%2e%2e%2fpasswd", "..%c0%afpasswd", "..\u2215passwd", "\uff0e\uff0e\uff0fpasswd", "\x1b[31mred\x1b[0m", "\x1b]0;title\a",
		"a\nb", "a\rb", "a\tb", "a\vb", "a\x7fb", "a\u0085b", "a\u2028b", "a\u2029b", "a\ufeffb", "a\u200bb", "a\u00adb", "e\u0301.txt", "\u212bngstrom.txt",
		"\u212aelvin", "a\u037e.txt", "\U0001d160", "=?utf-8?q?..=2Fx?=", "\xff\xfe", "a\xc3", "\xed\xa0\x80", "\xc0\xae\xc0\xae\xc0\xafx", "desktop.ini", ".htaccess",
		strings.Repeat("a", 64<<10), strings.Repeat("ä", 32<<10), strings.Repeat("a/", 32<<10), strings.Repeat("../", 20<<10) + "x", "a." + strings.Repeat("b", 64<<10),
		strings.Repeat(".", 64<<10), strings.Repeat(" ", 64<<10), strings.Repeat("\u202e", 20<<10), strings.Repeat("\U0001d160", 100), strings.Repeat("e\u0301", 100) + ".pdf",
		strings.Repeat("\xff", 64<<10), strings.Repeat("x", 119) + ".", strings.Repeat("x", 119) + " .exe", "con" + strings.Repeat(" ", 200) + ".txt",
	}
	for _, up := range []string{"../", `..\`, "../../../", `..\..\..\`, "./../", "/../", "a/../../", `a\..\..\`, "..;/", ".../", "..//", "%00/../"} {
		for _, end := range []string{"passwd", "x.exe", "con", "..", ".ssh"} {
			names = append(names, up+end)
		}
	}
	for _, device := range []string{
		"CON", "prn", "Aux", "NUL", "COM1", "com9", "LPT1", "lpt9", "COM\u00b9", "lpt\u00b3", "CONIN$", "conout$", "CLOCK$",
	} {
		for _, form := range []string{"%s", "%s.txt", "%s.tar.gz", "%s ", "%s .txt", " %s", "%s.", ".%s", "x/%s", `x\%s.pdf`, "%s\u200b.txt", "%s:x"} {
			names = append(names, fmt.Sprintf(form, device))
		}
	}
	for mark := rune(0x200e); mark <= 0x2069; mark++ {
		if unicode.Is(unicode.Cf, mark) {
			names = append(names, "invoice"+string(mark)+"fdp.exe", string(mark)+".."+string(mark)+"/x")
		}
	}
	for c := rune(0); c < ' '; c++ {
		names = append(names, "a"+string(c)+"b.txt")
	}
	return names
}

// Whatever a message calls a file, its safe name stays in its folder, on every system, and deceives nobody.
func TestNastyNames(t *testing.T) {
	folder, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	names := nastyNames()
	if len(names) < 300 {
		t.Fatalf("%d names", len(names))
	}
	for _, name := range names {
		var encoded strings.Builder
		for i := range len(name) {
			fmt.Fprintf(&encoded, "%%%02x", name[i])
		}
		for _, head := range []string{"filename*=utf-8''" + encoded.String(), `filename="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(name) + `"`} {
			m := Parse([]byte("From: a@b.org\nContent-Type: application/pdf\nContent-Disposition: attachment; " + head + "\n\nx"))
			if len(m.Attachments) != 1 {
				t.Fatalf("%.60q: %d attachments", name, len(m.Attachments))
			}
			safe := m.Attachments[0].SafeName
			if fault := nameFault(safe); fault != "" {
				t.Errorf("%.60q became %q: %s", name, safe, fault)
			}
			if again := safeName(safe, "1", "application/pdf"); again != safe {
				t.Errorf("%.60q became %q, and then %q", name, safe, again)
			}
			if err := folder.WriteFile(safe, []byte("x"), 0o600); err != nil {
				t.Errorf("%.60q became %q: %v", name, safe, err)
			}
		}
	}
}

// nameFault says what is wrong with a file name.
func nameFault(name string) string {
	stem, _, _ := strings.Cut(name, ".")
	switch {
	case name == "" || len(name) > 120 || !utf8.ValidString(name):
		return "empty, long or no UTF-8"
	case strings.ContainsAny(name, `/\:*?"<>|`):
		return "a character with a meaning"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) }):
		return "a character that nobody sees"
	case strings.HasPrefix(name, ".") || strings.Trim(name, " ") != name || strings.HasSuffix(name, "."):
		return "hidden, or its end gets lost"
	case filepath.Base(name) != name || !filepath.IsLocal(name):
		return "a path"
	case !norm.NFC.IsNormalString(name):
		return "not composed"
	}
	for _, device := range []string{"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"} {
		if strings.EqualFold(strings.TrimSpace(stem), device) {
			return "a device"
		}
	}
	if low := strings.ToLower(strings.TrimSpace(stem)); strings.HasPrefix(low, "com") || strings.HasPrefix(low, "lpt") {
		if port := []rune(low[3:]); len(port) == 1 && (unicode.IsDigit(port[0]) || strings.ContainsRune("¹²³", port[0])) {
			return "a port"
		}
	}
	return ""
}
