package configs

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/token"
)

// TestRooms turns one configuration into those of the rooms.
func TestRooms(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for file, text := range map[string]string{
		"ca.pem": string(ca), "secret": "s3\n", "key": token.NewKey() + "\n",
		"mailflume.yaml": `
sealing_key: file:key
http: {listen: none}
limits: {message_size: 1MiB}
nats:
  url: tls://a:4222,tls://b:4222
  user: u
  password: file:secret
  tls: {ca: ca.pem}
  stream: {max_age: 7d, max_bytes: 1GiB, replicas: 3}
clients:
  - {name: m, provider: microsoft, id: abc, tenant: t1}
  - {name: g, provider: google, id: def, secret: file:secret}
mailboxes:
  - {name: o, address: o@example.com, provider: outlook, login: {client: m, refresh_token: file:secret}, start: 2026-01-02, user: other@example.com}
  - {name: g, address: g@example.com, provider: gmail, login: {client: g, refresh_token: file:secret, mechanism: oauthbearer}, start: all}
  - {name: i, address: i@example.com, provider: imap, host: '::1', security: starttls, ca: ca.pem, login: {password: file:secret}, folders: ['\Junk'], poll: 1m}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "mailflume.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Publish()
	if err != nil || p.Validate() != nil {
		t.Fatal(err, p.Validate())
	}
	want := publish.Config{
		URL: "tls://a:4222,tls://b:4222", Auth: publish.Auth{User: "u", Password: publish.NewSecret("s3")}, TLS: publish.TLS{CAFile: filepath.Join(dir, "ca.pem")},
		Embedded: publish.Embedded{Dir: filepath.Join(dir, "data", "nats"), Listen: "127.0.0.1:4222"},
		Stream:   publish.Stream{Name: "MAIL", MaxAge: 7 * day, MaxBytes: 1 << 30, Replicas: 3}, Bucket: "mail",
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("Publish() = %+v", p)
	}
	if s := c.StateBucket(); s.Bucket != "mailflume" || s.Replicas != 3 {
		t.Errorf("StateBucket() = %+v", s)
	}
	if c.HTTP.Address() != "" {
		t.Errorf("HTTP.Address() = %q", c.HTTP.Address())
	}
	if k, err := c.Keyring(); err != nil || len(k.IDs()) != 1 {
		t.Errorf("Keyring() = %v", err)
	}

	account, ok := c.Account(c.Mailboxes[0], "first-name")
	if !ok || account.Mailbox != "first-name" || account.Client.Secret != nil ||
		account.Client.TokenURL != "https://login.microsoftonline.com/t1/oauth2/v2.0/token" || len(account.Client.Scopes) != 2 {
		t.Errorf("Account(o) = %+v, %v", account, ok)
	}
	account, _ = c.Account(c.Mailboxes[1], "g")
	if secret, err := account.Client.Secret(); secret != "s3" || err != nil {
		t.Errorf("Secret() = %q, %v", secret, err)
	}
	if grant, err := account.RefreshToken(); grant != "s3" || err != nil {
		t.Errorf("RefreshToken() = %q, %v", grant, err)
	}
	if _, ok := c.Account(c.Mailboxes[2], "i"); ok {
		t.Error("a mailbox with a password has an account")
	}

	f, err := c.Fetcher(c.Mailboxes[0])
	if err != nil || f.Addr != "outlook.office365.com:993" || f.User != "other@example.com" || f.MaxMessage != 1<<20 ||
		f.RootCAs != nil || f.Auth != "" || !f.Start.Since.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("Fetcher(o) = %+v, %v", f, err)
	}
	if f, err := c.Fetcher(c.Mailboxes[1]); err != nil || f.Auth != fetcher.OAUTHBEARER {
		t.Errorf("Fetcher(g) = %+v, %v", f, err)
	}
	f, err = c.Fetcher(c.Mailboxes[2])
	if err != nil || f.Addr != "[::1]:143" || f.Auth != fetcher.Password || f.Security != fetcher.STARTTLS || f.RootCAs == nil ||
		f.Folders[0] != `\Junk` || f.Poll != time.Minute || f.IdleRefresh != 9*time.Minute {
		t.Errorf("Fetcher(i) = %+v, %v", f, err)
	}
}

// TestGeneratedKey makes a key in the data directory when none is configured, and finds it again.
func TestGeneratedKey(t *testing.T) {
	c := mustParse(t, small, "PW=x")
	c.Data = filepath.Join(t.TempDir(), "data")
	first, err := c.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Keyring()
	if err != nil || first.IDs()[0] != second.IDs()[0] {
		t.Errorf("a second key was made, or: %v", err)
	}
}

// TestAccountsOfClients holds each kind of client to what package token makes of it.
func TestAccountsOfClients(t *testing.T) {
	c := mustParse(t, `
clients:
  - {name: workspace, provider: google, service_account: env:PW}
  - {name: app, provider: microsoft, id: x, tenant: t.example, grant: app, certificate: env:PW, cloud: gcc-high}
  - {name: person, provider: microsoft, id: x, secret: env:PW, secret_expires: 2027-06-30}
  - {name: other, provider: other, id: x, scopes: [mail], endpoints: {token: 'https://login.example/token', authorize: 'https://login.example/auth'}}
mailboxes:
  - {name: w, address: w@example.com, provider: gmail, login: {client: workspace}}
  - {name: a, address: a@example.com, provider: outlook, login: {client: app}}
  - {name: p, address: p@example.com, provider: outlook, login: {client: person}}
  - {name: o, address: o@example.com, provider: imap, host: imap.example, login: {client: other}}
  - {name: c, address: c@example.com, provider: gmail, login: {token_command: [/bin/echo, the-token]}}
  - {name: f, address: f@example.com, provider: gmail, login: {token_file: testdata/gmail.yaml}}
`, "PW=x")
	account := func(i int) token.Account {
		a, ok := c.Account(c.Mailboxes[i], c.Mailboxes[i].Name)
		if !ok {
			t.Fatalf("mailbox %d has no account", i)
		}
		return a
	}
	if a := account(0); a.Client.Credential != token.ServiceKey || a.Subject != "w@example.com" || !a.Mints() || a.Client.Scopes[0] != "https://mail.google.com/" {
		t.Errorf("service account: %+v", a)
	}
	if a := account(1); a.Client.Credential != token.Certificate || !a.Client.App || !a.Mints() || a.Client.Scopes[0] != "https://outlook.office365.us/.default" ||
		a.Client.TokenURL != "https://login.microsoftonline.us/t.example/oauth2/v2.0/token" {
		t.Errorf("app: %+v", a)
	}
	if a := account(2); a.Mints() || a.RefreshToken != nil || a.Client.SecretEnds.Format(time.DateOnly) != "2027-06-30" || a.Client.SignIn["prompt"] != "select_account" ||
		a.Client.DeviceURL == "" || a.Client.AuthorizeURL == "" || a.Client.RevokeURL != "" || !a.Client.Rotates {
		t.Errorf("person: %+v", a)
	}
	if a := account(3); a.Client.SignIn["access_type"] != "offline" || a.Client.Identity != nil || a.Client.AuthorizeURL != "https://login.example/auth" {
		t.Errorf("other: %+v", a)
	}
	for i := 4; i < 6; i++ {
		if _, ok := c.Account(c.Mailboxes[i], "x"); ok {
			t.Errorf("mailbox %d has an account", i)
		}
	}
	command, ok := c.Broker(c.Mailboxes[4])
	if got, err := command.Token(t.Context(), ""); !ok || err != nil || got != "the-token" {
		t.Errorf("%q, %v", got, err)
	}
	if _, ok := c.Broker(c.Mailboxes[0]); ok {
		t.Error("a client is a broker")
	}
}

// A mailbox's own after counts in place of the one for all, all of it.
func TestAfter(t *testing.T) {
	c := mustParse(t, `
after: {seen: true, move: Done}
mailboxes:
  - {name: a, address: a@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}}
  - {name: b, address: b@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}, after: {delete: true}}
  - {name: c, address: c@example.com, provider: imap, host: imap.example.com, login: {password: env:PW}, after: {seen: false}}
`, "PW=x")
	for i, want := range []fetcher.Action{{Seen: true, Move: "Done"}, {Delete: true}, {}} {
		if got := c.Mailboxes[i].Action(); got != want {
			t.Errorf("mailbox %d: %+v, want %+v", i, got, want)
		}
	}
}
