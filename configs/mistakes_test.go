package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTenMistakes is the promise: ten different mistakes, exactly ten messages, each with line, path and remedy.
func TestTenMistakes(t *testing.T) {
	const text = `
log: {levle: debug}
memory: 64 parsecs
nats:
  url: http://nats.example.com
sealing_key: hunter2
clients:
  - name: google
    provider: google
    id: abc
    id: def
mailboxes:
  - name: a
    address: a at example.com
    provider: gmail
    login: {client: gogle, refresh_token: env:TOKEN}
  - name: b
    address: b@outlook.com
    provider: outlook
    login: {password: env:TOKEN}
    folders: ["\\Jnk"]
    start: yesterday
`
	got := mistakesOf(t, text, "TOKEN=t")
	want := []string{
		`mailflume.yaml:2: log.levle: is not a key; did you mean level?`,
		`mailflume.yaml:3: memory: "64 parsecs" has the unknown unit "parsecs"; write a whole number with a unit: 64MiB (1024s), 64MB (1000s), or plain bytes`,
		`mailflume.yaml:5: nats.url: is not the URL of a NATS server; write nats://host:4222 (or tls://, ws://, wss://), several with commas between them`,
		`mailflume.yaml:6: sealing_key: must be a reference, not the secret itself; put it into a file and write file:PATH here, or into a variable and write env:NAME`,
		`mailflume.yaml:11: clients[0].id: is set twice, first on line 10; keep one of the two`,
		`mailflume.yaml:14: mailboxes[0].address: "a at example.com" is not a mail address; write the bare address, such as sales@example.com`,
		`mailflume.yaml:16: mailboxes[0].login.client: there is no client "gogle"; did you mean google?`,
		`mailflume.yaml:20: mailboxes[1].login.password: Outlook accepts no passwords over IMAP; log in with OAuth: a client of provider microsoft`,
		`mailflume.yaml:21: mailboxes[1].folders[0]: \Jnk is not a special use; did you mean \Junk? use \All, \Archive, \Drafts, \Flagged, \Important, \Junk, \Sent or \Trash, or the folder's name`,
		`mailflume.yaml:22: mailboxes[1].start: "yesterday" is not a start; write now, all, or a date as YYYY-MM-DD`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d:\n%s\nwant %d:\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
	}
}

