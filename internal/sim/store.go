package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// A Message is what DeliverMessage stores. Only Raw is needed.
type Message struct {
	Raw    []byte    // is given back exactly as it is
	Date   time.Time // INTERNALDATE; zero means now
	Flags  []string
	Labels []string // Gmail: further labels: names of folders, or "\\Important", "\\Starred", "\\Sent", "\\Draft"
	UID    uint32   // in the folder; 0 means the next. It may be below UIDNEXT: a late UID
	ID     uint64   // X-GM-MSGID; 0 means a new one
	Thread uint64   // X-GM-THRID; 0 means by In-Reply-To
	Size   int      // RFC822.SIZE; 0 means the truth

	Hide   int  // for so many SEARCHes the message is not there at all, though its UID is given out
	Holes  int  // for so many FETCHes SEARCH lists it and FETCH does not know it; negative means for ever
	NoDate bool // FETCH leaves INTERNALDATE out
}

// message is a stored message. On Gmail it can be in several folders.
type message struct {
	id, thread uint64
	raw        []byte
	date       time.Time
	flags      []string
	size       int
	modseq     uint64
	flagged    uint64 // the mod-sequence of the last change of its flags
	noDate     bool
	in         map[*folder]*entry
}

// entry is a message's place in a folder.
type entry struct {
	uid       uint32
	msg       *message
	lagUntil  time.Time
	hide      int
	holes     int
	vanishing bool // goes away after the next SEARCH
	gone      bool
}

// counted reports whether EXISTS counts the entry.
func (e *entry) counted() bool { return e.hide == 0 }

// listed reports whether SEARCH and FETCH see the entry.
func (e *entry) listed(now time.Time) bool { return e.hide == 0 && !now.Before(e.lagUntil) }

// folderSpec describes a folder as the provider's LIST shows it.
type folderSpec struct {
	name     string
	attrs    string // as they stand in LIST
	label    string // Gmail: the label of the messages in it
	validity uint32 // 0 means the next free number
}

type folder struct {
	folderSpec
	uidNext uint32
	entries []*entry // ascending by UID
}

func (f *folder) noselect() bool { return strings.Contains(f.attrs, `\Noselect`) }

func (f *folder) isAll() bool   { return strings.Contains(f.attrs, `\All`) }
func (f *folder) isJunk() bool  { return strings.Contains(f.attrs, `\Junk`) }
func (f *folder) isTrash() bool { return strings.Contains(f.attrs, `\Trash`) }

func (f *folder) find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(f.entries, uid, func(e *entry, uid uint32) int { return cmp.Compare(e.uid, uid) })
}

func (f *folder) entry(uid uint32) *entry {
	if i, ok := f.find(uid); ok {
		return f.entries[i]
	}
	return nil
}

// Below here the lower-case methods of Account want its lock held.

func (a *Account) addFolder(spec folderSpec) *folder {
	a.validity++
	if spec.validity == 0 {
		spec.validity = a.validity
	}
	f := &folder{folderSpec: spec, uidNext: 1}
	a.folders = append(a.folders, f)
	return f
}

func (a *Account) folder(name string) *folder {
	for _, f := range a.folders {
		if f.name == name || strings.EqualFold(name, "INBOX") && f.name == "INBOX" {
			return f
		}
	}
	return nil
}

// must returns the folder; a test that names one that is not there has a mistake in it.
func (a *Account) must(name string) *folder {
	f := a.folder(name)
	if f == nil {
		panic("sim: " + a.address + " has no folder " + name)
	}
	return f
}

// put places a message into a folder under the UID, or under the next one.
func (a *Account) put(f *folder, m *message, uid uint32) *entry {
	if uid == 0 {
		uid = f.uidNext
	}
	i, taken := f.find(uid)
	if taken {
		panic(fmt.Sprintf("sim: UID %d of %s is taken", uid, f.name))
	}
	e := &entry{uid: uid, msg: m}
	if a.quirks.Lag > 0 {
		e.lagUntil = a.w.now().Add(a.quirks.Lag)
	}
	f.entries = slices.Insert(f.entries, i, e)
	f.uidNext = max(f.uidNext, uid+1)
	m.in[f] = e
	a.touch(m)
	return e
}

// drop takes a message out of a folder.
func (a *Account) drop(f *folder, e *entry) {
	if i, ok := f.find(e.uid); ok && f.entries[i] == e {
		f.entries = slices.Delete(f.entries, i, i+1)
	}
	e.gone = true
	delete(e.msg.in, f)
	a.touch(e.msg)
}

