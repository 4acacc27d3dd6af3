package chaos

import (
	"slices"
	"testing"
)

// The checker is checked: each kind of fault that it is there for, made on purpose, must be found.
func TestCheckFindsFaults(t *testing.T) {
	place := func(mailbox, folder string, uid uint32) Place { return Place{mailbox, folder, 7, uid} }
	server := map[Place]string{}
	var good []Published
	for uid := uint32(1); uid <= 4; uid++ {
		for _, p := range []Place{place("a", "INBOX", uid), place("a", "Junk", uid), place("b", "INBOX", uid)} {
			server[p] = "sum of " + p.String()
			good = append(good, Published{Place: p, Seq: uint64(len(good) + 1), ID: "id of " + p.String(), SHA256: server[p]})
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
		"other bytes":         {func(s []Published) []Published { s[2].SHA256 = "?"; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 }},
		"no bytes":            {func(s []Published) []Published { s[2].SHA256 = ""; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 }},
		"the wrong mailbox":   {func(s []Published) []Published { s[2].Mailbox = "c"; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 && len(v.Lost) == 1 }},
		"another UIDVALIDITY": {func(s []Published) []Published { s[2].UIDValidity = 8; return s }, func(v Verdict) bool { return len(v.Wrong) == 1 && len(v.Lost) == 1 }},
	} {
		v := Check(server, c.spoil(slices.Clone(good)))
		if v.Err() == nil || !c.want(v) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
