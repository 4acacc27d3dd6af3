package sim_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var raw = []byte("From: a@b.test\r\nSubject: hello\r\nMessage-ID: <1@b.test>\r\n\r\nhello\r\n")

func TestLabels(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "alice@gmail.test")
	const all = "[Gmail]/All Mail"
	uid := a.Deliver("INBOX", raw, time.Time{})
	if got := a.UIDs(all); len(got) != 1 || a.MessageID("INBOX", uid) != a.MessageID(all, got[0]) {
		t.Fatalf("All Mail has %v", got)
	}
	a.AddLabel("INBOX", uid, "Größe")
	if got := a.Labels("INBOX", uid); !slices.Equal(got, []string{"Größe"}) {
		t.Errorf("labels in INBOX: %q", got)
	}
	if got := a.Labels(all, 1); !slices.Equal(got, []string{`\Inbox`, "Größe"}) {
		t.Errorf("labels in All Mail: %q", got)
	}

	// Archived and back again: another UID, the same message.
	id := a.MessageID("INBOX", uid)
	a.RemoveLabel("INBOX", uid, `\Inbox`)
	if got := a.UIDs("INBOX"); len(got) != 0 {
		t.Errorf("INBOX after archiving: %v", got)
	}
	a.AddLabel(all, 1, `\Inbox`)
	if got := a.UIDs("INBOX"); !slices.Equal(got, []uint32{uid + 1}) || a.MessageID("INBOX", uid+1) != id {
		t.Errorf("INBOX after labelling again: %v", got)
	}

	c := login(t, w, a)
	c.play(`
C: a LIST "" "Gr*"
S: * LIST (\HasNoChildren) "/" "Gr&APYA3w-e"
S: a OK Success
C: b SELECT "Gr&APYA3w-e"`)
	c.until("b")
	c.play(`
C: c UID FETCH 1:* (X-GM-LABELS)
S: * 1 FETCH (X-GM-LABELS ("\\Inbox") UID 1)
S: c OK Success
C: d SELECT INBOX`)
	c.until("d")
	// Auto-expunge: \Deleted archives.
	c.play(`
C: e UID STORE 2 +FLAGS.SILENT (\Deleted)
S: * 1 EXPUNGE
S: e OK Success
C: f SELECT "[Gmail]/All Mail"`)
	if got := a.UIDs(all); len(got) != 1 {
		t.Errorf("All Mail after \\Deleted in INBOX: %v", got)
	}
	c.until("f")
	c.play(`
C: g UID MOVE 1 [Gmail]/Trash
S: * 1 EXPUNGE
S: * 0 EXISTS
S: g OK [COPYUID 9 1 1] (Success)`)
	if got := a.Labels("[Gmail]/Trash", 1); len(got) != 0 || len(a.UIDs("Größe")) != 0 {
		t.Errorf("in Trash with labels %q, the label's folder has %v", got, a.UIDs("Größe"))
	}
	spam := a.Deliver("[Gmail]/Spam", raw, time.Time{})
	if len(a.UIDs(all)) != 0 {
		t.Error("spam is in All Mail")
	}
	a.Move("[Gmail]/Spam", spam, "INBOX")
	if len(a.UIDs(all)) != 1 {
		t.Error("what came out of spam is not in All Mail")
	}
}

func TestThreads(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "alice@gmail.test")
	a.Deliver("INBOX", raw, time.Time{})
	a.Deliver("INBOX", []byte("Message-ID: <2@b.test>\r\nIn-Reply-To: <1@b.test>\r\n\r\nre\r\n"), time.Time{})
	a.Deliver("INBOX", []byte("Message-ID: <3@b.test>\r\n\r\nother\r\n"), time.Time{})
	c := login(t, w, a)
	c.send("a EXAMINE INBOX")
	c.until("a")
	c.send("b UID FETCH 1:* X-GM-THRID")
	lines := c.until("b")
	word := func(i int) string { return strings.Fields(lines[i])[4] }
	if word(0) != word(1) || word(1) == word(2) {
		t.Errorf("threads: %q", lines)
	}
}

