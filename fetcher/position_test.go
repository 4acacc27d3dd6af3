package fetcher

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPosition checks a Position against the set of UIDs it stands for, and that its text brings it back.
func TestPosition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint32Range(0, 1<<20).Draw(t, "start")
		p := Position{UIDValidity: rapid.Uint32().Draw(t, "validity"), Low: start, Next: start + 1, since: 20000, relist: rapid.Bool().Draw(t, "relist")}
		if rapid.Bool().Draw(t, "dated") {
			p.note(time.Unix(rapid.Int64Range(-1e9, 2e9).Draw(t, "date"), 0), time.Unix(1e9, 0))
		}
		settled := map[uint32]bool{}
		next := start
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			before := p.N
			switch {
			case len(p.Gaps()) > 0 && rapid.Bool().Draw(t, "late"):
				uid := rapid.SampledFrom(p.Gaps()).Draw(t, "gap")
				if rapid.Bool().Draw(t, "lose") {
					if _, err := p.lose(uid, time.Unix(1e9, 0)); err != nil {
						t.Skip("more lost than can be kept")
					}
				} else {
					p.settle(uid)
					settled[uid] = true
				}
			default:
				next += rapid.SampledFrom([]uint32{1, 1, 1, 2, 63, 64, 65, 500, 1023, 1024, 1025, 5000}).Draw(t, "jump")
				p.settle(next)
				settled[next] = true
			}
			if p.N <= before {
				t.Fatal("N did not grow")
			}
		}
		if p.High() != next {
			t.Fatalf("High = %d, want %d", p.High(), next)
		}
		for uid := range settled {
			if !p.Settled(uid) {
				t.Fatalf("%d was settled and is not", uid)
			}
		}
		for uid := p.Low + 1; uid < next; uid++ {
			if p.Settled(uid) != settled[uid] {
				t.Fatalf("Settled(%d) = %v", uid, p.Settled(uid))
			}
		}
		if next > start+windowSize && p.Low < next-windowSize {
			t.Fatalf("window of %d..%d", p.Low, next)
		}
		back, err := ParsePosition(p.String())
		if err != nil || back != p {
			t.Fatalf("%v: %+v, want %+v", err, back, p)
		}
	})
}

// TestPositionBehind checks a Position with backfill to read against the set of UIDs it stands for, before and after the two
// are joined.
func TestPositionBehind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint32Range(2, 5000).Draw(t, "next")
		p := Position{UIDValidity: 7, Next: first, N: 1}
		p.split()
		p.note(time.Unix(rapid.Int64Range(0, 1e9).Draw(t, "date"), 0), time.Unix(1e9, 0))
		settled, lost := map[uint32]bool{}, map[uint32]bool{}
		back, news := uint32(0), first-1
		check := func(when string) {
			t.Helper()
			for uid := uint32(1); uid <= news; uid++ {
				low, high := p.Low, back
				if uid >= first || !p.Behind() {
					high = news
				}
				if p.isAhead(uid) {
					low = p.ahead.low
				}
				switch got := p.Settled(uid); {
				case settled[uid] && !got, lost[uid] && got:
					t.Fatalf("%s: Settled(%d) = %v of %v", when, uid, got, p)
				case !settled[uid] && got && (uid > low || uid > high || high-uid < windowSize && when == "before"):
					t.Fatalf("%s: %d was never settled: %v", when, uid, p)
				}
			}
			if again, err := ParsePosition(p.String()); err != nil || again != p {
				t.Fatalf("%v: %v, want %v", err, again, p)
			}
		}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			step := rapid.SampledFrom([]uint32{1, 1, 2, 64, 500, 1025}).Draw(t, "step")
			uid := &news
			if rapid.Bool().Draw(t, "back") {
				uid = &back
				if back+step >= first {
					continue
				}
			}
			*uid += step
			if rapid.IntRange(0, 9).Draw(t, "lose") == 0 && len(lost) < maxLost {
				if _, err := p.lose(*uid, time.Unix(1e9, 0)); err != nil {
					t.Fatal(err)
				}
				lost[*uid] = true
				continue
			}
			p.settle(*uid)
			settled[*uid] = true
		}
		check("before")
		n := p.N
		if p.join(); p.Behind() || p.N <= n {
			t.Fatalf("joined: %v", p)
		}
		check("after")
	})
}

