package fetcher

import (
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

func TestParsePositionRefuses(t *testing.T) {
	for _, s := range []string{
		"", "p1", "p0;1;2;3;4;0;0;;", "p1;1;2;3;4;0;0;;;", "p1;1;2;3;4;0;0;", "p1;-1;2;3;4;0;0;;", "p1;1;4294967296;3;4;0;0;;",
		"p1;01;2;3;4;0;0;;", "p1;1;2;3;4;0;0;AA;", "p1;1;2;3;4;0;0;!;", "p1;1;2;3;4;0;0;;5.1", "p1;1;2;3;4;0;0;;0.1.1", " p1;1;2;3;4;0;0;;",
		"p1;1;2;3;4;0;2;;", "p1;1;2;3;4;0;0;;;0;0", "p1;1;2;3;4;0;0;;;5", "p1;1;2;3;4;0;0;;;-5;5", "p1;1;2;3;4;0;0;;;5;5;5",
	} {
		if p, err := ParsePosition(s); err == nil || !p.IsZero() {
			t.Errorf("ParsePosition(%q) = %v, %v", s, p, err)
		}
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
