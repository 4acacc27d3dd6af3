package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/parser"
)

// parsed is one line of the output of parse.
type parsed struct {
	File string     `json:"file"`
	Mail event.Mail `json:"mail"`
}

func newParse() *cobra.Command {
	return &cobra.Command{
		Use:   "parse PATH...",
		Short: "Parse message files and print one JSON line each",
		Long: `Parse message files (RFC 5322) and print one JSON line for each: {"file": PATH, "mail": ...},
where mail is what data.email and its siblings carry in an event. A PATH may be a folder,
which is walked in order, or "-" for the standard input.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, paths []string) error {
			out := json.NewEncoder(c.OutOrStdout())
			out.SetEscapeHTML(false)
			var failed error // what cannot be read does not keep the others from being parsed
			for _, path := range paths {
				failed = errors.Join(failed, parsePath(c.InOrStdin(), out, path))
			}
			return failed
		},
	}
}

func parsePath(stdin io.Reader, out *json.Encoder, path string) error {
	if path == "-" {
		raw, err := io.ReadAll(stdin)
		if err != nil {
			return fmt.Errorf("read the standard input: %w", err)
		}
		return out.Encode(parsed{path, parser.Parse(raw).Mail})
	}
	return filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return out.Encode(parsed{name, parser.Parse(raw).Mail})
	})
}
