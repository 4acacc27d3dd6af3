package fetcher

import (
	"bufio"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
)

// Limits of what a server may say after login.
const (
	maxCommand   = 8000      // bytes of a command line; Exchange stops at 10,240
	maxText      = 1 << 20   // bytes of one response, literals not counted
	maxInline    = 64 << 10  // bytes of a literal that is no message
	maxDepth     = 32        // nested lists
	maxUntagged  = 20_000    // responses between two commands
	maxChatter   = 8 << 20   // bytes of their text, literals not counted
	maxFound     = 1 << 18   // UIDs in the answer to one SEARCH; what we ask for has no more than searchWhole, by and large
	maxName      = 1000      // bytes of a folder's name
	maxFlags     = 200       // flags of a message, or attributes of a folder; more are dropped
	maxLabels    = 1000      // labels of a message; more are dropped
	maxLabel     = 255       // bytes of a flag or label
	drainFloor   = 256 << 20 // a literal up to this size is read and thrown away rather than the connection
	idlePatience = 20 * time.Second
	byePatience  = 2 * time.Second
)

// filter stands between go-imap and the connection. It reads every response with its own tolerant parser, bounds it, and
// hands go-imap only the few kinds that we use, written anew in the plainest form: what go-imap sees, it understands.
// What go-imap has no word for (Gmail's and OBJECTID's identifiers, the texts of BYE and ALERT, literals over the limit)
// is kept for the session.
//
// One goroutine reads (go-imap's) and one writes (the session's).
type filter struct {
	*link
	br         *bufio.Reader
	maxMessage int64
	extra      string // FETCH items to ask for beside the body, "" or with a space after it
	debug      func(msg string, args ...any)
	expunged   func() // is told of each message that goes

	// Of the reader.
	out   []byte       // rewritten, not yet read by go-imap
	lit   int64        // bytes of a literal that follow out unchanged
	rest  func() error // what to do after that literal
	room  int          // bytes of text that the response may still have
	ended error        // there is no more to read

	// Of the writer.
	line []byte // a command not yet complete

	mu        sync.Mutex // guards what follows; never held across I/O
	cmds      map[string]*command
	untagged  int
	chatter   int
	drained   int64
	broken    error            // why the connection ended
	notice    error            // the last warning that came with a success
	carried   string           // a command that goes out in place of the next NOOP
	validity  uint32           // UIDVALIDITY of the open folder, 0 if not known
	permanent []string         // PERMANENTFLAGS of the open folder, nil if not known
	readOnly  bool             // the server has opened it so
	slowed    time.Time        // when a warning was of throttling
	facts     map[uint32]*fact // of the FETCH that runs, by UID
	found     []uint32         // by the SEARCH that runs
	searching bool
	lateUID   bool          // this server names the UID after the body
	idle      *command      // the IDLE that runs
	idleOver  chan struct{} // told when the server ends an IDLE that we did not
	left      bool          // go-imap reads no more
}

// leave notes that go-imap reads no more. It completes the commands that it knows of then; one that is begun later would
// wait for ever, so Write refuses it.
func (f *filter) leave() {
	f.mu.Lock()
	f.left = true
	f.mu.Unlock()
}

// Close is called by go-imap when it gives up.
func (f *filter) Close() error {
	f.leave()
	return f.link.Close()
}

// fact is what a FETCH told of one message beside what go-imap understands.
type fact struct {
	items    fetchItems
	answered bool  // go-imap has got its response
	ended    bool  // which came to its end
	size     int64 // of a literal that was over the limit and is thrown away
	misnamed bool  // the response named another UID, or none
}

func newFilter(l *link, br *bufio.Reader, caps map[string]bool, maxMessage int64) *filter {
	f := &filter{
		link: l, br: br, maxMessage: maxMessage,
		cmds: map[string]*command{}, facts: map[uint32]*fact{}, idleOver: make(chan struct{}, 1),
		debug: func(string, ...any) {}, expunged: func() {},
	}
	switch {
	case caps["X-GM-EXT-1"]:
		f.extra = "X-GM-MSGID X-GM-THRID X-GM-LABELS "
	case caps["OBJECTID"]:
		f.extra = "EMAILID THREADID "
	}
	// go-imap learns of no capability that could change what it sends.
	f.out = []byte("* PREAUTH [CAPABILITY IMAP4rev1] ready\r\n")
	return f
}

// Read gives go-imap the rewritten responses. A literal always has its length for go-imap, which would otherwise read on
// with two goroutines at once: one that is cut is filled up with zeros, and cause tells.
func (f *filter) Read(p []byte) (int, error) {
	for {
		switch {
		case len(f.out) > 0:
			n := copy(p, f.out)
			f.out = f.out[n:]
			return n, nil
		case f.lit > 0:
			p = p[:min(int64(len(p)), f.lit)]
			n, err := 0, f.ended
			if err == nil {
				n, err = f.br.Read(p)
			}
			if n == 0 && err != nil {
				f.fail(err)
				clear(p)
				n = len(p)
			}
			if f.lit -= int64(n); f.lit > 0 {
				crash.At("fetch.literal.partial")
			}
			if n > 0 {
				return n, nil
			}
		case f.ended != nil:
			f.leave()
			return 0, f.ended
		case f.rest != nil:
			rest := f.rest
			f.rest = nil
			f.advanced()
			f.fail(rest())
		default:
			f.out = f.out[:0]
			f.fail(f.response())
		}
	}
}

// fail records why the connection is of no more use, if err is not nil; the first reason stays.
func (f *filter) fail(err error) {
	if err == nil {
		return
	}
	err = notEOF(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = err
	}
	f.ended = f.broken
}

