package arch

import (
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// page reads a file of the repository.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages lists the Markdown files, by their path in the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "../.." || slices.Contains([]string{"node_modules", "testdata"}, d.Name())) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			short, err := filepath.Rel("../..", name)
			if err != nil {
				return err
			}
			found[filepath.ToSlash(short)] = page(t, short)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan  = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	notAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors lists what a link to a page can end in: its headings, as GitHub and others make anchors of them.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// Every link from one page of the repository to another leads somewhere, to its heading too.
func TestLinksLeadSomewhere(t *testing.T) {
	all, seen := pages(t), 0
	for name, text := range all {
		text = codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			seen++
			target, anchor, _ := strings.Cut(m[1], "#")
			file := path.Join(path.Dir(name), target)
			if target == "" {
				file = name
			}
			if _, err := os.Stat(filepath.Join("../..", file)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
			if anchor != "" && strings.HasSuffix(file, ".md") && !slices.Contains(anchors(all[file]), anchor) {
				t.Errorf("%s links to %s, which has no such heading: it has %q", name, m[1], anchors(all[file]))
			}
		}
	}
	if len(all) < 8 || seen < 20 {
		t.Errorf("%d links in %d pages: the pattern does not find them", seen, len(all))
	}
}

// both reports what only one of two lists has.
func both(t *testing.T, what string, program map[string]bool, documented []string) {
	t.Helper()
	if len(program) == 0 {
		t.Errorf("there is no %s: the pattern does not find them", what)
	}
	for name := range program {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/operations.md lacks the %s %s", what, name)
		}
	}
	for _, name := range documented {
		if !program[name] {
			t.Errorf("docs/operations.md has the %s %s, which the program does not have", what, name)
		}
	}
}

// calls visits every call of the program.
func calls(t *testing.T, visit func(s source, name string, call *ast.CallExpr)) {
	for _, s := range shipped(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch f := call.Fun.(type) {
			case *ast.SelectorExpr:
				visit(s, f.Sel.Name, call)
			case *ast.Ident:
				visit(s, f.Name, call)
			}
			return true
		})
	}
}

// literal is a string that stands in the source as it is.
func literal(e ast.Expr) (text string, is bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// docs/operations.md has every metric, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	program := make(map[string]bool)
	calls(t, func(_ source, name string, call *ast.CallExpr) {
		if name == "NewDesc" {
			text, _ := literal(call.Args[0])
			program[text] = true
		}
	})
	found := regexp.MustCompile(`\bmailflume_\w+`).FindAllString(page(t, "docs/operations.md"), -1)
	both(t, "metric", program, found)
}

// keyTable is the part of docs/operations.md about the log: the first column of its first table.
func keyTable(t *testing.T) (keys []string) {
	_, text, _ := strings.Cut(page(t, "docs/operations.md"), "\n## The log\n")
	text, _, _ = strings.Cut(text, "Notices")
	for _, row := range regexp.MustCompile(`(?m)^\| (.+?) \|`).FindAllStringSubmatch(text, -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			keys = append(keys, m[1])
		}
	}
	return keys
}

// docs/operations.md has every key of the log, and no other.
func TestEveryLogKeyIsDocumented(t *testing.T) {
	program := make(map[string]bool)
	calls(t, func(s source, name string, call *ast.CallExpr) {
		args := call.Args
		switch {
		case s.room == "configs": // its say is about the file
			return
		case name == "With" && !of(call, "crash"):
		case slices.Contains([]string{"Debug", "Info", "Warn", "Error", "Log", "say"}, name):
			i := slices.IndexFunc(args, func(e ast.Expr) bool { _, is := message(e); return is })
			if i < 0 {
				return
			}
			args = args[i+1:]
		default:
			return
		}
		if len(args)%2 != 0 {
			return // a page's sentence and hint
		}
		for i := 0; i < len(args); i += 2 {
			if key, is := literal(args[i]); is {
				program[key] = true
			}
		}
	})
	both(t, "key of the log", program, keyTable(t))
}

// of says whether a function is one of that package.
func of(call *ast.CallExpr, room string) bool {
	f, is := call.Fun.(*ast.SelectorExpr)
	if !is {
		return false
	}
	x, is := f.X.(*ast.Ident)
	return is && x.Name == room
}

// message is the text of a log line: a literal, or one with something added, or a variable called so.
func message(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return message(e.X)
	case *ast.Ident:
		return e.Name, e.Name == "why" || e.Name == "message"
	}
	return literal(e)
}