// TestMistakes makes one mistake at a time: each gives one message, and it says what is expected of it.
func TestMistakes(t *testing.T) {
	const oauth = `
clients:
  - {name: g, provider: google, id: x, secret: env:PW}
  - {name: m, provider: microsoft, id: x}
`
	box := func(more string) string {
		return "mailboxes:\n  - {name: a, address: a@example.com, " + more + "}\n"
	}
	imap := func(more string) string {
		return box("provider: imap, host: imap.example.com, login: {password: env:PW}, " + more)
	}
	oneClient := func(more string) string {
		return "clients:\n  - {name: c, " + more + "}\n" + small
	}
	two := func(more string) string {
		return small + "  - {address: b@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}, " + more + "}\n"
	}
	again := func(name, folder string) string { // another entry of small's account
		return "  - {name: " + name + ", address: a@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}, folders: [" + folder + "]}\n"
	}
	deep := strings.Repeat("x", 101)
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "mailboxes: there is none; add at least one"},
		{"nothing but comments", "# hello\n", "mailboxes: there is none"},
		{"null document", "~\n", "mailboxes: there is none"},
		{"scalar document", "hello\n", ":1: must be a group of keys, not a single value"},
		{"not YAML", "mailboxes: [\n", "is not YAML"},
		{"a tab", "log:\n\tlevel: info\n", ":2: is not YAML: found character that cannot start any token; indent with spaces"},
		{"second document", small + "---\nlog: {}\n", ":4: has a second document"},
		{"escape", "mailboxes:\n  - folders: [\"\\Junk\"]\n", `use single quotes around a backslash: '\Junk'`},
		{"anchor", "mailboxes:\n  - login: {password: *hunter2}\n", ":2: is not YAML: unknown anchor referenced; put quotes around"},
		{"misspelt list", "mailbox:\n  - {name: a}\n", ":1: mailbox: is not a key; did you mean mailboxes?"},
		{"key of another group", small + "level: info\n", "level: is not a key; it belongs to log"},
		{"unknown key", small + "http: {colour: red}\n", "http.colour: is not a key; use listen"},
		{"upper case", small + "Log: {level: info}\n", "Log: is not a key; did you mean log?"},
		{"dotted", small + "nats.url: nats://x\n", "nats.url: is not a key"},
		{"twice", small + "log: {level: info}\nlog: {level: info}\n", ":5: log: is set twice, first on line 4; keep one of the two"},
		{"key that is a list", small + "[a]: b\n", ":4: has a key that is a list"},
		{"no value", small + "memory:\n", ":4: memory: has no value"},
		{"group for a scalar", small + "memory: {a: b}\n", "memory: must be a single value, not a group of keys"},
		{"scalar for a group", small + "log: debug\n", "log: must be a group of keys, not a single value"},
		{"scalar for a list", imap("folders: INBOX"), "mailboxes[0].folders: must be a list, not a single value; write folders: [ONE, TWO]"},
		{"group for a list", "mailboxes: {a: b}\n", "mailboxes: must be a list, not a group of keys; begin each entry with \"- name:\""},
		{"empty entry", small + "  -\n", "mailboxes[1]: is empty"},
		{"tag", small + "data: !env DATA\n", "data: has a tag"},
		{"bad merge", small + "  - <<: x\n    name: b\n    address: b@example.com\n    provider: imap\n    host: h\n    login: {password: env:PW}\n", "merges with << what is a single value"},
		{"word", small + "log: {level: warning}\n", `log.level: "warning" is not one of its values; did you mean warn? use debug, info, warn or error`},
		{"number", small + "nats: {stream: {replicas: two}}\n", `"two" is not a number; write a whole number from 1 to 5`},
		{"even replicas", small + "nats: {stream: {replicas: 2}}\n", "write 1, 3 or 5"},
		{"replicas of one", small + "nats: {stream: {replicas: 3}}\n", "the embedded server is a single one"},
		{"duration", small + "replica: {lease: 15}\n", `replica.lease: "15" has no unit; write numbers with units`},
		{"duration range", imap("idle_refresh: 45m"), `"45m" is out of range; write a duration from 100ms to 29m`},
		{"size", small + "limits: {message_size: big}\n", `"big" is not a size`},
		{"size overflow", small + "memory: 99999999TiB\n", "is too large"},
		{"no size", small + "limits: {message_size: 0}\n", "limits.message_size: is 0"},
		{"memory", small + "memory: 1MiB\n", ":4: memory: memory (1MiB) is smaller than limits.message_size (64MiB)"},
		{"message size", small + "limits: {message_size: 1GiB}\n", ":4: limits.message_size: memory (256MiB) is smaller"},
		{"listen", small + "http: {listen: 8080}\n", "http.listen: \"8080\" is not an address to listen on; write host:port"},
		{"listen port", small + "http: {listen: ':99999'}\n", "no valid port"},
		{"stream name", small + "nats: {stream: {name: a.b}}\n", `"a.b" cannot name a stream`},
		{"both servers", small + "sealing_key: env:PW\nnats: {url: nats://x, embedded: {listen: none}}\n", "nats.embedded: is for the server inside"},
		{"no server", small + "nats: {token: env:PW}\n", "nats.token: goes with nats.url, which is not set"},
		{"user in URL", small + "sealing_key: env:PW\nnats: {url: 'nats://u:hunter2@x'}\n", "nats.url: has a user or password in the URL; set nats.user"},
		{"url scheme", small + "sealing_key: env:PW\nnats: {url: nats.example.com}\n", "nats.url: is not the URL of a NATS server"},
		{"url port", small + "sealing_key: env:PW\nnats: {url: 'nats://x:99999'}\n", "nats.url: has a host or port that cannot be"},
		{"no sealing key", oauth + "nats: {url: nats://x}\n" + box("provider: gmail, login: {client: g, refresh_token: env:PW}"), "nats.url: needs sealing_key"},
		{"two logins", small + "sealing_key: env:PW\nnats: {url: nats://x, token: env:PW, user: u, password: env:PW}\n", "nats.token: there are several ways to log in: user, token"},
		{"no password", small + "sealing_key: env:PW\nnats: {url: nats://x, user: u}\n", "nats.user: goes with nats.password"},
		{"no seed", small + "sealing_key: env:PW\nnats: {url: nats://x, jwt: env:PW}\n", "nats.jwt: goes with nats.seed"},
		{"env creds", small + "sealing_key: env:PW\nnats: {url: nats://x, creds: env:PW}\n", "nats.creds: must be a file; write file:PATH"},
		{"tls", small + "sealing_key: env:PW\nnats: {url: nats://x, tls: {cert: ref.go}}\n", "nats.tls: has only one of cert and key"},
		{"tls ca", small + "sealing_key: env:PW\nnats: {url: nats://x, tls: {ca: nowhere.pem}}\n", `the file "nowhere.pem" does not exist`},
		{"no variable", strings.Replace(small, "PW", "NOBODY", 1), "mailboxes[0].login.password: the variable NOBODY is not set"},
		{"no file", strings.Replace(small, "env:PW", "file:nowhere", 1), `the file "nowhere" does not exist; create it (it must hold the secret and nothing else)`},
		{"a directory", strings.Replace(small, "env:PW", "file:testdata", 1), `"testdata" is a directory; name a file in it`},
		{"plain secret", strings.Replace(small, "env:PW", "hunter2", 1), "must be a reference, not the secret itself"},
		{"secret with a colon", strings.Replace(small, "env:PW", "'hunter2:abc'", 1), "must be a reference, not the secret itself"},
		{"secret as a list", strings.Replace(small, "env:PW", "[hunter2]", 1), "must be a single value, not a list; write file:PATH or env:NAME"},
		{"bad variable", strings.Replace(small, "env:PW", "env:a-b", 1), "names nothing that can be read"},
		{"client name", "clients:\n  - {name: g, provider: google, id: a}\n  - {name: g, provider: google, id: b}" + small, `clients[1].name: "g" is also the name of clients[0]`},
		{"client provider", "clients:\n  - {name: g, provider: gmail, id: a}" + small, `clients[0].provider: "gmail" is not one of its values`},
		{"client id", "clients:\n  - {name: g, provider: google}" + small, ":2: clients[0].id: is missing; add id:"},
		{"misspelt required key", "clients:\n  - {nam: g, provider: google, id: a}" + small, "clients[0].nam: is not a key; did you mean name?"},
		{"tenant of google", "clients:\n  - {name: g, provider: google, id: a, tenant: common}" + small, "clients[0].tenant: is for provider microsoft only"},
		{"other without token", "clients:\n  - {name: g, provider: other, id: a}" + small, "clients[0].endpoints: provider other needs a token endpoint"},
		{"a page with a query", small + "http: {public_url: 'https://mail.example.com/?x=1'}\n", "http.public_url: has a ? or #; remove it"},
		{"a page in clear text", small + "http: {public_url: 'http://mail.example.com'}\n", "use https"},
		{"clear text", "clients:\n  - {name: g, provider: other, id: a, endpoints: {token: 'http://x.example.com/t'}}" + small, "would send secrets in clear text to x.example.com"},
		{"endpoint", "clients:\n  - {name: g, provider: other, id: a, endpoints: {token: x.example.com}}" + small, "is not an https URL"},
		{"no scopes", "clients:\n  - {name: g, provider: google, id: a, scopes: []}" + small, "clients[0].scopes: is empty"},
		{"name", two("name: a"), `mailboxes[1].name: "a" is also the name of mailboxes[0]`},
		{"id", two("name: b, id: a"), `mailboxes[1].id: "a" is also the id of mailboxes[0]`},
		{"no name", two("id: b"), "mailboxes[1].name: is missing"},
		{"long name", two("name: " + deep), "mailboxes[1].name: is longer than 100 bytes"},
		{"spaces", two("name: ' b'"), "mailboxes[1].name: begins or ends with spaces"},
		{"control", two(`name: "b\u0007"`), "mailboxes[1].name: has control characters"},
		{"same folder", two("name: b, folders: [Sent, inbox]") + "  - {name: c, address: A@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}, folders: [inbox]}\n", "mailboxes[2].folders[0]: INBOX of A@example.com is read by mailboxes[0] already"},
		{"same folder by pattern", small + again("b", "'*'"), `mailboxes[1].folders[0]: * of a@example.com is read by mailboxes[0] already`},
		{"only not", imap("folders: ['!INBOX']"), "mailboxes[0].folders: says only what is not to be read; add what is: INBOX, or '*'"},
		{"not nothing", imap("folders: [INBOX, '!']"), "an exclamation mark alone means nothing; write what is not to be read after it"},
		{"not a use", imap(`folders: [INBOX, '!\Jnk']`), `\Jnk is not a special use; did you mean \Junk?`},
		{"many entries", small + again("b", "B") + again("c", "C") + again("d", "D"), "mailboxes[3].address: is that of 4 entries, and each keeps a connection to the account; list their folders in one entry"},
		{"day of less than a message", imap("bytes_per_day: 1MB"), "mailboxes[0].bytes_per_day: is less than one message may have (64MiB); raise it"},
		{"folder twice", imap("folders: [INBOX, Inbox]"), `mailboxes[0].folders[1]: "INBOX" is listed twice`},
		{"sent without include", imap(`folders: ['\Sent']`), `mailboxes[0].folders[0]: nothing of \Sent is published unless it is asked for; add include: [sent]`},
		{"moved and deleted", imap("after: {move: Done, delete: true}"), "mailboxes[0].after.delete: a message cannot be both moved and deleted; keep one: move or delete"},
		{"label elsewhere", imap("after: {label: Done}"), "mailboxes[0].after.label: this mailbox is of provider imap, and only gmail has labels; use move or flag"},
		{"label for all", small + "after: {label: Done}\n", ":4: after.label: mailbox \"a\" is of provider imap, and only gmail has labels"},
		{"keyword of Outlook", oauth + box("provider: outlook, login: {client: m}, after: {keyword: Done}"), "mailboxes[0].after.keyword: this mailbox is of provider outlook, which keeps no keywords; use flag or move"},
		{"two words", imap("after: {keyword: all done}"), `mailboxes[0].after.keyword: "all done" cannot be a keyword; write one word`},
		{"no boolean", imap("after: {seen: maybe}"), `mailboxes[0].after.seen: "maybe" is neither true nor false; write true or false`},
		{"moved to itself", imap("folders: [Done], after: {move: done}"), "mailboxes[0].after.move: moves the messages of this mailbox to where they are; name another folder"},
		{"unknown include", imap("include: [draft]"), "mailboxes[0].include[0]"},
		{"drafts", imap(`folders: [INBOX, '\Drafts']`), "mailboxes[0].folders[1]: drafts are never published; remove it"},
		{"no folder", imap("folders: []"), "mailboxes[0].folders: is empty"},
		{"inbox use", imap(`folders: ['\Inbox']`), "write INBOX"},
		{"future", imap("start: 2999-01-01"), "mailboxes[0].start: 2999-01-01 is in the future"},
		{"no such day", imap("start: 2026-02-30"), `"2026-02-30" is not a start`},
		{"no host", box("provider: imap, login: {password: env:PW}"), "mailboxes[0].host: is missing; provider imap needs it"},
		{"misspelt host", box("provider: imap, hots: x, login: {password: env:PW}"), "mailboxes[0].hots: is not a key; did you mean host?"},
		{"host with port", box("provider: imap, host: 'imap.example.com:993', login: {password: env:PW}"), "is not a host; write a host name or IP address without scheme and port"},
		{"port", imap("port: 70000"), "mailboxes[0].port: 70000 is out of range"},
		{"plain", imap("security: plain"), "mailboxes[0].security: plain would send secrets in clear text"},
		{"ca", imap("ca: nowhere.pem"), `mailboxes[0].ca: the file "nowhere.pem" does not exist`},
		{"ca without certificates", imap("ca: config.go"), `mailboxes[0].ca: "config.go" has no certificate`},
		{"cloud of gmail", oauth + box("provider: gmail, cloud: gcc, login: {client: g, refresh_token: env:PW}"), "mailboxes[0].cloud: is for provider outlook only"},
		{"clouds", oauth + box("provider: outlook, cloud: dod, login: {client: m, refresh_token: env:PW}"), "mailboxes[0].cloud: is dod, but that of its client is worldwide"},
		{"wrong client", oauth + box("provider: outlook, login: {client: g, refresh_token: env:PW}"), `client "g" is of provider google, the mailbox of provider outlook; use a client of provider microsoft`},
		{"no client", oauth + box("provider: gmail, login: {client: z, refresh_token: env:PW}"), `there is no client "z"; use g or m, or add it to clients`},
		{"client missing", oauth + box("provider: gmail, login: {refresh_token: env:PW}"), "mailboxes[0].login: has a refresh_token but no client"},
		{"client and broker", oauth + box("provider: gmail, login: {client: g, token_file: x}"), "mailboxes[0].login: has two ways to log in"},
		{"mechanism of a password", box("provider: imap, host: h.example, login: {password: env:PW, mechanism: xoauth2}"), "mailboxes[0].login.mechanism: is for tokens"},
		{"mechanism of outlook", oauth + box("provider: outlook, login: {client: m, mechanism: oauthbearer}"), "mailboxes[0].login.mechanism: Outlook knows xoauth2 only"},
		{"two brokers", oauth + box("provider: gmail, login: {token_command: [x], token_file: x}"), "mailboxes[0].login: has two ways to log in"},
		{"no command", oauth + box("provider: gmail, login: {token_command: []}"), "mailboxes[0].login.token_command: is empty"},
		{"app without a secret", oneClient("provider: microsoft, id: x, tenant: t.example, grant: app"), "clients[0].grant: app needs a secret or a certificate"},
		{"app without a tenant", oneClient("provider: microsoft, id: x, secret: env:PW, grant: app"), "clients[0].grant: app needs the tenant's own id"},
		{"app of google", oneClient("provider: google, id: x, secret: env:PW, grant: app"), "clients[0].grant: app is not for provider google"},
		{"certificate of google", oneClient("provider: google, id: x, certificate: env:PW"), "clients[0].certificate: is not for provider google"},
		{"secret and certificate", oneClient("provider: microsoft, id: x, secret: env:PW, certificate: env:PW"), "clients[0].certificate: goes in place of secret"},
		{"service account of microsoft", oneClient("provider: microsoft, service_account: env:PW"), "clients[0].service_account: is for provider google only"},
		{"refresh token of a service account", "clients:\n  - {name: s, provider: google, service_account: env:PW}\n" + box("provider: gmail, login: {client: s, refresh_token: env:PW}"), `mailboxes[0].login.refresh_token: is not used: client "s" reads mailboxes by itself; remove it`},
		{"refresh token of an application", "clients:\n  - {name: s, provider: microsoft, grant: app, id: x, secret: env:PW, tenant: t}\n" + box("provider: outlook, login: {client: s, refresh_token: env:PW}"), `login.refresh_token: is not used: client "s"`},
		{"service account and secret", oneClient("provider: google, service_account: env:PW, secret: env:PW"), "clients[0].service_account: is all that such a client needs"},
		{"no id", oneClient("provider: google, secret: env:PW"), "clients[0].id: is missing"},
		{"no date", oneClient("provider: google, id: x, secret: env:PW, secret_expires: soon"), `clients[0].secret_expires: "soon" is not a date`},
		{"two ways", oauth + box("provider: gmail, login: {client: g, refresh_token: env:PW, password: env:PW}"), "mailboxes[0].login: has two ways to log in"},
		{"no way", box("provider: gmail, login: {}"), "mailboxes[0].login: says no way to log in"},
		{"no login", box("provider: gmail"), "mailboxes[0].login: is missing; add login: {client: NAME}"},
		{"misspelt client", oauth + box("provider: gmail, login: {clinet: g, refresh_token: env:PW}"), "login.clinet: is not a key; did you mean client?"},
		{"misspelt password", box("provider: gmail, login: {pasword: env:PW}"), "login.pasword: is not a key; did you mean password?"},
		{"outlook password", box("provider: outlook, login: {password: env:PW}"), "Outlook accepts no passwords"},
		{"empty file", strings.Replace(small, "env:PW", "file:testdata/empty", 1), `the file "testdata/empty" is empty`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mistakesOf(t, c.text, "PW=x")
			if len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("got %d:\n%s\nwant one with %q\ntext:\n%s", len(got), strings.Join(got, "\n"), c.want, c.text)
			}
			if strings.Contains(strings.Join(got, ""), "hunter2") {
				t.Errorf("shows the secret: %s", got)
			}
			if strings.Count(strings.Join(got, ""), "\n") > 0 {
				t.Error("is more than one line")
			}
		})
	}
}

func TestLoadWithoutFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.Contains(err.Error(), "none.yaml: the configuration file does not exist; make one from the output of: mailflume config example") {
		t.Errorf("Load: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	c := mustParse(t, small+"log: {level: debug}\nsealing_key: env:MAILFLUME_SECRET\n",
		"PW=x", "MAILFLUME_SECRET=s", "MAILFLUME_LOG_LEVEL=warn", "MAILFLUME_LOG_FORMAT=", "MAILFLUME_NATS_URL=nats://a,nats://b:4222",
		"MAILFLUME_NATS_STREAM_MAX_AGE=7d", "MAILFLUME_MEMORY=1GB", "MAILFLUME_DATA=/srv/mail", "MAILFLUME_NATS_STREAM_REPLICAS=3",
		"MAILFLUME_CONFIG=/etc/x.yaml", "MAILFLUME_NATS_SERVICE_HOST=10.0.0.1", "MAILFLUME_PORT_8080_TCP_ADDR=10.0.0.1", "MAILFLUME_NATS_PORT=tcp://10.0.0.1:4222")
	if c.Log != (Log{"warn", "text"}) || c.NATS.URL != "nats://a,nats://b:4222" || c.NATS.Stream.MaxAge != 7*day || c.Memory != 1e9 ||
		c.Data != "/srv/mail" || c.NATS.Stream.Replicas != 3 {
		t.Errorf("%+v", c)
	}
	if s, err := c.SealingKey.Read(); s != "s" || err != nil {
		t.Errorf("SealingKey.Read() = %q, %v", s, err)
	}
	got := mistakesOf(t, small, "PW=x", "MAILFLUME_LOG_LEVLE=warn", "MAILFLUME_MAILBOXES=x", "MAILFLUME_NATS_TOKEN=hunter2", "MAILFLUME_MEMORY=lots")
	want := []string{
		`environment: MAILFLUME_LOG_LEVLE: matches no setting; did you mean MAILFLUME_LOG_LEVEL?`,
		`environment: MAILFLUME_MAILBOXES: matches no setting; unset it; settings in lists (clients, mailboxes) are set in the file only`,
		`environment: MAILFLUME_MEMORY: "lots" is not a size; write a whole number with a unit: 64MiB (1024s), 64MB (1000s), or plain bytes`,
		`environment: MAILFLUME_NATS_TOKEN: must be a reference, not the secret itself; put it into a file and write file:PATH here, or into a variable and write env:NAME`,
	}
	// nats.token without nats.url is not said a second time: it has a mistake already
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
}

