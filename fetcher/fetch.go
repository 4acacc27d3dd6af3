package fetcher

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailflume/mailflume/internal/crash"
)

// fetched is one answer to a FETCH.
type fetched struct {
	fact
	uid     uint32
	body    []byte
	has     bool // there is a body, be it empty
	release func()
}

// fetch reads messages, ascending, and accounts for each of them: it is yielded, or booked as lost. If between is not nil
// they are backfill: read in slices, with a call of between after each.
func (p *pass) fetch(ctx context.Context, uids []uint32, between func(context.Context) error) error {
	if len(uids) == 0 {
		return nil
	}
	sizes, err := p.sizes(ctx, uids)
	if err != nil {
		return p.poisoned(err, slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool { _, answered := sizes[uid]; return answered }))
	}
	if uids, err = p.stillThere(ctx, uids, sizes); err != nil {
		return err
	}
	for len(uids) > 0 {
		n, start := p.together(uids, sizes), time.Now()
		if between != nil {
			n = p.s.slice.cut(uids[:n], sizes, p.s.cfg.Allowance.left(start))
		}
		if n == 1 {
			err = p.fetchOne(ctx, uids[0], sizes)
		} else {
			err = p.fetchRange(ctx, uids[:n], sizes)
		}
		took := time.Since(start)
		if err == nil {
			err = p.s.pace(ctx, took)
		}
		if err == nil && between != nil {
			p.s.slice.took(took)
			err = between(ctx)
		}
		if err != nil {
			return err
		}
		uids = uids[n:]
	}
	return nil
}

// together returns how many of the UIDs can be asked for in one FETCH: one if it is suspect, or up to the next suspect.
func (p *pass) together(uids []uint32, sizes map[uint32]int64) int {
	suspect := func(uid uint32) bool {
		size, answered := sizes[uid]
		return p.s.alone || !answered || p.f.over[uid] > 0 || size > p.s.cfg.MaxMessage || p.pos.isLost(uid)
	}
	if n := slices.IndexFunc(uids, suspect); n >= 0 {
		return max(1, n)
	}
	return len(uids)
}

// tooLarge reports whether a message need not be asked for, going by RFC822.SIZE.
//
// QUIRK(exchange): sizes. RFC822.SIZE is the size in the store, up to three times that of the message, or less; only the
// literal tells.
func (p *pass) tooLarge(size int64) bool { return size > p.s.cfg.MaxMessage && !p.s.exchange }

// sizes asks for RFC822.SIZE. It shows in one round trip which messages the server does not hand out, which are too
// large, and whether it answers in order.
func (p *pass) sizes(ctx context.Context, uids []uint32) (map[uint32]int64, error) {
	sizes := make(map[uint32]int64, len(uids))
	var last uint32
	err := p.stream(ctx, uids, &imap.FetchOptions{UID: true, RFC822Size: true}, func(m fetched) error {
		sizes[m.uid] = m.items.size
		p.s.alone = p.s.alone || m.uid < last
		last = m.uid
		return nil
	})
	var refused *ServerError
	if errors.As(err, &refused) && p.s.dead == nil {
		err = nil // which message it is about, a FETCH of each will tell
	}
	return sizes, err
}

// manySilent is from how many messages on, about which the server says nothing although it has listed them, it is asked for another
// listing: somebody may have deleted them since. Fewer are asked for one by one, and booked as lost, as a listing can miss one.
const manySilent = 8

