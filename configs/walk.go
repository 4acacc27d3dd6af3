package configs

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds the work that aliases can make of a small file.
const maxNodes = 1 << 18

// mark is where a setting was made.
type mark struct {
	line int
	env  string // the variable, if one made it
}

// reader takes a file apart: it walks the YAML nodes along the table of fields and keeps what is sound.
type reader struct {
	file     string
	at       place
	marks    map[string]mark // path -> where it is set
	has      map[string]bool // paths of values that are set, and of the groups that hold them
	bad      map[string]bool // paths with a mistake: no check repeats it
	referred map[string]bool // variables that env: references name
	mistakes []Mistake
	nodes    int
}

func newReader(file, base string, env *environment) *reader {
	return &reader{
		file: file, at: place{base: base, env: env},
		marks: map[string]mark{}, has: map[string]bool{}, bad: map[string]bool{}, referred: map[string]bool{},
	}
}

// say records a mistake about a setting, at its line or at that of what holds it.
func (r *reader) say(path, what, fix string) {
	r.bad[path] = true
	for at := path; ; at = parent(at) {
		m, ok := r.marks[at]
		switch {
		case ok && m.env != "":
			r.mistakes = append(r.mistakes, Mistake{File: environmentFile, Path: m.env, What: what, Fix: fix})
		case ok || at == "":
			r.mistakes = append(r.mistakes, Mistake{File: r.file, Line: m.line, Path: path, What: what, Fix: fix})
		default:
			continue
		}
		return
	}
}

// note remembers that a value is set.
func (r *reader) note(path string) {
	for ; path != "" && !r.has[path]; path = parent(path) {
		r.has[path] = true
	}
}

// set reports whether the file or the environment sets a value, or any value below a group.
func (r *reader) set(path string) bool { return r.has[path] }

// sound reports that none of the paths has a mistake.
func (r *reader) sound(paths ...string) bool {
	for _, p := range paths {
		if r.bad[p] {
			return false
		}
	}
	return true
}

// parent cuts the last step off a path.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// value reads the node of a field. It returns nil for what is absent or unsound.
func (r *reader) value(n *yaml.Node, path string, f *field) any {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if r.nodes++; r.nodes > maxNodes {
		if r.nodes == maxNodes+1 {
			r.say(path, "the file is too large once its aliases are followed", "use fewer aliases")
			r.bad[""] = true // the rest was not looked at
		}
		return nil
	}
	empty := n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	switch {
	case f.list && empty:
		return nil
	case f.list:
		r.note(path)
		return r.list(n, path, f)
	case f.group != nil && empty:
		return r.group(&yaml.Node{Kind: yaml.MappingNode, Line: n.Line}, path, f.group)
	case f.group != nil:
		return r.group(n, path, f.group)
	}
	r.note(path)
	return r.scalar(n, path, f, empty)
}

func (r *reader) scalar(n *yaml.Node, path string, f *field, empty bool) any {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.say(path, "must be a single value, not "+kindName(n), fixScalar(f))
		return nil
	case empty:
		r.say(path, "has no value", "give it one or remove the line")
		return nil
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		r.say(path, "has a tag", "remove the word that begins with !")
		return nil
	}
	at := r.at
	at.path = path
	v, err := f.kind.read(n.Value, at)
	if err != nil {
		flaw := asFlaw(err)
		r.say(path, flaw.what, flaw.fix)
		return nil
	}
	r.noteRef(v)
	return v
}

func fixScalar(f *field) string {
	switch {
	case f.kind.secret:
		return "write file:PATH or env:NAME"
	case f.show != "":
		return "write it as in: " + f.key + ": " + f.show
	case f.def != "":
		return "write it as in: " + f.key + ": " + f.def
	}
	return "write the value behind the colon"
}

func (r *reader) noteRef(v any) {
	if ref, ok := v.(Ref); ok && ref.name != "" {
		r.referred[ref.name] = true
	}
}

func (r *reader) list(n *yaml.Node, path string, f *field) any {
	if n.Kind != yaml.SequenceNode {
		fix := "write " + f.key + ": [ONE, TWO]"
		if f.group != nil {
			fix = "begin each entry with \"- " + f.group[0].key + ":\" on its own line"
		}
		r.say(path, "must be a list, not "+kindName(n), fix)
		return nil
	}
	items := make([]any, 0, len(n.Content))
	one := *f
	one.list = false
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.marks[at] = mark{line: item.Line}
		if item.Kind == yaml.ScalarNode && item.Tag == "!!null" {
			r.say(at, "is empty", "fill it in or remove the hyphen")
		} else if v := r.value(item, at, &one); v != nil {
			items = append(items, v)
			continue
		}
		r.bad[at] = true // it keeps its place, so that the later ones keep their index
		if f.group != nil {
			items = append(items, map[string]any{})
		} else {
			items = append(items, "")
		}
	}
	return items
}