// touch gives a changed message the next mod-sequence and wakes the sessions.
func (a *Account) touch(m *message) {
	a.modseq++
	a.changes++
	m.modseq = a.modseq
	for s := range a.sessions {
		select {
		case s.notify <- struct{}{}:
		default:
		}
	}
}

func (a *Account) store(f *folder, in Message) *entry {
	m := &message{
		id: in.ID, thread: in.Thread, raw: in.Raw, date: in.Date, flags: slices.Clone(in.Flags), size: in.Size,
		noDate: in.NoDate, in: make(map[*folder]*entry),
	}
	if m.id == 0 {
		m.id = a.w.nextMessageID()
	}
	if m.date.IsZero() {
		m.date = a.w.now()
	}
	if m.thread == 0 {
		m.thread = a.threadOf(m)
	}
	e := a.put(f, m, in.UID)
	e.hide, e.holes = in.Hide, in.Holes
	if a.provider == Gmail {
		a.label(f, m, in)
	}
	return e
}

// threadOf gives a reply the thread of what it answers. Only Gmail's clients see it.
func (a *Account) threadOf(m *message) uint64 {
	parsed, err := mail.ReadMessage(bytes.NewReader(m.raw))
	if a.provider != Gmail || err != nil {
		return m.id
	}
	thread := m.id
	if t, ok := a.threads[parsed.Header.Get("In-Reply-To")]; ok {
		thread = t
	}
	if id := parsed.Header.Get("Message-ID"); id != "" {
		a.threads[id] = thread
	}
	return thread
}

// Deliver puts a message into a folder as if it arrived there, and returns its UID in that folder. On Gmail it is in All
// Mail too, unless the folder is Spam or Trash. A zero date means now.
func (a *Account) Deliver(name string, raw []byte, date time.Time) uint32 {
	return a.DeliverMessage(name, Message{Raw: raw, Date: date})
}

// DeliverMessage is Deliver with all that can be said about a message.
func (a *Account) DeliverMessage(name string, m Message) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store(a.must(name), m).uid
}

// Expunge takes a message out of a folder. On Gmail it stays in the others that it is in.
func (a *Account) Expunge(name string, uid uint32) {
	a.change(name, uid, func(f *folder, e *entry) { a.drop(f, e) })
}

// Move moves a message as a user does and returns its UID in the target.
func (a *Account) Move(from string, uid uint32, to string) (moved uint32) {
	a.change(from, uid, func(f *folder, e *entry) {
		if n := a.move(f, e, a.must(to)); n != nil {
			moved = n.uid
		}
	})
	return moved
}

// SetFlags replaces a message's flags.
func (a *Account) SetFlags(name string, uid uint32, flags ...string) {
	a.change(name, uid, func(_ *folder, e *entry) {
		e.msg.flags = slices.Clone(flags)
		a.touch(e.msg)
		e.msg.flagged = a.modseq
	})
}

// Hide makes a message invisible for so many SEARCHes: the late UID, that is seen after a higher one was.
func (a *Account) Hide(name string, uid uint32, searches int) {
	a.change(name, uid, func(_ *folder, e *entry) { e.hide = searches })
}

// Hole makes FETCH ignore a message that SEARCH lists, for so many FETCHes; a negative number is for ever.
func (a *Account) Hole(name string, uid uint32, fetches int) {
	a.change(name, uid, func(_ *folder, e *entry) { e.holes = fetches })
}

// Vanish takes a message away once the next SEARCH has listed it.
func (a *Account) Vanish(name string, uid uint32) {
	a.change(name, uid, func(_ *folder, e *entry) { e.vanishing = true })
}

func (a *Account) change(name string, uid uint32, do func(*folder, *entry)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.must(name)
	e := f.entry(uid)
	if e == nil {
		panic(fmt.Sprintf("sim: %s of %s has no UID %d", name, a.address, uid))
	}
	do(f, e)
}

// UIDs returns the UIDs of a folder, hidden ones too.
func (a *Account) UIDs(name string) []uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var uids []uint32
	for _, e := range a.must(name).entries {
		uids = append(uids, e.uid)
	}
	return uids
}

// Raw returns the bytes of a message, or nil.
func (a *Account) Raw(name string, uid uint32) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.must(name).entry(uid); e != nil {
		return e.msg.raw
	}
	return nil
}

// Flags returns the flags of a message.
func (a *Account) Flags(name string, uid uint32) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.must(name).entry(uid); e != nil {
		return slices.Clone(e.msg.flags)
	}
	return nil
}

// MessageID returns the X-GM-MSGID of a message, or 0.
func (a *Account) MessageID(name string, uid uint32) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.must(name).entry(uid); e != nil {
		return e.msg.id
	}
	return 0
}