func TestParsePositionRefuses(t *testing.T) {
	for _, s := range []string{
		"", "p1", "p0;1;2;3;4;0;0;;", "p1;1;2;3;4;0;0;;;", "p1;1;2;3;4;0;0;", "p1;-1;2;3;4;0;0;;", "p1;1;4294967296;3;4;0;0;;",
		"p1;01;2;3;4;0;0;;", "p1;1;2;3;4;0;0;AA;", "p1;1;2;3;4;0;0;!;", "p1;1;2;3;4;0;0;;5.1", "p1;1;2;3;4;0;0;;0.1.1", " p1;1;2;3;4;0;0;;",
		"p1;1;2;3;4;0;2;;", "p1;1;2;3;4;0;0;;;0;0", "p1;1;2;3;4;0;0;;;5", "p1;1;2;3;4;0;0;;;-5;5", "p1;1;2;3;4;0;0;;;5;5;5",
		"p2;1;2;9;4;0;0;;", "p2;1;2;9;4;0;0;;;0;0;7;", "p2;1;2;9;4;0;0;;;0;0;0;", "p2;1;9;9;4;0;0;;;0;0;9;", "p1;1;2;9;4;0;0;;;0;0;8;", "p2;1;2;9;4;0;0;;;8;",
	} {
		if p, err := ParsePosition(s); err == nil || !p.IsZero() {
			t.Errorf("ParsePosition(%q) = %v, %v", s, p, err)
		}
	}
	for s, later := range map[string]bool{"p3;1": true, "p17;anything": true, "p0;1": false, "px;1": false, "3;1": false} {
		if _, err := ParsePosition(s); err == nil || strings.Contains(err.Error(), "later version of this program") != later {
			t.Errorf("ParsePosition(%q): %v", s, err)
		}
	}
	if p, err := ParsePosition("p2;1;2;9;4;0;0;;;0;0;8;AQ"); err != nil || !p.Behind() || p.Settled(3) || !p.Settled(9) {
		t.Errorf("%v, %v", p, err)
	}
}

// What arrived before the boundary was dealt with: while older mail is being read, nothing can be said yet.
func TestPositionBoundary(t *testing.T) {
	now := time.Unix(1000, 0)
	p := Position{UIDValidity: 1, Next: 4}
	for i, step := range []struct {
		uid            uint32
		date, boundary int64
	}{{1, 900, 0}, {2, 700, 0}, {3, 800, 900}, {4, 850, 900}, {5, 2000, 1000}} {
		p.settle(step.uid)
		p.note(time.Unix(step.date, 0), now)
		if got := p.boundary(); step.boundary == 0 != got.IsZero() || step.boundary != 0 && got.Unix() != step.boundary {
			t.Errorf("step %d: the boundary is %v, want %d", i, got, step.boundary)
		}
	}
}

func TestPositionLost(t *testing.T) {
	p := Position{UIDValidity: 1, Low: 10}
	now := time.Unix(1e9, 0)
	p.settle(12)
	for i, want := range []bool{false, false, false, true} {
		if got, err := p.lose(11, now); got != want || err != nil {
			t.Fatalf("try %d: give up %v, %v", i+1, got, err)
		}
		now = now.Add(6 * time.Minute)
	}
	p.settle(12 + 2*windowSize)
	if p.Settled(11) || !p.Settled(13) || p.Gaps()[0] != 11 {
		t.Fatalf("%v does not remember 11, out of the window", p)
	}
	p.settle(11)
	if !p.Settled(11) {
		t.Fatalf("%v", p)
	}
}
