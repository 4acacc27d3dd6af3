package main

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/web"
)

// health is what a replica saves about a mailbox that it carries, for mailflume status.
type health struct {
	By         string        `json:"by"` // the replica's session
	State      mailbox.State `json:"state"`
	Who        mailbox.Class `json:"who,omitempty"` // must act
	Sentence   string        `json:"sentence,omitempty"`
	Hint       string        `json:"hint,omitempty"`
	Since      time.Time     `json:"since"`
	StaleSince time.Time     `json:"staleSince,omitzero"`
	Notice     string        `json:"notice,omitempty"`
	NoticeHint string        `json:"noticeHint,omitempty"`
	NoticeAt   time.Time     `json:"noticeAt,omitzero"`
	Warnings   []warning     `json:"warnings,omitempty"` // of its grant
	Backfill   bool          `json:"backfill,omitempty"`

	// How far it is behind. Small changes are not saved: see like.
	Checked time.Time     `json:"checked,omitzero"` // when the last complete pass ended; it may be later by now, unless Late
	Late    bool          `json:"late,omitempty"`   // that was too long ago
	Arrived bool          `json:"arrived,omitempty"`
	Delay   time.Duration `json:"delay,omitempty"` // with Arrived: how long after its arrival the last new message was stored
}

// warning is what token.Account.Forecast says of a grant.
type warning struct {
	Label    string `json:"label"`
	Sentence string `json:"sentence"`
	Hint     string `json:"hint,omitempty"`
}

const (
	reportEvery = 2 * time.Second
	judgeEvery  = time.Hour

	lateAfter    = 5 * time.Minute // and twice the mailbox's poll: a pass takes its time
	notableDelay = time.Minute     // of an event
)

// report saves how the mailboxes of this replica are whenever that has changed, and looks at the broker now and then. It
// ends with ctx. What cannot be saved is saved the next time.
func (s *service) report(ctx context.Context, c *core) {
	saved := make(map[string]health)
	said := make(map[string]bool)
	next := time.NewTicker(reportEvery)
	defer next.Stop()
	for judged := (time.Time{}); ; {
		if time.Since(judged) > judgeEvery && s.judge(ctx, c, said) {
			judged = time.Now()
		}
		s.saveHealth(ctx, c, saved)
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}

func (s *service) saveHealth(ctx context.Context, c *core, saved map[string]health) {
	warnings := c.foresight.warnings()
	for _, st := range c.group.Statuses() {
		id := st.Mailbox.ID
		if st.State == mailbox.StateElsewhere {
			delete(saved, id)
			continue
		}
		h := health{
			By: c.replica.ID(), State: st.State, Who: st.Who, Sentence: st.Sentence, Hint: st.Hint, Since: st.Since.UTC(),
			StaleSince: st.StaleSince.UTC(), Notice: st.Notice, NoticeHint: st.NoticeHint, NoticeAt: st.NoticeAt.UTC(),
			Warnings: warnings[id], Backfill: st.Backfill, Checked: st.LastChecked.UTC(), Late: c.late(st, time.Now()),
			Arrived: !st.LastArrived.IsZero(), Delay: max(0, st.LastMessage.Sub(st.LastArrived)),
		}
		was, ok := saved[id]
		if !h.Arrived { // older mail came since; what is known of the last new message stays true
			h.Arrived, h.Delay = was.Arrived, was.Delay
		}
		if ok && h.like(was) {
			continue
		}
		text, err := json.Marshal(h)
		if err != nil {
			panic(err) // there is nothing in it that could fail
		}
		if c.store.SaveHealth(ctx, id, text) == nil {
			saved[id] = h
		}
	}
}

// late reports whether the last complete pass over a mailbox is longer ago than its passes are apart.
func (c *core) late(st mailbox.Status, now time.Time) bool {
	fleet := c.fleet.Load()
	i := fleet.find(st.Mailbox.ID)
	return i >= 0 && !st.LastChecked.IsZero() && now.Sub(st.LastChecked) > 2*fleet.config.Mailboxes[i].Poll+lateAfter
}

// like reports whether there is no news. Between reading and watching a mailbox goes all day long, and each message has a
// delay of its own: what is small, or changes little, is not worth a write.
func (h health) like(o health) bool {
	if h.State != o.State && h.calm() && o.calm() {
		h.State, h.Since = o.State, o.Since
	}
	if h.Late == o.Late {
		h.Checked = o.Checked
	}
	switch a, b := h.Delay, o.Delay; {
	case h.Arrived != o.Arrived: // the first new message
	case max(a, b) < notableDelay, (a - b).Abs() < max(a, b)/4:
		h.Delay = b
	}
	return reflect.DeepEqual(h, o)
}

func (h health) calm() bool {
	return h.Sentence == "" && slices.Contains([]mailbox.State{mailbox.StateReading, mailbox.StateWatching}, h.State)
}

// judge looks at how safe the broker is, and says each weakness once.
func (s *service) judge(ctx context.Context, c *core, said map[string]bool) (done bool) {
	weak, err := c.publisher.Weaknesses(ctx, "KV_"+s.config.NATS.State)
	if err != nil {
		return false
	}
	c.weak.Store(&weak)
	for _, w := range weak {
		if said[w.Sentence] {
			continue
		}
		said[w.Sentence] = true
		say := s.log.Warn
		if w.Code == publish.WeakOneDisk { // it is what one gets without a choice
			say = s.log.Info
		}
		say("the broker could be safer", "code", w.Code, "promise", w.Promise, "what", w.Sentence, "hint", w.Fix)
	}
	return true
}

// weak is what judge found, for the page and the metrics.
func (s *service) weak() (all []web.Weakness) {
	c := s.core.Load()
	if c == nil || c.weak.Load() == nil {
		return nil
	}
	for _, w := range *c.weak.Load() {
		all = append(all, web.Weakness{Code: w.Code, Sentence: w.Sentence, Fix: w.Fix})
	}
	return all
}

// refusal is why the configuration file was not taken over.
func (s *service) refusal() error {
	if err := s.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// owner is the name of the replica that reads a mailbox, as far as is known here.
func (s *service) owner(id string) string {
	c := s.core.Load()
	if c == nil {
		return ""
	}
	session, ok := c.replica.Owners()[id]
	for _, r := range c.replica.Replicas() {
		if ok && r.ID == session {
			return r.Name
		}
	}
	return ""
}
