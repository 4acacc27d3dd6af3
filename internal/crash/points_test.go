package crash

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// function is a function of the program, and what it calls.
type function struct {
	room, name string
	at         token.Position
	points     []string
	calls      []string // names, without what they are called on
	durable    []string // calls after which something outside the process differs
}

// durable are the calls after which something outside the process differs. Where a name alone says too little it stands
// with what it is called on. NOOP is what commands that change a mailbox go out in place of.
var durable = []string{
	"PublishMsg", "PublishMsgAsync", "PublishAsync", "PublishRequest", "RequestMsg", "RequestMsgWithContext",
	"CreateStream", "UpdateStream", "CreateOrUpdateStream", "DeleteStream", "CreateKeyValue", "UpdateKeyValue", "DeleteKeyValue",
	"CreateObjectStore", "nc.Publish", "js.Publish", "kv.Put", "kv.Create", "kv.Update", "kv.Delete", "kv.Purge", "store.Set", "store.Delete",
	"RoundTrip", "client.Do", "http.Do", "http.Post", "http.PostForm", "conf.Token",
	"client.Noop", "client.Store", "client.Move", "client.Copy", "client.Expunge", "client.UIDExpunge", "client.Append",
	"os.WriteFile", "os.Create", "os.CreateTemp", "os.OpenFile", "os.Rename", "os.Link", "os.Symlink", "os.Truncate", "WriteAt",
}

// exempt are functions with such calls in which dying needs no test of its own, and why.
var exempt = map[string]string{
	"publish.ask":                   "reads, and purges chunks that no object names",
	"publish.lockDir":               "the lock is the kernel's and ends with the process; the text in the file is for people",
	"publish.writePID":              "the same",
	"publish.noteAddress":           "the same",
	"publish.hasRoom":               "a file that says nothing, removed at once",
	"publish.mendMeta":              "publish.TestStoreOutlivesKills kills while the store is mended and opened",
	"publish.encryptStore":          "publish.TestEncryptAStore begins after each place where it can die",
	"publish.copyFile":              "the same",
	"token.BeginDevice":             "the request goes through recorder.RoundTrip, which has a point; nothing of it is stored here",
	"mailbox.ServeTrials":           "a setting of a process that is there to die; nothing outlives it",
	"publish.varz":                  "asks a NATS server how it is configured",
	"token.Inspect":                 "asks what a token is good for, and changes nothing there",
	"cmd/mailflume.reachEndpoint":   "asks without a grant, and changes nothing there",
	"cmd/mailflume.forget":          "one write, by a person's command: before it the grant is there, and after it it is not",
	"cmd/mailflume.writeDemoConfig": "a new temporary directory, of nobody else",
}

