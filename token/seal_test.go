package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSealRoundTrip(t *testing.T) {
	line := NewKey()
	k, err := NewKeyring(func() (string, error) { return "# keys\n\n" + line + "\n", nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", strings.Repeat("long", 5000)} {
		v := k.seal(NewSecret(text), []byte("ad"))
		if !strings.HasPrefix(v, "v1|"+k.IDs()[0]+"|") || text != "" && strings.Contains(v, text) && len(text) > 1 {
			t.Errorf("sealed %.40q", v)
		}
		if v == k.seal(NewSecret(text), []byte("ad")) {
			t.Error("sealed twice alike")
		}
		got, err := k.open(v, []byte("ad"))
		if err != nil || got.Reveal() != text {
			t.Errorf("opened %.40q, %v", got.Reveal(), err)
		}
		if _, err := k.open(v, []byte("AD")); err == nil {
			t.Error("opened with another binding")
		}
	}
}

// tamper stores a record, changes it and tells what a Manager makes of it.
func sealedHouse(t *testing.T) (*house, *Manager) {
	h := newHouse(t, lenient)
	m := h.replica("s1")
	h.must(m, account("alice", "rt-canary-0"), "")
	h.must(m, account("bob", "rt-canary-0"), "")
	return h, m
}

func TestEveryByteIsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := sealedHouse(t)
		keys, err := NewKeyring(func() (string, error) { return h.keys, nil })
		if err != nil {
			t.Fatal(err)
		}
		value := h.store.entries["alice"].value
		want, err := decode(keys, "alice", value)
		if err != nil {
			t.Fatal(err)
		}
		for i := range value {
			for _, bit := range []byte{0x01, 0x20, 0x80} {
				bad := bytes.Clone(value)
				bad[i] ^= bit
				got, err := decode(keys, "alice", bad)
				if err != nil {
					wantError[*SealError](t, err)
					continue
				}
				// The case of the outer field names carries no meaning.
				a, _ := json.Marshal(got)  //nolint:errcheck // a test
				b, _ := json.Marshal(want) //nolint:errcheck // a test
				if !bytes.Equal(a, b) || !got.refresh.Equal(want.refresh) || !got.access.Equal(want.access) || !reflect.DeepEqual(got.seen, want.seen) {
					t.Errorf("byte %d (%q): a changed record was accepted", i, value[max(0, i-10):i+1])
				}
			}
		}
	})
}

func TestTamperedRecordsAreRefused(t *testing.T) {
	tests := map[string]func(t *testing.T, s *memory){
		"another mailbox's record": func(_ *testing.T, s *memory) { s.put("alice", s.entries["bob"].value) },
		"another mailbox's field": func(t *testing.T, s *memory) {
			a, b := parts(t, s, "alice"), parts(t, s, "bob")
			a.Refresh = b.Refresh
			s.put("alice", whole(t, a))
		},
		"fields swapped": func(t *testing.T, s *memory) {
			a := parts(t, s, "alice")
			a.Refresh, a.Access = a.Access, a.Refresh
			s.put("alice", whole(t, a))
		},
		"a field left out": func(t *testing.T, s *memory) {
			a := parts(t, s, "alice")
			a.Access = ""
			s.put("alice", whole(t, a))
		},
		"nothing remembered": func(t *testing.T, s *memory) {
			a := parts(t, s, "alice")
			a.Configured = ""
			s.put("alice", whole(t, a))
		},
		"another time's memory": func(t *testing.T, s *memory) {
			var old record
			if err := json.Unmarshal(s.writes[0].value, &old); err != nil {
				t.Fatal(err)
			}
			a := parts(t, s, "alice")
			a.Configured = old.Configured
			s.put("alice", whole(t, a))
		},
		"state forged": func(t *testing.T, s *memory) {
			a := parts(t, s, "alice")
			a.Grant = bytes.Replace(a.Grant, []byte(`"idle"`), []byte(`"needs_person"`), 1)
			s.put("alice", whole(t, a))
		},
		"an older field in the newer record": func(t *testing.T, s *memory) {
			var old record
			if err := json.Unmarshal(s.writes[0].value, &old); err != nil {
				t.Fatal(err)
			}
			a := parts(t, s, "alice")
			a.Refresh = old.Refresh
			s.put("alice", whole(t, a))
		},
		"rolled back to the first": func(_ *testing.T, s *memory) { s.put("alice", s.past("alice")[0]) },
		"rolled back by one": func(_ *testing.T, s *memory) {
			past := s.past("alice")
			s.put("alice", past[len(past)-2])
		},
		"written again as it is": func(_ *testing.T, s *memory) { s.put("alice", s.entries["alice"].value) },
		"newer version": func(t *testing.T, s *memory) {
			a := parts(t, s, "alice")
			a.V++
			s.put("alice", whole(t, a))
		},
		"not JSON": func(_ *testing.T, s *memory) { s.put("alice", []byte("\x00")) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, m := sealedHouse(t)
				change(t, h.store)
				n, value := h.provider.count(), h.store.entries["alice"].value
				_, err := m.Token(t.Context(), account("alice", "rt-canary-0"), "")
				e := wantError[*SealError](t, err)
				if e.Mailbox != "alice" || e.Reason == "" || e.Hint == "" {
					t.Errorf("%+v", e)
				}
				_, err = m.Status(t.Context(), "alice")
				wantError[*SealError](t, err)
				// One that was started only now knows no more than the record.
				_, err = h.replica("new").Token(t.Context(), account("alice", "rt-canary-0"), "")
				wantError[*SealError](t, err)
				if h.provider.count() != n || !bytes.Equal(value, h.store.entries["alice"].value) {
					t.Error("the provider was asked, or the record was written over")
				}
				h.must(m, account("bob", "rt-canary-0"), "")
			})
		})
	}
}