// blame says why the connection is about to be cut, by us.
func (f *filter) blame(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = err
	}
}

// cause returns why the connection ended, nil if it has not.
func (f *filter) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

// takeFact returns what a FETCH told of a message beside what go-imap understands.
func (f *filter) takeFact(uid uint32) fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fa := f.facts[uid]; fa != nil {
		return *fa
	}
	return fact{}
}

// takeNotice returns the last warning and forgets it.
func (f *filter) takeNotice() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.notice
	f.notice = nil
	return n
}

// slowedWithin reports whether a warning of throttling came within the last d.
func (f *filter) slowedWithin(d time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.slowed.IsZero() && time.Since(f.slowed) < d
}

func (f *filter) namesUIDLate() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lateUID
}

// readLine reads one line without its end into a fresh slice, against the room left in this response.
func (f *filter) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := f.br.ReadSlice('\n')
		f.room -= len(part)
		if f.room < 0 {
			return nil, &LimitError{What: "response of more than " + strconv.Itoa(maxText) + " bytes"}
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.advanced()
		if err := f.noteText(len(line)); err != nil {
			return nil, err
		}
		line = line[:len(line)-1]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		return line, nil
	}
}

// response reads one response and appends to out what go-imap shall see of it.
func (f *filter) response() error {
	f.room = maxText
	line, err := f.readLine()
	if err != nil {
		return err
	}
	if err := f.count(); err != nil {
		return err
	}
	first, rest := cutWord(string(line))
	switch {
	case first == "*":
		return f.data(rest)
	case strings.HasPrefix(first, "+"):
		f.continuation()
		return nil
	}
	if status, text := cutWord(rest); isStatus(status) {
		if cmd := f.finish(first); cmd != nil {
			f.tagged(cmd, first, strings.ToUpper(status), text)
			return nil
		}
	}
	// QUIRK(exchange): bare line. It may explain the cut that follows; otherwise it means nothing.
	if err := classifyBare(string(line)); err != nil {
		return err
	}
	f.debug("line dropped", "bytes", len(line)) // not its text, which could be a mail's
	return nil
}

// noteText bounds the text between two commands.
func (f *filter) noteText(n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.chatter += n; f.chatter > maxChatter {
		return &LimitError{What: "text between two commands"}
	}
	return nil
}

func isStatus(s string) bool {
	return strings.EqualFold(s, "OK") || strings.EqualFold(s, "NO") || strings.EqualFold(s, "BAD")
}

// count bounds the responses that come without being asked for.
func (f *filter) count() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.untagged++; f.untagged > maxUntagged {
		return &LimitError{What: "untagged responses"}
	}
	return nil
}

// continuation passes a + on if a command waits for one. QUIRK(exchange): stray continuation.
func (f *filter) continuation() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.idle != nil && !f.idle.ran {
		f.idle.ran = true
		f.replied()
		f.out = append(f.out, "+ idling\r\n"...)
	}
}

// finish takes the command that a tag ends off the list, nil if there is none.
func (f *filter) finish(tag string) *command {
	f.mu.Lock()
	defer f.mu.Unlock()
	cmd := f.cmds[tag]
	if cmd == nil {
		return nil
	}
	delete(f.cmds, tag)
	if f.idle == cmd { // ended by the server, or refused
		f.idle = nil
		select {
		case f.idleOver <- struct{}{}:
		default:
		}
		if cmd.ran {
			return cmd // its reply was counted with the continuation
		}
	}
	f.replied()
	return cmd
}

// tagged writes a tagged response anew: a code without arguments, a text without surprises.
//
// QUIRK(exchange): odd code. [Error="Microsoft.Exchange..." ...] ends a login (ruby/net-imap #597, January 2026), and
// COPYUID comes with empty sets.
func (f *filter) tagged(cmd *command, tag, status, text string) {
	if status == "OK" {
		// QUIRK(gmail): soft throttling. A success that says [THROTTLED], anywhere in its text.
		f.noteNotice(text)
	}
	switch {
	case cmd.verb == "UID FETCH" && status == "NO" && isPartial(text):
		status = "OK"
	case cmd.verb == "IDLE" && status == "OK" && !cmd.ran:
		status = "NO" // it never began, and go-imap would wait for it
	}
	if code, rest, ok := cutCode(text); ok {
		word, _ := cutWord(code)
		if cmd.verb == "SELECT" && strings.EqualFold(word, "READ-ONLY") {
			f.mu.Lock()
			f.readOnly = true
			f.mu.Unlock()
		}
		switch {
		case !isCode(word):
			text = "(" + text[1:]
		case isArgCode(word):
			text = rest
		default:
			text = "[" + strings.ToUpper(word) + "] " + rest
		}
	} else if strings.HasPrefix(text, "[") {
		text = "(" + text[1:]
	}
	f.out = append(f.out, tag+" "+status+" "+orDash(clip(text))+"\r\n"...)
}

func orDash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}

// isCode reports whether go-imap can read s as a response code.
func isCode(s string) bool {
	if s == "" {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// isArgCode reports whether go-imap insists on reading the arguments of this code.
func isArgCode(s string) bool {
	return slices.Contains([]string{"CAPABILITY", "APPENDUID", "COPYUID"}, strings.ToUpper(s))
}

// noteNotice keeps a text that the server wants a person to read.
func (f *filter) noteNotice(text string) {
	if !isWarning(text) {
		return
	}
	err := classifyText(text)
	if err == nil {
		err = &ServerError{Text: clip(text)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notice = err
	var throttled *ThrottledError
	if errors.As(err, &throttled) {
		f.slowed = time.Now()
	}
}
