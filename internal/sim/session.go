package sim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// errOver ends a session; what there was to say has been said.
var errOver = errors.New("sim: session over")

// chunk is what came from the client: a line without its end, or a literal.
type chunk struct {
	data []byte
	err  error
}

// session is one IMAP connection. A goroutine of its own reads what the session asks for, so that it can wait for the
// client, new mail and the end of the token at the same time.
type session struct {
	srv  *Server
	w    *World
	d    *dialect
	conn net.Conn
	id   string
	out  *bufio.Writer
	in   *bufio.Reader

	want    chan int // -1: a line; else so many octets
	got     chan chunk
	ended   chan struct{} // closed when the reader has returned
	waiting bool          // the reader has been asked
	failed  error         // of writing

	notify  chan struct{} // something in the account changed
	alarm   *time.Timer   // rings at alarmAt, at the latest when the session ends by itself
	alarmAt time.Time     // zero: it does not run
	kick    chan string   // end with this line

	started   time.Time
	heard     time.Time // when the client last sent something
	account   *Account  // nil before login
	token     accessToken
	denials   int  // "not connected" answers; negative: the session is connected
	loggedOut bool // the client said LOGOUT
	over      bool

	selected  *folder // guarded by the account's lock for those who look from outside
	readOnly  bool
	rev2      bool     // the client has enabled it
	bareNames bool     // of this LIST
	view      []*entry // what the client has been told, by sequence number
	viewed    uint64   // Account.changes when view was brought up to date with all of it
	flagged   uint64   // Account.modseq when the client was last told of flags
	scratch   []*entry // the view before, whose memory is used again
	seen      []place  // of the last command, whose memory is used again
	fault     *Fault   // of the command that is being carried out
}

func newSession(srv *Server, conn net.Conn) *session {
	s := &session{
		srv: srv, w: srv.w, d: srv.dialect, conn: conn, id: srv.w.connectionID(),
		in:   bufio.NewReaderSize(conn, 1<<10),
		want: make(chan int, 1), got: make(chan chunk, 1), ended: make(chan struct{}),
		notify: make(chan struct{}, 1), kick: make(chan string, 1),
		denials: -1,
	}
	s.out = bufio.NewWriterSize(wireWriter{s}, 4<<10)
	s.started = s.w.now()
	s.heard = s.started
	return s
}

// run serves the connection.
func (s *session) run() {
	go s.read()
	defer func() {
		if s.account != nil {
			s.account.part(s, s.loggedOut)
		}
		s.hangUp()
		s.conn.Close()
		if s.alarm != nil {
			s.alarm.Stop()
		}
		close(s.want)
		<-s.ended
	}()
	s.fault = s.srv.fault("GREETING")
	if !s.before() {
		return
	}
	if s.fault == nil || s.fault.Answer == "" {
		s.say(fill(s.srv.greet(), "ip", hostOf(s.conn.RemoteAddr()), "id", s.id, "host", utf16Base64(exchangeHost)))
	} else {
		s.say(s.fault.Answer)
	}
	if !s.after() {
		return
	}
	for !s.over {
		c, err := s.command()
		switch {
		case errors.Is(err, errSyntax):
			s.say(c.tag + " " + s.d.badSyntax)
		case err != nil:
			return
		default:
			s.carryOut(c)
		}
	}
}

// read reads what it is asked for until the connection ends.
func (s *session) read() {
	defer close(s.ended)
	for n := range s.want {
		c := chunk{}
		if n < 0 {
			c.data, c.err = readLine(s.in)
		} else {
			c.data = make([]byte, n)
			_, c.err = io.ReadFull(s.in, c.data)
		}
		s.got <- c
		if c.err != nil {
			return
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxLine:
			return nil, errors.New("sim: line too long")
		}
	}
}

// wireWriter writes to the connection as the account's quirks want it.
type wireWriter struct{ s *session }

func (o wireWriter) Write(p []byte) (int, error) {
	s := o.s
	step := len(p)
	var pause time.Duration
	if s.account != nil {
		q := s.account.quirk()
		if pause = q.WireDelay; q.WireChunk > 0 {
			step = q.WireChunk
		}
	}
	for sent := 0; sent < len(p); {
		n, err := s.conn.Write(p[sent:min(sent+step, len(p))])
		if sent += n; err != nil {
			return sent, err
		}
		if !s.w.sleep(pause, s.ended) {
			return sent, errOver
		}
	}
	return len(p), nil
}

// say sends a line; it leaves with the next flush.
func (s *session) say(line string) {
	if s.w.trace != nil {
		s.w.tracef("%s S: %s", s.id, line)
	}
	s.text(line)
	s.text("\r\n")
}

func (s *session) text(t string) {
	if s.failed == nil {
		_, s.failed = s.out.WriteString(t)
	}
}

