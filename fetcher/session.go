package fetcher

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailflume/mailflume/internal/crash"
)

// Session is one logged-in connection. Its methods are for one goroutine at a time.
type Session struct {
	cfg      Config
	filter   *filter
	client   *imapclient.Client
	caps     map[string]bool
	exchange bool // the server is an Exchange
	alone    bool // answers come in disorder, or cannot be told apart: ask for one message at a time
	spaces   namespaces
	chosen   choice
	folders  []*folder
	missing  *FolderError // what the configuration names and the server does not have; nil if it has all
	listed   time.Time
	until    time.Time // when to renew it; zero if that is not known
	dead     error     // the session has ended, and why
	halted   atomic.Bool
	skipped  []string          // what the next pass leaves out
	targets  map[string]string // folders to move to, by what Action.Move calls them
	allMail  string            // the folder \All, once a target was looked for; "" if there is none

	selected   *folder // by EXAMINE
	examinedAt time.Time
	watched    *folder       // by IDLE: the first that can be opened
	hasNews    bool          // the last Wait ended because of news there
	looked     time.Time     // when the last look at all folders ended
	lookTook   time.Duration // and how long it took
	owing      bool          // there were news since, and only the folder that is watched was looked at
	slice      slice
	behind     bool // the last pass has left backfill to read

	exists    chan struct{} // one slot: the server has said EXISTS since the last search
	arrivals  arrivals
	repolls   []time.Duration
	noIdle    bool      // the server has no IDLE
	idleAgain time.Time // until then its IDLE is of no use
	fruitless int       // announcements in a row after which nothing was found
	wokeAt    time.Time
	idling    *imapclient.IdleCommand
}

// folder is one watched folder in this session.
type folder struct {
	name     string
	sent     bool         // it is the one for what was sent
	pattern  string       // that it matches; "" if it is named
	trouble  *FolderError // it cannot be opened, and that is known for sure; nil if it can
	doubted  bool         // it could not be opened, and LIST was to tell whether it is still there
	drafted  bool         // this session has seen which of the drafts are still there
	examined imap.SelectData
	first    uint32           // the UIDNEXT when this session first saw it; 0 before
	said     uint32           // the UIDNEXT of an EXAMINE since the last look; 0 if there was none
	back     uint32           // the UIDNEXT of the look before, if that is one of the UIDs that were read; see reissued
	over     map[uint32]int64 // sizes of literals that were over the limit, until their header is read
}

func (f *folder) noteOver(uid uint32, size int64) {
	if f.over == nil {
		f.over = map[uint32]int64{}
	}
	f.over[uid] = size
}

// Open waits for its turn (Config.Logins), connects, logs in and finds the folders to watch. If the server refuses the token, it asks t for another one and
// tries once more. The caller closes the Session.
func Open(ctx context.Context, c Config, t TokenSource) (*Session, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	var refused *AuthError
	var token string
	for attempt := range 2 {
		if err := c.Logins.wait(ctx, c.Addr, c.User); err != nil {
			return nil, err
		}
		next, err := t.Token(ctx, token)
		if err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		if next == token && attempt > 0 {
			return nil, refused // no other one is to be had
		}
		token = next
		s, err := open(ctx, c, token)
		if err == nil {
			s.plan(ctx, t)
			return s, nil
		}
		if !errors.As(err, &refused) || !refused.Stale || attempt > 0 {
			return nil, err
		}
	}
	panic("unreachable")
}