// Every word that the program uses as a code, in metrics, events, the log or status, is explained.
func TestEveryCodeIsDocumented(t *testing.T) {
	for _, table := range []struct {
		room, prefix, page string
		least              int
	}{
		{"publish", "Weak", "docs/operations.md", 7},
		{"mailbox", "notice", "docs/operations.md", 6},
		{"mailbox", "drop", "docs/operations.md", 4},
		{"mailbox", "action", "docs/operations.md", 3},
		{"mailbox", "State", "docs/operations.md", 6},
		{"mailbox", "DefectTruncated", "docs/defects.md", 1},
		{"event", "State", "docs/event.md", 7},
		{"event", "Reason", "docs/event.md", 3},
		{"event", "Cause", "docs/event.md", 5},
		{"parser", "Defect", "docs/defects.md", 40},
	} {
		text, found := page(t, table.page), 0
		for name, value := range constants(t, table.room) {
			if !strings.HasPrefix(name, table.prefix) {
				continue
			}
			found++
			if !regexp.MustCompile(`(^|[^\w.])` + regexp.QuoteMeta(value) + `($|[^\w.]|\.\s)`).MatchString(text) {
				t.Errorf("%s lacks %s (%s.%s)", table.page, value, table.room, name)
			}
		}
		if found < table.least {
			t.Errorf("%d constants of %s begin with %s, want at least %d", found, table.room, table.prefix, table.least)
		}
	}
	operations := page(t, "docs/operations.md")
	warnings := 0
	calls(t, func(s source, name string, call *ast.CallExpr) {
		if s.room != "token" || filepath.Base(s.name) != "forecast.go" || name != "warn" {
			return
		}
		warnings++
		if code, is := literal(call.Args[0]); !is || !strings.Contains(operations, "`"+code+"`") {
			t.Errorf("docs/operations.md lacks the warning %s", code)
		}
	})
	if warnings < 4 {
		t.Errorf("%d warnings", warnings)
	}
}

// constants returns the texts of a room's constants, by name.
func constants(t *testing.T, room string) map[string]string {
	all := make(map[string]string)
	for _, s := range sources(t) {
		if s.test() || s.room != room {
			continue
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				if v := spec.(*ast.ValueSpec); len(v.Values) == 1 {
					if text, is := literal(v.Values[0]); is {
						all[v.Names[0].Name] = text
					}
				}
			}
		}
	}
	return all
}

// The headers that are written are those of the AsyncAPI document, and no other.
func TestEveryHeaderIsDocumented(t *testing.T) {
	document := page(t, "event/schema/asyncapi.yaml")
	_, schemas, _ := strings.Cut(document, "\n  schemas:\n")
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^        ([\w-]+):`).FindAllStringSubmatch(schemas, -1) {
		documented[m[1]] = true
	}
	written := 0
	for name, header := range constants(t, "publish") {
		if !strings.HasPrefix(name, "header") {
			continue
		}
		written++
		if !documented[header] {
			t.Errorf("event/schema/asyncapi.yaml lacks the header %s", header)
		}
		delete(documented, header)
	}
	for header := range documented {
		if !strings.HasPrefix(header, "ce-") { // those of binary mode are held to real messages
			t.Errorf("event/schema/asyncapi.yaml has the header %s, which nobody writes", header)
		}
	}
	if written < 10 {
		t.Errorf("%d headers", written)
	}
}

// What docs/consuming.md shows in Go is code that a test runs.
func TestConsumingShowsTestedCode(t *testing.T) {
	tested := page(t, "internal/contract/subscriber_test.go")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(page(t, "docs/consuming.md"), -1)
	if len(blocks) < 2 {
		t.Errorf("%d pieces of Go", len(blocks))
	}
	for _, m := range blocks {
		if !strings.Contains(tested, m[1]) {
			t.Errorf("internal/contract/subscriber_test.go does not have this:\n%s", m[1])
		}
	}
}

// Every verb of the Makefile says what it is for and stands in a group; the long proofs are named where newcomers look.
func TestMakefileVerbs(t *testing.T) {
	makefile, contributing := page(t, "Makefile"), page(t, "CONTRIBUTING.md")
	phony := regexp.MustCompile(`(?m)^\.PHONY: (\w+)\n(\w+):(.*)$`).FindAllStringSubmatch(makefile, -1)
	if len(phony) != strings.Count(makefile, ".PHONY") || len(phony) < 20 {
		t.Errorf("%d verbs, %d times .PHONY", len(phony), strings.Count(makefile, ".PHONY"))
	}
	for _, m := range phony {
		if m[1] != m[2] || !strings.Contains(m[3], " ## ") {
			t.Errorf("make %s: %s says nothing", m[1], m[2])
		}
		_, before, _ := strings.Cut(makefile, "\n##@ Proofs")
		if strings.Contains(before, ".PHONY: "+m[1]+"\n") && !strings.Contains(contributing, "`"+m[1]+"`") {
			t.Errorf("CONTRIBUTING.md does not name make %s", m[1])
		}
	}
}
