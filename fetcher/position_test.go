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
		"p1;1;2;3;4;0;2;;",
	} {
		if p, err := ParsePosition(s); err == nil || !p.IsZero() {
			t.Errorf("ParsePosition(%q) = %v, %v", s, p, err)
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
