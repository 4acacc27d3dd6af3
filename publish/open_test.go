package publish

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
)

func TestOpenTwiceOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	c := embeddedConfig(dir)
	c.Embedded.Listen = "127.0.0.1:0"
	p := mustSetup(t, mustOpen(t, c))
	_, err := Open(t.Context(), embeddedConfig(dir), quiet())
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.Dir != dir || inUse.PID != os.Getpid() || "nats://"+inUse.Listen != p.Status().URL {
		t.Fatalf("error is %v: %+v", err, inUse)
	}
	wantText(t, err, fmt.Sprint("process ", os.Getpid()), "nats.url")
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)}) // the first one is unharmed
}

func TestOpenAgainKeepsTheData(t *testing.T) {
	for name, key := range map[string]Secret{"plain": {}, "encrypted": NewSecret("correct horse")} {
		t.Run(name, func(t *testing.T) {
			c := embeddedConfig(t.TempDir())
			c.Embedded.Key = key
			p := mustSetup(t, mustOpen(t, c))
			const marker = "WORD-TO-LOOK-FOR"
			e := ev("INBOX", 1)
			e.Data = []byte(marker)
			tail := mustCommit(t, p, Batch{Mailbox: "m", Events: []Event{e}})
			tail = mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("INBOX", 1, 20)})
			mustClose(t, p)
			mustClose(t, p) // twice is once
			if found := grepDir(t, c.Embedded.Dir, marker); found != key.isZero() {
				t.Errorf("readable in the files: %v", found)
			}

			p = mustSetup(t, mustOpen(t, c))
			chain := mustRecover(t, p, "m", "INBOX")
			if chain.Seq != tail || chain.Folders["INBOX"].Position != "21" {
				t.Errorf("chain %+v, want tail %d", chain, tail)
			}
			mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("INBOX", 21, 2)})
			if n := checkHistory(t, ledgerOf(t, p, "m")); n != 23 {
				t.Errorf("%d events", n)
			}
		})
	}
}

func grepDir(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || strings.Contains(string(b), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// With a wrong key nats-server would skip the streams, and we would make empty ones in their place.
func TestOpenWithAnotherKey(t *testing.T) {
	c := embeddedConfig(t.TempDir())
	c.Embedded.Key = NewSecret("right")
	p := mustSetup(t, mustOpen(t, c))
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	mustClose(t, p)
	for _, key := range []Secret{NewSecret("wrong"), {}} {
		c.Embedded.Key = key
		_, err := Open(t.Context(), c, quiet())
		wantText(t, err, c.Embedded.Dir, "nats.embedded.key")
		if strings.Contains(err.Error(), "right") {
			t.Errorf("the error tells the key: %v", err)
		}
	}
	c.Embedded.Key = NewSecret("right")
	p = mustSetup(t, mustOpen(t, c))
	if n := checkHistory(t, ledgerOf(t, p, "m")); n != 3 {
		t.Errorf("%d events", n)
	}
}

// What tells the key is written once, and before anything else: a process that is killed while it starts leaves neither a
// store that no key opens any more, nor one of which nobody knows the key.
func TestTheKeyIsNotedOnce(t *testing.T) {
	c := embeddedConfig(t.TempDir())
	c.Embedded.Key, c.Embedded.Listen = NewSecret("right"), "256.0.0.1:1" // where no server can listen
	if p, err := Open(t.Context(), c, quiet()); err == nil {
		mustClose(t, p)
		t.Fatal("it listens at 256.0.0.1")
	}
	check := filepath.Join(c.Embedded.Dir, keyCheckName)
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(check, long, long); err != nil {
		t.Fatal(err)
	}
	c.Embedded.Listen = ""
	mustClose(t, mustOpen(t, c))
	info, err := os.Stat(check)
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Equal(long) {
		t.Error("it was written again")
	}
	if left, err := filepath.Glob(check + "-*"); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestOpenListensForOthers(t *testing.T) {
	c := embeddedConfig(t.TempDir())
	c.Embedded.Listen = "127.0.0.1:0"
	p := mustSetup(t, mustOpen(t, c))
	addr := p.server.srv.Load().Addr().String()
	q := mustSetup(t, mustOpen(t, Config{URL: "nats://" + addr}))
	mustCommit(t, q, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	if c := mustRecover(t, p, "m"); c.Seq != 3 {
		t.Errorf("tail is %d", c.Seq)
	}

	c = embeddedConfig(t.TempDir())
	c.Embedded.Listen = addr
	_, err := Open(t.Context(), c, quiet())
	wantText(t, err, addr, "nats.embedded.listen")
	mustOpen(t, embeddedConfig(c.Embedded.Dir)) // and the directory is free again
}

func TestOpenWithoutDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), embeddedConfig(filepath.Join(file, "store")), quiet())
	wantText(t, err, file, "data")
}

// fakeServer greets like a NATS server of some version and answers PING.
func fakeServer(t *testing.T, version string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if version != "" {
				info, _ := json.Marshal(map[string]any{"server_id": "X", "version": version, "headers": true, "max_payload": 1 << 20, "proto": 1})
				fmt.Fprintf(c, "INFO %s\r\n", info)
			}
			for r := bufio.NewScanner(c); r.Scan(); {
				if r.Text() == "PING" {
					fmt.Fprint(c, "PONG\r\n")
				}
			}
			c.Close()
		}
	}()
	return "nats://" + l.Addr().String()
}

