package mailbox

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/mailflume/mailflume/publish"
)

// memo is what the floor keeps beside the positions: what we knew of the chain, so that the next owner of the mailbox can see
// what became of it.
type memo struct {
	Tail   uint64    `json:"tail"`           // the last sequence of the chain
	TailAt time.Time `json:"tailAt"`         // when we first saw it there
	Born   time.Time `json:"born"`           // when the stream was created that it is of
	Open   bool      `json:"open,omitempty"` // the mailbox was claimed, and nothing was saved since
	Notice *notice   `json:"notice,omitempty"`
	Read   string    `json:"read,omitempty"` // what was downloaded of late: fetcher.Allowance
}

// notice says which promise could not be kept, and since when we know.
type notice struct {
	Code     string    `json:"code"`
	Sentence string    `json:"sentence"`
	Hint     string    `json:"hint"`
	At       time.Time `json:"at"`
}

// noticeFor is how long a notice stands on the page and in mailflume status. The event about it stays as long as any other.
const noticeFor = 7 * 24 * time.Hour

// The codes of notices.
const (
	noticePurged     = "stream_purged"
	noticeExpired    = "stream_expired"
	noticeAnew       = "stream_anew"
	noticeRolledBack = "stream_rolled_back"
	noticeRecordLost = "positions_lost"
	noticeDamaged    = "positions_damaged"
)

// readMemo reads the note of the floor. The record has a checksum: what cannot be read was written by another version, and
// tells us nothing.
func readMemo(note string) memo {
	var m memo
	if json.Unmarshal([]byte(note), &m) != nil {
		return memo{}
	}
	return m
}

func (m memo) String() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // there is nothing in it that could fail
	}
	return string(text)
}

// follow notes where the chain stands now.
func (m *memo) follow(tail uint64, stream publish.Extent, now time.Time) {
	if tail != m.Tail || m.TailAt.IsZero() {
		m.Tail, m.TailAt = tail, now.UTC()
	}
	m.Born = stream.Born
	if m.Notice != nil && now.Sub(m.Notice.At) > noticeFor {
		m.Notice = nil
	}
}

// ageSlack is how much younger than the stream's max_age an event may seem to us when it expires: we know when we saw its
// ack, by our own clock.
const ageSlack = 5 * time.Minute

// missing says why the chain does not reach as far as it did, or nil if it does.
func (m memo) missing(c publish.Chain, now time.Time) *notice {
	if m.Tail == 0 || m.Born.IsZero() || c.Stream.Born.IsZero() {
		return nil
	}
	known := fmt.Sprintf("up to sequence %d", m.Tail)
	blind := " Reading goes on where it stood. A message that the mail server shows again as a new one, in another folder or after a UIDVALIDITY change, may be published twice."
	n := &notice{At: now.UTC()}
	switch aged := c.Stream.MaxAge > 0 && now.Sub(m.TailAt) >= c.Stream.MaxAge-ageSlack; {
	case !c.Stream.Born.Equal(m.Born):
		n.Code, n.Sentence = noticeAnew, "The stream was deleted and made anew: the events of this mailbox "+known+" are gone, read or unread."+blind
		n.Hint = "Restore the stream from a backup if they were needed, and withhold $JS.API.STREAM.DELETE from whoever did it."
	case c.Seq >= m.Tail:
		return nil
	case c.Stream.Last < m.Tail:
		n.Code = noticeRolledBack
		n.Sentence = fmt.Sprintf("The stream ends at sequence %d, and events of this mailbox were acknowledged %s: the NATS server has lost some, or was restored from an older copy.", c.Stream.Last, known)
		n.Hint = "Read docs/durability.md: 3 copies and sync_interval: always keep what was acknowledged."
	case aged:
		n.Code, n.Sentence = noticeExpired, "Retention has removed every event of this mailbox "+known+"."+blind
		n.Hint = "Nothing to do if consumers keep up. Raise nats.stream.max_age if mailboxes are quiet, or this program is down, for longer than it."
	default:
		n.Code, n.Sentence = noticePurged, "The stream was purged: the events of this mailbox "+known+" are gone, read or unread."+blind
		n.Hint = "Restore the stream from a backup if they were needed, and withhold $JS.API.STREAM.PURGE from whoever did it."
	}
	return n
}
