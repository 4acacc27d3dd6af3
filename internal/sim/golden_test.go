package sim_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// wire is a client that plays a script line by line.
type wire struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, s *sim.Server) *wire {
	t.Helper()
	conn := s.Pipe()
	t.Cleanup(func() { conn.Close() })
	return &wire{t, conn, bufio.NewReader(conn)}
}

func (w *wire) send(line string) {
	w.t.Helper()
	if _, err := w.conn.Write([]byte(line + "\r\n")); err != nil {
		w.t.Fatalf("send %q: %v", line, err)
	}
}

func (w *wire) line() string {
	w.t.Helper()
	line, err := w.r.ReadString('\n')
	if err != nil {
		w.t.Fatalf("read after %q: %v", line, err)
	}
	if !strings.HasSuffix(line, "\r\n") {
		w.t.Fatalf("line without CRLF: %q", line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// until reads lines up to the tagged one, which it returns too.
func (w *wire) until(tag string) []string {
	w.t.Helper()
	var lines []string
	for {
		line := w.line()
		lines = append(lines, line)
		if strings.HasPrefix(line, tag+" ") {
			return lines
		}
	}
}

// ended fails the test unless the server has closed the connection.
func (w *wire) ended() {
	w.t.Helper()
	if line, err := w.r.ReadString('\n'); err == nil {
		w.t.Fatalf("the connection goes on: %q", line)
	}
}

// play runs a script of lines "C: ..." and "S: ...". {id} in a server's line stands for any word.
func (w *wire) play(script string) {
	w.t.Helper()
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "C: "):
			w.send(line[3:])
		case strings.HasPrefix(line, "S: "):
			want := "^" + strings.ReplaceAll(regexp.QuoteMeta(line[3:]), `\{id\}`, `\S+`) + "$"
			if got := w.line(); !regexp.MustCompile(want).MatchString(got) {
				w.t.Fatalf("got  %q\nwant %q", got, line[3:])
			}
		}
	}
}

