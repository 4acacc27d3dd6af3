package sim_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Exchange, "a@b.test")
		b := w.AddAccount(sim.Exchange, "b@b.test")
		c, other := examine(t, w, a), examine(t, w, b)
		a.Throttle(92415 * time.Millisecond)
		for range 2 {
			c.play("C: a NOOP\nS: a BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds")
		}
		other.play("C: a NOOP\nS: a OK NOOP completed.")
		time.Sleep(93 * time.Second)
		c.play("C: a NOOP\nS: a OK NOOP completed.")
	})
}

func TestFaultsOfFetch(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "a@b.test")
	for range 3 {
		a.Deliver("INBOX", raw, time.Time{})
	}
	a.Inject(sim.CutLiteral(5))
	c := examine(t, w, a)
	c.send("a UID FETCH 1:* (UID BODY.PEEK[])")
	got, _ := io.ReadAll(c.r)
	if want := fmt.Sprintf("* 1 FETCH (UID 1 BODY[] {%d}\r\n%s", len(raw), raw[:5]); string(got) != want {
		t.Errorf("cut: got %q, want %q", got, want)
	}

	a.Inject(sim.Overquota(2))
	c = examine(t, w, a)
	c.send("a UID FETCH 1:* (UID BODY.PEEK[])")
	got, _ = io.ReadAll(c.r)
	if n := bytes.Count(got, []byte(" FETCH (")); n != 2 || !bytes.HasSuffix(got, []byte("* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.\r\n")) {
		t.Errorf("overquota after %d messages: %q", n, got)
	}

	a.Inject(sim.SoftThrottled(0))
	c = login(t, w, a)
	c.play("C: a NAMESPACE\nS: * NAMESPACE ((\"\" \"/\")) NIL NIL\nS: a OK Success [THROTTLED]\nC: b NAMESPACE\nS: * NAMESPACE ((\"\" \"/\")) NIL NIL\nS: b OK Success")

	a.Inject(sim.Fault{Command: "FETCH", When: sim.When{Skip: 1}, Drop: true})
	c = examine(t, w, a)
	c.send("a UID FETCH 1 UID")
	c.until("a")
	c.send("b UID FETCH 1 UID")
	c.ended()
}

func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Gmail, "a@b.test")
		for range 3 {
			a.Deliver("INBOX", raw, time.Time{})
		}
		a.LimitBandwidth(int64(2*len(raw)), time.Hour)
		c := examine(t, w, a)
		c.send("a UID FETCH 1:* (UID BODY.PEEK[])")
		got, _ := io.ReadAll(c.r)
		if !bytes.HasSuffix(got, []byte("* 3 FETCH (UID 3)\r\n* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.\r\n")) {
			t.Errorf("got %q", got)
		}
		c = dial(t, w.IMAP(sim.Gmail))
		c.line()
		c.play("C: a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), a.AccessToken(time.Hour)) + "\nS: a NO [ALERT] Account exceeded command or bandwidth limits. (Failure)")
		time.Sleep(time.Hour)
		login(t, w, a)
	})
}

func TestFaultsOfSessions(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	a.Inject(sim.BareUnavailable())
	c := login(t, w, a)
	c.play("C: a NOOP\nS: Server Unavailable. 15")
	c.ended()
	a.Inject(sim.Unavailable())
	c = login(t, w, a)
	c.play("C: a NOOP\nS: a NO Server Unavailable. 15")
	a.DropConnections()
	c.ended()
	a.Inject(sim.Fault{Command: "FETCH", Done: "NO Some of the requested messages no longer exist."})
	a.Deliver("INBOX", raw, time.Time{})
	c = examine(t, w, a)
	c.play("C: a UID FETCH 1:9 UID\nS: * 1 FETCH (UID 1)\nS: a NO Some of the requested messages no longer exist.")
	called := false
	a.Inject(sim.Fault{Command: "SEARCH", Call: func() { called = true; a.Deliver("INBOX", raw, time.Time{}) }})
	c.play("C: a UID SEARCH ALL\nS: * SEARCH 1\nS: a OK SEARCH completed.\nC: b NOOP\nS: * 2 EXISTS\nS: b OK NOOP completed.")
	if !called {
		t.Error("the fault's Call was not called")
	}
}

func TestFaultsOfIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Exchange, "a@b.test")
		a.Inject(sim.SilentIdle())
		c := examine(t, w, a)
		c.play("C: a IDLE\nS: + IDLE accepted, awaiting DONE command.")
		a.Deliver("INBOX", raw, time.Time{})
		c.play("C: DONE\nS: a OK IDLE completed.\nC: b NOOP\nS: * 1 EXISTS\nS: b OK NOOP completed.")

		a.Inject(sim.IdleDies(5 * time.Minute))
		began := time.Now()
		c.play("C: a IDLE\nS: + IDLE accepted, awaiting DONE command.")
		c.ended()
		if d := time.Since(began); d != 5*time.Minute {
			t.Errorf("IDLE died after %v", d)
		}

		a.Set(func(q *sim.Quirks) { q.EarlyExists = true })
		c = examine(t, w, a)
		a.Deliver("INBOX", raw, time.Time{})
		c.play("C: a IDLE\nS: * 2 EXISTS\nS: + IDLE accepted, awaiting DONE command.\nC: DONE\nS: a OK IDLE completed.")

		a.Inject(sim.Stall("NOOP", time.Minute))
		began = time.Now()
		c.play("C: a NOOP\nS: a OK NOOP completed.")
		if d := time.Since(began); d != time.Minute {
			t.Errorf("stalled for %v", d)
		}
		a.Inject(sim.Stall("NOOP", -1))
		c.send("a NOOP")
		time.Sleep(time.Hour)
		c.conn.Close()
		synctest.Wait()
		if n := a.Stats().Connections; n != 0 {
			t.Errorf("%d connections after the client went", n)
		}
	})
}

func TestSlowWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Gmail, "a@b.test")
		c := login(t, w, a)
		a.Set(func(q *sim.Quirks) { q.WireChunk, q.WireDelay = 1, time.Second })
		began := time.Now()
		c.play("C: a NOOP\nS: a OK Success")
		if d := time.Since(began); d < 13*time.Second {
			t.Errorf("13 octets took %v", d)
		}
	})
}

func TestRev2(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	a.Set(func(q *sim.Quirks) { q.Rev2 = true })
	c := login(t, w, a)
	c.send("a CAPABILITY")
	if got := c.until("a")[0]; !strings.Contains(got, " ENABLE IMAP4rev2 ") {
		t.Errorf("capabilities %q", got)
	}
	c.play("C: b LSUB \"\" \"*\"\nS: b BAD Command Error. 12\nC: c ENABLE IMAP4rev2\nS: * ENABLED IMAP4rev2\nS: c OK ENABLE completed.")
	if v := w.Violations(); len(v) != 1 {
		t.Errorf("violations %v", v)
	}
}

func TestSizesAndBoundaries(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	multi := []byte("Content-Type: multipart/mixed; boundary=\"boundary-0\"\r\n\r\n--boundary-0\r\n\r\nx\r\n--boundary-0--\r\n")
	a.Deliver("INBOX", multi, time.Time{})
	a.Set(func(q *sim.Quirks) { q.SizeSkew, q.NewBoundary = 30, true })
	c := examine(t, w, a)
	get := func() string {
		c.send("a UID FETCH 1 (RFC822.SIZE BODY.PEEK[])")
		return strings.Join(c.until("a"), "\n")
	}
	first, second := get(), get()
	if first == second || !strings.Contains(first, fmt.Sprintf("RFC822.SIZE %d ", len(multi)*13/10)) || strings.Count(first, "boun000001") != 3 {
		t.Errorf("first %q\nsecond %q", first, second)
	}
}