func TestRef(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for content, want := range map[string]string{"hunter2\n": "hunter2", "hunter2\r\n": "hunter2", "hunter2\n\n": "hunter2", "hunter2\r\n\r\n": "hunter2", " a b ": " a b ", "two\nlines\n": "two\nlines"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r := FileRef("clients[0].secret", path)
		if got, err := r.Read(); got != want || err != nil {
			t.Errorf("Read() = %q, %v; want %q", got, err, want)
		}
	}
	for _, content := range []string{"", "\n", strings.Repeat("hunter2", maxSecret)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := FileRef("clients[0].secret", path).Read(); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "clients[0].secret: file:") {
			t.Errorf("Read() of %d bytes: %v", len(content), err)
		}
	}
	t.Setenv("MAILFLUME_TEST_SECRET", "hunter2")
	r := EnvRef("k", "MAILFLUME_TEST_SECRET")
	if got, err := r.Read(); got != "hunter2" || err != nil {
		t.Errorf("Read() = %q, %v", got, err)
	}
	if _, err := EnvRef("k", "MAILFLUME_TEST_NONE").Read(); err == nil || err.Error() != "k: env:MAILFLUME_TEST_NONE: the variable is not set" {
		t.Errorf("Read() = %v", err)
	}
	if _, err := (Ref{}).Read(); err == nil {
		t.Error("the zero Ref reads something")
	}
	// With the whole environment behind it, a Config still prints no secret.
	c := mustParse(t, small, "PW=hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, *c); strings.Contains(s, "hunter2") {
			t.Errorf("%s shows the secret: %s", verb, s)
		}
	}
}

