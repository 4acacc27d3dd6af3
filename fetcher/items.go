package fetcher

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// fetchItems is what a FETCH response says of a message, its body apart.
type fetchItems struct {
	uid      uint32
	flags    []string
	hasFlags bool
	date     time.Time
	size     int64
	hasSize  bool

	emailID, threadID string
	labels            []string
	hasLabels         bool
}

// merge takes from o what i lacks: a server may spread one message over several responses.
func (i *fetchItems) merge(o fetchItems) {
	if !i.hasFlags {
		i.flags, i.hasFlags = o.flags, o.hasFlags
	}
	if !i.hasSize {
		i.size, i.hasSize = o.size, o.hasSize
	}
	if i.date.IsZero() {
		i.date = o.date
	}
	if i.emailID == "" {
		i.emailID = o.emailID
	}
	if i.threadID == "" {
		i.threadID = o.threadID
	}
	if !i.hasLabels {
		i.labels, i.hasLabels = o.labels, o.hasLabels
	}
}

// parseDate reads an INTERNALDATE, zero if it is none. QUIRK(any): odd dates.
func parseDate(s string) time.Time {
	s = strings.Join(strings.Fields(s), " ")
	for _, layout := range []string{"2-Jan-2006 15:04:05 -0700", "2-Jan-2006 15:04:05 MST", "2-Jan-2006 15:04:05", "2-Jan-06 15:04:05 -0700"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1000 && t.Year() <= 9999 {
			return t
		}
	}
	return time.Time{}
}

// answer is one FETCH response on its way through the filter.
type answer struct {
	f     *filter
	p     *scanner
	seq   uint32
	cmd   *command // the FETCH that it may answer; nil if none runs
	items fetchItems
	uid   uint32 // whom go-imap was told that it is about; 0 if it was told nothing
	body  string // the key of the body, once seen
}

// fetch handles one FETCH response. Unsolicited ones, second ones, those of a message that we did not ask for and those
// that lack the body that we asked for never reach go-imap, which would take them for the answer.
func (f *filter) fetch(seq uint32, args string) error {
	a := &answer{f: f, p: &scanner{f: f, line: []byte(args)}, seq: seq, cmd: f.fetching()}
	a.p.spaces()
	if a.p.peek() != '(' {
		return a.p.skipAll()
	}
	if err := a.p.enter(); err != nil {
		return err
	}
	return a.run()
}

// fetching returns the UID FETCH that runs.
func (f *filter) fetching() *command {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.cmds {
		if c.verb == "UID FETCH" {
			return c
		}
	}
	return nil
}

// errCut says that what follows a body is not the rest of its response: the body was shorter than announced, and what came
// next, such as a BYE, was taken for its end.
var errCut = fmt.Errorf("FETCH response without its end: %w", io.ErrUnexpectedEOF)

// run reads items until the response ends or a body must be streamed.
func (a *answer) run() error {
	p := a.p
	for {
		p.spaces()
		if p.end() || p.peek() == ')' {
			return a.finish()
		}
		if p.peek() == '(' && a.body != "" {
			return errCut
		}
		streaming, err := a.item(p.key())
		if err != nil || streaming {
			return err
		}
	}
}

// item reads one item. It returns true if a body follows on the wire, after which run goes on.
func (a *answer) item(key string) (streaming bool, err error) {
	p, i := a.p, &a.items
	p.spaces()
	switch {
	case key == "UID":
		i.uid = uint32(number(p.atom(), 32))
	case key == "FLAGS":
		i.flags, err = p.flags()
		i.hasFlags = true
	case key == "INTERNALDATE":
		var s string
		s, _, err = p.nstring()
		i.date = parseDate(s)
	case key == "RFC822.SIZE":
		i.size, i.hasSize = number(p.atom(), 63), true
	case key == "X-GM-MSGID":
		i.emailID = idText(p.atom())
	case key == "X-GM-THRID":
		i.threadID = idText(p.atom())
	case key == "X-GM-LABELS":
		i.labels, err = p.strings()
		i.labels = few(i.labels, maxLabels)
		i.hasLabels = true
	case key == "EMAILID":
		i.emailID, err = p.objectID()
	case key == "THREADID":
		i.threadID, err = p.objectID()
	case strings.HasPrefix(key, "BODY[") && a.body == "" && a.cmd != nil && a.cmd.body:
		return a.content(key)
	case key == "":
		p.pos++ // no item begins like this
	default:
		err = p.skip()
	}
	return false, err
}

// number reads a decimal number of at most so many bits, 0 if it is none.
func number(s string, bits int) int64 {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0
	}
	return int64(n)
}

