package fetcher

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// between separates, in the data of FuzzBoundary, the pieces that a server says. Each begins with the verb that it is an answer
// to and a bar; one without a verb answers any command. TAG stands for the tag of the command.
const between = "\n~"

// script is a server that says one piece of its text to each command, and hangs up when it has none for it.
type script struct {
	pieces []string
	said   bytes.Buffer
}

func newScript(text string) *script { return &script{pieces: strings.Split(text, between)} }

// answer takes the next piece for a command.
func (s *script) answer(verb, tag string) (text string, ok bool) {
	for _, label := range []string{verb, ""} {
		for i, piece := range s.pieces {
			if to, text, labelled := strings.Cut(piece, "|"); labelled && to == label {
				s.pieces = slices.Delete(s.pieces, i, i+1)
				return strings.ReplaceAll(text, "TAG", tag), true
			}
		}
	}
	return "", false
}

func (s *script) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	for verb, tag := "GREETING", ""; ; {
		text, ok := s.answer(verb, tag)
		if !ok {
			return
		}
		s.said.WriteString(text)
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		switch {
		case len(words) < 2:
			verb = strings.TrimSpace(line) // DONE, or the answer to a challenge
		case words[1] == "UID" && len(words) > 2:
			tag, verb = words[0], words[2]
		default:
			tag, verb = words[0], words[1]
		}
	}
}

// sent says whether a message is one that the server has sent whole: a literal of its length with the rest of a response
// behind it, or something in quotes.
func (s *script) sent(raw []byte) bool {
	said := s.said.Bytes()
	literal := append(fmt.Appendf(nil, "{%d}\r\n", len(raw)), raw...)
	for at := 0; ; {
		i := bytes.Index(said[at:], literal)
		if i < 0 {
			return bytes.ContainsRune(said, '"')
		}
		at += i + len(literal)
		if end := bytes.TrimLeft(said[at:], " "); len(end) > 0 && (end[0] == ')' || at > 0 && said[at] == ' ') {
			return true
		}
	}
}

// allocated is how many bytes this process has ever taken from the heap.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// talk has a session with the server of a script, from the greeting to the end, and returns what came of it.
func (s *script) talk(t *testing.T) (messages []Message, err error) {
	conf := Config{
		Addr: "localhost:143", Security: Plain, User: "u@example.com", Start: Start{All: true}, MaxMessage: 4000, Budget: NewBudget(8000),
		Folders: []string{"INBOX", `\Junk`},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go s.serve(server)
			return client, nil
		},
	}
	session, err := Open(t.Context(), conf, secret{"x", "y"})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	var after map[string]Position
	for range 3 {
		r := readAll(t.Context(), session, after)
		if messages, after = append(messages, r.all...), r.after; r.err != nil {
			return messages, r.err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		err := session.Wait(ctx)
		if cancel(); err != nil {
			return messages, err
		}
	}
	return messages, nil
}

