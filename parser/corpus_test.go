package parser

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The messages of other projects are read where they lie; they are not ours to copy. scripts/score measures how many are
// right, this test only says that all hold what check asks for.
func TestCorpus(t *testing.T) {
	corpus := os.Getenv("MAILFLUME_CORPUS")
	if corpus == "" {
		t.Skip("MAILFLUME_CORPUS names no folder of messages")
	}
	n := 0
	err := filepath.WalkDir(filepath.Join(corpus, "messages"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".json") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		t.Run(filepath.Base(path), func(t *testing.T) { check(t, raw) })
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("%d messages: %v", n, err)
	}
}