// idText takes an identifier as it is, unless it cannot be one.
func idText(s string) string {
	if !isFlag(s) || len(s) > 255 || strings.EqualFold(s, "NIL") {
		return ""
	}
	return s
}

func (p *scanner) objectID() (string, error) {
	ids, err := p.strings()
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return idText(ids[0]), nil
}

// content handles the value of the body.
func (a *answer) content(key string) (streaming bool, err error) {
	f, p := a.f, a.p
	a.body = key
	if !p.atLiteral() {
		s, ok, err := p.nstring()
		if err != nil || !ok {
			return false, err // NIL: as if there were none
		}
		if a.announce(int64(len(s))) {
			f.out = append(f.out, s...)
		}
		return false, nil
	}
	size := p.literalSize()
	a.cmd.bodies-- // of the reader's goroutine alone
	asked := a.cmd.bodies >= 0
	if a.items.uid == 0 && a.cmd.one == 0 {
		// The UID may come after the body. Which message this is cannot be known in time; the session will ask for
		// each alone.
		f.mu.Lock()
		f.lateUID = true
		f.mu.Unlock()
	}
	if size > f.maxMessage {
		a.overLimit(size)
	}
	if size > f.maxMessage || !a.announce(size) {
		if err := f.discard(size, asked); err != nil {
			return false, err
		}
		return false, p.nextLine()
	}
	f.lit = size
	f.rest = func() error {
		f.room = maxText
		if err := p.nextLine(); err != nil {
			return err
		}
		return a.run()
	}
	return true, nil
}

// overLimit remembers a message that is larger than we take.
func (a *answer) overLimit(size int64) {
	uid := a.items.uid
	if uid == 0 {
		uid = a.cmd.one
	}
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if fa := a.f.fact(a.cmd, uid); fa != nil {
		fa.items.merge(a.items)
		fa.size = size
	}
}

// fact returns the entry of a message, nil if it was not asked for.
func (f *filter) fact(cmd *command, uid uint32) *fact {
	if cmd == nil || uid == 0 || !cmd.uids.Contains(imap.UID(uid)) {
		return nil
	}
	if f.facts[uid] == nil {
		f.facts[uid] = &fact{}
	}
	return f.facts[uid]
}

// announce writes the response up to the content of a literal of n bytes. It returns false if go-imap must not see it.
func (a *answer) announce(n int64) bool {
	f := a.f
	uid := a.items.uid
	if uid == 0 {
		uid = a.cmd.one // checked in finish
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fa := f.fact(a.cmd, uid)
	if fa == nil || fa.answered {
		return false
	}
	fa.answered = true
	fa.misnamed = a.items.uid == 0 // until the response says whose it is
	a.uid = uid
	a.items.merge(fa.items)
	fa.items = a.items
	f.out = append(a.head(), " BODY["+a.section()+" {"+strconv.FormatInt(n, 10)+"}\r\n"...)
	return true
}

// section is the key of the body after its bracket, as far as go-imap reads it.
func (a *answer) section() string {
	if strings.HasPrefix(a.body, "BODY[HEADER]") {
		return "HEADER]"
	}
	return "]"
}

// head is the beginning of the response as go-imap sees it: the UID comes first, and nothing that may be odd.
func (a *answer) head() []byte {
	return append(a.f.out, "* "+strconv.FormatUint(uint64(a.seq), 10)+" FETCH (UID "+strconv.FormatUint(uint64(a.uid), 10)...)
}

// finish closes the response for go-imap and keeps the rest.
func (a *answer) finish() error {
	f := a.f
	if end := bytes.TrimSpace(a.p.line[a.p.pos:]); a.body != "" && string(end) != ")" {
		return errCut
	}
	if err := a.p.finishList(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.uid != 0 { // go-imap has the body and waits for the end
		fa := f.facts[a.uid]
		if fa != nil {
			fa.ended = true
			fa.misnamed = a.items.uid != a.uid
			fa.items.merge(a.items)
		}
		f.out = append(f.out, ")\r\n"...)
		return nil
	}
	fa := f.fact(a.cmd, a.items.uid)
	if fa == nil {
		return nil
	}
	fa.items.merge(a.items)
	if a.cmd.body || !a.items.hasSize || fa.answered {
		return nil
	}
	fa.answered = true
	a.uid = a.items.uid
	f.out = append(a.head(), " RFC822.SIZE "+strconv.FormatInt(a.items.size, 10)+")\r\n"...)
	return nil
}

// finishList steps over the end of the response.
func (p *scanner) finishList() error {
	if !p.end() {
		p.leave()
	}
	return p.skipAll()
}
