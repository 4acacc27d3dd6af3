package fetcher

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mail is a message of a fake server.
type mail struct {
	uid    uint32
	raw    string
	hidden bool // not listed, not fetched
	hole   bool // listed, not fetched
	size   int64
	date   string
	extra  string // items after the UID
	flags  string // `\Seen $Label` if empty
}

// fake is an IMAP server of one folder for one test. Its fields are set before it serves, or under mu; a hook in on may
// answer a command in its place and returns true if it did.
type fake struct {
	t        *testing.T
	mu       sync.Mutex
	greeting string
	pre      string // capabilities before login
	post     string // and after
	validity uint32
	next     uint32
	mails    []mail
	on       map[string]func(c *fakeConn, tag, args string) bool
	log      []string // commands, without tags
	conns    []*fakeConn
}

type fakeConn struct {
	net.Conn
	f    *fake
	r    *bufio.Reader
	tag  string // of the IDLE that runs
	in   bool   // logged in
	fail error
}

func newFake(t *testing.T, uids ...uint32) *fake {
	f := &fake{
		t: t, greeting: "* OK ready", pre: "IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=PLAIN",
		post: "IMAP4rev1 IDLE NAMESPACE ID", validity: 7, next: 1, on: map[string]func(*fakeConn, string, string) bool{},
	}
	for _, uid := range uids {
		f.add(uid)
	}
	return f
}

func (f *fake) add(uid uint32) {
	f.mails = append(f.mails, mail{uid: uid, raw: fmt.Sprintf("Subject: %d\r\n\r\nbody of %d\r\n", uid, uid)})
	f.next = max(f.next, uid+1)
}

// deliver adds a message and announces it.
func (f *fake) deliver(uid uint32) {
	f.change(func() { f.add(uid) })
	f.announce()
}

// announce says how many messages there are, hidden ones too.
func (f *fake) announce() {
	f.mu.Lock()
	n, conns := len(f.mails), slices.Clone(f.conns)
	f.mu.Unlock()
	for _, c := range conns {
		c.say("* %d EXISTS", n)
	}
}

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) commands(prefix string) (matching []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.log {
		if strings.HasPrefix(c, prefix) {
			matching = append(matching, c)
		}
	}
	return matching
}

func (f *fake) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go f.serve(server)
	return client, nil
}

func (f *fake) config() Config {
	return Config{Addr: "localhost:143", Security: Plain, User: "u@example.com", Dial: f.dial, Start: Start{All: true}}
}

func (f *fake) serve(conn net.Conn) {
	c := &fakeConn{Conn: conn, f: f}
	defer conn.Close()
	f.change(func() { f.conns = append(f.conns, c) })
	c.say("%s", f.greeting)
	c.serveLines()
}

func (c *fakeConn) serveLines() {
	c.r = bufio.NewReader(c.Conn)
	for c.fail == nil {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		c.command(strings.TrimRight(line, "\r\n"))
	}
}

func (c *fakeConn) say(format string, args ...any) {
	if _, err := fmt.Fprintf(c.Conn, format+"\r\n", args...); err != nil {
		c.fail = err
	}
}

func (c *fakeConn) command(line string) {
	f := c.f
	if line == "DONE" {
		if c.tag == "" {
			f.t.Error("DONE outside of IDLE")
		}
		c.say("%s OK IDLE completed.", c.tag)
		c.tag = ""
		return
	}
	tag, rest, _ := strings.Cut(line, " ")
	verb, args, _ := strings.Cut(rest, " ")
	if verb == "UID" {
		word, more, _ := strings.Cut(args, " ")
		verb, args = "UID "+word, more
	}
	f.mu.Lock()
	f.log = append(f.log, rest)
	hook := f.on[verb]
	f.mu.Unlock()
	if len(line) > 8000 {
		f.t.Errorf("command of %d bytes", len(line))
	}
	if hook != nil && hook(c, tag, args) {
		return
	}
	c.answer(tag, verb, args)
}

func (c *fakeConn) answer(tag, verb, args string) {
	f := c.f
	f.mu.Lock()
	mails, next, validity := slices.Clone(f.mails), f.next, f.validity
	f.mu.Unlock()
	switch verb {
	case "CAPABILITY":
		caps := f.pre
		if c.in {
			caps = f.post
		}
		c.say("* CAPABILITY %s", caps)
	case "AUTHENTICATE", "LOGIN":
		c.in = true
	case "ID":
		c.say(`* ID ("name" "fake")`)
	case "NAMESPACE":
		c.say(`* NAMESPACE (("" "/")) NIL NIL`)
	case "EXAMINE":
		visible := slices.DeleteFunc(mails, func(m mail) bool { return m.hidden })
		c.say("* %d EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS ()] none", len(visible))
		if validity != 0 {
			c.say("* OK [UIDVALIDITY %d] valid", validity)
		}
		if next != 0 {
			c.say("* OK [UIDNEXT %d] next", next)
		}
	case "UID SEARCH":
		c.search(mails, args)
	case "UID FETCH":
		set, items, _ := strings.Cut(args, " ")
		for i, m := range mails {
			if parseUIDSet(set).Contains(imap.UID(m.uid)) && !m.hidden {
				c.fetch(i+1, m, items)
			}
		}
	case "IDLE":
		c.tag = tag
		c.say("+ idling")
		return
	case "LOGOUT":
		c.say("* BYE bye")
	default:
		c.say("%s BAD unknown", tag)
		return
	}
	c.say("%s OK %s completed.", tag, verb)
}

