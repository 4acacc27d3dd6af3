package dovecot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"go.uber.org/goleak"
)

const ada = "ada@example.org"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// xoauth2 is a SASL client: the provider's failure text, a challenge, is answered by one byte that is no base64 of a
// token, because go-imap cannot send an empty line.
type xoauth2 struct{ user, token string }

func (a xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + a.user + "\x01auth=Bearer " + a.token + "\x01\x01"), nil
}

func (a xoauth2) Next([]byte) ([]byte, error) { return []byte{1}, nil }

func loginXOAUTH2(t *testing.T, s *Server, user, token string) error {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CertPEM) {
		t.Fatal("CertPEM holds no certificate")
	}
	c, err := imapclient.DialTLS(s.TLSAddr, &imapclient.Options{TLSConfig: &tls.Config{RootCAs: pool}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Authenticate(xoauth2{user, token})
}

func TestTokens(t *testing.T) {
	s := Start(t, Options{Lookup: func(token string) (string, bool) { return ada, token == "from-elsewhere" }})
	s.Allow("good", "Ada@Example.org")
	s.Allow("hers", "eve@example.org")
	for _, c := range []struct {
		token string
		ok    bool
	}{{"good", true}, {"from-elsewhere", true}, {"hers", false}, {"unknown", false}} {
		err := loginXOAUTH2(t, s, ada, c.token)
		if c.ok && err != nil {
			t.Errorf("%s: %v", c.token, err)
		}
		var no *imap.Error
		if !c.ok && (!errors.As(err, &no) || no.Code != imap.ResponseCodeAuthenticationFailed) {
			t.Errorf("%s: got %v, want AUTHENTICATIONFAILED", c.token, err)
		}
	}
	if n := s.Logins(ada); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
	s.Revoke("good")
	if loginXOAUTH2(t, s, ada, "good") == nil {
		t.Error("a revoked token still opens the mailbox")
	}
}

func TestRefusedXOAUTH2SpeaksLikeAProvider(t *testing.T) {
	s := Start(t, Options{})
	c, err := dial(t.Context(), s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ir := base64.StdEncoding.EncodeToString([]byte("user=" + ada + "\x01auth=Bearer no\x01\x01"))
	tag, err := c.send("AUTHENTICATE XOAUTH2 %s", ir)
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := c.read(nil)
	if err != nil || challenge.Tag != "+" {
		t.Fatalf("got %+v, %v, want a challenge", challenge, err)
	}
	text, err := base64.StdEncoding.DecodeString(challenge.Text)
	if err != nil || !bytes.Contains(text, []byte(`"status"`)) {
		t.Errorf("challenge is %q, %v", text, err)
	}
	fmt.Fprint(c, "\r\n")
	if answer, err := c.read(nil); err != nil || answer.Tag != tag || !strings.HasPrefix(answer.Text, "NO [AUTHENTICATIONFAILED]") {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestAppendAndFetchAll(t *testing.T) {
	s := Start(t, Options{})
	messages := make([][]byte, 1000)
	for i := range messages {
		messages[i] = fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", i))
	}
	when := time.Date(2026, 11, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	begin := time.Now()
	uids, err := s.Append(t.Context(), ada, "INBOX", when, messages...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages in %v", len(messages), time.Since(begin))
	f, err := s.FetchAll(t.Context(), ada, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Mails) != len(messages) || int(f.UIDNext) != len(messages)+1 {
		t.Fatalf("%d messages, UIDNEXT %d", len(f.Mails), f.UIDNext)
	}
	for i, uid := range uids {
		sum := sha256.Sum256(messages[i])
		if want := (Digest{hex.EncodeToString(sum[:]), int64(len(messages[i]))}); f.Mails[uid] != want {
			t.Fatalf("message %d: got %+v, want %+v", i, f.Mails[uid], want)
		}
	}
	lines, err := s.Exec(t.Context(), ada, "INBOX", "UID FETCH 1 (INTERNALDATE)")
	if err != nil || !strings.Contains(lines[0], `INTERNALDATE "03-Nov-2026 03:05:06 +0000"`) {
		t.Errorf("got %q, %v", lines, err)
	}
	if n := s.Logins(ada); n != 0 {
		t.Errorf("%d logins, want 0: the harness's own do not count", n)
	}
}

func TestBytesAreTheServersOwn(t *testing.T) {
	s := Start(t, Options{})
	// Bare LF becomes CRLF; what the harness reports is what a client is served, not what was put in.
	for _, folder := range []string{"INBOX", "Lists/Go", "Junk"} {
		if _, err := s.Append(t.Context(), ada, folder, time.Time{}, []byte("A: b\n\nc\n")); err != nil {
			t.Fatal(err)
		}
		f, err := s.FetchAll(t.Context(), ada, folder)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte("A: b\r\n\r\nc\r\n"))
		if want := (Digest{hex.EncodeToString(sum[:]), 11}); f.Mails[1] != want {
			t.Errorf("%s: got %+v, want %+v", folder, f.Mails, want)
		}
	}
}

func TestExpungeAndUIDValidity(t *testing.T) {
	s := Start(t, Options{})
	ctx := t.Context()
	if _, err := s.Append(ctx, ada, "INBOX", time.Time{}, []byte("A: 1\r\n\r\n"), []byte("A: 2\r\n\r\n"), []byte("A: 3\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.Expunge(ctx, ada, "INBOX", 2); err != nil {
		t.Fatal(err)
	}
	before, err := s.FetchAll(ctx, ada, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if _, there := before.Mails[2]; there || len(before.Mails) != 2 {
		t.Errorf("after the expunge: %+v", before.Mails)
	}
	validity, err := s.BumpUIDValidity(ctx, ada, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	after, err := s.FetchAll(ctx, ada, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if after.UIDValidity != validity || validity == before.UIDValidity || len(after.Mails) != 2 {
		t.Errorf("UIDVALIDITY %d, then %d; want %d; %d messages", before.UIDValidity, after.UIDValidity, validity, len(after.Mails))
	}
}

func TestKick(t *testing.T) {
	s := Start(t, Options{})
	c, err := s.login(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := s.Kick(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second)) // the read tells
	if r, err := c.read(nil); err != nil || !strings.HasPrefix(r.Text, "BYE") {
		t.Errorf("got %+v, %v, want BYE", r, err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	if _, err := find(); err != nil {
		Start(t, Options{}) // skips or fails
	}
	s, err := Run(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	pid := s.master.Pid()
	c, err := s.login(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	begin := time.Now()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %v", time.Since(begin))
	for begin := time.Now(); !errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second { // init takes its time to bury the dead
			t.Fatal("processes are left")
		}
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files are left in %s: %v", s.dir, err)
	}
}

func TestABadConfigFailsWithItsReason(t *testing.T) {
	if _, err := find(); err != nil {
		Start(t, Options{}) // skips or fails
	}
	_, err := Run(t.Context(), Options{Config: "no_such_setting = 1\n"})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("got %v", err)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	a := Start(t, Options{})
	_, port, err := net.SplitHostPort(a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	// The second one is told to listen there as well. It must end rather than be mistaken for the first.
	_, err = Run(t.Context(), Options{Config: "service imap-login {\n inet_listener imap {\n port = " + port + "\n }\n}\n"})
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestRunObeysItsContext(t *testing.T) {
	if _, err := find(); err != nil {
		Start(t, Options{}) // skips or fails
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Run(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", s, err)
	}
}

// TestNotRoot runs the other tests as nobody.
func TestNotRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests have just shown it: this is not root")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test binary lies in a directory of root's.
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp("/tmp", "mf-dovecot-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(file.Name()) })
	_, err = file.Write(data)
	if err := errors.Join(err, file.Chmod(0o755), file.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), file.Name(), "-test.run=^(TestTokens|TestExpunge.*|TestKick|TestClose.*|TestBytes.*)$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "HOME=/nonexistent")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("--- SKIP")) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func TestLiteralSize(t *testing.T) {
	for line, want := range map[string]int64{
		"* 1 FETCH (UID 3 BODY[] {12}": 12, "* OK {3} and more": -1, "": -1, "{}": -1, "{0}": 0, "a {x}": -1,
	} {
		if got, _ := literalSize(line); got != want {
			t.Errorf("%q: got %d, want %d", line, got, want)
		}
	}
}

func TestShortDirIsShort(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), strings.Repeat("d", 80)))
	dir, err := shortDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if len(dir) > 60 {
		t.Errorf("%s has %d bytes", dir, len(dir))
	}
	l, err := net.Listen("unix", filepath.Join(dir, strings.Repeat("s", 40)))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
