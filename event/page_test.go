package event_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
)

// fieldsPage is the page that has the same for people.
func fieldsPage(t *testing.T) []byte {
	s := newSchemas(t)
	var b bytes.Buffer
	b.WriteString("# The event, field by field\n\nEvery field of an event, with its sentence. This page, the [JSON Schema](../event/schema/event.json) and the Go types in\n" +
		"[`event`](../event) are made from one source. [consuming.md](consuming.md) says how to get events.\n\n" +
		"Within one version fields are only added. Let pass what you do not know, and be prepared for a new word where a field has one of several.\n")
	for _, at := range s.places() {
		s.section(&b, at)
	}
	return b.Bytes()
}

// place is a type and where it stands in an event.
type place struct {
	t     reflect.Type
	paths []string
}

// places lists the types from the outside in, each once.
func (s *schemas) places() (all []*place) {
	next := []place{{reflect.TypeFor[event.MessageEvent](), []string{""}}, {reflect.TypeFor[event.MailboxEvent](), []string{""}}}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		if i := slices.IndexFunc(all, func(p *place) bool { return p.t == at.t }); i >= 0 {
			if !slices.Contains(all[i].paths, at.paths[0]) {
				all[i].paths = append(all[i].paths, at.paths[0])
			}
			continue
		}
		all = append(all, &at)
		for _, p := range s.properties(at.t) {
			if inner, suffix := structIn(p.field.Type); inner != nil {
				next = append(next, place{inner, []string{strings.TrimPrefix(at.paths[0]+"."+p.name, ".") + suffix}})
			}
		}
	}
	return all
}

// structIn is the struct that a field has, or has many of, if it is one of ours.
func structIn(t reflect.Type) (inner reflect.Type, suffix string) {
	switch t.Kind() {
	case reflect.Pointer:
		return structIn(t.Elem())
	case reflect.Slice:
		inner, _ = structIn(t.Elem())
		return inner, "[]"
	case reflect.Map:
		inner, _ = structIn(t.Elem())
		return inner, ".*"
	}
	if t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() {
		return t, ""
	}
	return nil, ""
}

func (s *schemas) section(b *bytes.Buffer, at *place) {
	b.WriteString("\n## " + at.t.Name() + "\n\n" + s.comments[at.t.Name()] + "\n")
	if at.paths[0] != "" {
		const most = 4
		more := ""
		if len(at.paths) > most {
			more = ", and more"
		}
		b.WriteString("\nAt `" + strings.Join(at.paths[:min(most, len(at.paths))], "`, `") + "`" + more + ".\n")
	}
	b.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
	for _, p := range s.properties(at.t) {
		is := plainType(p.field.Type)
		if p.null {
			is += " or null"
		}
		if p.optional {
			is += ", may be absent"
		}
		b.WriteString("| `" + p.name + "` | " + is + " | " + strings.ReplaceAll(p.sentence, "<", `\<`) + p.values() + " |\n")
	}
}

// values says which values the property can have, if its sentence does not.
func (p property) values() string {
	if len(p.bounds) == 0 || strings.Contains(p.sentence, "One of:") {
		return ""
	}
	switch values := p.bounds[0].value.(type) {
	case []string:
		return " One of: `" + strings.Join(values, "`, `") + "`."
	case string:
		if p.bounds[0].name == "const" {
			return " Always `" + values + "`."
		}
	}
	return ""
}

// plainType says what a value is.
func plainType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Pointer:
		return plainType(t.Elem())
	case t.Kind() == reflect.Struct:
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")"
	case t.Kind() == reflect.Slice:
		return "list of " + plainType(t.Elem())
	case t.Kind() == reflect.Map:
		return "object of " + plainType(t.Elem())
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "number"
}
