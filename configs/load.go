package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFile is the largest configuration file, in bytes: some ten thousand mailboxes.
const maxFile = 8 << 20

// Load reads the configuration file at path, with what the environment overrides. The error is an *Error.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("it is larger than %v", Size(maxFile))
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		m := Mistake{File: path, What: "the configuration file cannot be read: " + withoutPath(err).Error(), Fix: "correct the path or its permissions"}
		if errors.Is(err, fs.ErrNotExist) {
			m.What, m.Fix = "the configuration file does not exist", "make one from the output of: mailflume config example"
		}
		return nil, &Error{[]Mistake{m}}
	}
	return Parse(path, text, os.Environ())
}

// Parse reads a configuration from text. Name is the file it came from: relative paths start in its directory. Environ
// has the variables ("KEY=value") that override it and that env: references name. The error is an *Error.
func Parse(name string, text []byte, environ []string) (*Config, error) {
	r := newReader(name, filepath.Dir(name), newEnvironment(environ))
	found := r.document(text)
	c, err := decode(found, r.overrides(), r.at)
	if err != nil { // the table and the structs disagree: a test rules it out
		r.say("", err.Error(), "this is a bug of mailflume; please report it")
	}
	if err == nil && !r.bad[""] {
		c.File = name
		check(c, r)
	}
	if len(r.mistakes) > 0 {
		sortMistakes(r.mistakes)
		return nil, &Error{r.mistakes}
	}
	return c, nil
}

// document reads the one YAML document that the text must be.
func (r *reader) document(text []byte) map[string]any {
	if len(text) > maxFile {
		r.say("", "is larger than "+Size(maxFile).String(), "split it")
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		r.syntax(err, text)
		return nil
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		r.marks[""] = mark{line: second.Line}
		r.say("", "has a second document", "remove the line --- and what follows it")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err, text)
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	r.marks[""] = mark{line: root.Line}
	if root.Kind != yaml.MappingNode {
		r.say("", "must be a group of keys, not "+kindName(root), "begin with mailboxes:")
		return nil
	}
	delete(r.marks, "")
	found, _ := r.group(root, "", fields).(map[string]any)
	return found
}

var (
	yamlLine   = regexp.MustCompile(`line (\d+)(?:, column \d+)?: `)
	yamlAnchor = regexp.MustCompile(`anchor '([^']*)'`)
)

// syntax reports what the YAML parser says. It can repeat text of the file behind a * or &, which could be a secret.
func (r *reader) syntax(err error, text []byte) {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		line, _ := strconv.Atoi(m[1])
		r.marks[""] = mark{line: line}
		what = strings.Replace(what, m[0], "", 1)
	}
	if m := yamlAnchor.FindStringSubmatch(what); m != nil {
		if i := bytes.Index(text, []byte("*"+m[1])); i >= 0 {
			r.marks[""] = mark{line: 1 + bytes.Count(text[:i], []byte("\n"))}
		}
		what = strings.Replace(what, " '"+m[1]+"'", "", 1)
	}
	fix := "check the indentation, quotes and colons on this line and the one above it"
	switch {
	case strings.Contains(what, "unknown escape"):
		fix = `use single quotes around a backslash: '\Junk'`
	case strings.Contains(what, "unknown anchor"):
		fix = "put quotes around a value that begins with *"
	case strings.Contains(what, "cannot start any token"):
		fix = "indent with spaces, not tabs, and put quotes around a value that begins with a special character"
	}
	if !printable(what) {
		what = strings.ToValidUTF8(strings.ReplaceAll(what, "\n", " "), "?")
	}
	r.say("", "is not YAML: "+what, fix)
}

// decode hands the sound part of the file, the overrides and the defaults to viper.
func decode(found, overrides map[string]any, at place) (*Config, error) {
	v := viper.New()
	eachScalar(fields, "", func(path string, f *field) {
		if d := f.byDefault(path, at); d != nil {
			v.SetDefault(path, d)
		}
	})
	if err := v.MergeConfigMap(found); err != nil {
		return nil, err
	}
	for path, value := range overrides {
		v.Set(path, value)
	}
	c := new(Config)
	if err := v.Unmarshal(c); err != nil {
		return nil, err
	}
	return c, nil
}
