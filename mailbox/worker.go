package mailbox

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/parser"
	"github.com/mailflume/mailflume/publish"
)

// Session is one open connection to a mailbox; *fetcher.Session is one.
type Session interface {
	Messages(ctx context.Context, after map[string]fetcher.Position) iter.Seq2[fetcher.Message, error]
	Wait(ctx context.Context) error
	Close() error
}

// Stream is the chain of a mailbox on the stream; *publish.Publisher is one.
type Stream interface {
	Recover(ctx context.Context, mailbox string, folders []string) (publish.Chain, error)
	Commit(ctx context.Context, b publish.Batch) (publish.Receipt, error)
	Ledger(ctx context.Context, mailbox string, tail uint64) iter.Seq2[publish.Entry, error]
}

// Bytes keeps what is too large for an event, and tells what too large is; *publish.Publisher does.
type Bytes interface {
	Put(ctx context.Context, mailbox, sum string, size int64, r io.Reader) (event.Ref, error)
	MaxPayload() int64
}

// Line is the connection to the stream; *publish.Publisher is one. Back returns a channel that is closed when the
// connection comes back the next time.
type Line interface {
	Back() <-chan struct{}
}

// Announcer publishes what happened to a mailbox; *publish.Publisher is one.
type Announcer interface {
	Announce(ctx context.Context, n publish.Notice) error
}

// Floor keeps the positions that retention may have removed from the stream, with a note of ours; *state.Store is one. A lost
// race is an error that wraps fs.ErrExist, and a record that is not what was saved one that wraps fs.ErrInvalid; its revision
// comes with it all the same.
type Floor interface {
	Positions(ctx context.Context, mailbox string) (positions map[string]string, note string, revision uint64, err error)
	SavePositions(ctx context.Context, mailbox string, positions map[string]string, note string, revision uint64) (uint64, error)
}

// RawPolicy says when the untouched bytes of a message are kept. Those of a dead message always are.
type RawPolicy string

// The policies.
const (
	RawAlways   RawPolicy = "always"
	RawOnDefect RawPolicy = "on_defect"
	RawNever    RawPolicy = "never"
)

// Turns bounds how many workers parse and commit at the same time, and so what they hold of events that are not yet stored.
// A worker that waits for its turn waits behind commits of the same stream, not behind another mailbox's server. A nil
// Turns is no bound.
type Turns chan struct{}

// NewTurns returns Turns for n workers at a time.
func NewTurns(n int) Turns { return make(Turns, n) }

