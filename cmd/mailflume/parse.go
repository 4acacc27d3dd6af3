package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/parser"
)

// parsed is one line of the output of parse.
type parsed struct {
	File   string       `json:"file"`
	Mail   event.Mail   `json:"mail"`
	Leaves []leaf       `json:"leaves,omitempty"`
	DKIM   []event.DKIM `json:"dkim,omitempty"`
}

// leaf is one leaf of the whole tree. The leaves in an attached message or in a container follow it; their ids start with
// its id and a dot.
type leaf struct {
	PartID      string `json:"partId"`
	Type        string `json:"type"`
	Name        string `json:"name"`
	Disposition string `json:"disposition"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
}

// parseCommand is what the flags of parse ask for.
type parseCommand struct {
	leaves   bool
	explain  bool
	dkim     bool
	resolver parser.TXTResolver
	out      io.Writer
}

func newParse() *cobra.Command {
	p := parseCommand{resolver: net.DefaultResolver}
	c := &cobra.Command{
		Use:   "parse PATH...",
		Short: "Parse message files and print one JSON line each",
		Long: `Parse message files (RFC 5322) and print one JSON line for each: {"file": PATH, "mail": ...},
where mail is what data.email and its siblings carry in an event. A PATH may be a folder,
which is walked in order, or "-" for the standard input.`,
		Args: func(_ *cobra.Command, paths []string) error {
			if len(paths) == 0 {
				return errors.New("what to parse is missing: files, folders, or - for the standard input")
			}
			return nil
		},
		RunE: func(c *cobra.Command, paths []string) error {
			if p.leaves && p.explain {
				return usage(errors.New("--leaves goes without --explain; see mailflume parse --help"))
			}
			p.out = c.OutOrStdout()
			var failed error // what cannot be read does not keep the others from being parsed
			for _, path := range paths {
				failed = errors.Join(failed, p.path(c.Context(), c.InOrStdin(), path))
			}
			return failed
		},
	}
	c.Flags().BoolVar(&p.leaves, "leaves", false, `add "leaves": every leaf of the whole tree in order, attached messages included`)
	c.Flags().BoolVar(&p.explain, "explain", false, "print the tree, the repairs and why they were made, for a person")
	c.Flags().BoolVar(&p.dkim, "dkim", false, "check the DKIM signatures too, with keys from the DNS")
	return c
}

func (p parseCommand) path(ctx context.Context, stdin io.Reader, path string) error {
	if path == "-" {
		raw, err := io.ReadAll(stdin)
		if err != nil {
			return fmt.Errorf("read the standard input: %w", err)
		}
		return p.message(ctx, path, raw)
	}
	var failed error // nor do the files of a folder keep each other from it
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && d.IsDir():
			return nil
		}
		var raw []byte
		if err == nil {
			raw, err = os.ReadFile(name)
		}
		if err != nil {
			failed = errors.Join(failed, err)
			return nil
		}
		return p.message(ctx, name, raw)
	})
	return errors.Join(failed, err)
}

func (p parseCommand) message(ctx context.Context, name string, raw []byte) error {
	m := parser.Parse(raw)
	var signatures []event.DKIM
	if p.dkim {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		signatures = parser.VerifyDKIM(ctx, raw, p.resolver)
	}
	if p.explain {
		return explainMail(p.out, name, m, signatures)
	}
	line := parsed{File: name, Mail: m.Mail, DKIM: signatures}
	if p.leaves {
		line.Leaves = []leaf{}
		for _, l := range m.Leaves() {
			line.Leaves = append(line.Leaves, leaf{l.PartID, l.Type, l.Name, l.Disposition, l.Size, l.SHA256})
		}
	}
	out := json.NewEncoder(p.out)
	out.SetEscapeHTML(false)
	return out.Encode(line)
}
