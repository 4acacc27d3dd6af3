package state

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// unclaimed is a mailbox of ours that share gives to a session with another list of mailboxes, in which it need not be: a new
// configuration reaches the replicas one after the other, or is refused by one of them. If that session leaves it alone for a
// lease, the sessions with our list share it among themselves, until that session is gone or has another list.
//
// Whoever carries such a mailbox owns its record as ever, so it is never carried twice.
type unclaimed struct {
	session string        // whose it is by share
	list    string        // of that session
	since   time.Duration // since when nobody has been seen to own it, on the boot-time clock; 0 if somebody does
	left    bool          // it was left alone
}

// listSum tells lists of mailboxes apart, whatever their order.
func listSum(mailboxes []string) string {
	h := sha256.New()
	for _, mailbox := range slices.Sorted(slices.Values(mailboxes)) {
		_, _ = fmt.Fprintf(h, "%d:%s", len(mailbox), mailbox)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// sameList reports whether a session that is alive has our list.
func (l *life) sameList(id string) bool {
	return id == l.id || l.view.sessions[id].List == l.r.list
}

// peers returns those of the sessions that have our list.
func (l *life) peers(live []string) []string {
	return slices.DeleteFunc(slices.Clone(live), func(id string) bool { return !l.sameList(id) })
}

// carrier returns which of the live sessions is to carry a mailbox. u is what was known of the mailbox if it was unclaimed.
func (l *life) carrier(mailbox string, live, peers []string, u unclaimed) string {
	id := share(mailbox, live)
	if id == "" || l.sameList(id) {
		return id
	}
	if list := l.view.sessions[id].List; u.session != id || u.list != list {
		u = unclaimed{session: id, list: list}
	}
	l.unclaimed[mailbox] = u
	if u.left {
		return share(mailbox, peers)
	}
	return id
}

// findLeft looks for mailboxes that were left alone.
func (l *life) findLeft(now time.Duration) {
	found := 0
	for mailbox, u := range l.unclaimed {
		free, unknown := l.view.free(l.view.owners[mailbox])
		switch {
		case u.left:
		case unknown != "":
			l.lookUp(unknown)
		case !free:
			u.since = 0
		case u.since == 0:
			u.since = now
		case now-u.since >= l.r.lease:
			u.left = true
			found++
		}
		l.unclaimed[mailbox] = u
	}
	if found > 0 {
		l.stale = true
		l.say(slog.LevelInfo, "mailboxes are taken that another replica does not know: its configuration is not ours", "mailboxes", found)
	}
}
