package configs

import (
	"bytes"
	"strings"
)

// exampleWidth is where comments of the example are wrapped.
const exampleWidth = 110

const exampleHead = `# The configuration of mailflume: every key, with what it means. Most files need the first two lists only.
#
# A key behind a # is set to its default, or is one that few need. Secrets never stand in this file: file:PATH names a
# file that holds one and nothing else (relative paths start at this file's directory), env:NAME an environment variable.
# Keys outside lists can be set by environment variables too: nats.url by MAILFLUME_NATS_URL, log.level by
# MAILFLUME_LOG_LEVEL. A variable wins over the file. MAILFLUME_CONFIG names the file itself, for commands without --config.
# mailflume config validate FILE lists what is wrong with a file.
# For help in an editor: mailflume config schema > schema.json, and as first line "# yaml-language-server: $schema=schema.json".
`

// makeExample builds the annotated example from the table of fields.
func makeExample() []byte {
	var b bytes.Buffer
	b.WriteString(exampleHead)
	for i := range fields {
		b.WriteString("\n")
		fields[i].example(&b, "", "")
	}
	return b.Bytes()
}

// example writes the comment of a field and its line. Lead stands before the line in place of the indentation: it has
// the hyphen of a list's item.
func (f *field) example(b *bytes.Buffer, indent, lead string) {
	comment(b, indent, f.describe())
	if lead == "" {
		lead = indent
	}
	if !f.active {
		lead += "#"
	}
	switch {
	case f.list && f.group != nil:
		b.WriteString(lead + f.key + ":\n")
		for i := range f.group {
			first := ""
			if i == 0 {
				first = indent + "  - "
			}
			f.group[i].example(b, indent+"    ", first)
		}
		for line := range strings.Lines(f.more) {
			if line != "\n" {
				line = indent + "  " + line
			}
			b.WriteString(line)
		}
	case f.group != nil:
		b.WriteString(lead + f.key + ":\n")
		for i := range f.group {
			sub := f.group[i]
			sub.active = sub.active && f.active
			sub.example(b, indent+"  ", "")
		}
	default:
		b.WriteString(lead + f.key + ": " + f.sample() + "\n")
	}
}

// describe is the field's comment, with the default if the line below does not show it.
func (f *field) describe() string {
	if f.def == "" || f.show == "" || strings.Contains(f.doc, "Default:") {
		return f.doc
	}
	return f.doc + " Default: " + f.def + "."
}

func comment(b *bytes.Buffer, indent, doc string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(doc) {
		if len(line)+1+len(word) > exampleWidth {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