func TestMergeAndAlias(t *testing.T) {
	c := mustParse(t, `
mailboxes:
  - &base
    name: a
    address: a@example.com
    provider: imap
    host: imap.example.com
    login: &login {password: env:PW}
    folders: &f [INBOX, Archive]
  - <<: *base
    name: b
    address: b@example.com
  - {name: c, address: c@example.com, provider: imap, host: h, login: *login, folders: *f}
`, "PW=x")
	if b := c.Mailboxes[1]; b.Name != "b" || b.Host != "imap.example.com" || len(b.Folders) != 2 {
		t.Errorf("%+v", b)
	}
	// Aliases that would make millions of nodes of a few lines are refused quickly.
	bomb := "mailboxes:\n  - &m {folders: &f [" + strings.Repeat("x,", 2000) + "]}\n" + strings.Repeat("  - *m\n", 2000)
	if got := mistakesOf(t, bomb); !slices.ContainsFunc(got, func(m string) bool { return strings.Contains(m, "too large once its aliases are followed") }) {
		t.Errorf("%d mistakes, the first: %s", len(got), got[0])
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add(string(Example()))
	f.Add("a: &a [*a]\nmailboxes: *a")
	f.Add("mailboxes: &m\n  - <<: *m\n")
	f.Add("? {a: b}\n: c")
	f.Add("mailboxes:\n- *x\n- &x {login: {password: hunter2}}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("fuzz.yaml", []byte(text), []string{"PW=x", "MAILFLUME_LOG_LEVEL=" + strings.ReplaceAll(text, "\x00", "")})
		if (c == nil) == (err == nil) {
			t.Fatal("neither a Config nor an error, or both")
		}
		if err == nil {
			return
		}
		for _, m := range err.(*Error).Mistakes {
			if s := m.String(); strings.ContainsAny(s, "\n\r\x00") || m.What == "" {
				t.Errorf("mistake %q", s)
			}
		}
	})
}
