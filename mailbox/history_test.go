package mailbox_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/mailflume/mailflume/internal/sim"
)

// history is what happens to one mailbox, its replicas and its stream: data, so that it can be drawn, shrunk and run again.
type history struct {
	Provider sim.Provider
	Folders  []string      // watched
	Seed     uint64        // of everything that is drawn while it runs
	Trouble  int           // so many in a hundred calls to the stream go wrong while there is trouble
	Wire     time.Duration // what 500 octets of the mail server take
	Stream   time.Duration // what a call to the stream takes
	Steps    []step
}

// step is one thing that happens, and how long it is quiet after it.
type step struct {
	What  string
	Count int // how many messages, or which replica
	Then  time.Duration
}

func (s step) String() string { return fmt.Sprintf("%s %d, %v", s.What, s.Count, s.Then) }

// whats are the kinds of steps; those that are there several times happen more often.
var whats = []string{
	"deliver", "deliver", "deliver", "deliver", "deliver elsewhere", "deliver late", "deliver with holes", "deliver a draft", "finish drafts", "expunge", "move",
	"kill", "kill", "kill and restart", "kill and restart", "stop", "start", "start",
	"trouble", "calm", "outage",
	"drop connections", "expire tokens", "renumber", "stall", "cut", "throttle", "unavailable", "idle dies",
}

var histories = rapid.Custom(func(t *rapid.T) history {
	h := history{
		Provider: rapid.SampledFrom([]sim.Provider{sim.Gmail, sim.Exchange}).Draw(t, "provider"),
		Seed:     rapid.Uint64().Draw(t, "seed"),
		Trouble:  rapid.SampledFrom([]int{0, 5, 20, 50}).Draw(t, "trouble"),
		Wire:     rapid.SampledFrom([]time.Duration{0, 0, 1_234_567, 31_234_567}).Draw(t, "wire"),
		Stream:   rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 30 * time.Millisecond}).Draw(t, "stream"),
		Folders:  []string{"INBOX"},
	}
	if rapid.Bool().Draw(t, "two folders") {
		h.Folders = append(h.Folders, archiveOf(h.Provider))
	}
	h.Steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			What:  rapid.SampledFrom(whats).Draw(t, "what"),
			Count: rapid.IntRange(1, 12).Draw(t, "count"),
			Then: rapid.SampledFrom([]time.Duration{
				0, 0, time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, time.Minute, 10 * time.Minute, time.Hour,
			}).Draw(t, "then"),
		}
	}), 3, 15).Draw(t, "steps")
	return h
})

// archiveOf is the other folder that a history uses: at Gmail the one that shows every message a second time.
func archiveOf(p sim.Provider) string {
	if p == sim.Gmail {
		return `\All`
	}
	return "Archive"
}

// archiveName is the same as the server calls it.
func archiveName(p sim.Provider) string {
	if p == sim.Gmail {
		return "[Gmail]/All Mail"
	}
	return "Archive"
}
