package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write example.yaml and schema.json anew")

// TestCommittedFilesAreCurrent holds the example and the schema to the table they are made from.
func TestCommittedFilesAreCurrent(t *testing.T) {
	for file, want := range map[string][]byte{"example.yaml": makeExample(), "schema.json": makeSchema()} {
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, _ := os.ReadFile(file); !bytes.Equal(got, want) {
			t.Errorf("%s is not what fields makes it; run: go generate ./configs", file)
		}
	}
}

// mistakesOf parses a text and returns what is wrong with it, one line each.
func mistakesOf(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	_, err := Parse("mailflume.yaml", []byte(text), environ)
	if err == nil {
		return nil
	}
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("error is a %T, want *Error: %v", err, err)
	}
	return strings.Split(all.Error(), "\n")
}

func mustParse(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	c, err := Parse("mailflume.yaml", []byte(text), environ)
	if err != nil {
		t.Fatalf("Parse:\n%v", err)
	}
	return c
}

// small is the least that a configuration needs.
const small = `
mailboxes:
  - {name: a, address: a@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}}
`

// exampleDir is a directory in which the example's references lead somewhere.
func exampleDir(t *testing.T) (dir string, text []byte) {
	t.Helper()
	dir = t.TempDir()
	text = Example()
	for word := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == ' ' || r == '\n' }) {
		file, ok := strings.CutPrefix(word, "file:")
		if !ok && strings.HasPrefix(word, "certs/") {
			file, ok = word, true
		}
		if !ok || !strings.Contains(file, "/") {
			continue
		}
		path := filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("secret of "+file+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, text
}

func TestExampleLoads(t *testing.T) {
	dir, text := exampleDir(t)
	path := filepath.Join(dir, "mailflume.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Mailboxes) != 3 || len(c.Clients) != 2 || c.File != path || c.Data != filepath.Join(dir, "data") {
		t.Errorf("loaded %+v", c)
	}
	m := c.Mailboxes[0]
	if m.Host != "imap.gmail.com" || m.Port != 993 || m.Security != "tls" || m.User != m.Address || m.Raw != "on_defect" {
		t.Errorf("preset of gmail: %+v", m)
	}
	if got, err := c.ClientOf(m).Secret.Read(); err != nil || got != "secret of secrets/google-client-secret" {
		t.Errorf("Read() = %q, %v", got, err)
	}
	if c.Mailboxes[1].Start.String() != "2026-01-01" || c.ClientOf(c.Mailboxes[1]).Provider != "microsoft" {
		t.Errorf("outlook: %+v", c.Mailboxes[1])
	}
}

// TestExampleHasEveryKey reads the example with all that stands behind a # switched on: every key of the table is
// there, under its parent, and nothing but exclusive choices is wrong.
func TestExampleHasEveryKey(t *testing.T) {
	var on strings.Builder
	for line := range strings.Lines(string(Example())) {
		if trimmed := strings.TrimLeft(line, " "); len(trimmed) > 1 && trimmed[0] == '#' && trimmed[1] >= 'a' && trimmed[1] <= 'z' {
			line = strings.Replace(line, "#", "", 1)
		}
		on.WriteString(line)
	}
	r := newReader("example.yaml", "", newEnvironment(nil))
	found := r.document([]byte(on.String()))
	for _, m := range r.mistakes {
		t.Errorf("the example with everything switched on: %v", m)
	}
	each(fields, "", func(path string, f *field) {
		at := strings.ReplaceAll(path, "[]", "[0]")
		if _, ok := r.marks[at]; !ok {
			t.Errorf("the example lacks %s", path)
		}
		if f.doc == "" {
			t.Errorf("%s has no doc", path)
		}
	})
	validate(t, on.String())
	if _, err := decode(found, nil, r.at); err != nil {
		t.Error(err)
	}
}

// validate checks a configuration against the schema.
func validate(t *testing.T, text string) {
	t.Helper()
	if err := schemaError(t, text); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
}

func schemaError(t *testing.T, text string) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("urn:mailflume:schema:config:v1", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:mailflume:schema:config:v1")
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	var plainDates func(n *yaml.Node)
	plainDates = func(n *yaml.Node) { // to JSON a date is a text
		if n.Tag == "!!timestamp" {
			n.Tag = "!!str"
		}
		for _, c := range n.Content {
			plainDates(c)
		}
	}
	plainDates(&node)
	var value any
	if err := node.Decode(&value); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	return s.Validate(value)
}

func TestSchema(t *testing.T) {
	validate(t, string(Example()))
	validate(t, small)
	for name, text := range map[string]string{
		"unknown key":  small + "colour: red\n",
		"plain secret": strings.Replace(small, "env:PW", "hunter2", 1),
		"wrong word":   small + "log: {level: loud}\n",
		"wrong type":   small + "nats: {stream: {replicas: many}}\n",
		"no address":   strings.Replace(small, "address: a@example.com, ", "", 1),
		"no mailbox":   "log: {level: info}\n",
	} {
		if schemaError(t, text) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
		if mistakesOf(t, text, "PW=x") == nil {
			t.Errorf("%s: Parse accepts it", name)
		}
	}
	each(fields, "", func(path string, f *field) {
		if !bytes.Contains(Schema(), []byte(`"`+f.key+`": {`)) {
			t.Errorf("the schema lacks %s", path)
		}
	})
}

// TestTableAndStructsAgree compares the table of fields with the structs that viper fills.
func TestTableAndStructsAgree(t *testing.T) {
	var paths []string
	var walk func(at string, s reflect.Type)
	walk = func(at string, s reflect.Type) {
		for i := range s.NumField() {
			f := s.Field(i)
			key := f.Tag.Get("mapstructure")
			if key == "-" {
				continue
			}
			path := join(at, key)
			paths = append(paths, path)
			ft := f.Type
			if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct {
				path, ft = path+"[]", ft.Elem()
			}
			if ft.Kind() == reflect.Struct && ft != reflect.TypeFor[Ref]() && ft != reflect.TypeFor[Start]() && ft != reflect.TypeFor[Date]() {
				walk(path, ft)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	var table []string
	each(fields, "", func(path string, f *field) {
		table = append(table, path)
		if f.required && f.def != "" {
			t.Errorf("%s is required and has a default", path)
		}
		f.byDefault(path, place{})
		if f.show != "" && f.kind != nil && !f.list {
			if _, err := f.kind.read(f.show, place{}); err != nil {
				t.Errorf("%s: what the example shows is wrong: %v", path, err)
			}
		}
	})
	slices.Sort(paths)
	slices.Sort(table)
	if !slices.Equal(paths, table) {
		t.Errorf("structs: %v\ntable: %v", paths, table)
	}
	names := map[string]string{}
	eachScalar(fields, "", func(path string, _ *field) {
		if other, ok := names[envName(path)]; ok || foreign.MatchString(envName(path)) {
			t.Errorf("%s: its variable %s is taken (by %q)", path, envName(path), other)
		}
		names[envName(path)] = path
	})
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, small, "PW=x")
	want := &Config{
		File: "mailflume.yaml", Data: "data", Memory: 256 << 20,
		Log:     Log{Level: "info", Format: "text"},
		HTTP:    HTTP{Listen: "127.0.0.1:8080"},
		Limits:  Limits{MessageSize: 64 << 20, LoginsPerSecond: 20, LoginGap: 30 * time.Second, Connections: 3},
		Replica: Replica{Lease: 15 * time.Second},
		NATS: NATS{
			Embedded: Embedded{Listen: "127.0.0.1:4222"}, Bucket: "mail", State: "mailflume",
			Stream: Stream{Name: "MAIL", MaxAge: 30 * day},
		},
		Events: Events{Raw: "on_defect", Mode: "structured", Attachments: "store"},
		Mailboxes: []Mailbox{{
			Name: "a", Address: "a@example.com", Provider: "imap", Host: "imap.example.com", Port: 993, Security: "tls",
			User: "a@example.com", Login: c.Mailboxes[0].Login, Folders: []string{"INBOX"}, Raw: "on_defect",
			IdleRefresh: 9 * time.Minute, Poll: 5 * time.Minute,
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// TestReadmeConfigs loads the two short files that README shows.
func TestReadmeConfigs(t *testing.T) {
	for file, want := range map[string]struct{ host, token, scope string }{
		"gmail.yaml":   {"imap.gmail.com", "https://oauth2.googleapis.com/token", "https://mail.google.com/"},
		"outlook.yaml": {"outlook.office365.com", "https://login.microsoftonline.com/common/oauth2/v2.0/token", "https://outlook.office.com/IMAP.AccessAsUser.All"},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > 12 {
			t.Errorf("%s has %d lines; README promises about ten", file, n)
		}
		c, err := Parse("testdata/"+file, text, []string{"GOOGLE_CLIENT_SECRET=s"})
		if err != nil {
			t.Fatalf("%s:\n%v", file, err)
		}
		validate(t, string(text))
		m := c.Mailboxes[0]
		client := c.ClientOf(m)
		if m.Host != want.host || client.Endpoints.Token != want.token || client.Scopes[0] != want.scope {
			t.Errorf("%s: %+v %+v", file, m, client)
		}
	}
}

// TestDocsConfigs loads every configuration that docs show.
func TestDocsConfigs(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	shown := 0
	for _, file := range []string{"google.md", "microsoft.md"} {
		text, err := os.ReadFile("../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			shown++
			// A file of the reader's becomes a variable of the test's.
			config := regexp.MustCompile(`file:(secrets/\S+)`).ReplaceAllString(m[1], "env:DOC")
			if _, err := Parse("mailflume.yaml", []byte(config), []string{"DOC=x"}); err != nil {
				t.Errorf("%s:\n%s\n%v", file, m[1], err)
			}
			validate(t, config)
		}
	}
	if shown < 5 {
		t.Errorf("%d configurations", shown)
	}
}

// TestClouds holds the presets to the hosts of each cloud.
func TestClouds(t *testing.T) {
	for cloud, want := range map[string][3]string{
		"worldwide": {"https://login.microsoftonline.com/t1/oauth2/v2.0/token", "https://outlook.office.com/IMAP.AccessAsUser.All", "outlook.office365.com"},
		"gcc":       {"https://login.microsoftonline.com/t1/oauth2/v2.0/token", "https://outlook.office.com/IMAP.AccessAsUser.All", "outlook.office365.com"},
		"gcc-high":  {"https://login.microsoftonline.us/t1/oauth2/v2.0/token", "https://outlook.office365.us/IMAP.AccessAsUser.All", "outlook.office365.us"},
		"dod":       {"https://login.microsoftonline.us/t1/oauth2/v2.0/token", "https://outlook-dod.office365.us/IMAP.AccessAsUser.All", "outlook-dod.office365.us"},
		"china":     {"https://login.partner.microsoftonline.cn/t1/oauth2/v2.0/token", "https://partner.outlook.cn/IMAP.AccessAsUser.All", "partner.outlook.cn"},
	} {
		parse := func(client, box string) (Client, Mailbox) {
			c := mustParse(t, "clients: [{name: m, provider: microsoft, id: x, tenant: t1, cloud: "+cloud+client+"}]\n"+
				"mailboxes: [{name: a, address: a@example.com, provider: outlook, login: {client: m, refresh_token: env:PW}"+box+"}]\n", "PW=x")
			return c.Clients[0], c.Mailboxes[0]
		}
		c, m := parse("", "")
		if got := [3]string{c.Endpoints.Token, c.Scopes[0], m.Host}; got != want || m.Cloud != cloud || c.Scopes[1] != "offline_access" {
			t.Errorf("%s: %q", cloud, got)
		}
		// Each of the three hosts can be set by itself.
		c, m = parse(", authority: https://login.example.com/, scope_host: scope.example.com", ", host: 127.0.0.1, port: 1143, security: plain")
		if c.Endpoints.Token != "https://login.example.com/t1/oauth2/v2.0/token" || c.Scopes[0] != "https://scope.example.com/IMAP.AccessAsUser.All" || m.Host != "127.0.0.1" || m.Port != 1143 {
			t.Errorf("%s: %+v %+v", cloud, c, m)
		}
		c, _ = parse(", endpoints: {token: 'http://127.0.0.1:8081/token'}, scopes: [one]", "")
		if c.Endpoints.Token != "http://127.0.0.1:8081/token" || c.Endpoints.Authorize == "" || c.Endpoints.Revoke+c.Endpoints.TokenInfo != "" || len(c.Scopes) != 1 || c.Scopes[0] != "one" {
			t.Errorf("%s: %+v", cloud, c)
		}
	}
}

// What a mailbox costs does not grow with the number of the others: there may be thousands.
func TestManyMailboxesCostNoMoreEach(t *testing.T) {
	cost := func(n int) float64 {
		var text strings.Builder
		text.WriteString("mailboxes:\n")
		for i := range n {
			fmt.Fprintf(&text, "  - {name: m%d, address: m%[1]d@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}, folders: [INBOX, Work]}\n", i)
		}
		return testing.AllocsPerRun(1, func() { mustParse(t, text.String(), "PW=x") }) / float64(n)
	}
	if few, many := cost(100), cost(800); many > 2*few {
		t.Errorf("%.0f allocations each of 100 mailboxes, %.0f each of 800", few, many)
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]Size{"64MiB": 64 << 20, "10MB": 10e6, "1 gib": 1 << 30, "5": 5, "7B": 7, "0": 0} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
		if again, err := ParseSize(got.String()); again != got || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v", got.String(), again, err)
		}
	}
	for text, want := range map[string]time.Duration{"9m": 9 * time.Minute, "30d": 720 * time.Hour, "1h30m": 90 * time.Minute, "2w": 14 * day, "500ms": time.Second / 2, "0": 0} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
		if again, err := ParseDuration(strings.Replace(formatDuration(got), "0s", "0", 1)); got != 0 && (again != got || err != nil) {
			t.Errorf("ParseDuration(%q) = %v, %v", formatDuration(got), again, err)
		}
	}
	for _, text := range []string{"", "-1m", "1.5h", "m", "1y", "99999999999999999999s", "9999999999w", "1h 2m"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, d)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "1K", "MiB", "99999999999999999999"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v", text, n)
		}
	}
}
