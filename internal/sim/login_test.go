package sim_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

const (
	challenge    = "+ eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ=="
	docChallenge = "+ eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0="
)

// TestXOAUTH2Vectors checks the reference vectors; they are the providers' own examples.
func TestXOAUTH2Vectors(t *testing.T) {
	for _, v := range []struct{ user, token, want string }{
		{"someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="},
		{"alice@gmail.test", "ya29.good", "dXNlcj1hbGljZUBnbWFpbC50ZXN0AWF1dGg9QmVhcmVyIHlhMjkuZ29vZAEB"},
		{"test@contoso.onmicrosoft.com", "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA", "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ=="},
	} {
		if got := xoauth2(v.user, v.token); got != v.want {
			t.Errorf("%s: got %s, want %s", v.user, got, v.want)
		}
	}
}

func TestGmailLogin(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "alice@gmail.test")
	good := xoauth2(a.Address(), a.AccessToken(time.Hour))
	stale := xoauth2(a.Address(), a.AccessToken(-time.Second))
	for name, script := range map[string]string{
		"with initial response":    "C: a AUTHENTICATE XOAUTH2 " + good + "\nS: * CAPABILITY {id}",
		"without initial response": "C: a AUTHENTICATE XOAUTH2\nS: + \nC: " + good + "\nS: * CAPABILITY {id}",
		"stale token":              "C: a AUTHENTICATE XOAUTH2 " + stale + "\nS: " + challenge + "\nC: \nS: a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\nC: b NOOP\nS: b OK Success",
		"scope of the web API": "C: a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), a.TokenFor("https://www.googleapis.com/auth/gmail.modify", time.Hour)) +
			"\nS: " + challenge + "\nC: \nS: a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
		"unknown user":  "C: a AUTHENTICATE XOAUTH2 " + xoauth2("nobody@gmail.test", "x") + "\nS: " + challenge + "\nC: \nS: a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
		"cancelled":     "C: a AUTHENTICATE XOAUTH2\nS: + \nC: *\nS: a BAD Client aborted AUTHENTICATE command. {id}",
		"not base64":    "C: a AUTHENTICATE XOAUTH2 !!!\nS: a BAD Invalid SASL argument. {id}",
		"cut response":  "C: a AUTHENTICATE XOAUTH2 dXNlcj1h\nS: a BAD Invalid SASL argument. {id}",
		"password":      "C: a LOGIN alice@gmail.test secret\nS: * NO [WEBALERT https://accounts.google.com/signin/continue?sarp=1&scc=1&plt=AKgnsb] Web login required.\nS: a NO [ALERT] Please log in via your web browser: https://support.google.com/mail/accounts/answer/78754 (Failure)",
		"too early":     "C: a SELECT INBOX\nS: a BAD Could not parse command",
		"no such verb":  "C: a NOSUCH\nS: a BAD Could not parse command",
		"broken syntax": "C: a LIST (\nS: a BAD Could not parse command",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.IMAP(sim.Gmail))
			c.line()
			script = strings.ReplaceAll(script, "* CAPABILITY {id}", "* CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584\nS: a OK alice@gmail.test authenticated (Success)")
			c.play(script)
		})
	}
	if s := a.Stats(); s.Logins != 2 || s.Refused != 2 || strings.Join(s.Challenged, "|") != "|" {
		t.Errorf("stats: %+v", s)
	}
}

