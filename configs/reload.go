package configs

import (
	"fmt"
	"os"
	"reflect"
	"slices"
)

// SameMailbox reports whether nothing has changed for a mailbox between c, which has m, and other, which has o: neither its
// own settings nor what it takes from others. Files that references name may have other contents.
func (c *Config) SameMailbox(m Mailbox, other *Config, o Mailbox) bool {
	return reflect.DeepEqual(m, o) && reflect.DeepEqual(c.ClientOf(m), other.ClientOf(o)) &&
		c.Events == other.Events && c.Limits.MessageSize == other.Limits.MessageSize
}

// SecretFiles returns the files that a mailbox's login reads: its own and those of its client.
func (c *Config) SecretFiles(m Mailbox) []string {
	refs := []Ref{m.Login.RefreshToken, m.Login.Password}
	if client := c.ClientOf(m); client != nil {
		refs = append(refs, client.Secret, client.Cert, client.Service)
	}
	files := []string{}
	for _, ref := range refs {
		if p := ref.Path(); p != "" {
			files = append(files, p)
		}
	}
	return append(files, slices.DeleteFunc([]string{m.CA, m.Login.TokenFile}, func(p string) bool { return p == "" })...)
}

// reloadable are the settings that may change while the program runs. What follows from them is begun anew for the
// mailboxes concerned.
var reloadable = []string{"mailboxes", "clients", "events", "after", "limits.message_size"}

// Fixed returns an *Error that names each setting of next that differs from c and cannot change while the program runs, or
// nil.
func (c *Config) Fixed(next *Config) error {
	var changed []Mistake
	line := linesOf(next.File)
	eachDifference(reflect.ValueOf(*c), reflect.ValueOf(*next), "", func(path string) {
		changed = append(changed, Mistake{
			File: next.File, Line: line(path), Path: path, What: "restart needed: this setting cannot change while mailflume runs",
			Fix: "restart mailflume, or take the change back; until then the old configuration goes on, in all its parts",
		})
	})
	if len(changed) == 0 {
		return nil
	}
	sortMistakes(changed)
	return &Error{changed}
}

// eachDifference visits the settings that differ and are not reloadable.
func eachDifference(a, b reflect.Value, at string, visit func(path string)) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		key := f.Tag.Get("mapstructure")
		path := join(at, key)
		switch {
		case !f.IsExported() || key == "-" || slices.Contains(reloadable, path):
		case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Ref]():
			eachDifference(a.Field(i), b.Field(i), path, visit)
		case !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
			visit(path)
		}
	}
}

// linesOf returns where the settings of a file stand: those that it does not name are where what would hold them is, or at 0.
func linesOf(file string) func(path string) int {
	text, err := os.ReadFile(file)
	r := newReader(file, "", newEnvironment(nil))
	if err == nil {
		r.document(text)
	}
	return func(path string) int {
		for ; path != "" && r.marks[path].line == 0; path = parent(path) {
		}
		return r.marks[path].line
	}
}

// Summary says what is different in next for people, such as "2 mailboxes added, 1 changed".
func (c *Config) Summary(next *Config) string {
	names := func(config *Config) map[string]Mailbox {
		all := make(map[string]Mailbox, len(config.Mailboxes))
		for _, m := range config.Mailboxes {
			all[m.Name] = m
		}
		return all
	}
	before, after := names(c), names(next)
	added, changed, removed := 0, 0, 0
	for name, m := range after {
		switch o, ok := before[name]; {
		case !ok:
			added++
		case !next.SameMailbox(m, c, o):
			changed++
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			removed++
		}
	}
	return fmt.Sprintf("%d mailboxes: %d added, %d changed, %d removed", len(next.Mailboxes), added, changed, removed)
}
