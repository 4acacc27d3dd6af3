package chaos

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mailflume/mailflume/fetcher"
)

// Place is where a message lies.
type Place struct {
	Mailbox     string // id
	Folder      string
	UIDValidity uint32
	UID         uint32
}

func (p Place) String() string {
	return fmt.Sprintf("%s %s %d:%d", p.Mailbox, p.Folder, p.UIDValidity, p.UID)
}

// Published is an event on the stream, as far as it is judged.
type Published struct {
	Place
	Seq      uint64 // in the stream
	ID       string // of the event
	SHA256   string // of the raw bytes in the object store
	Position string // of the folder, once this event is stored
	Dead     string // why it is dead; empty if it is not
}

// lane is the folder of an event, with the UID 1 if the message was there when the folder was first seen: such mail is read
// when there is no newer.
func (e Published) lane() Place {
	lane := e.Place
	lane.UID = 0
	if p, err := fetcher.ParsePosition(e.Position); err == nil && e.UID < p.Next {
		lane.UID = 1
	}
	return lane
}

// Verdict is what Check found. Each fault is one line.
type Verdict struct {
	Events    int
	Lost      []string // on the server and not on the stream
	Duplicate []string // more than one event of a place, or of an event id
	Disorder  []string // UIDs of a folder not ascending, among those that were there at the start or among the others
	Wrong     []string // bytes that are not the server's, and events of no message
	Position  []string // positions that moved back, or led what was stored
	Intruder  []string // no fault by itself: events of a process that did not own the mailbox any more; see CheckOwners
	Saved     int      // how many revisions of the records of positions were looked at
	Owned     int      // and of the records of owners
	Dead      []string // no fault: messages that were published as dead
}

// Check compares the stream, in its order, with the servers' own view: the sha256 of every message by its place.
func Check(server map[Place]string, stream []Published) Verdict {
	v := Verdict{Events: len(stream)}
	seen := map[Place]uint64{}
	ids := map[string]uint64{}
	newest := map[Place]Published{} // by lane
	for _, e := range stream {
		if e.Dead != "" {
			v.Dead = append(v.Dead, fmt.Sprintf("%v: %s", e.Place, e.Dead))
		}
		if first, twice := seen[e.Place]; twice {
			v.Duplicate = append(v.Duplicate, fmt.Sprintf("%v at %d and %d", e.Place, first, e.Seq))
		} else if first, twice := ids[e.ID]; twice {
			v.Duplicate = append(v.Duplicate, fmt.Sprintf("id %s at %d and %d", e.ID, first, e.Seq))
		}
		seen[e.Place], ids[e.ID] = e.Seq, e.Seq
		switch sum, known := server[e.Place]; {
		case !known:
			v.Wrong = append(v.Wrong, fmt.Sprintf("%v at %d is not on the server", e.Place, e.Seq))
		case sum != e.SHA256:
			v.Wrong = append(v.Wrong, fmt.Sprintf("%v at %d has the raw bytes %.12s, the server's are %.12s", e.Place, e.Seq, e.SHA256, sum))
		}
		lane := e.lane()
		if last, ok := newest[lane]; ok && (last.UID >= e.UID || last.Seq >= e.Seq) {
			v.Disorder = append(v.Disorder, fmt.Sprintf("%v at %d comes after %v at %d", e.Place, e.Seq, last.Place, last.Seq))
		}
		newest[lane] = e
	}
	v.Position = positionsOf(stream)
	for place := range server {
		if _, there := seen[place]; !there {
			v.Lost = append(v.Lost, place.String())
		}
	}
	slices.Sort(v.Lost)
	return v
}

// Err is nil if nothing was found.
func (v Verdict) Err() error {
	all := slices.Concat(v.Lost, v.Duplicate, v.Disorder, v.Wrong, v.Position)
	if len(all) == 0 {
		return nil
	}
	if len(all) > 20 {
		all = append(all[:20], "...")
	}
	return fmt.Errorf("%v:\n%s", v, strings.Join(all, "\n"))
}

func (v Verdict) String() string {
	return fmt.Sprintf("%d events (%d dead): %d lost, %d duplicate, %d out of order, %d wrong, %d positions back or ahead, "+
		"%d by a stranger; %d records of positions and %d of owners were seen", v.Events, len(v.Dead), len(v.Lost), len(v.Duplicate),
		len(v.Disorder), len(v.Wrong), len(v.Position), len(v.Intruder), v.Saved, v.Owned)
}