func TestGmailLoginVariants(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "alice@gmail.test")
	try := func(script string) {
		t.Helper()
		c := dial(t, w.IMAP(sim.Gmail))
		c.line()
		c.play(strings.ReplaceAll(script, "{stale}", xoauth2(a.Address(), "stale")))
	}
	a.Set(func(q *sim.Quirks) { q.DocChallenge = true })
	try("C: a AUTHENTICATE XOAUTH2 {stale}\nS: " + docChallenge + "\nC: \nS: a NO SASL authentication failed")
	a.Set(func(q *sim.Quirks) { q.DocChallenge, q.EqualsIsInvalid = false, true })
	try("C: a AUTHENTICATE XOAUTH2 {stale}\nS: " + challenge + "\nC: =\nS: a BAD Invalid SASL argument. {id}")
	try("C: a AUTHENTICATE XOAUTH2 {stale}\nS: " + challenge + "\nC: *\nS: a BAD Client aborted AUTHENTICATE command. {id}")
	try("C: a AUTHENTICATE XOAUTH2 {stale}\nS: " + challenge + "\nC: AQ==\nS: a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")
	a.Inject(sim.RefuseLogin(sim.GmailDisabledUser))
	try("C: a AUTHENTICATE XOAUTH2 {stale}\nS: a " + sim.GmailDisabledUser)
	a.Inject(sim.RefuseLogin(sim.GmailLookupFailed))
	try("C: a AUTHENTICATE XOAUTH2 {stale}\nS: a NO Lookup failed {id}")
	w.IMAP(sim.Gmail).Inject(sim.Fault{Command: "GREETING", Answer: "* BYE Too many connections", Drop: true})
	c := dial(t, w.IMAP(sim.Gmail))
	c.play("S: * BYE Too many connections")
	c.ended()
	// OAUTHBEARER
	token := a.AccessToken(time.Hour)
	c = dial(t, w.IMAP(sim.Gmail))
	c.line()
	c.send("a AUTHENTICATE OAUTHBEARER " + b64("n,a=alice@gmail.test,\x01host=imap.gmail.com\x01port=993\x01auth=Bearer "+token+"\x01\x01"))
	if lines := c.until("a"); !strings.HasPrefix(lines[len(lines)-1], "a OK") {
		t.Errorf("OAUTHBEARER: %q", lines)
	}
}

func TestTooManyGmailConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Gmail, "alice@gmail.test")
		a.Set(func(q *sim.Quirks) { q.Linger = 10 * time.Minute })
		token := xoauth2(a.Address(), a.AccessToken(time.Hour))
		var first *wire
		for i := range 15 {
			if c := login(t, w, a); i == 0 {
				first = c
			}
		}
		refused := func() {
			c := dial(t, w.IMAP(sim.Gmail))
			c.line()
			c.play("C: a AUTHENTICATE XOAUTH2 " + token + "\nS: " + challenge + "\nC: \nS: a NO [ALERT] Too many simultaneous connections. (Failure)")
		}
		refused()
		first.conn.Close()
		synctest.Wait()
		refused() // the dead one still counts
		time.Sleep(10 * time.Minute)
		login(t, w, a)
		if s := a.Stats(); s.MaxConnections != 15 || s.Logins != 16 || s.Refused != 2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestExchangeLogin(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	shared := w.AddAccount(sim.Exchange, "shared@contoso.test")
	shared.Set(func(q *sim.Quirks) { q.FullAccess = []string{"anna@contoso.test"}; q.AppAccess = []string{"app-1"} })
	anna := a.AccessToken(time.Hour)
	for name, v := range map[string]struct{ user, token, want string }{
		"own":              {a.Address(), anna, "OK AUTHENTICATE completed."},
		"shared mailbox":   {shared.Address(), anna, "OK AUTHENTICATE completed."},
		"no full access":   {a.Address(), shared.AccessToken(time.Hour), "NO AUTHENTICATE failed."},
		"expired":          {a.Address(), a.AccessToken(-time.Second), "NO AUTHENTICATE failed."},
		"for Graph":        {a.Address(), a.TokenFor("https://graph.microsoft.com/IMAP.AccessAsUser.All", time.Hour), "NO AUTHENTICATE failed."},
		"short scope name": {a.Address(), a.TokenFor("IMAP.AccessAsUser.All", time.Hour), "NO AUTHENTICATE failed."},
		"the other host":   {a.Address(), a.TokenFor(sim.ScopeOutlookAlso, time.Hour), "OK AUTHENTICATE completed."},
		"app":              {shared.Address(), shared.AppToken("app-1", time.Hour), "OK AUTHENTICATE completed."},
		"other app":        {shared.Address(), shared.AppToken("app-2", time.Hour), "NO AUTHENTICATE failed."},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.IMAP(sim.Exchange))
			c.line()
			c.play("C: a AUTHENTICATE XOAUTH2 " + xoauth2(v.user, v.token) + "\nS: a " + v.want)
		})
	}
	c := dial(t, w.IMAP(sim.Exchange))
	c.line()
	c.play("C: a LOGIN x y\nS: a NO Basic authentication is disabled.\nS: * BYE Microsoft Exchange Server IMAP4 server signing off.")
	c.ended()
}

