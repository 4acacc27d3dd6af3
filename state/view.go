package state

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// process says where a replica runs, so that another one on the same machine can see that it has ended.
type process struct {
	Host      string `json:"host"`
	PID       int    `json:"pid"`
	Boot      string `json:"boot,omitempty"`      // boot id of the machine
	Namespace string `json:"namespace,omitempty"` // pid namespace
	Start     uint64 `json:"start,omitempty"`     // clock ticks from boot to the start of the process
	Lock      string `json:"lock,omitempty"`      // ReplicaConfig.Lock
}

// near reports whether p may be able to tell that other has ended.
func (p process) near(other process) bool {
	return p.Boot != "" && p.Boot == other.Boot || p.Lock != "" && p.Lock == other.Lock
}

// outlived reports whether it is certain that other, another process, has ended.
func (p process) outlived(other process) bool {
	return p.Lock != "" && p.Lock == other.Lock || p.provesDead(other)
}

// session is the record of tableSessions. Beat counts the heartbeats, which makes each of them a change.
type session struct {
	Name    string    `json:"name"`
	Since   time.Time `json:"since"`
	Process process   `json:"process"`
	Leaving bool      `json:"leaving,omitempty"` // gives its mailboxes away and takes no more
	List    string    `json:"list,omitempty"`    // listSum of the mailboxes that it knows; a change is told at once
	Beat    uint64    `json:"beat"`
}

// owner is the record of tableOwners. No session: the mailbox is free.
type owner struct {
	Session string `json:"session,omitempty"`
}

// seenSession is a session as last seen.
type seenSession struct {
	session
	revision uint64
	changed  time.Duration // when the last change was seen, on the boot-time clock
	watch    int           // the watch that showed it last
	expired  bool          // its record's time to live ran out; that alone is not death
}

// seenOwner is an owner record as last seen.
type seenOwner struct {
	session  string
	revision uint64
}

// view is what one watch over sessions and owners has shown, in the order of the stream. It decides nothing by the clock of
// anybody else and it does no I/O.
type view struct {
	sessions map[string]*seenSession
	gone     map[string]bool // sessions that are known to have ended; see forget
	owners   map[string]seenOwner

	self     string        // our own session
	watch    int           // counts the watches
	complete bool          // the current watch has shown all there was when it began
	echo     uint64        // revision of our newest heartbeat that the current watch has shown
	echoBeat uint64        // and its number
	echoAt   time.Duration // when it was shown
	calm     time.Duration // since when our own heartbeats have come back in time
}

func newView(self string) *view {
	return &view{
		sessions: map[string]*seenSession{}, gone: map[string]bool{}, owners: map[string]seenOwner{}, self: self,
	}
}

// reopened tells that what follows comes from a new watch, which begins by showing everything again.
func (v *view) reopened(now time.Duration) {
	v.watch++
	v.complete, v.echo, v.calm = false, 0, now
}

// ready reports whether the view may be acted on: it is complete, and our own heartbeats come back through it.
func (v *view) ready() bool { return v.complete && v.echo != 0 }

// change says what an entry changed.
type change struct {
	members bool   // who is there
	owner   string // the mailbox whose owner record changed
	owned   bool   // owner is set
	echo    bool   // a heartbeat of our own came back
	ended   bool   // our own session was deleted
}

// apply takes in one entry of the watch.
func (v *view) apply(e jetstream.KeyValueEntry, now, outage time.Duration) change {
	table, id, ok := splitKey(e.Key())
	switch {
	case ok && table == tableSessions && e.Operation() == jetstream.KeyValuePut:
		return v.applySession(id, e.Value(), e.Revision(), now, outage)
	case ok && table == tableSessions:
		return v.applyEnd(id, e.Revision(), e.Operation() == jetstream.KeyValuePurge, now)
	case ok && table == tableOwners:
		var o owner
		if e.Operation() == jetstream.KeyValuePut && json.Unmarshal(e.Value(), &o) != nil {
			return change{}
		}
		return v.applyOwner(id, seenOwner{session: o.Session, revision: e.Revision()})
	}
	return change{}
}

