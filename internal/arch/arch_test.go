package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/mailflume/mailflume"

// rooms is the import table: what of ours each room may import. A room that is not here may not exist.
var rooms = map[string][]string{
	"configs":       {"fetcher", "publish", "state", "token"},
	"fetcher":       {"internal/crash"},
	"event":         {},
	"parser":        {"event"},
	"publish":       {"event", "internal/crash", "internal/handover", "internal/natsconn"},
	"mailbox":       {"event", "fetcher", "internal/crash", "parser", "publish"},
	"token":         {"internal/crash"},
	"state":         {"internal/crash", "internal/natsconn"},
	"web":           {"internal/crash", "internal/handover", "mailbox", "token"},
	"cmd/mailflume": {"configs", "event", "fetcher", "internal/crash", "internal/samples", "internal/sim", "mailbox", "parser", "publish", "state", "token", "web"},

	"internal/crash":    {},
	"internal/handover": {},
	"internal/natsconn": {},
}

// keepers says which library may be imported in which rooms only, and why.
var keepers = map[string]struct {
	rooms []string
	why   string
}{
	"github.com/emersion/go-imap":    {[]string{"fetcher"}, "its traps are dealt with in one place"},
	"github.com/emersion/go-message": {[]string{"parser"}, "its refusals are dealt with in one place"},
	"github.com/emersion/go-msgauth": {[]string{"parser"}, "it is given no more than it can check in time"},
	"github.com/nats-io/":            {[]string{"publish", "state", "internal/natsconn"}, "the commit protocol must not be gone around"},
	"github.com/spf13/viper":         {[]string{"configs"}, "its traps are dealt with in one place"},
	"golang.org/x/oauth2":            {[]string{"token"}, "a grant is saved before it is used"},
	"github.com/spf13/cobra":         {[]string{"cmd/mailflume"}, "flags belong to the program"},
}

// source is one Go file of the module.
type source struct {
	room string // its folder, with slashes
	name string
	file *ast.File
	set  *token.FileSet
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

// inside says whether the file is part of the program and its library, as opposed to what only tests and the demo need.
func (s source) inside() bool {
	_, listed := rooms[s.room]
	return listed || !strings.HasPrefix(s.room, "internal/") && !strings.HasPrefix(s.room, "scripts/")
}

// sources are the Go files of the module.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var parsed = sync.OnceValues(func() ([]source, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	var all []source
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != root || d.Name() == "testdata" || d.Name() == "tools") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		room, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		all = append(all, source{room: filepath.ToSlash(room), name: name, file: file, set: set})
		return nil
	})
	return all, err
})

// shipped are those of them that are part of the program and its library, without their tests.
func shipped(t *testing.T) (all []source) {
	t.Helper()
	for _, s := range sources(t) {
		if s.inside() && !s.test() {
			all = append(all, s)
		}
	}
	return all
}

func imports(s source) []string {
	var all []string
	for _, spec := range s.file.Imports {
		all = append(all, strings.Trim(spec.Path.Value, `"`))
	}
	return all
}

func TestImportTable(t *testing.T) {
	for _, s := range sources(t) {
		allowed, known := rooms[s.room]
		if s.inside() && !known {
			t.Errorf("%s: room %s is not in the import table", s.name, s.room)
			continue
		}
		if s.test() || !s.inside() {
			continue
		}
		for _, imported := range imports(s) {
			ours, isOurs := strings.CutPrefix(imported, module+"/")
			if isOurs && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s: the import table does not allow it", s.name, ours)
			}
		}
	}
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range sources(t) {
		for _, imported := range imports(s) {
			for library, keeper := range keepers {
				if !strings.HasPrefix(imported, library) {
					continue
				}
				seen[library] = true
				if s.inside() && !s.test() && !slices.Contains(keeper.rooms, s.room) {
					t.Errorf("%s imports %s, which only %v may: %s", s.name, imported, keeper.rooms, keeper.why)
				}
			}
		}
	}
	for library := range keepers {
		if !seen[library] {
			t.Errorf("nobody imports %s any more: take it off the list", library)
		}
	}
}

func TestEventUsesTheStandardLibraryAlone(t *testing.T) {
	for _, s := range sources(t) {
		if s.room != "event" || s.test() {
			continue
		}
		for _, imported := range imports(s) {
			if strings.Contains(strings.Split(imported, "/")[0], ".") {
				t.Errorf("%s imports %s: consumers must be able to import event without dependencies", s.name, imported)
			}
		}
	}
}

func TestOnePackageCommentEach(t *testing.T) {
	comments := make(map[string]int)
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		comments[s.room] += 0
		if s.file.Doc == nil {
			continue
		}
		comments[s.room]++
		want := "Package " + path.Base(s.room) + " "
		if strings.HasPrefix(s.room, "cmd/") || s.file.Name.Name == "main" {
			want = "Command "
		}
		if text := s.file.Doc.Text(); !strings.HasPrefix(text, want) {
			t.Errorf("%s: the package comment begins %.40q, want %q", s.name, text, want)
		}
	}
	for room, n := range comments {
		if n != 1 {
			t.Errorf("room %s has %d package comments, want 1", room, n)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range shipped(t) {
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !standardMethod(d.Name.Name) {
					t.Errorf("%s: %s has no doc comment", s.set.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						t.Errorf("%s: %s has no doc comment", s.set.Position(ts.Pos()), ts.Name.Name)
					}
				}
			}
		}
	}
}

