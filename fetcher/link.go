package fetcher

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// progressFloor is how many bytes must come within Config.Progress when neither a line nor a literal ends. A server that
// drips single bytes is dead too.
const progressFloor = 32 << 10

// chatterSpans is how many spans of Config.Progress may pass with lines alone, such as Dovecot's "* OK Still here" during
// a long SEARCH, before progressFloor bytes or the reply must have come. A server can drip lines too.
const chatterSpans = 10

// link is the decrypted connection with a deadline on progress: while a reply is due, each span of the time limit must
// bring the end of a line or progressFloor bytes. Only time spent reading counts, so a consumer may take as long as it
// likes between two reads. Silence while no reply is due (IDLE) is normal.
type link struct {
	net.Conn
	limit time.Duration
	meter *Allowance // counts what is read; may be nil

	mu     sync.Mutex // guards what follows; never held across I/O
	due    int        // replies that the server owes
	strict time.Duration
	armed  time.Time // when due became positive
	line   progress  // since a line or literal ended, or progressFloor bytes came
	reply  progress  // since a reply was asked for or came, or progressFloor bytes did
}

// progress is how long was waited for how many bytes.
type progress struct {
	waited time.Duration
	got    int
}

// add books a read and forgets all if there was progress enough.
func (p *progress) add(d time.Duration, n int) {
	p.waited += d
	if p.got += n; p.got >= progressFloor {
		*p = progress{}
	}
}

func newLink(conn net.Conn, limit time.Duration) *link {
	return &link{Conn: conn, limit: limit}
}

// expect says that a reply is due from now on, within the time limit or within strict if that is shorter and not 0.
func (l *link) expect(strict time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due++
	l.strict = strict
	l.armed, l.line, l.reply = time.Now(), progress{}, progress{}
	l.setDeadline()
}

// replied says that a due reply has come.
func (l *link) replied() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = max(0, l.due-1)
	l.line, l.reply = progress{}, progress{}
	if l.due == 0 {
		l.strict = 0
	}
}

// advanced says that a line or a literal has ended.
func (l *link) advanced() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = progress{}
}

func (l *link) patience() time.Duration {
	if l.strict > 0 && l.strict < l.limit {
		return l.strict
	}
	return l.limit
}

// left returns how much longer to wait for a byte.
func (l *link) left() time.Duration {
	limit := l.patience()
	return min(limit-l.line.waited, chatterSpans*limit-l.reply.waited)
}

func (l *link) setDeadline() {
	if l.due == 0 {
		l.Conn.SetReadDeadline(time.Time{})
		return
	}
	l.Conn.SetReadDeadline(time.Now().Add(l.left()))
}

// Read reads from the connection under the deadline on progress.
func (l *link) Read(p []byte) (int, error) {
	for {
		l.mu.Lock()
		l.setDeadline()
		l.mu.Unlock()
		start := time.Now()
		n, err := l.Conn.Read(p)
		l.meter.spend(n, time.Now())
		stalled := l.account(start, n)
		switch {
		case n > 0 && stalled == nil:
			return n, nil // an error comes again with the next Read
		case stalled != nil:
			return 0, stalled
		case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
			continue // a deadline that the moment of its setting has overtaken
		case err != nil:
			return n, err
		}
	}
}

// account books one read and returns an error if progress was too slow.
func (l *link) account(start time.Time, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due == 0 {
		return nil
	}
	if l.armed.After(start) {
		start = l.armed
	}
	d := time.Since(start)
	l.line.add(d, n)
	l.reply.add(d, n)
	if l.left() <= 0 {
		return &StallError{After: l.patience()}
	}
	return nil
}

// SetReadDeadline does nothing: go-imap's fixed deadlines would end a slow but living transfer.
func (l *link) SetReadDeadline(time.Time) error { return nil }

// SetDeadline does nothing, for the same reason.
func (l *link) SetDeadline(time.Time) error { return nil }
