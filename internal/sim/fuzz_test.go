package sim_test

import (
	"io"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// FuzzSession sends whatever it likes to a session that is logged in. The server may answer what it wants, but it must
// end when the client goes.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"a SELECT INBOX\r\nb UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (Date)]<0.5>)\r\nc UID STORE 1 +X-GM-LABELS (\"\")\r\n",
		"a SELECT INBOX\r\nb UID SEARCH OR (NOT SEEN) HEADER Subject {1+}\r\nx\r\nc UID MOVE 1:* [Gmail]/Trash\r\nd EXPUNGE\r\n",
		"a LIST (SPECIAL-USE) \"\" (\"*\" \"%\") RETURN (STATUS (MESSAGES))\r\nb STATUS INBOX (UIDNEXT X)\r\nc IDLE\r\nDONE\r\n",
		"a SELECT INBOX\r\nb STORE 1 -X-GM-LABELS \\Inbox\r\nc COPY 1 \"[Gmail]/All Mail\"\r\nd APPEND INBOX (x (y)) {3}\r\nabc\r\ne CLOSE\r\n",
		"a UID\r\nb ((((\r\n* \x00\xff {99999999999}\r\n\"\r\nc LOGOUT\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		w := sim.New(sim.Options{})
		defer w.Close()
		for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
			a := w.AddAccount(p, "a@"+string(p)+".test")
			a.Deliver("INBOX", raw, time.Time{})
			c := login(t, w, a)
			go io.Copy(io.Discard, c.r)
			c.conn.Write(input) // fails when the server has hung up
			c.conn.Close()
			for began := time.Now(); a.Stats().Connections > 0; {
				if time.Since(began) > time.Minute { // a busy machine is not what is tested
					panic("the session goes on")
				}
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
}