func (v *view) applyOwner(mailbox string, o seenOwner) change {
	if old := v.owners[mailbox]; o.revision <= old.revision {
		return change{} // we have seen this, or wrote something newer
	}
	v.owners[mailbox] = o
	return change{owner: mailbox, owned: true}
}

func (v *view) applySession(id string, value []byte, revision uint64, now, outage time.Duration) change {
	var record session
	if json.Unmarshal(value, &record) != nil || v.gone[id] {
		return change{}
	}
	s, known := v.sessions[id]
	if known && revision < s.revision {
		return change{}
	}
	c := change{members: !known || s.Leaving != record.Leaving || s.List != record.List || s.expired}
	if !known || revision > s.revision {
		v.sessions[id] = &seenSession{session: record, revision: revision, changed: now}
	}
	v.sessions[id].watch = v.watch
	if id == v.self {
		if now-v.echoAt > outage {
			v.calm = now // we may have missed as much as the others
		}
		v.echo, v.echoBeat, v.echoAt = revision, record.Beat, now
		c.echo = true
	}
	return c
}

// applyEnd takes in that the record of a session is gone. Where the server removed it because its time to live ran out
// it may be the server's clock that is wrong, so the session is given another lease.
func (v *view) applyEnd(id string, revision uint64, expired bool, now time.Duration) change {
	s, known := v.sessions[id]
	if known && revision < s.revision {
		return change{}
	}
	switch {
	case id == v.self:
		return change{ended: true}
	case v.gone[id]:
		return change{}
	case !expired:
		v.end(id)
	case known && s.expired:
		s.watch = v.watch
		return change{}
	case known:
		s.expired, s.revision, s.changed, s.watch = true, revision, now, v.watch
	default:
		v.sessions[id] = &seenSession{revision: revision, changed: now, watch: v.watch, expired: true}
	}
	return change{members: true}
}

// applyRead takes in what a read said about a session that the watch does not show, unless it has shown it meanwhile,
// and reports whether that changed who is there.
func (v *view) applyRead(id string, last record, now time.Duration) bool {
	s, known := v.sessions[id]
	switch {
	case known && s.watch == v.watch:
		return false
	case last.revision != 0 && last.state == stored:
		return v.applySession(id, last.value, last.revision, now, 0).members
	case known:
		last.revision = max(last.revision, s.revision) // the read is the newer, and even the marker of its end may be gone
	}
	return v.applyEnd(id, last.revision, last.state == expired, now).members
}

// end notes that a session has ended.
func (v *view) end(id string) {
	delete(v.sessions, id)
	v.gone[id] = true
}

// forget forgets sessions that ended, when there are many of them. Where one is still named by a record, it is looked up
// again.
func (v *view) forget() {
	if len(v.gone) > 4096 {
		clear(v.gone)
	}
}

// live returns the sessions that mailboxes may be given to.
func (v *view) live() []string {
	var ids []string
	for id, s := range v.sessions {
		if !s.Leaving && !s.expired {
			ids = append(ids, id)
		}
	}
	return ids
}

// free reports whether the owner record o may be overwritten: it names nobody, or a session of which we know that it has
// ended from a view that reaches beyond the record. unknown is that session if we have never heard of it, or not from
// this watch.
func (v *view) free(o seenOwner) (free bool, unknown string) {
	switch s, alive := v.sessions[o.session]; {
	case o.session == "":
		return true, ""
	case o.session == v.self || !v.ready() || v.echo <= o.revision:
		return false, ""
	case v.gone[o.session]:
		return true, ""
	case alive && s.watch == v.watch:
		return false, ""
	}
	return false, o.session
}

// silent returns the sessions that did not change for as long as given, up to a heartbeat of ours that was sent at the
// time given and has come back. That their silence is not ours follows from calm.
func (v *view) silent(sent, limit time.Duration) []string {
	var ids []string
	for id, s := range v.sessions {
		if id != v.self && sent-max(s.changed, v.calm) >= limit {
			ids = append(ids, id)
		}
	}
	return ids
}

// suspect returns when the next session will have been silent for as long as given, if it stays so.
func (v *view) suspect(limit time.Duration) time.Duration {
	at := time.Duration(1<<63 - 1)
	for id, s := range v.sessions {
		if id != v.self {
			at = min(at, max(s.changed, v.calm)+limit)
		}
	}
	return at
}
