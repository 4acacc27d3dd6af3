package mailbox

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
)

// State is what a worker is doing.
type State string

// The states.
const (
	StateElsewhere  State = "elsewhere"  // another replica owns the mailbox, or nobody does yet
	StateConnecting State = "connecting" // logging in
	StateReading    State = "reading"    // fetching what is new
	StateWatching   State = "watching"   // waiting for new mail
	StateWaiting    State = "waiting"    // something failed that passes by itself
	StateParked     State = "parked"     // someone must act: see Sentence and Hint
)

// Why a message did not become an event.
const (
	dropPublished = "already_published" // the ledger has it
	dropDraft     = "draft"             // its owner is still writing it
	dropSent      = "sent"              // its owner sent it, and include does not name that
	dropUnknown   = "before_reset"      // listed again after a reset, older than what was published, and not in the ledger
)

// Status is a snapshot of one mailbox.
type Status struct {
	Mailbox     event.Mailbox
	State       State
	Who         Class             // must act on what went wrong; empty if nothing did
	Sentence    string            // what went wrong, for a person
	Hint        string            // what to do about it
	Since       time.Time         // when State began
	LastChecked time.Time         // the end of the last complete pass
	LastMessage time.Time         // when the last event was published
	LastArrived time.Time         // when its message had arrived, as the mail server says; zero if it was not a new one
	Published   map[string]uint64 // events by route
	Dropped     map[string]uint64 // messages that became no event, by reason
	Failures    uint64            // failed passes and logins
	Actions     Actions           // what is done to messages after they are published
	Positions   map[string]string // by folder

	Notice     string    // which promise could not be kept, for a person; shown for a week
	NoticeHint string    // what to do about it
	NoticeAt   time.Time // when that was seen

	Backfill bool      // mail that was there when the mailbox was first seen is still being read
	Resumes  time.Time // when that goes on, if the bytes of the day are used up

	Said   string    // what the mail server last wanted a person to read, such as an ALERT; without the mailbox's address
	SaidAt time.Time // when it did

	StaleSince time.Time // the last pass, if there was none for too long
}

// Actions is what became of what Config.After asks for.
type Actions struct {
	Done     map[string]uint64 // messages, by result: done, renumbered, given_up
	Failures uint64
	Who      Class  // must act on what went wrong; empty if nothing does
	Sentence string // what goes wrong
	Hint     string
}

// FolderRead says how far a folder was read.
type FolderRead struct {
	Name string
	UID  uint32 // the highest that was read
	Gaps int    // how many lower ones may still come
	Text string // the position, if it cannot be read
}

// Folders returns how far each folder was read, by name.
func (s Status) Folders() []FolderRead {
	all := make([]FolderRead, 0, len(s.Positions))
	for _, name := range slices.Sorted(maps.Keys(s.Positions)) {
		p, err := fetcher.ParsePosition(s.Positions[name])
		if err != nil {
			all = append(all, FolderRead{Name: name, Text: s.Positions[name]})
			continue
		}
		all = append(all, FolderRead{Name: name, UID: p.High(), Gaps: len(p.Gaps())})
	}
	return all
}

// board is where a worker writes what it does and others read it.
type board struct {
	mu   sync.Mutex
	s    Status
	pass time.Time // the end of the last pass, even if a folder could not be read
	told bool      // that the mailbox is stale
}

func newBoard(m event.Mailbox) *board {
	return &board{s: Status{
		Mailbox: m, State: StateElsewhere, Since: time.Now(),
		Published: make(map[string]uint64), Dropped: make(map[string]uint64),
		Actions: Actions{Done: make(map[string]uint64)},
	}}
}

func (b *board) status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.s
	s.Published, s.Dropped, s.Positions = maps.Clone(s.Published), maps.Clone(s.Dropped), maps.Clone(s.Positions)
	s.Actions.Done = maps.Clone(s.Actions.Done)
	if time.Since(s.NoticeAt) > noticeFor {
		s.Notice, s.NoticeHint, s.NoticeAt = "", "", time.Time{}
	}
	return s
}

func (b *board) update(f func(s *Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.s)
}

// enter changes the state. What went wrong is forgotten once mail is being watched again, or is another replica's to tell.
func (b *board) enter(state State) {
	b.update(func(s *Status) {
		if s.State != state {
			s.State, s.Since = state, time.Now()
		}
		if state == StateWatching || state == StateElsewhere {
			s.Who, s.Sentence, s.Hint = "", "", ""
		}
	})
}

func (b *board) failed(v Verdict, state State) {
	b.update(func(s *Status) {
		if s.State != state {
			s.State, s.Since = state, time.Now()
		}
		s.Who, s.Sentence, s.Hint = v.Class, v.Sentence, v.Hint
		s.Failures++
	})
}

func (b *board) published(route string, arrived time.Time) {
	b.update(func(s *Status) {
		s.Published[route]++
		s.LastMessage, s.LastArrived = time.Now(), arrived
	})
}

func (b *board) dropped(n map[string]uint64) {
	b.update(func(s *Status) {
		for reason, n := range n {
			s.Dropped[reason] += n
		}
	})
}

// noticed shows a notice, or none for nil.
func (b *board) noticed(n *notice) {
	b.update(func(s *Status) {
		s.Notice, s.NoticeHint, s.NoticeAt = "", "", time.Time{}
		if n != nil {
			s.Notice, s.NoticeHint, s.NoticeAt = n.Sentence, n.Hint, n.At
		}
	})
}

func (b *board) checked()                      { b.update(func(s *Status) { s.LastChecked = time.Now() }) }
func (b *board) positions(p map[string]string) { b.update(func(s *Status) { s.Positions = p }) }

func (b *board) acted(result string, n int) {
	b.update(func(s *Status) { s.Actions.Done[result] += uint64(n) })
}

func (b *board) actionFailed(v Verdict) {
	b.update(func(s *Status) {
		s.Actions.Failures++
		s.Actions.Who, s.Actions.Sentence, s.Actions.Hint = v.Class, v.Sentence, v.Hint
	})
}

func (b *board) actionsGood() {
	b.update(func(s *Status) { s.Actions.Who, s.Actions.Sentence, s.Actions.Hint = "", "", "" })
}