// standardMethod says whether a method is one that every Go programmer knows from its interface.
func standardMethod(name string) bool {
	return slices.Contains([]string{
		"Error", "Unwrap", "Is", "String", "GoString", "Format", "MarshalJSON", "MarshalText", "UnmarshalText", "LogValue",
	}, name)
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	expr := d.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	name, ok := expr.(*ast.Ident)
	return ok && name.IsExported()
}

func TestNoContextInStructs(t *testing.T) {
	for _, s := range shipped(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			structure, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range structure.Fields.List {
				if sel, ok := field.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
					t.Errorf("%s: a context is never stored", s.set.Position(field.Pos()))
				}
			}
			return true
		})
	}
}

// A file much over 400 lines or a function much over 60 probably holds two ideas.
func TestSizes(t *testing.T) {
	const longestFile, longestFunction = 450, 75
	for _, s := range shipped(t) {
		if lines := s.set.Position(s.file.End()).Line; lines > longestFile {
			t.Errorf("%s has %d lines, want at most %d", s.name, lines, longestFile)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line; lines > longestFunction {
				t.Errorf("%s: %s has %d lines, want at most %d", s.set.Position(f.Pos()), f.Name.Name, lines, longestFunction)
			}
		}
	}
}

func TestNoVagueRooms(t *testing.T) {
	vague := []string{"util", "utils", "common", "types", "models", "helpers", "misc", "base"}
	for _, s := range sources(t) {
		if slices.Contains(vague, path.Base(s.room)) {
			t.Errorf("%s: a room called %s says nothing", s.name, path.Base(s.room))
		}
	}
}

func TestGoModHasNoReplace(t *testing.T) {
	if regexp.MustCompile(`(?m)^\s*replace\b`).MatchString(page(t, "go.mod")) {
		t.Error("go.mod has a replace directive: go install would refuse the module")
	}
}

// symbol is a `package.Name` or `package.Type.Method` in backticks.
var symbol = regexp.MustCompile("`?\\b(event|fetcher|parser|publish|mailbox|token|state|web|configs)\\.([A-Z]\\w*)(?:\\.([A-Z]\\w*))?")

// declared lists the exported names of each room: "Type", "Func", "Type.Method" and "Type.Field".
func declared(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		room := path.Base(s.room)
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					expr := d.Recv.List[0].Type
					if star, ok := expr.(*ast.StarExpr); ok {
						expr = star.X
					}
					if receiver, ok := expr.(*ast.Ident); ok {
						name = receiver.Name + "." + name
					}
				}
				names[room+"."+name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						names[room+"."+spec.Name.Name] = true
						if structure, ok := spec.Type.(*ast.StructType); ok {
							for _, field := range structure.Fields.List {
								for _, name := range field.Names {
									names[room+"."+spec.Name.Name+"."+name.Name] = true
								}
							}
						}
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							names[room+"."+name.Name] = true
						}
					}
				}
			}
		}
	}
	return names
}

func TestArchitectureNamesWhatExists(t *testing.T) {
	text := page(t, "ARCHITECTURE.md")
	names := declared(t)
	found := symbol.FindAllStringSubmatch(text, -1)
	if len(found) < 10 {
		t.Fatalf("ARCHITECTURE.md names %d symbols: the pattern does not find them", len(found))
	}
	for _, m := range found {
		name := m[1] + "." + m[2]
		if m[3] != "" {
			name += "." + m[3]
		}
		if !names[name] {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", name)
		}
	}
	files := regexp.MustCompile("`([\\w/]+\\.go)`").FindAllStringSubmatch(text, -1)
	for _, m := range files {
		if _, err := os.Stat("../../" + m[1]); err != nil {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", m[1])
		}
	}
	if len(files) < 8 {
		t.Errorf("ARCHITECTURE.md names %d files: the pattern does not find them", len(files))
	}
}

func TestArchitectureListsEveryRoom(t *testing.T) {
	text := page(t, "ARCHITECTURE.md")
	for room := range rooms {
		if !strings.Contains(text, "| `"+room+"` |") {
			t.Errorf("ARCHITECTURE.md does not list the room %s", room)
		}
	}
}

// What README promises, tests show: each link to one leads to a test that exists.
func TestReadmeNamesTestsThatExist(t *testing.T) {
	text := page(t, "README.md")
	links := regexp.MustCompile(`\]\(([\w/.-]+_test\.go)#(\w+)\)`).FindAllStringSubmatch(text, -1)
	for _, m := range links {
		source, err := os.ReadFile("../../" + m[1])
		if err != nil || !strings.Contains(string(source), "\nfunc "+m[2]+"(t *testing.T)") {
			t.Errorf("README.md names %s in %s, which is not there (%v)", m[2], m[1], err)
		}
	}
	promises := regexp.MustCompile(`(?m)^- \*\*C[1-8]\*\* (?:.+\n(?:  .+\n)*)`).FindAllString(text, -1)
	if len(promises) != 8 {
		t.Errorf("README.md has %d promises, want 8", len(promises))
	}
	for _, p := range promises {
		if !strings.Contains(p, "_test.go#Test") {
			t.Errorf("no test shows this: %s", p)
		}
	}
}

// README shows two configurations, which package configs loads in its tests.
func TestReadmeShowsTheTestedConfigurations(t *testing.T) {
	text := page(t, "README.md")
	for _, name := range []string{"gmail.yaml", "outlook.yaml"} {
		if !strings.Contains(text, page(t, "configs/testdata/"+name)) {
			t.Errorf("README.md does not show configs/testdata/%s as it is", name)
		}
	}
}
