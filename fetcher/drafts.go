package fetcher

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// A draft is no news. But it becomes a message if a program takes its mark (\Draft) away where it lies: then it is one that was
// never handed out, under a UID that is settled. So the drafts that were met are remembered in the Position, and at each look the
// server is asked which of them are marked no more. Such a message is yielded once, since its UID is forgotten with that; what was
// yielded as a message is never remembered, whatever its marks become. What is a draft all the same, for a server's own reasons, is
// forgotten too: nothing is read more than twice.

// draftTries tells a draft among the lost messages from one that was asked for in vain. A program that does not know of it asks for
// the message again, as for a lost one, and does with it what it does with any.
const draftTries = 1<<16 - 1

// maxDrafts is how many drafts of a folder are remembered: those with the highest UIDs.
const maxDrafts = 32

func (l lost) isDraft() bool { return l.tries == draftTries }

// IsDraft reports whether the message is still being written. Gmail's All Mail holds those too, with a label.
func (m Message) IsDraft() bool {
	return m.hasDraftMark() || slices.ContainsFunc(m.Labels, isDraftWord)
}

// hasDraftMark reports whether SEARCH takes the message for a draft.
func (m Message) hasDraftMark() bool { return slices.ContainsFunc(m.Flags, isDraftWord) }

func isDraftWord(s string) bool {
	return strings.EqualFold(s, `\Draft`) || strings.EqualFold(s, `\Drafts`)
}

// drafts returns the UIDs of the drafts, ascending.
func (p *Position) drafts() (uids []uint32) {
	for _, l := range p.lostOnes() {
		if l.isDraft() {
			uids = append(uids, l.uid)
		}
	}
	return uids
}

// keepDraft remembers a draft, if it is one of the newest.
func (p *Position) keepDraft(uid uint32) {
	drafts := p.drafts()
	if len(drafts) >= maxDrafts || len(p.lostOnes()) >= maxLost {
		if len(drafts) == 0 || uid < drafts[0] {
			return
		}
		p.forgetOldestDraft()
	}
	i, _ := p.findLost(uid)
	p.setLost(slices.Insert(p.lostOnes(), i, lost{uid: uid, tries: draftTries}))
}

// forgetOldestDraft makes room for another message. It returns false if there is no draft.
func (p *Position) forgetOldestDraft() bool {
	drafts := p.drafts()
	if len(drafts) == 0 {
		return false
	}
	p.forget(drafts[0])
	return true
}

// readDrafts reads those of the drafts that are none any more.
func (p *pass) readDrafts(ctx context.Context) error {
	drafts := p.pos.drafts()
	if len(drafts) == 0 {
		return nil
	}
	var set imap.UIDSet
	for _, uid := range drafts {
		set.AddNum(imap.UID(uid))
	}
	if !p.f.drafted {
		there, err := p.find(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{set}})
		if err != nil {
			return err
		}
		p.forgetDrafts(slices.DeleteFunc(slices.Clone(drafts), func(uid uint32) bool { return slices.Contains(there, uid) }))
		p.f.drafted = true
	}
	written, err := p.find(ctx, &imap.SearchCriteria{UID: []imap.UIDSet{set}, NotFlag: []imap.Flag{imap.FlagDraft}})
	var refused *ServerError
	if errors.As(err, &refused) && p.s.dead == nil && !passing(refused.Text) {
		p.forgetDrafts(drafts) // this server cannot tell
		return nil
	}
	if err != nil {
		return err
	}
	written = slices.DeleteFunc(written, func(uid uint32) bool { return !slices.Contains(drafts, uid) })
	p.written = true
	defer func() { p.written = false }()
	return p.fetch(ctx, written, nil)
}

// forgetDrafts forgets drafts that can become no message.
func (p *pass) forgetDrafts(uids []uint32) {
	for _, uid := range uids {
		p.pos.forget(uid)
		p.pos.N++
	}
}
