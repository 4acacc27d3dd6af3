package parser

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

const defectsPage = "../docs/defects.md"

// docs/defects.md lists every code, and nothing else.
func TestDefectsPage(t *testing.T) {
	var page bytes.Buffer
	page.WriteString("# Defects\n\nThe parser takes messages that are not as the standards want them, and repairs what it can. Each repair is an entry\n" +
		"in `defects` of the event: `code` is stable and keeps its meaning, `partId` names the part (absent: the message\n" +
		"itself), `detail` says more. `mailflume parse --explain FILE` shows them for a message.\n\n" +
		"One code is not the parser's: `event_truncated` says that parts of the event were cut off, so that it fits into one message of the\n" +
		"NATS server (`max_payload`). Texts then have `isTruncated`, and `raw` leads to the whole message, unless `events.raw` is `never`.\n\n| code | what was found, and what was done |\n|---|---|\n")
	for _, m := range meanings {
		fmt.Fprintf(&page, "| `%s` | %s |\n", m.code, m.meaning)
	}
	if *update {
		if err := os.WriteFile(defectsPage, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(defectsPage)
	if err != nil || !bytes.Equal(got, page.Bytes()) {
		t.Errorf("%s does not list what the parser can find (go test ./parser -update writes it anew) (%v)", defectsPage, err)
	}
}

// Every constant has a meaning, and every code is used once.
func TestDefectMeanings(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "defects.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Defect") {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		code, err := strconv.Unquote(literal.Value)
		if err != nil || codes[code] || Explain(code) == "" {
			t.Errorf("%s: code %q stands twice or has no meaning (%v)", spec.Names[0].Name, code, err)
		}
		codes[code] = true
		return true
	})
	if len(codes) != len(meanings) || len(codes) == 0 {
		t.Errorf("%d codes, %d meanings", len(codes), len(meanings))
	}
	if Explain("no.code") != "" {
		t.Error("a code that does not exist has a meaning")
	}
}
