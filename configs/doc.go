// Package configs reads and validates the configuration file; it holds the annotated example, the JSON Schema and the
// provider presets.
//
// One table, fields, is the source of every key: its name, kind, default and the sentence that explains it. The walk
// over the YAML nodes, the environment variables, the schema and the example are made from it. Load reports all
// mistakes of a file at once, each with its line, its path and what to do about it.
package configs

//go:generate go test -run TestCommittedFilesAreCurrent -update .
