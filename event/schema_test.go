package event_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
)

var update = flag.Bool("update", false, "write the schemas and docs/event.md anew")

// The schemas and the page about the fields are what the types say: names, types, what may be absent or null, and sentences.
func TestCommittedFilesAreCurrent(t *testing.T) {
	for file, want := range map[string][]byte{
		"schema/event.json":   encoded(t, eventDocument(t)),
		"schema/message.json": encoded(t, dataDocument(t, event.SchemaMessage, reflect.TypeFor[event.Message]())),
		"schema/mailbox.json": encoded(t, dataDocument(t, event.SchemaMailbox, reflect.TypeFor[event.MailboxChange]())),
		"../docs/event.md":    fieldsPage(t),
	} {
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types say; go generate ./event writes it anew (%v)", file, err)
		}
	}
}

// object is a JSON object that keeps the order of its members.
type object []member

type member struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := e.Encode(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func encoded(t *testing.T, o object) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	hex128 = "^[0-9a-f]{32}$"
	hex256 = "^[0-9a-f]{64}$"
)

// bounds is what the types alone do not say, by type and name of a field.
var bounds = map[string]object{
	"Envelope.specversion":     {{"const", "1.0"}},
	"Envelope.id":              {{"pattern", hex128}},
	"Envelope.source":          {{"pattern", "^/mailboxes/[A-Za-z0-9_-]+(/folders/[A-Za-z0-9_-]+)?$"}},
	"Envelope.datacontenttype": {{"const", "application/json"}},
	"MessageEvent.dataschema":  {{"const", event.SchemaMessage}},
	"MailboxEvent.dataschema":  {{"const", event.SchemaMailbox}},
	"Message.direction":        {{"const", event.Sent}},
	"Mailbox.provider":         {{"enum", []string{"gmail", "outlook", "imap"}}},
	"Email.id":                 {{"pattern", hex128}},
	"Email.blobId":             {{"pattern", hex256}},
	"Email.preview":            {{"maxLength", 256}},
	"EmailBodyPart.blobId":     {{"pattern", hex256}},
	"Attachment.sha256":        {{"pattern", hex256}},
	"Ref.name":                 {{"pattern", "^[A-Za-z0-9_-]+/[0-9a-f]{64}$"}},
	"Ref.sha256":               {{"pattern", hex256}},
	"Class.signed":             {{"enum", []string{"smime", "pgp"}}},
	"Class.encrypted":          {{"enum", []string{"smime", "pgp"}}},
	"BouncedRecipient.action":  {{"enum", []string{"failed", "delayed"}}},
}

// words are the fields whose values are constants of this package: those whose names begin so.
var words = map[string]string{
	"MessageEvent.type": "Type", "Envelope.cause": "Cause", "Dead.reason": "Reason", "MailboxChange.state": "State",
}

// without are the attributes that events about mailboxes never have.
var without = []string{"MailboxEvent.subject", "MailboxEvent.cause"}

// schemas makes the definitions of types.
type schemas struct {
	t         *testing.T
	comments  map[string]string // by "Type" and "Type.Field"
	constants []constant
	made      map[string]object
	used      map[string]bool // of bounds, words and without
}

type constant struct{ name, value, comment string }

func newSchemas(t *testing.T) *schemas {
	s := &schemas{t: t, comments: map[string]string{}, made: map[string]object{}, used: map[string]bool{}}
	for _, name := range []string{"event.go", "email.go"} {
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				s.read(g)
			}
		}
	}
	return s
}

// read collects the comments of a declaration.
func (s *schemas) read(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			s.comments[spec.Name.Name], _, _ = strings.Cut(strings.TrimSpace(g.Doc.Text()), "\n\n")
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range structure.Fields.List {
				for _, n := range f.Names {
					s.comments[spec.Name.Name+"."+n.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		case *ast.ValueSpec:
			if literal, ok := first(spec.Values).(*ast.BasicLit); ok && g.Tok == gotoken.CONST {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					s.t.Fatal(err)
				}
				s.constants = append(s.constants, constant{spec.Names[0].Name, value, strings.TrimSpace(spec.Comment.Text())})
			}
		}
	}
}

