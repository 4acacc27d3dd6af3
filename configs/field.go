package configs

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// field is one key of the configuration file. The whole of what we know of it is here.
type field struct {
	key      string
	doc      string  // for the example and the schema
	kind     *kind   // of a scalar, or of the items of a list
	group    []field // the keys of a mapping, or of each item of a list of mappings
	list     bool
	required bool
	def      string // default, as YAML writes it
	show     string // what the example shows instead of the default
	active   bool   // the example sets it; otherwise it stands there behind a #
	more     string // further items that the example shows, as YAML
}

func find(in []field, key string) *field {
	for i := range in {
		if in[i].key == key {
			return &in[i]
		}
	}
	return nil
}

func keysOf(in []field) []string {
	keys := make([]string, len(in))
	for i, f := range in {
		keys[i] = f.key
	}
	return keys
}

// eachScalar visits the scalars outside lists: those that an environment variable can set.
func eachScalar(in []field, at string, visit func(path string, f *field)) {
	for i := range in {
		f := &in[i]
		switch path := join(at, f.key); {
		case f.list:
		case f.group != nil:
			eachScalar(f.group, path, visit)
		default:
			visit(path, f)
		}
	}
}

// each visits every field, with [] for the items of lists in its path.
func each(in []field, at string, visit func(path string, f *field)) {
	for i := range in {
		f := &in[i]
		path := join(at, f.key)
		visit(path, f)
		if f.list && f.group != nil {
			path += "[]"
		}
		each(f.group, path, visit)
	}
}

// homesOf lists the groups that have a key of this name.
func homesOf(key string) []string {
	var homes []string
	each(fields, "", func(path string, f *field) {
		if home := strings.TrimSuffix(path, "."+key); f.key == key && home != path {
			homes = append(homes, home)
		}
	})
	return homes
}

// sample is a value that the field could have.
func (f *field) sample() string {
	if f.show != "" {
		return f.show
	}
	return f.def
}

// byDefault returns the default of a field: nil if it has none.
func (f *field) byDefault(path string, at place) any {
	if f.def == "" {
		return nil
	}
	at.path = path
	if !f.list {
		v, err := f.kind.read(f.def, at)
		if err != nil {
			panic(fmt.Sprintf("configs: default of %s: %v", path, err)) // a test reads every default
		}
		return v
	}
	var items []any
	if err := yaml.Unmarshal([]byte(f.def), &items); err != nil {
		panic(fmt.Sprintf("configs: default of %s: %v", path, err))
	}
	return items
}