func (c *fakeConn) search(mails []mail, args string) {
	args, undraft := strings.CutSuffix(strings.TrimPrefix(args, "UID "), " UNDRAFT")
	set, since, _ := strings.Cut(args, " SINCE ")
	var day time.Time
	if since != "" {
		day, _ = time.Parse("2-Jan-2006", strings.Trim(since, `"`))
	}
	var hits []string
	var high uint32
	for _, m := range mails {
		if !m.hidden {
			high = max(high, m.uid)
		}
	}
	for _, m := range mails {
		at, _ := time.Parse("2-Jan-2006 15:04:05 -0700", m.date)
		if m.hidden || undraft && strings.Contains(m.flags, `\Draft`) || !matches(set, m.uid, high) || !at.IsZero() && at.Before(day) {
			continue
		}
		hits = append(hits, strconv.Itoa(int(m.uid)))
	}
	c.say("%s", strings.TrimSpace("* SEARCH "+strings.Join(hits, " ")))
}

// matches says whether a UID is in a set, where * is the highest one.
func matches(set string, uid, high uint32) bool {
	for part := range strings.SplitSeq(strings.ReplaceAll(set, "*", strconv.Itoa(int(high))), ",") {
		a, b, ranged := strings.Cut(part, ":")
		from, _ := strconv.Atoi(a)
		to := from
		if ranged {
			to, _ = strconv.Atoi(b)
		}
		if int(uid) >= min(from, to) && int(uid) <= max(from, to) {
			return true
		}
	}
	return false
}

func (c *fakeConn) fetch(seq int, m mail, items string) {
	size := int64(len(m.raw))
	if m.size != 0 {
		size = m.size
	}
	date := m.date
	if date == "" {
		date = "17-Jul-2026 02:44:25 +0000"
	}
	flags := m.flags
	if flags == "" {
		flags = `\Seen $Label`
	}
	switch {
	case m.hole:
	case strings.Contains(items, "INTERNALDATE") && !strings.Contains(items, "BODY"):
		c.say("* %d FETCH (RFC822.SIZE %d INTERNALDATE %q UID %d)", seq, size, date, m.uid)
	case !strings.Contains(items, "BODY"):
		c.say("* %d FETCH (RFC822.SIZE %d UID %d)", seq, size, m.uid)
	default:
		raw := m.raw
		key := "BODY[]"
		if strings.Contains(items, "HEADER") {
			raw, key = raw[:strings.Index(raw, "\r\n\r\n")+4], "BODY[HEADER]"
		}
		c.say("* %d FETCH (UID %d %sRFC822.SIZE %d FLAGS (%s) INTERNALDATE %q %s {%d}\r\n%s)",
			seq, m.uid, m.extra, size, flags, date, key, len(raw), raw)
	}
}

// secret is a TokenSource; it gives the next text each time that one is rejected.
type secret []string

func (s secret) Token(_ context.Context, rejected string) (string, error) {
	i := slices.Index(s, rejected) + 1
	return s[min(i, len(s)-1)], nil
}

func mustOpen(t *testing.T, c Config) *Session {
	t.Helper()
	s, err := Open(t.Context(), c, secret{"token"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// reading is what a pass gave.
type reading struct {
	uids  []uint32 // of KindMail
	all   []Message
	after map[string]Position
	err   error
}

func readAll(ctx context.Context, s *Session, after map[string]Position) reading {
	r := reading{after: map[string]Position{}}
	for k, v := range after {
		r.after[k] = v
	}
	for m, err := range s.Messages(ctx, after) {
		if err != nil {
			r.err = err
			return r
		}
		if m.Kind == KindMail {
			r.uids = append(r.uids, m.UID)
		}
		m.Raw = slices.Clone(m.Raw)
		m.Release()
		r.all = append(r.all, m)
		r.after[m.Folder] = m.Position
	}
	return r
}

// readOnce reads, in a session of its own.
func readOnce(t *testing.T, c Config, after map[string]Position) reading {
	t.Helper()
	s, err := Open(t.Context(), c, secret{"x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return readAll(t.Context(), s, after)
}

func wantUIDs(t *testing.T, r reading, want ...uint32) {
	t.Helper()
	if r.err != nil {
		t.Fatalf("pass: %v", r.err)
	}
	if !slices.Equal(r.uids, want) {
		t.Fatalf("UIDs %v, want %v", r.uids, want)
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var _ io.Reader = (*fakeConn)(nil)
