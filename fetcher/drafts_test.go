package fetcher

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// mark sets the flags of a message.
func (f *fake) mark(uid uint32, flags string) {
	f.change(func() {
		for i := range f.mails {
			if f.mails[i].uid == uid {
				f.mails[i].flags = flags
			}
		}
	})
}

// news makes a pass, as a program that was started anew with what String wrote does if s is nil, and returns the UIDs of what is no
// draft.
func news(t *testing.T, f *fake, s *Session, r *reading) (uids []uint32) {
	t.Helper()
	after := map[string]Position{}
	for folder, p := range r.after {
		again, err := ParsePosition(p.String())
		if err != nil || again != p {
			t.Fatalf("%s: %v", p, err)
		}
		after[folder] = again
	}
	if s == nil {
		s = mustOpen(t, f.config())
		defer s.Close()
	}
	if *r = readAll(t.Context(), s, after); r.err != nil {
		t.Fatal(r.err)
	}
	for _, m := range r.all {
		if m.Kind != KindMark && !m.IsDraft() {
			uids = append(uids, m.UID)
		}
	}
	return uids
}

func wantNews(t *testing.T, when string, got []uint32, want ...uint32) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: news are %v, want %v", when, got, want)
	}
}

// TestDraftBecomesMessage: a message that was met as a draft is yielded again once its mark is gone, by the session that met it or by
// a later one, and once only; one that was yielded as a message is not, whatever its marks become.
func TestDraftBecomesMessage(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			f := newFake(t, 1, 2, 3)
			f.mark(2, `\Seen \Draft`)
			s := mustOpen(t, f.config())
			if restart {
				s = nil
			}
			r := reading{}
			wantNews(t, "at first", news(t, f, s, &r), 1, 3)
			for range 3 {
				wantNews(t, "while it is a draft", news(t, f, s, &r))
			}
			if searches := f.commands("UID SEARCH UID 2 UNDRAFT"); len(searches) != 3 {
				t.Fatalf("%q", f.commands("UID SEARCH"))
			}
			f.change(func() { f.add(4) })
			f.mark(2, `\Seen`)
			wantNews(t, "without its mark", news(t, f, s, &r), 2, 4)
			if m := r.all[0]; m.Relisted || m.Backfill {
				t.Errorf("it came as old mail: %+v", m)
			}
			f.mark(1, `\Draft`)
			f.mark(2, `\Draft`)
			wantNews(t, "marked again", news(t, f, s, &r))
			f.mark(1, "")
			f.mark(2, "")
			for range 2 {
				wantNews(t, "at last", news(t, f, s, &r))
			}
			if n := len(r.after["INBOX"].lost); n != 0 {
				t.Errorf("it remembers %s", r.after["INBOX"])
			}
		})
	}
}

// TestDraftIsDeleted: a draft that is gone is forgotten by the next session.
func TestDraftIsDeleted(t *testing.T) {
	f := newFake(t, 1, 2)
	f.mark(2, `\Draft`)
	r := reading{}
	wantNews(t, "at first", news(t, f, nil, &r), 1)
	f.change(func() { f.mails = f.mails[:1] })
	wantNews(t, "then", news(t, f, nil, &r))
	if p := r.after["INBOX"]; p.lost != "" {
		t.Fatal(p)
	}
	if n := len(f.commands("UID FETCH")); n != 2 {
		t.Errorf("%d times FETCH", n)
	}
}

// TestDraftOfBackfill: what was a draft when it was read as backfill is not read as such once it is none.
func TestDraftOfBackfill(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(3000) {
		f.add(uid + 1)
	}
	f.mark(5, `\Draft`)
	r := reading{}
	if got := news(t, f, nil, &r); len(got) != 2999 {
		t.Fatal(len(got), " messages")
	}
	f.mark(5, "")
	wantNews(t, "then", news(t, f, nil, &r), 5)
	wantNews(t, "at last", news(t, f, nil, &r))
}