func (t Turns) take(ctx context.Context) error {
	if t == nil {
		return nil
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t Turns) giveBack() {
	if t != nil {
		<-t
	}
}

// Config is one mailbox and what its worker works with. What follows Floor may be left out, and so may Line and Parse.
type Config struct {
	Mailbox   event.Mailbox
	Raw       RawPolicy
	Parse     Parser                                               // parser.Options if nil
	Binary    bool                                                 // CloudEvents in binary mode instead of structured
	Describe  bool                                                 // attachments are described and not stored
	Sent      bool                                                 // what the mailbox's owner sent is published too
	After     fetcher.Action                                       // what to do in the mailbox once an event is stored
	Open      func(ctx context.Context) (Session, []string, error) // the names of the watched folders come with it
	Stream    Stream
	Line      Line // nil: how long to wait for the stream is guessed
	Bytes     Bytes
	Announcer Announcer
	Floor     Floor
	Journal   Journal // needed with After
	Deeds     Deeds   // needed with After; without, what it may hold is forgotten
	Turns     Turns
	Allowance *fetcher.Allowance // the one that its sessions have; may be nil
	Log       *slog.Logger
	Random    func(n int64) int64 // draws from [0, n) for the backoff; rand.Int64N does if it is nil

	StaleAfter time.Duration // how long no pass may be complete before that is announced; 0 means DefaultStaleAfter
	Patience   time.Duration // how long one message may be parsed; 0 means 2 min
	Trial      []string      // the command of a process that calls ServeTrials: it parses what this one may have died of
}

// Worker carries the mail of one mailbox to the stream. Drain and Run are for one goroutine at a time; Status may be called
// from any.
type Worker struct {
	c       Config
	token   string // of the mailbox, in subjects
	log     *slog.Logger
	address *regexp.Regexp // of the mailbox, which is nobody's to read in a log
	board   *board
	patient bool    // Run is at work, and may wait; see persist
	session Session // nil: not connected
	folders []string
	gapless bool          // the session took the place of one that was still good
	woken   chan struct{} // one slot
	unread  string        // the folder that was announced as one that cannot be read
	careful int           // how many messages are to be tried out first, because somebody may have died of them
	trial   *trial        // where; nil: it was not needed yet

	claimed   bool // the chain was read, and every field below is from it
	tail      uint64
	last      map[string]publish.Last // the last event of each folder, by folder token
	positions map[string]fetcher.Position
	ledger    *ledger
	question  *question         // why a pass was halted
	seen      map[string]uint32 // in a halted pass: by folder token, the highest UID
	drops     map[string]uint64 // by reason, since the last position that is kept

	acts          actions
	stream        publish.Extent    // as it was when the chain was read
	memo          memo              // what the floor holds beside the positions
	backwards     time.Time         // since when the stream ends before what we know of
	saved         map[string]string // what the floor holds
	savedRevision uint64
	wrote         uint64 // the last revision of the floor that is ours
	savedAt       time.Time
}

// NewWorker returns a worker that has not connected to anything yet.
func NewWorker(c Config) *Worker {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if c.Parse == nil {
		c.Parse = parser.Options{}
	}
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	return &Worker{
		c: c, token: event.Token(c.Mailbox.ID), log: log.With("mailbox", c.Mailbox.ID), board: newBoard(c.Mailbox), woken: make(chan struct{}, 1),
		acts:    actions{trouble: make(map[string]*trouble)},
		address: regexp.MustCompile("(?i)" + regexp.QuoteMeta(c.Mailbox.Address)),
	}
}

// Status returns what the worker is doing.
func (w *Worker) Status() Status { return w.board.status() }

// Drain makes one pass over what is new in the watched folders and returns when all of it is on the stream. It connects
// and claims the chain first if need be. After an error nothing is assumed: the next Drain reads the chain again, and
// connects again unless only the stream was at fault. If a message may be a copy, or half of a move, Drain waits until that is
// known, and reads the other folders meanwhile; it does not wait for a folder that cannot be opened.
func (w *Worker) Drain(ctx context.Context) error {
	if w.session == nil {
		if err := w.connect(ctx); err != nil {
			return err
		}
	}
	if !w.claimed {
		if err := w.claim(ctx); err != nil {
			return err
		}
	}
	w.board.enter(StateReading)
	for {
		if err := w.lookUp(ctx); err != nil {
			w.Close()
			return err
		}
		halted, err := w.pass(ctx)
		if !halted && (err != nil && !onlyFolder(err) || !w.linger(ctx)) {
			return err
		}
	}
}

// Close ends the connection to the mailbox.
func (w *Worker) Close() {
	w.endTrial()
	if w.session == nil {
		return
	}
	if err := w.session.Close(); err != nil {
		w.log.Debug("closing the connection", "error", w.plain(err))
	}
	w.session = nil
}

func (w *Worker) connect(ctx context.Context) error {
	session, folders, err := w.c.Open(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(folders, w.folders) {
		w.claimed = false // the chain of a folder that is new here was not read
	}
	w.session, w.folders, w.gapless = session, folders, false
	return nil
}

// window bounds how many messages are fetched ahead of the commit. Their bytes are bounded by the fetcher's budget.
const window = 256

// pass fetches in one goroutine and commits in this one, so that the next messages are on their way while the last ones
// are being stored. It is halted if it met a message that it cannot decide upon: then it is to be repeated after a look at
// the folders in question. A pass that follows decides upon one message more at least.
func (w *Worker) pass(ctx context.Context) (halted bool, err error) {
	w.question, w.seen = nil, make(map[string]uint32)
	w.forget()
	held := w.skipHeld()
	fetching, stop := context.WithCancel(ctx)
	fetched := make(chan *fetcher.Message, window) // of pointers: most passes find nothing
	ended := make(chan error, 1)
	go func() {
		ended <- fetch(fetching, w.session.Messages(fetching, maps.Clone(w.positions)), fetched)
	}()
	commitErr := w.commitAll(ctx, fetched)
	if halted = errors.Is(commitErr, errUndecided); halted {
		w.halt()
		commitErr = nil
	} else {
		stop()
	}
	for m := range fetched { // only after a failed commit, or a halt
		w.overlook(*m)
		m.Release()
	}
	fetchErr := <-ended
	stop()
	w.listen()
	w.board.behind(w.positions, w.folders, w.c.Allowance)
	if fetchErr != nil && !onlyFolder(fetchErr) {
		w.Close()
	}
	if commitErr != nil {
		w.claimed = false
		return false, commitErr
	}
	// What was committed stays committed when we are asked to stop: the floor is written all the same.
	saving, cancel := withGrace(ctx)
	defer cancel()
	if err := w.saveIfMoved(saving); err != nil {
		if onlyFolder(fetchErr) { // the next pass says that again
			fetchErr = nil
		}
		return false, errors.Join(fetchErr, err)
	}
	complete := fetchErr == nil || onlyFolder(fetchErr)
	if complete && !halted && !held {
		w.calm()
	}
	if fetchErr == nil && !halted {
		w.board.checked()
	}
	return halted && complete, fetchErr
}

// onlyFolder says whether an error concerns one folder: the others were read, and the session lives.
func onlyFolder(err error) bool {
	var folder *fetcher.FolderError
	return errors.As(err, &folder)
}

// fetch hands what the session yields to fetched, and closes it. It returns the session's error, or ctx's.
func fetch(ctx context.Context, messages iter.Seq2[fetcher.Message, error], fetched chan<- *fetcher.Message) error {
	defer close(fetched)
	for m, err := range messages {
		if err != nil {
			return err
		}
		select {
		case fetched <- &m:
		case <-ctx.Done():
			m.Release()
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// commitAll commits what comes until fetched is closed. A batch is whatever has come while the last one was being
// committed, so nothing ever waits for a batch to fill, and the budget that its messages hold is always on its way back.
func (w *Worker) commitAll(ctx context.Context, fetched <-chan *fetcher.Message) error {
	for {
		most := publish.MaxBatch
		if w.careful > 0 {
			most = 1
		}
		batch, more := take(fetched, most)
		err := w.persist(ctx, batch)
		for _, m := range batch {
			if err != nil {
				w.overlook(m)
			}
			m.Release()
		}
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
		if time.Since(w.savedAt) > floorInterval {
			if err := w.saveIfMoved(ctx); err != nil {
				return err
			}
		}
	}
}

// take waits for one message and returns it with up to most-1 others that are there already. more is false once fetched is
// closed.
func take(fetched <-chan *fetcher.Message, most int) (batch []fetcher.Message, more bool) {
	m, ok := <-fetched
	if !ok {
		return nil, false
	}
	batch = append(batch, *m)
	for len(batch) < most {
		select {
		case m, ok := <-fetched:
			if !ok {
				return batch, false
			}
			batch = append(batch, *m)
		default:
			return batch, true
		}
	}
	return batch, true
}