func (s *session) raw(b []byte) {
	if s.failed == nil {
		_, s.failed = s.out.Write(b)
	}
}

func (s *session) flush() error {
	if s.failed == nil {
		s.failed = s.out.Flush()
	}
	return s.failed
}

// bye sends the last line and ends the session.
func (s *session) bye(line string) error {
	if line != "" {
		s.say(line)
	}
	s.flush()
	s.over = true
	return errOver
}

// hangUp lets the client read what was sent before the connection is closed: closing a socket with unread input makes
// the kernel throw away output too.
func (s *session) hangUp() {
	c, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || s.failed != nil || s.flush() != nil || c.CloseWrite() != nil {
		return
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	for {
		s.ask(-1)
		select {
		case c := <-s.got:
			if s.waiting = false; c.err != nil {
				return
			}
		case <-s.ended:
			return
		case <-t.C:
			return
		case <-s.w.done:
			return
		}
	}
}

func (s *session) ask(n int) {
	if !s.waiting {
		s.waiting = true
		s.want <- n
	}
}

// deadline returns when the session ends by itself, and with which line.
func (s *session) deadline() (at time.Time, line string) {
	sooner := func(t time.Time, l string) {
		if at.IsZero() || t.Before(at) {
			at, line = t, l
		}
	}
	if s.account == nil {
		if s.d.preAuth > 0 {
			sooner(s.started.Add(s.d.preAuth), s.d.byeIdle)
		}
		return at, line
	}
	sooner(s.token.expires, s.d.byeExpired)
	if s.d.idle > 0 {
		sooner(s.heard.Add(s.d.idle), s.d.byeIdle)
	}
	if s.d.maxSession > 0 {
		sooner(s.started.Add(s.d.maxSession), s.d.byeExpired)
	}
	return at, line
}

// wait asks the reader for a line (-1) or octets, and returns what came. With wake it returns nil, nil when the account
// changed or the time came; the request stays open.
func (s *session) wait(n int, wake <-chan struct{}, timer <-chan time.Time) ([]byte, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	for {
		s.ask(n)
		at, line := s.deadline()
		select {
		case c := <-s.got:
			s.waiting = false
			s.heard = s.w.now()
			return c.data, c.err
		case last := <-s.kick:
			return nil, s.bye(last)
		case <-wake:
			return nil, nil
		case <-timer:
			return nil, nil
		case <-s.w.done:
			return nil, errOver
		case <-s.setAlarm(at):
			s.alarmAt = time.Time{}
			if !at.IsZero() && !s.w.now().Before(at) {
				return nil, s.bye(line)
			}
			// The end has moved, or the World's clock does not go with the machine's: look again.
		}
	}
}

// setAlarm returns what rings not later than at. An end that moves away leaves the alarm as it is.
func (s *session) setAlarm(at time.Time) <-chan time.Time {
	switch {
	case at.IsZero() && s.alarm == nil:
		return nil
	case at.IsZero() || !s.alarmAt.IsZero() && !s.alarmAt.After(at):
		return s.alarm.C
	}
	s.alarmAt = at
	if d := max(at.Sub(s.w.now()), 0); s.alarm == nil {
		s.alarm = time.NewTimer(d)
	} else {
		s.alarm.Reset(d)
	}
	return s.alarm.C
}

// line waits for a line of the client.
func (s *session) line() (string, error) {
	b, err := s.wait(-1, nil, nil)
	return string(b), err
}

// command reads the next command with its literals. On errSyntax the command has a tag to answer to.
func (s *session) command() (*command, error) {
	c := &command{tag: "*"}
	p := newParser()
	for first := true; ; first = false {
		line, err := s.line()
		if err != nil {
			return nil, err
		}
		c.size += len(line) + 2
		if first {
			c.line = line
			if tag, _, _ := strings.Cut(line, " "); tag != "" {
				c.tag = tag
			}
		}
		lit, err := p.line(line)
		if err != nil {
			return c, err
		}
		if lit == nil {
			return c, c.fill(p)
		}
		if lit.sync {
			s.say(s.d.goAhead)
		}
		data, err := s.wait(lit.size, nil, nil)
		if err != nil {
			return nil, err
		}
		p.data(data)
		if !lit.sync && lit.size > s.d.literalPlus {
			return c, errSyntax
		}
	}
}

// fill takes the tag and the verb off the arguments.
func (c *command) fill(p *parser) error {
	args, err := p.end()
	if err != nil || len(args) < 2 || args[0].isList || args[1].atom() == "" {
		return errSyntax
	}
	c.verb, c.args = args[1].atom(), args[2:]
	if c.verb == "UID" {
		if len(c.args) == 0 {
			return errSyntax
		}
		c.uid = true
		c.verb, c.args = c.args[0].atom(), c.args[1:]
	}
	return nil
}