// functions parses the program.
func functions(t *testing.T) []*function {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all []*function
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"internal", "scripts", "tools", "testdata", "bin"}, d.Name())) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		room, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fs, err := scan(path, filepath.ToSlash(room), text)
		all = append(all, fs...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// scan returns the functions of one file.
func scan(path, room string, text []byte) ([]*function, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		return nil, err
	}
	var all []*function
	for _, d := range file.Decls {
		decl, ok := d.(*ast.FuncDecl)
		if !ok || decl.Body == nil {
			continue
		}
		f := &function{room: room, name: decl.Name.Name, at: set.Position(decl.Pos())}
		ast.Inspect(decl.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				err = f.note(call)
			}
			return err == nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.at, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// note takes a call in.
func (f *function) note(call *ast.CallExpr) error {
	on, name := called(call.Fun)
	if on == "crash" {
		literal, ok := call.Args[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return fmt.Errorf("a crash point is named by a string, where it stands")
		}
		point, err := strconv.Unquote(literal.Value)
		f.points = append(f.points, point)
		return err
	}
	f.calls = append(f.calls, name)
	if slices.Contains(durable, name) || slices.Contains(durable, on+"."+name) {
		f.durable = append(f.durable, on+"."+name)
	}
	return nil
}

// called returns the name of what is called, and the last name of what it is called on.
func called(fun ast.Expr) (on, name string) {
	switch fun := fun.(type) {
	case *ast.Ident:
		return "", fun.Name
	case *ast.SelectorExpr:
		_, on = called(fun.X)
		return on, fun.Sel.Name
	case *ast.CallExpr:
		return called(fun.Fun)
	}
	return "", ""
}

// bare returns the functions with a durable call that can be reached without passing a crash point: they have none, and
// not all that call them have one.
func bare(all []*function) []*function {
	covered := map[*function]bool{}
	callers := func(f *function) (who []*function) {
		for _, c := range all {
			if c.room == f.room && c != f && slices.Contains(c.calls, f.name) {
				who = append(who, c)
			}
		}
		return who
	}
	var covers func(f *function, path []*function) bool
	covers = func(f *function, path []*function) bool {
		if ok, known := covered[f]; known {
			return ok
		}
		ok := len(f.points) > 0 || exempt[f.room+"."+f.name] != ""
		if who := callers(f); !ok && len(who) > 0 && !slices.Contains(path, f) {
			ok = !slices.ContainsFunc(who, func(c *function) bool { return !covers(c, append(path, f)) })
		}
		covered[f] = ok
		return ok
	}
	var found []*function
	for _, f := range all {
		if len(f.durable) > 0 && !covers(f, nil) {
			found = append(found, f)
		}
	}
	return found
}

func TestEveryPointIsInTheCodeAndInTheTable(t *testing.T) {
	used := map[string]bool{}
	for _, f := range functions(t) {
		for _, name := range f.points {
			used[name] = true
			if find(name) == nil {
				t.Errorf("%s: the crash point %q of %s is not in the table", f.at, name, f.name)
			}
		}
	}
	listed := map[string]bool{}
	for _, p := range Points {
		if !used[p.Name] {
			t.Errorf("the crash point %q is nowhere in the code", p.Name)
		}
		if listed[p.Name] || p.When == "" || p.Then == "" {
			t.Errorf("the crash point %q is listed twice, or does not say when it is and what must hold then", p.Name)
		}
		listed[p.Name] = true
	}
}

func TestEveryDurableCallHasAPoint(t *testing.T) {
	all := functions(t)
	for _, f := range bare(all) {
		t.Errorf("%s: %s calls %s, and there is no crash point in it or in all that call it", f.at, f.name, strings.Join(f.durable, ", "))
	}
	n := 0
	for _, f := range all {
		n += len(f.durable)
	}
	if n < 15 {
		t.Errorf("%d durable calls were found: the scan does not see them", n)
	}
	for name := range exempt {
		if !slices.ContainsFunc(all, func(f *function) bool { return f.room+"."+f.name == name && len(f.calls) > 0 }) {
			t.Errorf("%s is exempt and does not exist", name)
		}
	}
}

// The lint is tested by what it must find.
func TestTheLintFindsABareCall(t *testing.T) {
	for text, want := range map[string]string{
		`func a() { nc.PublishMsg(m) }`:                                                        "a",
		`func a() { nc.PublishMsg(m); crash.At("x") }`:                                         "",
		`func a() { if ok { p.nc.PublishMsg(m) } }; func b() { crash.Soon("x"); a() }`:         "",
		`func a() { js.PublishMsg(m) }; func b() { crash.At("x"); a() }; func c() { a() }`:     "a",
		`func a() { s.store.Set(m) }; func b() { s.a() }; func c() { crash.At("x"); q.b() }`:   "",
		`func a() { s.store.Set(m) }; func b() { s.a() }; func c() { q.b() }`:                  "a",
		`func a() { os.WriteFile(m) }; func b() { go func() { crash.At("x"); s.a() }() }`:      "",
		`func a() { m.http.Do(r); b() }; func b() { a() }`:                                     "a",
		`func a() { once.Do(f); header.Set(a, b); p.ask(); flags.Store(1); io.Copy(w, r) }`:    "",
		`func a() { c.client.Store(set, nil, nil) }`:                                           "a",
		`func (w *W) a() { w.r.nc.RequestMsgWithContext(c, m) }; func (v *V) b() { w.a(x()) }`: "a",
	} {
		all, err := scan("x.go", "room", []byte("package x\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range bare(all) {
			names = append(names, f.name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s\nfinds %q, want %q", text, got, want)
		}
	}
	if _, err := scan("x.go", "room", []byte("package x\nfunc a() { crash.At(name) }")); err == nil {
		t.Error("a point without a literal name passes")
	}
}
