package sim_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

func TestManageFolders(t *testing.T) {
	w := world(t)
	g := w.AddAccount(sim.Gmail, "a@gmail.test")
	g.RenameSpecial(`\All`, "[Gmail]/Вся почта")
	g.RenameSpecial(`\Junk`, "")
	g.CreateFolder("Work")
	g.Deliver("Work", raw, time.Time{})
	c := login(t, w, g)
	c.send(`a LIST "" "[Gmail]/*"`)
	lines := c.until("a")
	if !slices.Contains(lines, `* LIST (\All \HasNoChildren) "/" "[Gmail]/&BBIEQQRP- &BD8EPgRHBEIEMA-"`) {
		t.Errorf("the renamed folder is not there: %q", lines)
	}
	if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, `\Junk`) }) {
		t.Errorf("the hidden folder is there: %q", lines)
	}
	c.send("b EXAMINE Work")
	before := c.until("b")
	g.RenameFolder("Work", "Tasks")
	c.play("S: * BYE Session expired, please login again.")
	c = login(t, w, g)
	c.send("b EXAMINE Tasks")
	if after := c.until("b"); slices.Equal(before[2:3], after[2:3]) || after[3] != "* 1 EXISTS" {
		t.Errorf("renamed: %q, before %q", after, before)
	}
	g.DeleteFolder("Tasks")
	c.play("S: * BYE Session expired, please login again.")
	c.ended()
	if got := g.UIDs("[Gmail]/Вся почта"); len(got) != 1 {
		t.Errorf("a label's end took its messages away: %v", got)
	}

	x := w.AddAccount(sim.Exchange, "a@contoso.test")
	x.CreateFolder("Archive/2026")
	x.CreateFolder("Odd\tname")
	c = login(t, w, x)
	c.play("C: a LIST \"\" Archive*\nS: * LIST (\\HasChildren) \"/\" Archive\nS: * LIST (\\HasNoChildren) \"/\" Archive/2026\nS: a OK LIST completed.")
	c.play("C: a LIST \"\" %\nS: * LIST (\\HasChildren) \"/\" Archive")
	if lines := c.until("a"); slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "2026") }) {
		t.Errorf("%% goes down: %q", lines)
	}
}

func TestRefusedLate(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	b := w.AddAccount(sim.Exchange, "ben@contoso.test")
	b.Set(func(q *sim.Quirks) { q.RefuseLate = true })
	c := dial(t, w.IMAP(sim.Exchange))
	c.line()
	c.play("C: a AUTHENTICATE XOAUTH2 " + xoauth2(b.Address(), a.AccessToken(time.Hour)) + "\nS: a OK AUTHENTICATE completed.\nC: b NAMESPACE\nS: b BAD User is authenticated but not connected.")

	p := w.AddAccount(sim.Exchange, "pia@outlook.test")
	p.Set(func(q *sim.Quirks) { q.Personal = true })
	if token := p.AccessToken(time.Hour); !strings.HasPrefix(token, "EwB") || strings.Contains(token, ".") {
		t.Errorf("a personal account's token: %s", token)
	}
	login(t, w, p)
}

func TestLoginDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Exchange, "a@b.test")
		a.Set(func(q *sim.Quirks) { q.LoginDelay = 4 * time.Second })
		began := time.Now()
		login(t, w, a)
		if d := time.Since(began); d != 4*time.Second {
			t.Errorf("login took %v", d)
		}
		a.Disconnect("* BYE Connection is closed. 13")
	})
}

// TestLastWordsArrive checks that a BYE is not lost on a real socket while the client goes on sending.
func TestLastWordsArrive(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "a@b.test")
	addr, err := w.IMAP(sim.Gmail).Listen()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		a.Inject(sim.SessionExpired(sim.Gmail))
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "a AUTHENTICATE XOAUTH2 %s\r\n%s", xoauth2(a.Address(), a.AccessToken(time.Hour)), strings.Repeat("b NOOP\r\n", 2000)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(bufio.NewReader(conn))
		if err != nil || !strings.HasSuffix(string(got), "* BYE Session expired, please login again.\r\n") {
			t.Fatalf("%v after %q", err, got)
		}
		conn.Close()
	}
}

// TestFlagsAreTold: what others do to flags is told in IDLE and with an answer, what a client does itself is not.
func TestFlagsAreTold(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	for range 3 {
		a.Deliver("INBOX", []byte("Subject: x\r\n\r\nx\r\n"), time.Time{})
	}
	c := login(t, w, a)
	c.send("a SELECT INBOX")
	c.until("a")
	c.play("C: b UID STORE 1 +FLAGS.SILENT (\\Seen)\nS: b OK STORE completed.\nC: c NOOP\nS: c OK NOOP completed.")
	a.SetFlags("INBOX", 2, `\Draft`)
	c.play("C: d NOOP\nS: * 2 FETCH (FLAGS (\\Draft))\nS: d OK NOOP completed.\nC: e IDLE\nS: + IDLE accepted, awaiting DONE command.")
	a.SetFlags("INBOX", 2)
	c.play("S: * 2 FETCH (FLAGS ())\nC: DONE\nS: e OK IDLE completed.\nC: f NOOP\nS: f OK NOOP completed.")
}