// TestManyDrafts: so many are remembered, and no lost message suffers from it.
func TestManyDrafts(t *testing.T) {
	f := newFake(t)
	for uid := range uint32(200) {
		f.add(uid + 1)
		f.mark(uid+1, `\Draft`)
	}
	r := reading{}
	wantNews(t, "at first", news(t, f, nil, &r))
	p := r.after["INBOX"]
	if d := p.drafts(); len(d) != maxDrafts || d[0] != 200-maxDrafts+1 {
		t.Fatal(d)
	}
	if len(p.Gaps()) > 0 || len(p.postponed(time.Now())) > 0 || p.Low != 200 {
		t.Fatal(p)
	}
	for uid := range uint32(maxLost) {
		if !p.remember(1000+uid, time.Now()) {
			t.Fatalf("no room for lost message %d", uid)
		}
	}
	if len(p.drafts()) > 0 || len(p.lostOf(false)) != maxLost || p.remember(5000, time.Now()) {
		t.Fatal(p)
	}
	if p.keepDraft(6000); len(p.drafts()) > 0 {
		t.Fatal("a draft took the place of a lost message")
	}
}

// TestDraftThatDoesNotCome: a draft that FETCH does not hand out once it is none is a lost message like others, and no older one.
func TestDraftThatDoesNotCome(t *testing.T) {
	f := newFake(t, 1, 2, 3)
	f.mark(2, `\Draft`)
	r := reading{}
	wantNews(t, "at first", news(t, f, nil, &r), 1, 3)
	f.change(func() { f.mails[1].flags, f.mails[1].hole = "", true })
	for range lostTries + 1 {
		wantNews(t, "while it does not come", news(t, f, nil, &r))
	}
	if p := r.after["INBOX"]; !slices.Equal(p.Gaps(), []uint32{2}) {
		t.Fatal(p)
	}
	f.change(func() { f.mails[1].hole = false })
	wantNews(t, "when it comes", news(t, f, nil, &r), 2)

	p := Position{UIDValidity: 7, Low: 9, Next: 1, N: 1}
	if p.keepDraft(4); !p.Settled(4) || p.isLost(4) {
		t.Fatal(p)
	}
	if p.cut(4, true, time.Now()) {
		t.Fatal("it was given up at once")
	}
}

// TestServersThatCannotTellDrafts: one that does not know UNDRAFT, and one that shows what is still marked, cost one try.
func TestServersThatCannotTellDrafts(t *testing.T) {
	for name, answer := range map[string]func(c *fakeConn, tag string){
		"refused": func(c *fakeConn, tag string) { c.say("%s BAD Command Argument Error. 11", tag) },
		"wrong":   func(c *fakeConn, tag string) { c.say("* SEARCH 2\r\n%s OK", tag) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 1, 2, 3)
			f.mark(2, `\Draft`)
			f.on["UID SEARCH"] = func(c *fakeConn, tag, args string) bool {
				if !strings.Contains(args, "UNDRAFT") {
					return false
				}
				answer(c, tag)
				return true
			}
			r := reading{}
			wantNews(t, "at first", news(t, f, nil, &r), 1, 3)
			for range 4 {
				wantNews(t, "then", news(t, f, nil, &r))
			}
			if n := len(f.commands("UID SEARCH UID 2 UNDRAFT")); n != 1 {
				t.Errorf("asked %d times", n)
			}
			f.change(func() { f.add(4) })
			wantNews(t, "at last", news(t, f, nil, &r), 4)
		})
	}
}

// TestDraftAndTheEndOfABurst: a draft that becomes a message is not one of those that EXISTS announced.
func TestDraftAndTheEndOfABurst(t *testing.T) {
	watched(t, nil, func(t *testing.T, f *fake, s *Session, after map[string]Position) {
		f.change(func() { f.add(2) })
		f.mark(2, `\Draft`)
		r := readAll(t.Context(), s, after)
		wantUIDs(t, r, 2)
		time.AfterFunc(time.Minute, func() {
			f.mark(2, "")
			f.deliver(3)
			f.change(func() { f.mails[2].hidden = true })
		})
		time.AfterFunc(time.Minute+4*time.Second, func() { f.change(func() { f.mails[2].hidden = false }) })
		start := time.Now()
		for slices.Max(append(r.uids, 0)) < 3 {
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r = readAll(t.Context(), s, r.after); r.err != nil {
				t.Fatal(r.err)
			}
		}
		if d := time.Since(start) - time.Minute; d > 6*time.Second {
			t.Errorf("what came late came %v after it was announced", d)
		}
	})
}
