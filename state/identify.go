package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/mailflume/mailflume/internal/crash"
)

// Mailbox is one mailbox of the configuration.
type Mailbox struct {
	ID      string // empty: Identify finds it
	Name    string
	Address string
}

// entry is the record of tableMailboxes: what the mailbox with this id was last called.
type entry struct {
	Name    string `json:"name"`
	Address string `json:"address"`

	revision uint64
}

// identifyTries bounds how often Identify starts again because another replica wrote at the same time.
const identifyTries = 50

// Identify returns the id of each mailbox, in the order given. An id names subjects and events, so it outlives the name:
// a mailbox that is given an ID has it; else one whose name is known keeps the id that goes with it, though its address
// changed; else one whose address is known, under a name that the list no longer has, keeps that id though its name
// changed; else its name becomes its id (with a number behind it if another mailbox has that id). Nothing is forgotten:
// a mailbox that was removed and is added again resumes its id. Replicas that call it with the same list at the same
// time get the same ids.
func (s *Store) Identify(ctx context.Context, list []Mailbox) ([]string, error) {
	for range identifyTries {
		ids, err := s.identify(ctx, list)
		if err == nil {
			return ids, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("identify the mailboxes: %w", err)
		}
	}
	return nil, errors.New("identify the mailboxes: other replicas keep changing the registry; do they have different configurations?")
}

func (s *Store) identify(ctx context.Context, list []Mailbox) ([]string, error) {
	records, err := s.list(ctx, tableMailboxes)
	if err != nil {
		return nil, err
	}
	known := make(map[string]entry, len(records))
	for id, r := range records {
		e := entry{revision: r.revision}
		if err := json.Unmarshal(r.value, &e); err != nil {
			return nil, fmt.Errorf("mailbox %s: %w", id, err)
		}
		known[id] = e
	}
	ids, err := assign(list, known)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		want := entry{Name: list[i].Name, Address: list[i].Address, revision: known[id].revision}
		if known[id] == want && want.revision != 0 {
			continue
		}
		value, err := json.Marshal(want)
		if err != nil {
			return nil, err
		}
		if _, err := s.set(ctx, key(tableMailboxes, id), value, want.revision); err != nil {
			return nil, err
		}
		crash.At("mailbox.identified")
	}
	return ids, nil
}

// assign finds the id of each mailbox among the known ones. Whatever part of its answer has been written, it gives the same
// answer again: that is what lets several replicas write it at once.
func assign(list []Mailbox, known map[string]entry) ([]string, error) {
	a, err := newAssignment(list, known)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for _, find := range []func(m Mailbox) (id string){a.given, a.named, a.addressed, a.unused} {
		for i, m := range list {
			if ids[i] != "" {
				continue
			}
			id := find(m)
			if other, taken := a.taken[id]; taken {
				return nil, fmt.Errorf("mailboxes %q and %q would both have the id %q; give one of them another id", other, m.Name, id)
			}
			if id != "" {
				ids[i], a.taken[id] = id, m.Name
			}
		}
	}
	return ids, nil
}

// assignment is what the id of a mailbox is found by.
type assignment struct {
	known     map[string]entry
	byName    map[string]string   // known id by name; the one that was written last, if there are several
	byAddress map[string][]string // known ids by address, whose names the list no longer has
	taken     map[string]string   // name of the mailbox by its id, of those that have one
}

func newAssignment(list []Mailbox, known map[string]entry) (*assignment, error) {
	a := &assignment{
		known: known, byName: make(map[string]string), byAddress: make(map[string][]string), taken: make(map[string]string, len(list)),
	}
	named := make(map[string]bool, len(list))
	for _, m := range list {
		if named[m.Name] {
			return nil, fmt.Errorf("two mailboxes are called %q", m.Name)
		}
		named[m.Name] = true
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		e := known[id]
		if other, ok := a.byName[e.Name]; !ok || known[other].revision < e.revision {
			a.byName[e.Name] = id
		}
		if e.Address != "" && !named[e.Name] {
			address := strings.ToLower(e.Address)
			a.byAddress[address] = append(a.byAddress[address], id)
		}
	}
	return a, nil
}

func (a *assignment) given(m Mailbox) string { return m.ID }

func (a *assignment) named(m Mailbox) string { return a.byName[m.Name] }

func (a *assignment) addressed(m Mailbox) string {
	for _, id := range a.byAddress[strings.ToLower(m.Address)] {
		if _, taken := a.taken[id]; !taken {
			return id
		}
	}
	return ""
}

// unused is the name itself, or with a number behind it.
func (a *assignment) unused(m Mailbox) string {
	id := m.Name
	for n := 2; ; n++ {
		_, known := a.known[id]
		_, taken := a.taken[id]
		if !known && !taken {
			return id
		}
		id = fmt.Sprintf("%s-%d", m.Name, n)
	}
}
