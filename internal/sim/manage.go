package sim

import (
	"slices"
	"sort"
	"strings"
)

// A FolderState sets a folder's numbers; zero fields stay as they are.
type FolderState struct {
	UIDValidity, UIDNext uint32
	HighestModSeq        uint64 // of the account: the simulator keeps one counter
}

// SetFolder sets a folder's numbers.
func (a *Account) SetFolder(name string, s FolderState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.must(name)
	if s.UIDValidity != 0 {
		f.validity = s.UIDValidity
	}
	f.uidNext = max(f.uidNext, s.UIDNext)
	if s.HighestModSeq != 0 {
		a.modseq = s.HighestModSeq
	}
}

// BumpUIDValidity renumbers a folder: another UIDVALIDITY, and UIDs from 1 in the old order. It ends the sessions that
// have it open, since no server can change it under them.
func (a *Account) BumpUIDValidity(name string) (validity uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.must(name)
	f.validity++
	for i, e := range f.entries {
		// A session that has the folder open must not take the new numbers for old ones.
		f.entries[i] = &entry{uid: uint32(i + 1), msg: e.msg, hide: e.hide, holes: e.holes}
		e.gone = true
		e.msg.in[f] = f.entries[i]
	}
	f.uidNext = uint32(len(f.entries) + 1)
	a.closeOn(f)
	return f.validity
}

// closeOn ends the sessions that have the folder open.
func (a *Account) closeOn(f *folder) {
	for s := range a.sessions {
		if s.selected == f {
			select {
			case s.kick <- a.dialect.byeClosed:
			default:
			}
		}
	}
}

// CreateFolder makes a folder; on Gmail a label. Its parents are not made.
func (a *Account) CreateFolder(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.create(name)
}

func (a *Account) create(name string) {
	if a.folder(name) != nil {
		panic("sim: folder " + name + " exists")
	}
	for _, f := range a.folders {
		if strings.HasPrefix(name, f.name+"/") {
			f.attrs = strings.Replace(f.attrs, `\HasNoChildren`, `\HasChildren`, 1)
		}
	}
	a.addFolder(folderSpec{name: name, attrs: `\HasNoChildren`, label: name})
	sort.SliceStable(a.folders, func(i, j int) bool { return a.dialect.before(a.folders[i].name, a.folders[j].name) })
}

// DeleteFolder removes a folder and what is only in it. Made again, it has another UIDVALIDITY.
func (a *Account) DeleteFolder(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.must(name)
	for _, e := range slices.Clone(f.entries) {
		a.drop(f, e)
	}
	a.folders = slices.DeleteFunc(a.folders, func(g *folder) bool { return g == f })
	a.closeOn(f)
}

// RenameFolder renames a folder. Gmail gives it another UIDVALIDITY, Exchange does not.
func (a *Account) RenameFolder(from, to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.must(from)
	f.name = to
	if a.provider == Gmail {
		f.label = to
		a.validity++
		f.validity = a.validity
		a.closeOn(f)
	}
}

// Locale gives a Gmail account the folder names of another language: "en-GB", "de-old", "ru".
func (a *Account) Locale(language string) {
	names, known := gmailLocales[language]
	if !known {
		panic("sim: no locale " + language)
	}
	for attr, name := range names {
		a.RenameSpecial(attr, name)
	}
}

// RenameSpecial changes the name of the folder with a special-use attribute such as `\All`, as another language of the
// mailbox does; an empty name hides it.
func (a *Account) RenameSpecial(attr, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, f := range a.folders {
		if slices.Contains(strings.Fields(f.attrs), attr) {
			if f.name = name; name == "" {
				a.folders = slices.Delete(a.folders, i, i+1)
			}
			return
		}
	}
}