// examine logs in and opens INBOX.
func examine(t *testing.T, w *sim.World, a *sim.Account) *wire {
	c := login(t, w, a)
	c.send("x EXAMINE INBOX")
	c.until("x")
	return c
}

func TestRawBytes(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	odd := []byte("Subject: \xff\xfe\nbare LF\rbare CR\r\n\r\nno end")
	a.Deliver("INBOX", odd, time.Time{})
	c := examine(t, w, a)
	c.send("a UID FETCH 1 BODY.PEEK[]")
	want := fmt.Sprintf("* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\na OK FETCH completed.\r\n", len(odd), odd)
	got := make([]byte, len(want))
	if _, err := readFull(c, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	c.play(`
C: b UID FETCH 1 BODY.PEEK[]<9.4>
S: * 1 FETCH (UID 1 BODY[]<9> {4}`)
	got = make([]byte, 4)
	if _, err := readFull(c, got); err != nil || string(got) != string(odd[9:13]) {
		t.Errorf("partial: %q, %v", got, err)
	}
	c.until("b")
}

func readFull(c *wire, b []byte) (int, error) {
	for n := 0; n < len(b); {
		m, err := c.r.Read(b[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func TestHeaderFields(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	a.Deliver("INBOX", raw, time.Time{})
	c := examine(t, w, a)
	c.play(`
C: a UID FETCH 1 (BODY.PEEK[HEADER.FIELDS (Subject X-None)])
S: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT X-NONE)] {18}
S: Subject: hello
S: 
S: )
S: a OK FETCH completed.`)
}

func TestPeek(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	a.Deliver("INBOX", raw, time.Time{})
	c := login(t, w, a)
	c.send("x SELECT INBOX")
	c.until("x")
	c.send("a UID FETCH 1 BODY.PEEK[]")
	c.until("a")
	if len(w.Violations()) != 0 || len(a.Flags("INBOX", 1)) != 0 {
		t.Errorf("PEEK: violations %v, flags %v", w.Violations(), a.Flags("INBOX", 1))
	}
	c.send("b UID FETCH 1 BODY[]")
	c.until("b")
	if v := w.Violations(); len(v) != 1 || !strings.Contains(v[0], "FETCH without PEEK") {
		t.Errorf("violations %v", v)
	}
	if got := a.Flags("INBOX", 1); !slices.Equal(got, []string{`\Seen`}) {
		t.Errorf("flags %v", got)
	}
}

func TestSearch(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "a@b.test")
	day := time.Date(2026, 3, 4, 23, 0, 0, 0, time.UTC)
	for i := range 5 {
		a.DeliverMessage("INBOX", sim.Message{Raw: fmt.Appendf(nil, "Subject: n%d\r\n\r\nx\r\n", i+1), Date: day.AddDate(0, 0, i), UID: uint32(10 * (i + 1))})
	}
	a.SetFlags("INBOX", 20, `\Seen`, "$Work")
	c := examine(t, w, a)
	for query, want := range map[string]string{
		"ALL": "10 20 30 40 50", "UID 30:*": "30 40 50", "UID 99:*": "50", "UID 20,40:50": "20 40 50", "2:3": "20 30",
		"SEEN": "20", "UNSEEN": "10 30 40 50", "NOT SEEN UID 30": "30", "OR SEEN UID 50": "20 50",
		"SINCE 6-Mar-2026": "30 40 50", "BEFORE 6-Mar-2026": "10 20", "ON 06-Mar-2026": "30",
		"KEYWORD $Work": "20", "SUBJECT n4": "40", "HEADER Subject N5": "50", "(SEEN ALL)": "20", "LARGER 1000": "",
		`SUBJECT "n1"`: "10", "X-GM-MSGID " + fmt.Sprint(a.MessageID("INBOX", 40)): "40",
	} {
		want = strings.TrimSuffix("* SEARCH "+want, " ")
		c.send("a UID SEARCH " + query)
		if got := c.until("a")[0]; got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	c.play("C: b SEARCH SEEN\nS: * SEARCH 2\nS: b OK SEARCH completed (Success)")
	// A literal, synchronising and not.
	c.play("C: c UID SEARCH SUBJECT {2}\nS: + go ahead\nC: n3\nS: * SEARCH 30\nS: c OK SEARCH completed (Success)")
	c.play("C: d UID SEARCH SUBJECT {2+}\nC: n3\nS: * SEARCH 30\nS: d OK SEARCH completed (Success)")
}

func TestLateUIDHoleAndVanishing(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	a.Deliver("INBOX", raw, time.Time{})
	a.DeliverMessage("INBOX", sim.Message{Raw: raw, Hide: 2})
	a.Deliver("INBOX", raw, time.Time{})
	a.DeliverMessage("INBOX", sim.Message{Raw: raw, Holes: 1})
	a.Deliver("INBOX", raw, time.Time{})
	a.Vanish("INBOX", 5)
	c := examine(t, w, a)
	c.play(`
C: a UID SEARCH UID 1:*
S: * SEARCH 1 3 4 5
S: a OK SEARCH completed.
C: b UID FETCH 3:5 UID
S: * 4 EXPUNGE
S: * 2 FETCH (UID 3)
S: b OK FETCH completed.
C: c UID FETCH 3:5 UID
S: * 2 FETCH (UID 3)
S: * 3 FETCH (UID 4)
S: c OK FETCH completed.
C: d UID SEARCH UID 1:*
S: * SEARCH 1 3 4
S: d OK SEARCH completed.
C: e UID SEARCH UID 1:*
S: * 4 EXISTS
S: * SEARCH 1 2 3 4
S: e OK SEARCH completed.`)
}

func TestVisibilityLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Exchange, "a@b.test")
		a.Deliver("INBOX", raw, time.Time{})
		a.Set(func(q *sim.Quirks) { q.Lag = 3 * time.Second })
		c := examine(t, w, a)
		c.play("C: a IDLE\nS: + IDLE accepted, awaiting DONE command.")
		a.Deliver("INBOX", raw, time.Time{})
		c.play(`
S: * 2 EXISTS
C: DONE
S: a OK IDLE completed.
C: b UID FETCH 2:* UID
S: * 1 FETCH (UID 1)
S: b OK FETCH completed.`)
		time.Sleep(3 * time.Second)
		c.play(`
C: c UID FETCH 2:* UID
S: * 2 FETCH (UID 2)
S: c OK FETCH completed.`)
	})
}

func TestUIDValidity(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	a.Deliver("INBOX", raw, time.Time{})
	a.Deliver("INBOX", raw, time.Time{})
	a.Expunge("INBOX", 1)
	c := examine(t, w, a)
	if v := a.BumpUIDValidity("INBOX"); v != 15 {
		t.Errorf("UIDVALIDITY %d, want 15", v)
	}
	c.play("S: * BYE Connection is closed. 13")
	if got := a.UIDs("INBOX"); !slices.Equal(got, []uint32{1}) {
		t.Errorf("UIDs %v", got)
	}
}

func TestWrites(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	a.Deliver("INBOX", raw, time.Time{})
	c := login(t, w, a)
	c.send("x SELECT INBOX")
	c.until("x")
	c.play(`
C: a APPEND INBOX (\Seen) "04-Mar-2026 10:00:00 +0100" {3}
S: + Ready for additional command text.
C: a
C: 
S: * 2 EXISTS
S: a OK [APPENDUID 14 2] APPEND completed.
C: b UID STORE 1 +FLAGS (\Flagged $Custom)
S: * 1 FETCH (FLAGS (\Flagged) UID 1)
S: b OK STORE completed.
C: c UID COPY 1 Archive
S: c OK [COPYUID 1 1 1] COPY completed.
C: d UID MOVE 2 "Deleted Items"
S: * OK [COPYUID 5 2 1]
S: * 2 EXPUNGE
S: d OK MOVE completed.
C: e UID STORE 1 +FLAGS.SILENT (\Deleted)
S: e OK STORE completed.
C: f EXPUNGE
S: * 1 EXPUNGE
S: f OK EXPUNGE completed.
C: g UID COPY 1 Nowhere
S: g NO Nowhere doesn't exist.
C: h CLOSE
S: h OK CLOSE completed.`)
	if got := a.Flags("Archive", 1); !slices.Equal(got, []string{`\Flagged`}) {
		t.Errorf("copied flags %v", got)
	}
}
