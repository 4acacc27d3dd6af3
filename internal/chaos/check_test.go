package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
)

// position is that of a folder that is done up to a UID.
func position(uid uint32, n uint64) string {
	return fetcher.Position{UIDValidity: 7, Low: uid, N: n}.String()
}

// The checker is checked: each kind of fault that it is there for, made on purpose, must be found.
func TestCheckFindsFaults(t *testing.T) {
	place := func(mailbox, folder string, uid uint32) Place { return Place{mailbox, folder, 7, uid} }
	server := map[Place]string{}
	var good []Published
	for uid := uint32(1); uid <= 4; uid++ {
		for _, p := range []Place{place("a", "INBOX", uid), place("a", "Junk", uid), place("b", "INBOX", uid)} {
			server[p] = "sum of " + p.String()
			good = append(good, Published{
				Place: p, Seq: uint64(len(good) + 1), ID: "id of " + p.String(), SHA256: server[p], Position: position(uid, uint64(uid)),
			})
		}
	}
	if v := Check(server, good); v.Err() != nil || v.Events != 12 {
		t.Fatalf("without a fault: %+v", v)
	}
	for name, c := range map[string]struct {
		spoil func([]Published) []Published
		want  func(Verdict) bool
	}{
		"nothing at all":  {func([]Published) []Published { return nil }, func(v Verdict) bool { return len(v.Lost) == 12 }},
		"one lost":        {func(s []Published) []Published { return slices.Delete(s, 5, 6) }, func(v Verdict) bool { return len(v.Lost) == 1 }},
		"the newest lost": {func(s []Published) []Published { return s[:11] }, func(v Verdict) bool { return len(v.Lost) == 1 }},
		"one twice": {func(s []Published) []Published {
			again := s[5]
			again.Seq, again.ID = 13, "another"
			return append(s, again)
		}, func(v Verdict) bool { return len(v.Duplicate) == 1 }},
		"the same id twice": {func(s []Published) []Published { s[3].ID = s[0].ID; return s }, func(v Verdict) bool { return len(v.Duplicate) == 1 }},
		"two of a folder swapped": {func(s []Published) []Published {
			s[3], s[6] = s[6], s[3]
			s[3].Seq, s[6].Seq = s[6].Seq, s[3].Seq
			return s
		}, func(v Verdict) bool { return len(v.Disorder) == 1 }},
		"other bytes":                {func(s []Published) []Published { s[2].SHA256 = "?"; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 }},
		"no bytes":                   {func(s []Published) []Published { s[2].SHA256 = ""; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 }},
		"a position that moves back": {func(s []Published) []Published { s[6].Position = position(3, 1); return s }, func(v Verdict) bool { return len(v.Position) == 1 }},
		"a position that stands":     {func(s []Published) []Published { s[6].Position = position(3, 2); return s }, func(v Verdict) bool { return len(v.Position) == 1 }},
		"a position without itself":  {func(s []Published) []Published { s[6].Position = position(2, 3); return s }, func(v Verdict) bool { return len(v.Position) == 1 }},
		"no position":                {func(s []Published) []Published { s[6].Position = ""; return s }, func(v Verdict) bool { return len(v.Position) == 1 }},
		"the wrong mailbox":          {func(s []Published) []Published { s[2].Mailbox = "c"; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 && len(v.Lost) == 1 }},
		"another UIDVALIDITY":        {func(s []Published) []Published { s[2].UIDValidity = 8; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 && len(v.Lost) == 1 }},
	} {
		v := Check(server, c.spoil(slices.Clone(good)))
		if v.Err() == nil || !c.want(v) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// Mail that was there when the folder was first seen is read when there is no newer, each kind in its order.
func TestOrderOfOldAndNew(t *testing.T) {
	order := func(uids ...uint32) (faults []string) {
		server := map[Place]string{}
		var stream []Published
		for i, uid := range uids {
			p := Place{"a", "INBOX", 7, uid}
			server[p] = "sum"
			// 1 to 3 were there; all of them are settled, so that order alone is judged.
			position := fetcher.Position{UIDValidity: 7, Low: 9, Next: 4, N: uint64(i + 1)}.String()
			stream = append(stream, Published{Place: p, Seq: uint64(i + 1), ID: p.String(), SHA256: "sum", Position: position})
		}
		return Check(server, stream).Disorder
	}
	if faults := order(4, 1, 5, 2, 3, 6); len(faults) != 0 {
		t.Errorf("old mail between new: %q", faults)
	}
	for _, uids := range [][]uint32{{4, 2, 5, 1, 3}, {5, 1, 4, 2}} {
		if faults := order(uids...); len(faults) != 1 {
			t.Errorf("%v: %q", uids, faults)
		}
	}
}

// So is what looks at the records that the replicas keep.
func TestRecordsFindFaults(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	server := map[Place]string{}
	var stream []Stored
	for uid := uint32(1); uid <= 5; uid++ { // stored at that second
		p := Place{"a", "INBOX", 7, uid}
		server[p] = "sum"
		stream = append(stream, Stored{Published: Published{Place: p, Seq: uint64(uid)}, At: at(int(uid)), Writer: "one"})
	}
	record := func(revision, second int, uid uint32, n uint64) Saved {
		return Saved{"a", uint64(revision), at(second), map[string]string{"INBOX": position(uid, n)}}
	}
	for name, c := range map[string]struct {
		saved []Saved
		want  int
	}{
		"right":                    {[]Saved{record(1, 1, 0, 0), record(2, 3, 3, 3), record(3, 3, 3, 3), record(4, 9, 5, 5)}, 0},
		"seen in another order":    {[]Saved{record(2, 3, 3, 3), record(1, 1, 0, 0)}, 0},
		"it moves back":            {[]Saved{record(1, 3, 3, 3), record(2, 4, 2, 2)}, 1},
		"it leads the ack":         {[]Saved{record(1, 2, 3, 3)}, 1},
		"it leads, and gets right": {[]Saved{record(1, 4, 5, 5), record(2, 5, 5, 5)}, 1},
		"it cannot be read":        {[]Saved{{"a", 1, at(1), map[string]string{"INBOX": "?"}}}, 1},
	} {
		if faults := CheckSaved(server, stream, c.saved); len(faults) != c.want {
			t.Errorf("%s: %q", name, faults)
		}
	}
	lost := slices.Delete(slices.Clone(stream), 2, 3)
	if faults := CheckSaved(server, lost, []Saved{record(1, 9, 5, 5)}); len(faults) != 1 {
		t.Errorf("it has settled what was never stored: %q", faults)
	}
}

func TestOwnersFindIntruders(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	event := func(second int, writer string) Stored {
		return Stored{Published: Published{Place: Place{Mailbox: "a"}}, At: at(second), Writer: writer}
	}
	owned := []Owned{{"a", at(1), 11}, {"a", at(10), 22}}
	good := []Stored{event(2, "one"), event(3, "one"), event(4, ""), event(9, "one"), event(10, "two"), event(11, "two"), event(12, "")}
	if faults := CheckOwners(good, owned); len(faults) != 0 {
		t.Errorf("without a fault: %q", faults)
	}
	if faults := CheckOwners(append(good, event(13, "one")), owned); len(faults) != 1 {
		t.Errorf("the former owner published: %q", faults)
	}
	if faults := CheckOwners(append(good, event(0, "one")), owned); len(faults) != 1 {
		t.Errorf("nobody owned it: %q", faults)
	}
}