// conversations are those that the fuzzer begins with, and how many messages come of each.
var conversations = map[string]int{
	strings.Join([]string{
		"GREETING|* OK Gimap ready\r\n", "CAPABILITY|* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 IDLE ID NAMESPACE X-GM-EXT-1\r\nTAG OK x\r\n",
		"AUTHENTICATE|* CAPABILITY IMAP4rev1 IDLE ID NAMESPACE X-GM-EXT-1\r\nTAG OK done\r\n", "ID|* ID (\"name\" \"GImap\")\r\nTAG OK\r\n",
		"NAMESPACE|* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nTAG OK\r\n", "LIST|* LIST (\\Junk) \"/\" \"[Gmail]/Spam\"\r\nTAG OK\r\n",
		"EXAMINE|* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 9] x\r\nTAG OK [READ-ONLY] x\r\n",
		"EXAMINE|* 0 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n* OK [UIDNEXT 1] x\r\nTAG OK\r\n", "SEARCH|* SEARCH\r\nTAG OK\r\n",
		"EXAMINE|* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 9] x\r\nTAG OK [READ-ONLY] x\r\n", "SEARCH|* SEARCH 3 8\r\nTAG OK\r\n",
		"FETCH|* 1 FETCH (UID 3 RFC822.SIZE 3)\r\n* 2 FETCH (UID 8 RFC822.SIZE 5)\r\nTAG OK\r\n",
		"FETCH|* 1 FETCH (X-GM-MSGID 15 X-GM-LABELS (\"\\\\Sent\" {1}\r\na) UID 3 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 +0000\" BODY[] {3}\r\nabc)\r\n" +
			"* 2 FETCH (UID 8 BODY[] {5}\r\nhello)\r\nTAG OK\r\n",
		"IDLE|+ idling\r\n* 3 EXISTS\r\n", "DONE|TAG OK\r\n", "SEARCH|* SEARCH 9\r\nTAG OK\r\n", "FETCH|* 3 FETCH (UID 9 RFC822.SIZE 1)\r\nTAG OK\r\n",
		"FETCH|* 3 FETCH (UID 9 BODY[] \"x\")\r\nTAG OK\r\n", "|TAG OK\r\n", "|TAG OK\r\n", "|TAG OK\r\n", "|TAG OK\r\n",
	}, between): 3,
	strings.Join([]string{
		"GREETING|* OK The Microsoft Exchange IMAP4 service is ready. [QQ==]\r\n", "|* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR IDLE\r\nTAG OK\r\n",
		"AUTHENTICATE|TAG OK AUTHENTICATE completed.\r\n", "|* CAPABILITY IMAP4rev1 IDLE\r\nTAG OK\r\n",
		"LIST|* LIST () \"/\" INBOX\r\n* LIST (\\Junk) \"/\" {4}\r\nJunk\r\nTAG OK\r\n", "EXAMINE|* 1 EXISTS\r\n* OK [UIDVALIDITY 14] x\r\nTAG OK\r\n",
		"SEARCH|* SEARCH 4\r\nTAG OK\r\n", "SEARCH|* SEARCH 4\r\nTAG OK\r\n", "SEARCH|* SEARCH 4\r\nTAG OK\r\n", "FETCH|* 1 FETCH (RFC822.SIZE 9999 UID 4)\r\nTAG OK\r\n",
		"|TAG OK\r\n", "FETCH|* 1 FETCH (RFC822.SIZE 99 FLAGS () UID 4 BODY[] {9}\r\nSubject:\r\n* BYE Session invalidated - AccessTokenExpired\r\n",
	}, between): 0,
	"GREETING|* BYE [ALERT] Too many\r\n": 0,
	"GREETING|* OK x\r\n" + between + "|* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nTAG OK\r\n" + between + "|+ \r\n" + between +
		"|+ eyJzdGF0dXMiOiI0MDAifQ==\r\n" + between + "|TAG NO [AUTHENTICATIONFAILED] x\r\n": 0,
}

// FuzzBoundary: whatever a server says, from its greeting on, a session with it ends, in memory that is bounded by what was
// said, and every message that comes of it was sent whole.
func FuzzBoundary(f *testing.F) {
	for s := range conversations {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newScript(string(data))
		before := allocated()
		synctest.Test(t, func(t *testing.T) {
			messages, err := s.talk(t)
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes: %.600s", len(err.Error()), err)
			}
			for _, m := range messages {
				if len(m.Raw) > 0 && !s.sent(m.Raw) {
					t.Errorf("published %q, which was not sent whole", m.Raw)
				}
			}
		})
		if took := allocated() - before; took > 8<<20+uint64(200*len(data)) {
			t.Errorf("%d KB of memory for %d bytes", took>>10, len(data))
		}
	})
}

// TestBoundaryTalks: the conversations that the fuzzer begins with go as far as they should.
func TestBoundaryTalks(t *testing.T) {
	for text, want := range conversations {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(text)
			messages, err := s.talk(t)
			mails := 0
			for _, m := range messages {
				if m.Kind == KindMail {
					mails++
				}
			}
			if mails != want {
				t.Errorf("%d messages, %v; the server said\n%s", mails, err, s.said.String())
			}
		})
	}
}