func TestOpenAnOldServer(t *testing.T) {
	url := fakeServer(t, "2.11.0")
	_, err := Open(t.Context(), Config{URL: url}, quiet())
	var old *VersionError
	if !errors.As(err, &old) || old.Version != "2.11.0" {
		t.Fatalf("error is %v", err)
	}
	wantText(t, err, url, "2.11.0", "2.12", "upgrade nats-server")
	for v, want := range map[string]bool{
		"2.11.99": false, "2.12.0": true, "2.12.0-RC.3": true, "2.9.10": false, "3.0.0": true, "1.4.1": false, "dev": true,
	} {
		if newEnough(v) != want {
			t.Errorf("%s is new enough: %v", v, !want)
		}
	}
}

func TestOpenWithNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = Open(t.Context(), Config{URL: "nats://user:secret@" + addr + ", nats://" + addr}, quiet())
	wantError(t, err, ErrUnavailable, "nats://"+addr, "nats.url")
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error is %v", err)
	}

	silent := fakeServer(t, "")
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, Config{URL: silent}, quiet())
	wantError(t, err, ErrUnavailable, silent)
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestOpenWithEachLogin(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	seedFile := filepath.Join(t.TempDir(), "seed.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		conf       string
		right, bad Auth
	}{
		"user":  {`authorization { user: u, password: p }`, Auth{User: "u", Password: NewSecret("p")}, Auth{User: "u", Password: NewSecret("x")}},
		"token": {`authorization { token: t }`, Auth{Token: NewSecret("t")}, Auth{}},
		"nkey":  {fmt.Sprintf(`authorization { users [ { nkey: %s } ] }`, public), Auth{NKeyFile: seedFile}, Auth{User: "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := external(t, t.TempDir(), c.conf)
			mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL(), Auth: c.right}))
			_, err := Open(t.Context(), Config{URL: srv.ClientURL(), Auth: c.bad}, quiet())
			var login *LoginError
			if !errors.As(err, &login) {
				t.Fatalf("error is %v", err)
			}
			wantText(t, err, srv.ClientURL(), "nats.creds")
		})
	}
	_, err = Open(t.Context(), Config{URL: "nats://x", Auth: Auth{CredsFile: "/no/such.creds"}}, quiet())
	wantText(t, err, "nats.creds", "/no/such.creds")
}

func TestValidateFindsAllMistakes(t *testing.T) {
	err := Config{
		URL: "nats://a, ://b", Auth: Auth{User: "u", Token: NewSecret("t")}, TLS: TLS{CertFile: "c"}, Bucket: "a.b",
		Stream: Stream{Name: "a b", MaxAge: -1, Replicas: 9},
	}.Validate()
	wantText(t, err, "nats.url", "nats.user and nats.token", "nats.tls.cert", "nats.bucket", "nats.stream.name", "max_age", "replicas")
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{Auth: Auth{JWT: NewSecret("j")}}).Validate(); err == nil {
		t.Error("a JWT without its seed passes")
	}
	if err := (Config{Stream: Stream{Replicas: 3}}).Validate(); err == nil {
		t.Error("three replicas of one server pass")
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	secret := NewSecret("hunter2")
	c := Config{Auth: Auth{Password: secret}, Embedded: Embedded{Key: secret}}
	hidden := struct { // as it is in a Publisher
		config Config
		key    *Secret
	}{c, &secret}
	js, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s %x %d %q", c, c, c, c.Auth.Password, c.Auth.Password, c.Auth.Password, c.Auth), string(js), fmt.Sprintf("%v %+v %#v", hidden, hidden, hidden)} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e746572") {
			t.Errorf("shows: %s", s)
		}
	}
	for u, want := range map[string]string{
		"nats://tok@h:4222": "nats://h:4222", "u:p@h": "h", "tls://u:p@@h": "tls://h", "nats://h": "nats://h",
	} {
		if got := withoutUser(u); got != want {
			t.Errorf("%s is shown as %s", u, got)
		}
	}
}
