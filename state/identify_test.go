package state

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestIdentify(t *testing.T) {
	type list = []Mailbox
	m := func(name, address string) Mailbox { return Mailbox{Name: name, Address: address} }
	// Each case is a sequence of configurations and the ids they get, or an error.
	for name, steps := range map[string][]struct {
		list list
		ids  string
	}{
		"the name when first seen":        {{list{m("a", "a@x"), m("b", "b@x")}, "a b"}},
		"the name is kept":                {{list{m("a", "a@x")}, "a"}, {list{m("a", "z@x")}, "a"}},
		"the address is kept":             {{list{m("a", "a@x")}, "a"}, {list{m("z", "A@X")}, "a"}, {list{m("z", "z@x")}, "a"}},
		"an id that is given":             {{list{{ID: "i", Name: "a", Address: "a@x"}}, "i"}, {list{m("a", "")}, "i"}},
		"an id that is given later":       {{list{m("a", "a@x")}, "a"}, {list{{ID: "i", Name: "a", Address: "a@x"}}, "i"}, {list{m("a", "")}, "i"}},
		"removed and added":               {{list{m("a", "a@x"), m("b", "b@x")}, "a b"}, {list{m("b", "b@x")}, "b"}, {list{m("b", "b@x"), m("a", "a@x")}, "b a"}},
		"removed and added, renamed":      {{list{m("a", "a@x")}, "a"}, {list{m("b", "b@x")}, "b"}, {list{m("b", "b@x"), m("c", "a@x")}, "b a"}},
		"addresses exchanged":             {{list{m("a", "a@x"), m("b", "b@x")}, "a b"}, {list{m("a", "b@x"), m("b", "a@x")}, "a b"}},
		"names exchanged with the order":  {{list{m("a", "a@x"), m("b", "b@x")}, "a b"}, {list{m("b", "a@x"), m("a", "b@x")}, "b a"}},
		"an address that is shared":       {{list{m("a", "s@x")}, "a"}, {list{m("a", "s@x"), m("b", "s@x")}, "a b"}},
		"two renamed, one address":        {{list{m("a", "s@x"), m("b", "s@x")}, "a b"}, {list{m("c", "s@x"), m("d", "s@x")}, "a b"}},
		"a name that is another's id":     {{list{m("a", "a@x")}, "a"}, {list{m("old", "a@x")}, "a"}, {list{m("old", "a@x"), m("a", "n@x")}, "a a-2"}, {list{m("a", "n@x")}, "a-2"}},
		"a removed one's id is not taken": {{list{m("a", "a@x")}, "a"}, {list{m("b", "a@x")}, "a"}, {list{m("a", "n@x")}, "a-2"}, {list{m("b", "")}, "a"}},
		"no address":                      {{list{m("a", "")}, "a"}, {list{m("b", "")}, "b"}},
		"the same id twice":               {{list{{ID: "i", Name: "a"}, {ID: "i", Name: "b"}}, "!\"a\" and \"b\""}},
		"an id that another has":          {{list{m("a", "a@x")}, "a"}, {list{m("a", "a@x"), {ID: "a", Name: "b"}}, "!\"b\" and \"a\""}},
		"an id that a new name wants":     {{list{{ID: "b", Name: "a"}, m("b", "b@x")}, "b b-2"}},
		"an id that an address goes with": {{list{m("a", "a@x")}, "a"}, {list{m("z", "a@x"), {ID: "a", Name: "b"}}, "z a"}},
		"the same name twice":             {{list{m("a", "a@x"), m("a", "b@x")}, "!\"a\""}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t)
			s := b.store(b.url())
			for n, step := range steps {
				ids, err := s.Identify(t.Context(), step.list)
				if want, fails := strings.CutPrefix(step.ids, "!"); fails {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("step %d: %v, %v; want an error with %s", n, ids, err, want)
					}
					continue
				}
				if err != nil || strings.Join(ids, " ") != step.ids {
					t.Errorf("step %d: %v, %v; want %s", n, ids, err, step.ids)
				}
				if again, err := s.Identify(t.Context(), step.list); err != nil || !slices.Equal(again, ids) {
					t.Errorf("step %d: %v, then %v (%v)", n, ids, again, err)
				}
			}
		})
	}
}

func TestReplicasIdentifyTheSame(t *testing.T) {
	b := newBroker(t)
	const replicas = 3
	before := []Mailbox{{Name: "a", Address: "a@x"}, {Name: "b", Address: "s@x"}, {Name: "c", Address: "s@x"}, {Name: "d", Address: "d@x"}}
	after := []Mailbox{
		{Name: "a", Address: "n@x"},
		{Name: "y", Address: "s@x"},
		{Name: "z", Address: "s@x"},
		{Name: "moved", Address: "d@x"},
		{Name: "d", Address: "new@x"},
		{Name: "e"},
		{Name: "f"},
		{ID: "g", Name: "h"},
		{Name: "g"},
	}
	stores := make([]*Store, replicas)
	for i := range stores {
		stores[i] = b.store(b.url())
	}
	for _, list := range [][]Mailbox{before, after} {
		answers := make([][]string, replicas)
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() {
				ids, err := s.Identify(t.Context(), list)
				if err != nil {
					t.Error(err)
				}
				answers[i] = ids
			})
		}
		wait.Wait()
		for _, ids := range answers {
			if !slices.Equal(ids, answers[0]) {
				t.Errorf("replicas disagree: %v and %v", answers[0], ids)
			}
		}
		if len(slices.Compact(slices.Sorted(slices.Values(answers[0])))) != len(list) {
			t.Errorf("an id was given twice: %v", answers[0])
		}
	}
}