func first(list []ast.Expr) ast.Expr {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// property is one field of a type, its own or one of a type that is embedded in it.
type property struct {
	field    reflect.StructField
	within   string // the type that declares it
	name     string
	optional bool
	null     bool
	sentence string
	bounds   object
}

// properties lists the fields of a type in order.
func (s *schemas) properties(outer reflect.Type) (all []property) {
	var walk func(in reflect.Type)
	walk = func(in reflect.Type) {
		for i := range in.NumField() {
			f := in.Field(i)
			if f.Anonymous {
				walk(f.Type)
				continue
			}
			if p, there := s.property(outer, in, f); there {
				all = append(all, p)
			}
		}
	}
	walk(outer)
	return all
}

func (s *schemas) property(outer, in reflect.Type, f reflect.StructField) (p property, there bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	p = property{field: f, within: in.Name(), name: name, optional: options != "", sentence: s.comments[in.Name()+"."+f.Name]}
	if i := slices.Index(without, outer.Name()+"."+name); i >= 0 {
		s.used[without[i]] = true
		return p, false
	}
	if p.sentence == "" || name == "" {
		s.t.Errorf("%s.%s has no sentence, or no name in JSON", in.Name(), f.Name)
	}
	switch saysNull := strings.Contains(p.sentence, "null"); {
	case p.optional && saysNull, f.Type.Kind() == reflect.Pointer && !p.optional && !saysNull:
		s.t.Errorf("%s.%s: its sentence is wrong about null", in.Name(), f.Name)
	case f.Type.Kind() == reflect.Pointer, f.Type.Kind() == reflect.Slice:
		p.null = saysNull && !p.optional
	}
	keys := []string{in.Name() + "." + name, outer.Name() + "." + name}
	for _, key := range slices.Compact(keys) {
		if b, ok := bounds[key]; ok {
			s.used[key], p.bounds = true, b
		}
		if prefix, ok := words[key]; ok {
			s.used[key] = true
			p.choose(s.constants, prefix)
		}
	}
	if outer == reflect.TypeFor[event.MailboxEvent]() && name == "type" {
		var types []string
		for _, state := range event.States {
			types = append(types, event.MailboxType(state))
		}
		p.bounds = object{{"enum", types}}
	}
	return p, true
}

// choose makes the property one of the constants whose names begin with prefix, and has its sentence say what they mean.
func (p *property) choose(constants []constant, prefix string) {
	var values, meanings []string
	for _, c := range constants {
		if !strings.HasPrefix(c.name, prefix) {
			continue
		}
		values = append(values, c.value)
		if c.comment != "" {
			meanings = append(meanings, c.value+" ("+c.comment+")")
		}
	}
	p.bounds = object{{"enum", values}}
	if len(meanings) > 0 {
		p.sentence += " One of: " + strings.Join(meanings, ", ") + "."
	}
}

// schema is the schema of a property.
func (s *schemas) schema(p property) object {
	o := object{{"description", p.sentence}}
	kind := s.kind(p.field.Type)
	switch ref := kind[0].name == "$ref"; {
	case ref && p.null:
		o = append(o, member{"anyOf", []object{kind, {{"type", "null"}}}})
	case ref: // beside a reference draft-07 reads nothing
		o = append(o, member{"allOf", []object{kind}})
	case p.null:
		o = append(append(o, member{"type", []any{kind[0].value, "null"}}), kind[1:]...)
	default:
		o = append(o, kind...)
	}
	return append(o, p.bounds...)
}

// kind is the schema of a type. Structs become definitions.
func (s *schemas) kind(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{{"type", "string"}, {"format", "date-time"}}
	case t.Kind() == reflect.Pointer:
		return s.kind(t.Elem())
	case t.Kind() == reflect.Struct:
		s.define(t)
		return object{{"$ref", "#/definitions/" + t.Name()}}
	case t.Kind() == reflect.Slice:
		return object{{"type", "array"}, {"items", s.kind(t.Elem())}}
	case t == reflect.TypeFor[map[string]bool]():
		return object{{"type", "object"}, {"additionalProperties", object{{"const", true}}}}
	case t.Kind() == reflect.Map:
		return object{{"type", "object"}, {"additionalProperties", s.kind(t.Elem())}}
	case t.Kind() == reflect.String:
		return object{{"type", "string"}}
	case t.Kind() == reflect.Bool:
		return object{{"type", "boolean"}}
	case t.Kind() == reflect.Int:
		return object{{"type", "integer"}}
	case t.Kind() == reflect.Int64:
		return object{{"type", "integer"}, {"minimum", 0}}
	case t.Kind() == reflect.Uint32:
		return object{{"type", "integer"}, {"minimum", 0}, {"maximum", 1<<32 - 1}}
	}
	s.t.Fatalf("no schema for %v", t)
	return nil
}

// define makes the definition of a struct, once.
func (s *schemas) define(t reflect.Type) {
	if _, there := s.made[t.Name()]; there {
		return
	}
	s.made[t.Name()] = nil // it may contain itself
	s.made[t.Name()] = s.structure(t)
}

func (s *schemas) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, p := range s.properties(t) {
		properties = append(properties, member{p.name, s.schema(p)})
		if !p.optional {
			required = append(required, p.name)
		}
	}
	o := object{
		{"description", strings.ReplaceAll(s.comments[t.Name()], "\n", " ")},
		{"type", "object"},
		{"properties", properties},
		{"required", required},
	}
	if t == reflect.TypeFor[event.MessageEvent]() {
		dead := object{{"properties", object{{"type", object{{"const", event.TypeDead}}}}}}
		has := object{{"required", []string{"dead"}}}
		o = append(o, member{"if", dead}, member{"then", within("data", has)}, member{"else", within("data", object{{"not", has}})})
	}
	return o
}

func within(name string, o object) object {
	return object{{"properties", object{{name, o}}}}
}

func (s *schemas) definitions() object {
	var all object
	for _, name := range slices.Sorted(maps.Keys(s.made)) {
		all = append(all, member{name, s.made[name]})
	}
	return all
}

const draft = "http://json-schema.org/draft-07/schema#" // what AsyncAPI documents can refer to

func eventDocument(t *testing.T) object {
	s := newSchemas(t)
	one := []object{s.kind(reflect.TypeFor[event.MessageEvent]()), s.kind(reflect.TypeFor[event.MailboxEvent]())}
	for _, table := range [][]string{slices.Collect(maps.Keys(bounds)), slices.Collect(maps.Keys(words)), without} {
		for _, key := range table {
			if !s.used[key] {
				t.Errorf("there is no field %s", key)
			}
		}
	}
	return object{
		{"$schema", draft},
		{"$id", event.SchemaEvent},
		{"title", "An event of Mailflume"},
		{"description", "A CloudEvent in structured mode. Within one version fields are only added: let pass what you do not know."},
		{"oneOf", one},
		{"definitions", s.definitions()},
	}
}

func dataDocument(t *testing.T, id string, data reflect.Type) object {
	s := newSchemas(t)
	root := s.structure(data)
	return append(append(object{{"$schema", draft}, {"$id", id}}, root...), member{"definitions", s.definitions()})
}
