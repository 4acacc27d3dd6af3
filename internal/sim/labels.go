package sim

import (
	"slices"
	"strings"
)

// Gmail keeps one copy of a message, and a label for every folder that it is in; see folderSpec.label. All Mail holds
// every message but those in Spam and Trash, which have no labels.

// label puts a message that arrived in f into the other folders it belongs to.
func (a *Account) label(f *folder, m *message, in Message) {
	if !f.isJunk() && !f.isTrash() {
		a.intoAll(m)
	}
	for _, l := range in.Labels {
		a.addLabel(m, l)
	}
	if slices.Contains(in.Flags, `\Flagged`) {
		a.addLabel(m, `\Starred`)
	}
}

func (a *Account) intoAll(m *message) {
	for _, f := range a.folders {
		if f.isAll() && m.in[f] == nil {
			a.put(f, m, 0)
		}
	}
}

// addLabel puts a message into the folder of a label and makes the folder if there is none.
func (a *Account) addLabel(m *message, label string) {
	f := a.labelled(label)
	if f == nil {
		if label == "" || strings.HasPrefix(label, `\`) || a.folder(label) != nil {
			return // no such label can be
		}
		a.create(label)
		f = a.labelled(label)
	}
	if m.in[f] == nil {
		a.put(f, m, 0)
	}
}

func (a *Account) removeLabel(m *message, label string) {
	if f := a.labelled(label); f != nil && m.in[f] != nil {
		a.drop(f, m.in[f])
	}
}

func (a *Account) labelled(label string) *folder {
	for _, f := range a.folders {
		if f.label != "" && (f.label == label || strings.HasPrefix(label, `\`) && strings.EqualFold(f.label, label)) {
			return f
		}
	}
	return nil
}

// labels returns a message's labels as they are seen from a folder: without that folder's own, system labels first.
func (m *message) labels(from *folder) []string {
	var system, own []string
	for f := range m.in {
		switch {
		case f == from || f.label == "":
		case strings.HasPrefix(f.label, `\`):
			system = append(system, f.label)
		default:
			own = append(own, f.label)
		}
	}
	slices.Sort(system)
	slices.Sort(own)
	return append(system, own...)
}

// Labels returns the labels of a message as its folder shows them.
func (a *Account) Labels(name string, uid uint32) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.must(name)
	if e := f.entry(uid); e != nil {
		return e.msg.labels(f)
	}
	return nil
}

// AddLabel gives a message a further label, as the user of the web page does.
func (a *Account) AddLabel(name string, uid uint32, label string) {
	a.change(name, uid, func(_ *folder, e *entry) { a.addLabel(e.msg, label) })
}

// RemoveLabel takes a label from a message. Archiving is to remove `\Inbox`.
func (a *Account) RemoveLabel(name string, uid uint32, label string) {
	a.change(name, uid, func(_ *folder, e *entry) { a.removeLabel(e.msg, label) })
}

// move moves a message and returns its new place. Gmail adds the target's label and takes the folder's; Spam and Trash
// take all labels, and a message that comes out of them is in All Mail again.
func (a *Account) move(from *folder, e *entry, to *folder) *entry {
	m := e.msg
	if from == to {
		return e
	}
	if a.provider != Gmail {
		a.drop(from, e)
		return a.put(to, m, 0)
	}
	if to.isJunk() || to.isTrash() {
		for f, place := range m.in {
			a.drop(f, place)
		}
		return a.put(to, m, 0)
	}
	if !from.isAll() {
		a.drop(from, e)
	}
	a.intoAll(m)
	if m.in[to] == nil {
		a.put(to, m, 0)
	}
	return m.in[to]
}

// copyTo copies a message and returns its new place. On Gmail that is the same message with one more label.
func (a *Account) copyTo(e *entry, to *folder) *entry {
	if a.provider == Gmail {
		if m := e.msg; m.in[to] == nil {
			a.put(to, m, 0)
		}
		return e.msg.in[to]
	}
	m := *e.msg
	m.in = make(map[*folder]*entry)
	m.flags = slices.Clone(m.flags)
	return a.put(to, &m, 0)
}