func xoauth2(user, token string) string {
	return base64.StdEncoding.EncodeToString([]byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01"))
}

// login greets, logs in and returns the connection.
func login(t *testing.T, w *sim.World, a *sim.Account) *wire {
	t.Helper()
	c := dial(t, w.IMAP(a.Provider()))
	c.line()
	c.send("l AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), a.AccessToken(time.Hour)))
	lines := c.until("l")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "l OK") {
		t.Fatalf("login: %s", last)
	}
	return c
}

func world(t *testing.T) *sim.World {
	w := sim.New(sim.Options{Trace: func(line string) {
		if testing.Verbose() {
			fmt.Println(line)
		}
	}})
	t.Cleanup(w.Close)
	return w
}

// TestGmailTranscript plays the transcripts of the provider reference, sections 1.2 to 1.6.
func TestGmailTranscript(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "alice@gmail.com")
	a.CreateFolder("Work")
	date := time.Date(1996, 7, 17, 2, 44, 25, 0, time.UTC)
	raw := []byte("Subject: x\r\n\r\nx\r\n")
	a.SetFolder("INBOX", sim.FolderState{UIDValidity: 71})
	a.DeliverMessage("INBOX", sim.Message{
		Raw: raw, UID: 136, Size: 87705, Date: date, Flags: []string{`\Seen`}, Labels: []string{"Work", `\Important`},
		ID: 1563491715126921418, Thread: 1563190496481790748,
	})
	a.DeliverMessage("INBOX", sim.Message{Raw: raw, UID: 138, Date: date})
	// The third message is there and not yet to be seen.
	a.Set(func(q *sim.Quirks) { q.Lag = time.Hour })
	a.DeliverMessage("INBOX", sim.Message{Raw: raw, UID: 139, Date: date})
	a.SetFolder("INBOX", sim.FolderState{UIDNext: 140, HighestModSeq: 48445442})

	c := dial(t, w.IMAP(sim.Gmail))
	c.play(`
S: * OK Gimap ready for requests from 127.0.0.1 {id}
C: a1 CAPABILITY
S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER
S: a1 OK Thats all she wrote! {id}
C: a2 AUTHENTICATE XOAUTH2 ` + xoauth2("alice@gmail.com", a.AccessToken(time.Hour)) + `
S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584
S: a2 OK alice@gmail.com authenticated (Success)
C: a3 ID ("name" "mailworker" "version" "0.1" "contact" "ops@example.com")
S: * ID ("name" "GImap" "vendor" "Google, Inc." "support-url" "https://support.google.com/mail" "remote-host" "127.0.0.1" "connection-token" "{id}")
S: a3 OK Success {id}
C: a4 NAMESPACE
S: * NAMESPACE (("" "/")) NIL NIL
S: a4 OK Success
C: a5 LIST "" "[*"
S: * LIST (\HasChildren \Noselect) "/" "[Gmail]"
S: * LIST (\All \HasNoChildren) "/" "[Gmail]/All Mail"
S: * LIST (\Drafts \HasNoChildren) "/" "[Gmail]/Drafts"
S: * LIST (\HasNoChildren \Important) "/" "[Gmail]/Important"
S: * LIST (\HasNoChildren \Sent) "/" "[Gmail]/Sent Mail"
S: * LIST (\HasNoChildren \Junk) "/" "[Gmail]/Spam"
S: * LIST (\Flagged \HasNoChildren) "/" "[Gmail]/Starred"
S: * LIST (\HasNoChildren \Trash) "/" "[Gmail]/Trash"
S: a5 OK Success
C: a6 SELECT "INBOX" (CONDSTORE)
S: * FLAGS (\Answered \Flagged \Draft \Deleted \Seen $NotPhishing $Phishing)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Draft \Deleted \Seen $NotPhishing $Phishing \*)] Flags permitted.
S: * OK [UIDVALIDITY 71] UIDs valid.
S: * 3 EXISTS
S: * 0 RECENT
S: * OK [UIDNEXT 140] Predicted next UID.
S: * OK [HIGHESTMODSEQ 48445442]
S: a6 OK [READ-WRITE] INBOX selected. (Success)
C: a7 UID SEARCH UID 136:*
S: * SEARCH 136 138
S: a7 OK SEARCH completed (Success)
C: a8 UID FETCH 136 (UID FLAGS INTERNALDATE RFC822.SIZE X-GM-MSGID X-GM-THRID X-GM-LABELS)
S: * 1 FETCH (X-GM-THRID 1563190496481790748 X-GM-MSGID 1563491715126921418 X-GM-LABELS ("\\Important" "Work") UID 136 RFC822.SIZE 87705 INTERNALDATE "17-Jul-1996 02:44:25 +0000" FLAGS (\Seen))
S: a8 OK Success
C: a9 IDLE
S: + idling`)
	a.Deliver("INBOX", raw, time.Time{})
	c.play(`
S: * 4 EXISTS
C: DONE
S: a9 OK IDLE terminated (Success)
C: b1 UID SEARCH UID 900:*
S: * SEARCH 138
S: b1 OK SEARCH completed (Success)
C: b2 SELECT "[Gmail]"
S: b2 NO [NONEXISTENT] Unknown Mailbox: [Gmail] (now in authenticated state) (Failure)
C: b3 FETCH 1 ALL
S: b3 BAD Could not parse command
C: b4 EXAMINE INBOX
S: * FLAGS (\Answered \Flagged \Draft \Deleted \Seen $NotPhishing $Phishing)
S: * OK [PERMANENTFLAGS ()] Flags permitted.
S: * OK [UIDVALIDITY 71] UIDs valid.
S: * 4 EXISTS
S: * 0 RECENT
S: * OK [UIDNEXT 141] Predicted next UID.
S: * OK [HIGHESTMODSEQ 48445444]
S: b4 OK [READ-ONLY] INBOX selected. (Success)
C: b5 FETCH 1 ALL
S: b5 BAD Could not parse command
C: b6 UID SEARCH RETURN () 1:*
S: * ESEARCH (TAG "b6") UID ALL 136,138
S: b6 OK SEARCH completed (Success)
C: b7 STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)
S: * STATUS "INBOX" (MESSAGES 4 RECENT 0 UIDNEXT 141 UIDVALIDITY 71 UNSEEN 3 HIGHESTMODSEQ 48445444)
S: b7 OK Success
C: b0 LOGOUT
S: * BYE LOGOUT Requested
S: b0 OK 73 good day (Success)`)
	c.ended()
}

