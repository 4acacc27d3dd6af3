package configs

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"strings"
)

//go:embed example.yaml
var example []byte

//go:embed schema.json
var schema []byte

// Example returns the annotated example: every key, with its default and what it means.
func Example() []byte { return bytes.Clone(example) }

// Schema returns the JSON Schema (2020-12) of the configuration file.
func Schema() []byte { return bytes.Clone(schema) }

// makeSchema builds the schema from the table of fields.
func makeSchema() []byte {
	root := groupSchema(fields)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "urn:mailflume:schema:config:v1"
	root["title"] = "The configuration of mailflume"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		panic(err) // maps of strings and numbers encode
	}
	return b.Bytes()
}

func groupSchema(in []field) schemaOf {
	properties, required := schemaOf{}, []string{}
	for i := range in {
		properties[in[i].key] = in[i].schema()
		if in[i].required {
			required = append(required, in[i].key)
		}
	}
	s := schemaOf{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func (f *field) schema() schemaOf {
	s := schemaOf{}
	switch {
	case f.group != nil:
		s = groupSchema(f.group)
		if !f.list && !f.required {
			s["type"] = []string{"object", "null"} // all its keys commented out
		}
	default:
		for k, v := range f.kind.schema {
			s[k] = v
		}
	}
	if f.list {
		s = schemaOf{"type": "array", "items": s}
		if f.required || f.def != "" {
			s["minItems"] = 1
		}
	}
	s["description"] = f.doc
	switch {
	case f.def == "":
	case f.list:
		s["default"] = strings.Split(strings.Trim(f.def, "[]"), ", ")
	case s["type"] == "integer":
		s["default"] = json.Number(f.def)
	default:
		s["default"] = f.def
	}
	return s
}