// past returns every value that a record ever had.
func (s *memory) past(key string) (values [][]byte) {
	for _, w := range s.writes {
		if w.key == key {
			values = append(values, w.value)
		}
	}
	return values
}

func parts(t *testing.T, s *memory, key string) record {
	t.Helper()
	var r record
	if err := json.Unmarshal(s.entries[key].value, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func whole(t *testing.T, r record) []byte {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A record that was deleted and made anew is not one that was rolled back.
func TestErasedAndConnectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m := sealedHouse(t)
		time.Sleep(time.Minute)
		delete(h.store.entries, "alice")
		h.must(h.replica("s2"), account("alice", "rt-canary-0"), "")
		h.must(m, account("alice", "rt-canary-0"), "")
	})
}

func TestWrongKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := sealedHouse(t)
		old := h.keys
		id, _, _ := strings.Cut(old, ":")

		h.keys = NewKey()
		_, err := h.replica("s2").Token(t.Context(), account("alice", "rt-canary-0"), "")
		if e := wantError[*SealError](t, err); e.KeyID != id || !strings.Contains(e.Hint, id) || !strings.Contains(e.Hint, "key file") {
			t.Errorf("%+v", e)
		}
		_, other, _ := strings.Cut(NewKey(), ":")
		h.keys = id + ":" + other
		_, err = h.replica("s3").Token(t.Context(), account("alice", "rt-canary-0"), "")
		if e := wantError[*SealError](t, err); !strings.Contains(e.Reason, "other bytes") {
			t.Errorf("%+v", e)
		}

		// The first key seals, all of them open; one that is added to the file later is found.
		h.keys = NewKey()
		m := h.replica("s4")
		h.keys += "\n" + old
		m.keys.source = func() (string, error) { return h.keys, nil }
		first := h.must(m, account("alice", "rt-canary-0"), "")
		h.must(m, account("alice", "rt-canary-0"), first)
		newID, _, _ := strings.Cut(h.keys, ":")
		if r := parts(t, h.store, "alice"); !strings.HasPrefix(r.Refresh, "v1|"+newID+"|") {
			t.Errorf("sealed %.20q", r.Refresh)
		}
	})
}

func TestParseKeys(t *testing.T) {
	good := NewKey()
	_, text, _ := strings.Cut(good, ":")
	bad := map[string]string{
		"":                                   "there is none",
		"# only a comment\n":                 "there is none",
		text:                                 "line 1: is not NAME:KEY",
		"k:" + text[:20]:                     "line 1: key \"k\" has",
		"k:!!!":                              "line 1: key \"k\" is not base64",
		":" + text:                           "the id before the colon",
		"a|b:" + text:                        "the id before the colon",
		good + "\n\n" + good:                 "line 3: the id",
		strings.Repeat("k", 33) + ":" + text: "the id before the colon",
	}
	for in, want := range bad {
		_, err := NewKeyring(func() (string, error) { return in, nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), text[:16]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 32 {
		t.Errorf("NewKey gives %d bytes, %v", len(raw), err)
	}
}

func TestEnsureKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 20 {
		wg.Go(func() {
			created, err := EnsureKeyFile(path)
			if err != nil {
				t.Error(err)
			}
			if created {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("created %d times", made)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	read := func() (string, error) { b, err := os.ReadFile(path); return string(b), err }
	if _, err := NewKeyring(read); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".key*")); len(left) > 0 { //nolint:errcheck // the pattern is good
		t.Errorf("left behind: %v", left)
	}
	if _, err := EnsureKeyFile(filepath.Join(path, "below", "a file")); err == nil {
		t.Error("no error")
	}
}