func open(ctx context.Context, c Config, token string) (s *Session, err error) {
	conn, err := dial(ctx, c)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer func() {
		if err != nil {
			conn.Close()
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
		}
	}()
	l := newLink(conn, c.Progress)
	h := &handover{cfg: c, link: l, br: bufio.NewReaderSize(l, 16<<10)}
	if err := h.login(ctx, token); err != nil {
		return nil, err
	}
	crash.At("imap.authenticated")
	h.link.meter = c.Allowance
	s = &Session{
		cfg:      c,
		caps:     h.caps,
		exchange: isExchange(h.greeting, h.id),
		spaces:   parseNamespaces(h.namespaces),
		filter:   newFilter(h.link, h.br, h.caps, c.MaxMessage),
		exists:   make(chan struct{}, 1),
		noIdle:   !h.caps["IDLE"],
	}
	s.filter.debug, s.filter.expunged = c.Log.Debug, s.arrivals.leave
	s.filter.noteNotice(h.warning)
	s.client = imapclient.New(s.filter, &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: s.pushed},
	})
	if err := s.resolve(ctx); err != nil {
		s.Close()
		return nil, err
	}
	s.watched = s.folders[0]
	return s, nil
}

// dial opens the connection and secures it, unless that comes later or not at all.
func dial(ctx context.Context, c Config) (net.Conn, error) {
	conn, err := c.Dial(ctx, "tcp", c.Addr)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	switch c.Security {
	case Plain:
		if !isLoopback(c.Addr) {
			conn.Close()
			return nil, &TLSError{
				Text: "security: plain is for loopback addresses only",
				Hint: "use security: tls or starttls",
			}
		}
	case TLS:
		secure := tls.Client(conn, c.tlsConfig())
		if err := handshake(ctx, secure); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}
	return conn, nil
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Folders returns the names of the watched folders, as Message has them.
func (s *Session) Folders() []string {
	names := make([]string, len(s.folders))
	for i, f := range s.folders {
		names[i] = f.name
	}
	return names
}

// Notice returns the last warning that the server gave while it served on, such as [THROTTLED] or [ALERT], and forgets it.
func (s *Session) Notice() error { return s.filter.takeNotice() }

// Close logs out, which must not take long, and ends the connection.
func (s *Session) Close() error {
	if s.dead == nil {
		ctx, cancel := context.WithTimeout(context.Background(), byePatience)
		defer cancel()
		stop := context.AfterFunc(ctx, s.kill)
		s.client.Logout().Wait() //nolint:errcheck // whatever it says, we leave
		stop()
		s.dead = net.ErrClosed
	}
	s.kill()
	s.client.Close() //nolint:errcheck // the connection is gone already; this waits for the reader to end
	return nil
}

// kill cuts the connection. TLS could say goodbye, but that may block.
func (s *Session) kill() {
	conn := s.filter.link.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	conn.Close()
}

// do runs one exchange with the server under ctx and explains its error.
func (s *Session) do(ctx context.Context, command string, exchange func() error) error {
	if s.dead != nil {
		return s.dead
	}
	stop := context.AfterFunc(ctx, s.kill)
	err := exchange()
	stop()
	return s.explain(ctx, command, err)
}

// explain turns what go-imap returned into the typed error behind it. If the connection is gone, so is the session.
func (s *Session) explain(ctx context.Context, command string, err error) error {
	if ctx.Err() != nil { // the connection is, or is about to be, cut
		s.end(context.Cause(ctx))
		return s.dead
	}
	if err == nil {
		return nil
	}
	var answer *imap.Error
	if errors.As(err, &answer) {
		text := answer.Text
		if answer.Code != "" {
			text = "[" + string(answer.Code) + "] " + text
		}
		return classifyTagged(command, text)
	}
	// The connection ended. The reader knows why, and may be about to find out.
	s.kill()
	<-s.client.Closed()
	if cause := s.filter.cause(); cause != nil {
		err = cause
	}
	s.end(fmt.Errorf("%s: %w", command, err))
	return s.dead
}

// end notes that the session is over.
func (s *Session) end(why error) {
	if s.dead == nil {
		s.dead = why
	}
	s.kill()
}

// pushed is told of EXISTS, on go-imap's reading goroutine.
func (s *Session) pushed(data *imapclient.UnilateralDataMailbox) {
	if data.NumMessages == nil {
		return
	}
	s.arrivals.announce(*data.NumMessages)
	select {
	case s.exists <- struct{}{}:
	default:
	}
}