func TestNotConnected(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	a.Inject(sim.NotConnected())
	c := login(t, w, a)
	c.play(`
C: a3 NAMESPACE
S: a3 BAD User is authenticated but not connected.
C: a4 LIST "" "INBOX"
S: a4 BAD User is authenticated but not connected.
S: * BYE Connection closed. 14`)
	c.ended()
	login(t, w, a).play("C: a NAMESPACE\nS: * NAMESPACE ((\"\" \"/\")) NIL NIL\nS: a OK NAMESPACE completed.")

	f := sim.NotConnected()
	f.When = sim.When{Times: -1, Percent: 28}
	a.Inject(f)
	bad := 0
	for range 100 {
		c := login(t, w, a)
		c.send("a NOOP")
		if strings.HasPrefix(c.line(), "a BAD") {
			bad++
		}
		c.conn.Close()
		for a.Stats().Connections > 5 {
			time.Sleep(time.Millisecond)
		}
	}
	if bad != 28 {
		t.Errorf("%d of 100 sessions were not connected, want 28", bad)
	}
}

func TestTokenExpiry(t *testing.T) {
	for provider, want := range map[sim.Provider]string{
		sim.Gmail:    "* BYE Session expired, please login again.",
		sim.Exchange: "* BYE Session invalidated - AccessTokenExpired",
	} {
		for _, state := range []string{"in IDLE", "between commands"} {
			t.Run(string(provider)+" "+state, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := sim.New(sim.Options{})
					defer w.Close()
					a := w.AddAccount(provider, "a@b.test")
					c := dial(t, w.IMAP(provider))
					c.line()
					c.send("a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), a.AccessToken(20*time.Minute)))
					c.until("a")
					began := time.Now()
					if state == "in IDLE" {
						c.send("b EXAMINE INBOX")
						c.until("b")
						c.send("c IDLE")
						c.line()
					}
					if got := c.line(); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
					if d := time.Since(began); d != 20*time.Minute {
						t.Errorf("after %v, want 20 minutes", d)
					}
					c.ended()
				})
			})
		}
	}
}

func TestExpireNow(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "a@b.test")
	c := login(t, w, a)
	a.ExpireTokens()
	c.play("S: * BYE Session invalidated - AccessTokenExpired")
	c.ended()
}

func TestExchangeTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Exchange, "a@b.test")
		c := dial(t, w.IMAP(sim.Exchange))
		c.line()
		began := time.Now()
		c.play("S: * BYE Connection is closed. 13")
		if d := time.Since(began); d != time.Minute {
			t.Errorf("before login: %v", d)
		}
		c = login(t, w, a)
		began = time.Now()
		c.play("S: * BYE Connection is closed. 13")
		if d := time.Since(began); d != 30*time.Minute {
			t.Errorf("after login: %v", d)
		}
	})
}

// A session of Gmail ends after a day, however long its token is good for; and who does not answer the challenge is let go.
func TestGmailTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.New(sim.Options{})
		defer w.Close()
		a := w.AddAccount(sim.Gmail, "a@gmail.test")
		c := dial(t, w.IMAP(sim.Gmail))
		c.line()
		c.play("C: a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), "stale") + "\nS: " + challenge)
		began := time.Now()
		c.ended()
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("the challenge: %v", d)
		}
		c = dial(t, w.IMAP(sim.Gmail))
		c.line()
		began = time.Now()
		c.send("a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), a.AccessToken(48*time.Hour)))
		c.until("a")
		c.play("C: b SELECT INBOX (QRESYNC (1 1))\nS: b BAD Could not parse command")
		c.play("S: * BYE Session expired, please login again.")
		if d := time.Since(began); d != 24*time.Hour {
			t.Errorf("the session: %v", d)
		}
	})
}
