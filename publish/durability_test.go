package publish

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func codes(weak []Weakness) (all []string) {
	for _, w := range weak {
		all = append(all, w.Code)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Each weakness of a broker is named once, with the promise it touches and what to do.
func TestWeaknesses(t *testing.T) {
	for name, test := range map[string]struct {
		conf    string
		monitor bool
		stream  Stream
		want    []string
	}{
		"default":          {conf: "jetstream {}", monitor: true, want: []string{WeakCopies, WeakPurge, WeakSync}},
		"always":           {conf: "jetstream {sync_interval: always}", monitor: true, want: []string{WeakCopies, WeakPurge}},
		"not to be seen":   {conf: "jetstream {sync_interval: always}", want: []string{WeakCopies, WeakPurge, WeakSyncBlind}},
		"short of breath":  {conf: "jetstream {sync_interval: always}", monitor: true, stream: Stream{MaxAge: time.Hour}, want: []string{WeakCopies, WeakPurge, WeakShort}},
		"30 s, as we read": {conf: "jetstream {sync_interval: 30s}", monitor: true, want: []string{WeakCopies, WeakPurge, WeakSync}},
	} {
		t.Run(name, func(t *testing.T) {
			conf := test.conf
			if test.monitor {
				conf += "\nhttp: \"127.0.0.1:-1\""
			}
			srv := external(t, t.TempDir(), conf)
			c := Config{URL: srv.ClientURL(), Stream: test.stream}
			if test.monitor {
				c.Monitor = fmt.Sprint("http://", srv.MonitorAddr())
			}
			p := mustSetup(t, mustOpen(t, c))
			weak, err := p.Weaknesses(t.Context())
			if err != nil || !slices.Equal(codes(weak), test.want) {
				t.Fatalf("%v, %v, want %v", codes(weak), err, test.want)
			}
			for _, w := range weak {
				if w.Promise == "" || !strings.HasSuffix(w.Sentence, ".") || !strings.HasSuffix(w.Fix, ".") {
					t.Errorf("%+v", w)
				}
				if name == "30 s, as we read" && w.Code == WeakSync && !strings.Contains(w.Sentence, "30s") {
					t.Errorf("%+v", w)
				}
			}
		})
	}
}

// A bucket that was lost and made anew does not pass for whole: the events that refer to what it held are still there.
func TestWeaknessOfALostBucket(t *testing.T) {
	p := newPublisher(t)
	p.skew = 0
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 1)})
	lost := func() []Weakness {
		weak, err := p.Weaknesses(t.Context())
		must(t, err)
		return slices.DeleteFunc(weak, func(w Weakness) bool { return w.Code != WeakObjects })
	}
	if w := lost(); len(w) > 0 {
		t.Errorf("before: %+v", w)
	}
	must(t, p.js.DeleteStream(t.Context(), "OBJ_mail"))
	mustSetup(t, p)
	if w := lost(); len(w) != 1 || !strings.Contains(w[0].Sentence, "OBJ_mail") || !strings.HasSuffix(w[0].Fix, ".") {
		t.Errorf("after: %+v", w)
	}
	p.skew = time.Hour
	if w := lost(); len(w) > 0 {
		t.Errorf("with clocks an hour apart: %+v", w)
	}
	p.skew = 0
	s, err := p.js.Stream(t.Context(), "MAIL")
	must(t, err)
	must(t, s.Purge(t.Context()))
	if w := lost(); len(w) > 0 {
		t.Errorf("without events: %+v", w)
	}
}

// Somebody lets the stream keep events for longer than the bucket keeps what they refer to, while mailflume runs.
func TestWeaknessOfABucketThatForgetsFirst(t *testing.T) {
	p := mustSetup(t, mustOpen(t, Config{URL: external(t, t.TempDir(), "").ClientURL()}))
	for maxAge, want := range map[time.Duration]int{defaultMaxAge: 0, 90 * 24 * time.Hour: 1, 0: 1} {
		s, err := p.js.Stream(t.Context(), "MAIL")
		must(t, err)
		c := s.CachedInfo().Config
		c.MaxAge = maxAge
		_, err = p.js.UpdateStream(t.Context(), c)
		must(t, err)
		weak, err := p.Weaknesses(t.Context())
		must(t, err)
		weak = slices.DeleteFunc(weak, func(w Weakness) bool { return w.Code != "objects_short" })
		if len(weak) != want {
			t.Errorf("%v: %+v", maxAge, weak)
		}
		for _, w := range weak {
			if !strings.Contains(w.Fix, "nats stream edit OBJ_mail --max-age="+(2*maxAge).String()) {
				t.Errorf("%v: %s", maxAge, w.Fix)
			}
		}
	}
}

// The built-in server has one disk, and no other weakness.
func TestWeaknessesOfTheBuiltInServer(t *testing.T) {
	weak, err := newPublisher(t).Weaknesses(t.Context())
	if got := codes(weak); err != nil || !slices.Equal(got, []string{WeakOneDisk}) {
		t.Errorf("%v, %v", got, err)
	}
}

// A monitoring port that is none says why.
func TestWeaknessesWithoutAMonitor(t *testing.T) {
	srv := external(t, t.TempDir(), "jetstream {}")
	for monitor, says := range map[string]string{
		"http://127.0.0.1:1":                  "refused",
		"http://operator:hunter2@127.0.0.1:1": "http://127.0.0.1:1",
		// It greets before it is asked: whether that is malformed or an end of the connection, the moment decides.
		"http://" + srv.Addr().String(): srv.Addr().String() + "/varz",
	} {
		p := mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL(), Monitor: monitor}))
		weak, err := p.Weaknesses(t.Context())
		i := slices.IndexFunc(weak, func(w Weakness) bool { return w.Code == WeakSyncBlind })
		if err != nil || i < 0 || !strings.Contains(weak[i].Sentence, says) {
			t.Errorf("%s: %+v, %v", monitor, weak, err)
		}
		if strings.Contains(fmt.Sprint(weak), "hunter2") {
			t.Errorf("the password shows: %+v", weak)
		}
	}
}
