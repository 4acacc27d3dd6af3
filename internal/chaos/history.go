package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mailflume/mailflume/fetcher"
)

// positionsOf follows the positions that the events of each folder carry: each is newer than the one before, and has what
// was published settled.
func positionsOf(stream []Published) (faults []string) {
	newest := map[Place]fetcher.Position{} // by folder
	for _, e := range stream {
		folder := e.Place
		folder.UID = 0
		p, err := fetcher.ParsePosition(e.Position)
		last, seen := newest[folder]
		switch {
		case err != nil:
			faults = append(faults, fmt.Sprintf("%v at %d: %v", e.Place, e.Seq, err))
			continue
		case p.UIDValidity != e.UIDValidity || !p.Settled(e.UID):
			faults = append(faults, fmt.Sprintf("%v at %d has a position without itself, %s", e.Place, e.Seq, e.Position))
		case seen && p.N <= last.N:
			faults = append(faults, fmt.Sprintf("%v at %d: the position went from %d back to %d", e.Place, e.Seq, last.N, p.N))
		}
		newest[folder] = p
	}
	return faults
}

// folderHistory is when each message of a folder was published.
type folderHistory struct {
	uids   []uint32             // on the server, ascending
	at     map[uint32]time.Time // of the first event
	latest []time.Time          // of the events of all UIDs up to the same index; zero: one of them has none
}

// CheckSaved follows the records of positions, in the order of their revisions: no position moves back, and none ever has
// a message settled whose event was not stored by then.
func CheckSaved(server map[Place]string, stream []Stored, saved []Saved) (faults []string) {
	folders := historyOf(server, stream)
	newest := map[Place]fetcher.Position{}
	saved = slices.Clone(saved)
	slices.SortFunc(saved, func(a, b Saved) int { return int(a.Revision) - int(b.Revision) })
	for _, s := range saved {
		for name, text := range s.Positions {
			p, err := fetcher.ParsePosition(text)
			if err != nil {
				faults = append(faults, fmt.Sprintf("record %d of %s: %v", s.Revision, s.Mailbox, err))
				continue
			}
			folder := Place{Mailbox: s.Mailbox, Folder: name, UIDValidity: p.UIDValidity}
			if last, seen := newest[folder]; seen && p.N < last.N {
				faults = append(faults, fmt.Sprintf("record %d of %s: the position of %s went from %d back to %d", s.Revision, s.Mailbox, name, last.N, p.N))
			}
			newest[folder] = p
			if f := folders[folder]; f != nil {
				if uid := f.ahead(p, s.At); uid != 0 {
					faults = append(faults, fmt.Sprintf("record %d of %s: the position of %s has %d settled, which was not stored by then", s.Revision, s.Mailbox, name, uid))
				}
			}
		}
	}
	return faults
}

func historyOf(server map[Place]string, stream []Stored) map[Place]*folderHistory {
	folders := map[Place]*folderHistory{}
	for place := range server {
		folder, uid := place, place.UID
		folder.UID = 0
		if folders[folder] == nil {
			folders[folder] = &folderHistory{at: map[uint32]time.Time{}}
		}
		folders[folder].uids = append(folders[folder].uids, uid)
	}
	for _, e := range slices.Backward(stream) {
		folder := e.Place
		folder.UID = 0
		if f := folders[folder]; f != nil {
			f.at[e.UID] = e.At
		}
	}
	for f := range maps.Values(folders) {
		slices.Sort(f.uids)
		var latest time.Time
		missing := false
		for _, uid := range f.uids {
			at, stored := f.at[uid]
			missing = missing || !stored
			if at.After(latest) {
				latest = at
			}
			if missing {
				latest = time.Time{}
			}
			f.latest = append(f.latest, latest)
		}
	}
	return folders
}

// ahead returns a UID that a position has settled although its event was not stored at the time given, or 0.
func (f *folderHistory) ahead(p fetcher.Position, at time.Time) uint32 {
	n, _ := slices.BinarySearch(f.uids, p.Low+1) // so many lie up to Low
	if n > 0 && (f.latest[n-1].IsZero() || f.latest[n-1].After(at)) {
		return f.uids[n-1]
	}
	for _, uid := range f.uids[n:] {
		if uid > p.High() {
			break
		}
		if stored, ok := f.at[uid]; p.Settled(uid) && (!ok || stored.After(at)) {
			return uid
		}
	}
	return 0
}

// CheckOwners finds the events that were not stored by the process that owned their mailbox at that moment. What a process
// had sent when it was killed may be among them: the broker reads it after the death has been proved. What a process sent
// that was stopped and goes on may not. Only events of batches tell who stored them. Which writer is which process is
// taken from who owned the mailboxes that it wrote most of its events to.
func CheckOwners(stream []Stored, owned []Owned) (faults []string) {
	history := map[string][]Owned{}
	for _, o := range owned {
		history[o.Mailbox] = append(history[o.Mailbox], o)
	}
	ownerAt := func(mailbox string, at time.Time) int {
		process := 0
		for _, o := range history[mailbox] {
			if o.At.After(at) {
				break
			}
			process = o.Process
		}
		return process
	}
	votes := map[string]map[int]int{}
	for _, e := range stream {
		if votes[e.Writer] == nil {
			votes[e.Writer] = map[int]int{}
		}
		votes[e.Writer][ownerAt(e.Mailbox, e.At)]++
	}
	who := map[string]int{}
	for writer, processes := range votes {
		most := 0
		for process, n := range processes {
			if n > most {
				who[writer], most = process, n
			}
		}
	}
	for _, e := range stream {
		if owner := ownerAt(e.Mailbox, e.At); e.Writer != "" && owner != who[e.Writer] {
			faults = append(faults, fmt.Sprintf("%v at %d was stored by process %d while %d owned the mailbox", e.Place, e.Seq, who[e.Writer], owner))
		}
	}
	return faults
}