// group reads a mapping. What is absent gets its default, if it has one.
func (r *reader) group(n *yaml.Node, path string, known []field) any {
	if n.Kind != yaml.MappingNode {
		r.say(path, "must be a group of keys, not "+kindName(n), "write its keys below it, indented: "+orList(keysOf(known)))
		return nil
	}
	found := map[string]any{}
	seen := map[string]int{}
	for _, p := range r.pairs(n, path, 0) {
		key, line := p.key.Value, p.key.Line
		first, twice := seen[key]
		if p.merged && twice {
			continue
		}
		if twice {
			r.mistakes = append(r.mistakes, Mistake{
				File: r.file, Line: line, Path: join(path, printKey(key)),
				What: fmt.Sprintf("is set twice, first on line %d", first), Fix: "keep one of the two",
			})
			continue
		}
		seen[key] = line
		f := find(known, key)
		if f == nil {
			r.unknownKey(path, key, line, known)
			continue
		}
		at := join(path, key)
		r.marks[at] = mark{line: line}
		if v := r.value(p.value, at, f); v != nil {
			found[key] = v
		}
	}
	if strings.Contains(path, "[") { // outside lists, defaults are viper's
		r.fill(found, path, known)
	}
	return found
}

// fill adds the defaults of what is absent from a group.
func (r *reader) fill(found map[string]any, path string, known []field) {
	for i := range known {
		f := &known[i]
		at := join(path, f.key)
		if _, ok := found[f.key]; ok || r.bad[at] {
			continue
		}
		if f.required && !r.bad[path] {
			r.say(at, "is missing", "add "+f.key+": "+f.sample())
		}
		if v := f.byDefault(at, r.at); v != nil {
			found[f.key] = v
		}
	}
}

type pair struct {
	key, value *yaml.Node
	merged     bool
}

// pairs lists the keys of a mapping, and after them those that "<<" merges into it.
func (r *reader) pairs(n *yaml.Node, path string, depth int) []pair {
	var own, merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			r.mistakes = append(r.mistakes, Mistake{
				File: r.file, Line: key.Line, Path: path,
				What: "has a key that is " + kindName(key), Fix: "write keys as plain words",
			})
		case key.Tag == "!!merge":
			merged = append(merged, r.merge(value, path, depth)...)
		default:
			own = append(own, pair{key: key, value: value})
		}
	}
	return append(own, merged...)
}

func (r *reader) merge(n *yaml.Node, path string, depth int) []pair {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if r.nodes += 1 + len(n.Content); depth > 8 || r.nodes > maxNodes {
		r.mistakes = append(r.mistakes, Mistake{File: r.file, Line: n.Line, Path: path, What: "merges too much with <<", Fix: "write the keys out"})
		return nil
	}
	var all []pair
	switch n.Kind {
	case yaml.MappingNode:
		all = r.pairs(n, path, depth+1)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			all = append(all, r.merge(item, path, depth+1)...)
		}
	default:
		r.mistakes = append(r.mistakes, Mistake{File: r.file, Line: n.Line, Path: path, What: "merges with << what is " + kindName(n), Fix: "name an anchor of a group: <<: *name"})
	}
	for i := range all {
		all[i].merged = true
	}
	return all
}

func (r *reader) unknownKey(path, key string, line int, known []field) {
	fix := "use " + orList(keysOf(known))
	if len(known) > 10 {
		fix = "remove it; mailflume config example shows all keys"
	}
	if near, ok := closest(key, keysOf(known)); ok {
		fix = "did you mean " + near + "?"
		r.bad[join(path, near)] = true // that it is missing is not a second mistake
	} else if homes := homesOf(key); len(homes) > 0 {
		fix = "it belongs to " + orList(homes)
	}
	r.mistakes = append(r.mistakes, Mistake{
		File: r.file, Line: line, Path: join(path, printKey(key)), What: "is not a key", Fix: fix,
	})
}

// printKey makes a key of the file safe to print.
func printKey(key string) string {
	if len(key) > 40 || !printable(key) || key == "" {
		return quote(key[:min(len(key), 40)])
	}
	return key
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return "a single value"
	}
	return "something else"
}