// stillThere returns the UIDs without those that were listed, and are no more, if these are many. A server that knows none of them any
// more is not believed: it may be out of order.
func (p *pass) stillThere(ctx context.Context, uids []uint32, sizes map[uint32]int64) ([]uint32, error) {
	silent := func(uid uint32) bool { _, answered := sizes[uid]; return !answered }
	var asked imap.UIDSet
	n := 0
	for _, uid := range uids {
		if silent(uid) {
			asked.AddNum(imap.UID(uid))
			n++
		}
	}
	if n < manySilent || len(sizes) == 0 {
		return uids, nil
	}
	there, err := p.search(ctx, asked, time.Time{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool {
		_, listed := slices.BinarySearch(there, uid)
		return silent(uid) && !listed
	}), nil
}

// refusedOnly turns a refusal that concerns this FETCH alone into nil: what was not handed out is accounted for by UID.
func (p *pass) refusedOnly(err error) error {
	var refused *ServerError
	if errors.As(err, &refused) && p.s.dead == nil && !passing(refused.Text) {
		p.s.cfg.Log.Debug("FETCH refused", "answer", refused.Text)
		return nil
	}
	return err
}

// fetchRange reads many messages with one FETCH and yields them while they come. Before one is yielded, those below it
// that have not come are booked as lost, so that no Position ever passes them unseen.
func (p *pass) fetchRange(ctx context.Context, uids []uint32, sizes map[uint32]int64) error {
	due := uids // those not dealt with yet
	err := p.stream(ctx, uids, &imap.FetchOptions{UID: true, BodySection: wholeMessage}, func(m fetched) error {
		i, isDue := slices.BinarySearch(due, m.uid)
		if !isDue {
			p.s.alone = true // out of order: it is booked already, and asked for again
		}
		if !isDue || !p.whole(m, sizes) {
			m.release()
			return nil
		}
		for _, uid := range due[:i] {
			if err := p.lose(uid, sizes[uid]); err != nil {
				m.release()
				return err
			}
		}
		due = due[i+1:]
		return p.settle(p.message(m))
	})
	p.s.alone = p.s.alone || p.s.filter.namesUIDLate()
	if err := p.refusedOnly(err); err != nil {
		return p.poisoned(err, due)
	}
	for _, uid := range due {
		p.noteOver(uid)
	}
	for _, uid := range due {
		if err := p.fetchOne(ctx, uid, sizes); err != nil {
			return err
		}
	}
	return nil
}

// noteOver remembers that a message was over the limit, if the last FETCH has shown that.
func (p *pass) noteOver(uid uint32) {
	if size := p.s.filter.takeFact(uid).size; size > 0 {
		p.f.noteOver(uid, size)
	}
}

// poisoned books the message at which a FETCH failed, the first that is due, so that it cannot do so for ever: at once if the
// server has broken the rules, and otherwise in the end, since it may be the network or an outage.
func (p *pass) poisoned(err error, due []uint32) error {
	var limit *LimitError
	sure := errors.As(err, &limit) || errors.Is(err, errCut)
	if len(due) == 0 || !sure && !mayBeItsFault(err) {
		return err
	}
	p.noteOver(due[0])
	emit := p.mark
	if p.pos.cut(due[0], sure, time.Now()) {
		emit = func() error { return p.giveUp(due[0], 0) }
	}
	if emitErr := emit(); emitErr != nil {
		return emitErr
	}
	return err
}

// mayBeItsFault reports whether a message can be the reason why its FETCH failed. Some servers answer [SERVERBUG] to one that is
// damaged, hang, or close the connection.
func mayBeItsFault(err error) bool {
	var refused *ServerError
	var bye *ByeError
	var stall *StallError
	var op *net.OpError
	return errors.As(err, &refused) || errors.As(err, &bye) || errors.As(err, &stall) && !stall.Others ||
		errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

var (
	wholeMessage = []*imap.FetchItemBodySection{{Peek: true}}
	headerOnly   = []*imap.FetchItemBodySection{{Peek: true, Specifier: imap.PartSpecifierHeader}}
)

// whole reports whether m is the message, with the end of its response, and not a failure to give it. An empty body is the message only if the server
// says that it is empty.
func (p *pass) whole(m fetched, sizes map[uint32]int64) bool {
	if p.s.exchange && standsIn(m.body) {
		return false
	}
	size, known := sizes[m.uid]
	return m.has && m.ended && !m.misnamed && (len(m.body) > 0 || known && size == 0)
}

// fetchOne reads one message with a FETCH of its own, or its header if it is too large.
func (p *pass) fetchOne(ctx context.Context, uid uint32, sizes map[uint32]int64) error {
	over := p.f.over[uid]
	if over == 0 && p.tooLarge(sizes[uid]) {
		over = sizes[uid]
	}
	if over == 0 {
		m, err := p.one(ctx, uid, wholeMessage)
		if err != nil {
			return p.poisoned(err, []uint32{uid})
		}
		if p.whole(m, sizes) {
			return p.settle(p.message(m))
		}
		m.release()
		over = m.fact.size
	}
	if over == 0 {
		return p.lose(uid, sizes[uid])
	}
	p.f.noteOver(uid, over) // in case the header does not come
	m, err := p.one(ctx, uid, headerOnly)
	if err != nil {
		return p.poisoned(err, []uint32{uid})
	}
	delete(p.f.over, uid)
	large := p.message(m)
	large.Kind, large.Size = KindTooLarge, over
	return p.settle(large)
}

// one asks for one message. What it says of it is there even if no body comes.
func (p *pass) one(ctx context.Context, uid uint32, section []*imap.FetchItemBodySection) (fetched, error) {
	m := fetched{release: func() {}}
	err := p.stream(ctx, []uint32{uid}, &imap.FetchOptions{UID: true, BodySection: section}, func(got fetched) error {
		m = got
		return nil
	})
	m.uid, m.fact = uid, p.s.filter.takeFact(uid)
	if err = p.refusedOnly(err); err != nil {
		m.release()
	}
	return m, err
}

// lose books a message that was listed and did not come, and gives it up if that has gone on for long enough.
func (p *pass) lose(uid uint32, size int64) error {
	p.noteOver(uid)
	giveUp, err := p.pos.lose(uid, time.Now())
	p.missed = p.missed || p.pos.triesOf(uid) <= len(lagPolls)
	if err != nil {
		// The tries of those that are booked are kept, or none of them would ever be given up and make room.
		if emitErr := p.emit(Message{Kind: KindMark}); emitErr != nil {
			return emitErr
		}
		return err
	}
	if !giveUp {
		return nil
	}
	return p.giveUp(uid, size)
}

// giveUp yields what is known of a message that does not come.
func (p *pass) giveUp(uid uint32, size int64) error {
	m := p.message(fetched{uid: uid, fact: p.s.filter.takeFact(uid)})
	m.Kind, m.Size = KindUnreadable, size
	return p.settle(m)
}

func (p *pass) message(m fetched) Message {
	return Message{
		UID: m.uid, Raw: m.body, Size: int64(len(m.body)),
		Flags: m.items.flags, InternalDate: m.items.date,
		EmailID: m.items.emailID, ThreadID: m.items.threadID, Labels: m.items.labels,
		release: m.release,
	}
}

// stream runs one UID FETCH and calls each for every answer, in the order of the wire. Between two answers nothing is
// read, so that a slow consumer slows the server down. Items beside the body come with every FETCH of one.
func (p *pass) stream(ctx context.Context, uids []uint32, o *imap.FetchOptions, each func(fetched) error) error {
	s := p.s
	if s.dead != nil {
		return s.dead
	}
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	if len(o.BodySection) > 0 {
		o.Flags, o.InternalDate, o.RFC822Size = true, true, true
	}
	stop := context.AfterFunc(ctx, s.kill)
	defer stop()
	cmd := s.client.Fetch(set, o)
	var ours error // each wants no more, whatever the server says
	err := s.drain(ctx, cmd, func(m fetched) error {
		ours = each(m)
		return ours
	})
	if ours != nil {
		s.end(ours)
	}
	if err != nil {
		s.kill() // or Close would read all that is still to come
	}
	if closeErr := cmd.Close(); err == nil {
		err = closeErr
	}
	if ours != nil {
		return ours
	}
	return s.explain(ctx, "FETCH", err)
}

func (s *Session) drain(ctx context.Context, cmd *imapclient.FetchCommand, each func(fetched) error) error {
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		m := fetched{release: func() {}}
		for item := data.Next(); item != nil; item = data.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				m.uid = uint32(item.UID)
			case imapclient.FetchItemDataBodySection:
				if err := s.readBody(ctx, item, &m); err != nil {
					return err
				}
			}
		}
		m.fact = s.filter.takeFact(m.uid)
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// readBody reads a literal, once the budget has room for it.
func (s *Session) readBody(ctx context.Context, item imapclient.FetchItemDataBodySection, m *fetched) error {
	if item.Literal == nil || m.has {
		return nil
	}
	room, err := s.cfg.Budget.acquire(ctx, item.Literal.Size())
	if err != nil {
		return err
	}
	room.begin(func() {
		s.filter.blame(&StallError{After: room.patience(), Others: true})
		s.kill()
	})
	body := make([]byte, item.Literal.Size())
	_, err = io.ReadFull(item.Literal, body)
	room.read()
	if err = notEOF(err); err == nil {
		err = s.filter.cause() // a literal that was cut has been filled up
	}
	if err != nil {
		room.release()
		return err
	}
	crash.At("fetch.literal.complete")
	m.body, m.has, m.release = body, true, room.release
	return nil
}
