package sim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// has fails unless one of the lines has the text.
func has(t *testing.T, lines []string, text string) {
	t.Helper()
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, text) }) {
		t.Errorf("no %s in %q", text, lines)
	}
}

func ask(w *wire, command string) []string {
	w.t.Helper()
	w.send("x " + command)
	return w.until("x")
}

// TestStructures: BODYSTRUCTURE is the truth, or one of those that were seen.
func TestStructures(t *testing.T) {
	w := sim.New(sim.Options{})
	defer w.Close()
	for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
		a := w.AddAccount(p, "a@"+string(p)+".test")
		a.Deliver("INBOX", []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\nhello\r\n--b\r\n"+
			"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"), time.Time{})
		c := login(t, w, a)
		ask(c, "SELECT INBOX")
		has(t, ask(c, "UID FETCH 1 (BODYSTRUCTURE)"),
			`BODYSTRUCTURE (("TEXT" "HTML" ("CHARSET" "utf-8") NIL NIL "7BIT" 5 0)("IMAGE" "PNG" NIL NIL NIL "BASE64" 4) "MIXED")`)
		for _, odd := range append(sim.ExchangeStructures, sim.GmailStructure) {
			a.Set(func(q *sim.Quirks) { q.Structure = odd })
			has(t, ask(c, "UID FETCH 1 (BODYSTRUCTURE)"), "BODYSTRUCTURE "+odd)
		}
	}
}

// TestNames: names without quotes, and those of other languages.
func TestNames(t *testing.T) {
	w := sim.New(sim.Options{})
	defer w.Close()
	x := w.AddAccount(sim.Exchange, "x@example.test")
	x.CreateFolder("a\tb")
	x.Set(func(q *sim.Quirks) { q.BareNames = true })
	has(t, ask(login(t, w, x), `LIST "" "*"`), "\"/\" a\tb")
	for language, want := range map[string]string{
		"en-GB": `(\HasNoChildren \Trash) "/" "[Gmail]/Bin"`, "de-old": `(\All \HasNoChildren) "/" "[Google Mail]/Alle Nachrichten"`,
		"ru": `(\All \HasNoChildren) "/" "[Gmail]/&BBIEQQRP- &BD8EPgRHBEIEMA-"`,
	} {
		g := w.AddAccount(sim.Gmail, language+"@example.test")
		g.Locale(language)
		has(t, ask(login(t, w, g), `LIST "" "*"`), want)
	}
	g := w.AddAccount(sim.Gmail, "g@example.test")
	g.CreateFolder("+Folder")
	g.Set(func(q *sim.Quirks) { q.BareNames, q.ZeroModSeq = true, true })
	g.Deliver("INBOX", []byte("Subject: x\r\n\r\n"), time.Time{})
	c := login(t, w, g)
	has(t, ask(c, `LIST "" "+*"`), `"/" +Folder`)
	ask(c, "SELECT INBOX")
	has(t, ask(c, "UID FETCH 1 (MODSEQ)"), "MODSEQ (0)")
}

// TestMoveCodes: what Exchange says of a MOVE, rightly and oddly.
func TestMoveCodes(t *testing.T) {
	for _, odd := range []string{"", "* OK [COPYUID 14  ]", "[COPYUID 55 31 6]"} {
		w := sim.New(sim.Options{})
		a := w.AddAccount(sim.Exchange, "a@example.test")
		a.Set(func(q *sim.Quirks) { q.CopyUID = odd })
		a.Deliver("INBOX", []byte("Subject: x\r\n\r\n"), time.Time{})
		c := login(t, w, a)
		ask(c, "SELECT INBOX")
		lines := ask(c, "UID MOVE 1 Archive")
		if odd == "" {
			odd = "* OK [COPYUID 1 1 1]"
		}
		if lines[0] != odd || lines[len(lines)-1] != "x OK MOVE completed." {
			t.Errorf("%q: %q", odd, lines)
		}
		w.Close()
	}
}

// TestLiteralMinus: Gmail takes a literal without a continuation up to 4,096 octets, Exchange any.
func TestLiteralMinus(t *testing.T) {
	w := sim.New(sim.Options{})
	defer w.Close()
	for p, want := range map[sim.Provider]string{sim.Gmail: "x BAD", sim.Exchange: "x OK"} {
		a := w.AddAccount(p, "a@"+string(p)+".test")
		c := login(t, w, a)
		if lines := ask(c, "APPEND INBOX {4096+}\r\n"+strings.Repeat("x", 4096)); !strings.HasPrefix(lines[len(lines)-1], "x OK") {
			t.Errorf("%s: %q", p, lines)
		}
		c.send("x APPEND INBOX {4097+}\r\n" + strings.Repeat("x", 4097))
		if line := c.line(); !strings.HasPrefix(line, want) {
			t.Errorf("%s: %q", p, line)
		}
	}
}

// TestRev2Enabled: where a client does enable IMAP4rev2, SEARCH is of no more use.
func TestRev2Enabled(t *testing.T) {
	w := sim.New(sim.Options{})
	defer w.Close()
	a := w.AddAccount(sim.Exchange, "a@example.test")
	a.Set(func(q *sim.Quirks) { q.Rev2 = true })
	c := login(t, w, a)
	ask(c, "SELECT INBOX")
	has(t, ask(c, "UID SEARCH ALL"), "x OK")
	has(t, ask(c, "ENABLE IMAP4rev2"), "* ENABLED IMAP4rev2")
	has(t, ask(c, "UID SEARCH ALL"), "x BAD Command Argument Error. 11")
}

// TestSomeGone: what still exists is handed out before the NO; a throttled NO ends the connection.
func TestSomeGone(t *testing.T) {
	w := sim.New(sim.Options{})
	defer w.Close()
	a := w.AddAccount(sim.Exchange, "a@example.test")
	for range 3 {
		a.Deliver("INBOX", []byte("Subject: x\r\n\r\n"), time.Time{})
	}
	c := login(t, w, a)
	ask(c, "SELECT INBOX")
	a.Inject(sim.SomeGone(2))
	if lines := ask(c, "UID FETCH 1:3 (UID)"); len(lines) != 3 || lines[2] != "x NO Some of the requested messages no longer exist." {
		t.Errorf("%q", lines)
	}
	a.Inject(sim.ThrottledNo(92415 * time.Millisecond))
	has(t, ask(c, "NOOP"), "x NO Request is throttled. Suggested Backoff Time: 92415 milliseconds")
	if _, err := c.r.ReadString('\n'); err == nil {
		t.Error("the connection lives on")
	}
}