// TestExchangeTranscript plays the transcripts of the provider reference, sections 2.2 to 2.9.
func TestExchangeTranscript(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.com")
	for i := range 2554 {
		a.DeliverMessage("INBOX", sim.Message{Raw: []byte("\r\n"), UID: uint32(i + 1)})
	}
	raw := []byte("Subject: big\r\n\r\n" + strings.Repeat("x", 45012-16))
	a.DeliverMessage("INBOX", sim.Message{Raw: raw, UID: 22580})
	a.DeliverMessage("INBOX", sim.Message{Raw: raw, UID: 22587, Size: 45274, Date: time.Date(2026, 3, 4, 10, 12, 1, 0, time.UTC)})

	c := dial(t, w.IMAP(sim.Exchange))
	c.play(`
S: * OK The Microsoft Exchange IMAP4 service is ready. [QQBNADAAUABSADAANQBDAEEAMAAwADAAMQAuAGUAdQByAHAAcgBkADAANQAuAHAAcgBvAGQALgBvAHUAdABsAG8AbwBrAC4AYwBvAG0A]
C: a1 CAPABILITY
S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+
S: a1 OK CAPABILITY completed.
C: a2 AUTHENTICATE XOAUTH2 ` + xoauth2("anna@contoso.com", a.AccessToken(time.Hour)) + `
S: a2 OK AUTHENTICATE completed.
C: a3 CAPABILITY
S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+
S: a3 OK CAPABILITY completed.
C: a4 ID ("name" "mailworker")
S: * ID ("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "15.20")
S: a4 OK ID completed.
C: a4 NAMESPACE
S: * NAMESPACE (("" "/")) NIL NIL
S: a4 OK NAMESPACE completed.
C: a5 LIST "" "*"
S: * LIST (\HasNoChildren) "/" Archive
S: * LIST (\HasChildren) "/" Calendar
S: * LIST (\HasNoChildren) "/" Contacts
S: * LIST (\HasNoChildren) "/" "Conversation History"
S: * LIST (\HasNoChildren \Trash) "/" "Deleted Items"
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: * LIST (\Marked \HasNoChildren) "/" INBOX
S: * LIST (\HasNoChildren) "/" Journal
S: * LIST (\HasNoChildren \Junk) "/" "Junk Email"
S: * LIST (\HasNoChildren) "/" Notes
S: * LIST (\HasNoChildren) "/" Outbox
S: * LIST (\HasNoChildren \Sent) "/" "Sent Items"
S: * LIST (\HasNoChildren) "/" "Sync Issues"
S: * LIST (\HasNoChildren) "/" Tasks
S: a5 OK LIST completed.
C: a6 EXAMINE INBOX
S: * 2556 EXISTS
S: * 0 RECENT
S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft $MDNSent)
S: * OK [PERMANENTFLAGS ()] Permanent flags
S: * OK [UNSEEN 1] Is the first unseen message
S: * OK [UIDVALIDITY 14] UIDVALIDITY value
S: * OK [UIDNEXT 22588] The next unique identifier value
S: a6 OK [READ-ONLY] EXAMINE completed.
C: a7 UID SEARCH UID 22580:*
S: * SEARCH 22580 22587
S: a7 OK SEARCH completed.
C: a8 UID FETCH 22587 (UID RFC822.SIZE INTERNALDATE FLAGS BODY.PEEK[])
S: * 2556 FETCH (RFC822.SIZE 45274 INTERNALDATE " 4-Mar-2026 10:12:01 +0000" FLAGS () UID 22587 BODY[] {45012}
S: Subject: big
S: 
S: ` + strings.Repeat("x", 45012-16) + `)
S: a8 OK FETCH completed.
C: a9 IDLE
S: + IDLE accepted, awaiting DONE command.`)
	a.Deliver("INBOX", raw, time.Time{})
	c.play(`
S: * 2557 EXISTS
C: DONE
S: a9 OK IDLE completed.
C: b0 NOOP
S: b0 OK NOOP completed.
C: b1 UID STORE 22587 +FLAGS (\Seen)
S: b1 BAD Command received in Invalid state.
C: b2 UID SEARCH RETURN (ALL) ALL
S: b2 BAD Command Argument Error. 11
C: b3 UID SEARCH KEYWORD x
S: b3 BAD Command Argument Error. 11
C: b4 UID FETCH ` + strings.Repeat("1,", 5200) + `1 FLAGS
S: b4 BAD Command Error. 10
C: b5 FROBNICATE
S: b5 BAD Command Error. 12
C: b6 SELECT INBOX
S: * 2557 EXISTS
S: * 0 RECENT
S: * FLAGS (\Seen \Answered \Flagged \Deleted \Draft $MDNSent)
S: * OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft $MDNSent)] Permanent flags
S: * OK [UNSEEN 1] Is the first unseen message
S: * OK [UIDVALIDITY 14] UIDVALIDITY value
S: * OK [UIDNEXT 22589] The next unique identifier value
S: b6 OK [READ-WRITE] SELECT completed.
C: b9 LOGOUT
S: * BYE Microsoft Exchange Server IMAP4 server signing off.
S: b9 OK LOGOUT completed.`)
	c.ended()
	if n := len(w.Violations()); n != 2 {
		t.Errorf("%d violations, want 2 (RETURN, the long command): %v", n, w.Violations())
	}
	if n := a.Stats().Commands["SELECT"]; n != 1 {
		t.Errorf("%d SELECTs counted, want 1", n)
	}
}
