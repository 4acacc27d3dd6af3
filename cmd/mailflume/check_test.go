package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/publish"
)

// rig is simulated providers and a configuration for mailboxes of theirs.
type rig struct {
	t     testing.TB
	dir   string
	world *sim.World
	boxes strings.Builder // the entries of the configuration
	more  string          // what else the configuration says

	clients string // further clients; MICROSOFT is the address of Microsoft's endpoints
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, dir: t.TempDir(), world: sim.New(sim.Options{}), more: "nats: {embedded: {listen: none}}\n"}
	t.Cleanup(r.world.Close)
	ca, err := r.world.CertPEM()
	r.must(err)
	r.file("ca.pem", string(ca))
	r.file("right-secret", "the-client-secret")
	r.file("wrong-secret", "another-secret")
	for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
		r.world.OAuth(p).AddClient(sim.Client{ID: "the-client", Secret: "the-client-secret"})
	}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) file(name, text string) {
	r.t.Helper()
	writeFile(r.t, r.dir, name, text)
}

func writeFile(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// box adds a mailbox that logs in at addr with a grant of its own; more are further keys of its entry.
func (r *rig) box(p sim.Provider, name, addr, client, more string) *sim.Account {
	r.t.Helper()
	account := r.world.AddAccount(p, name+"@mail.test")
	r.file("refresh-"+name, account.RefreshToken("the-client"))
	host, port, err := net.SplitHostPort(addr)
	r.must(err)
	provider := map[sim.Provider]string{sim.Gmail: "gmail", sim.Exchange: "outlook"}[p]
	fmt.Fprintf(&r.boxes, "  - {name: %s, address: %s, provider: %s, host: %s, port: %s, ca: ca.pem, start: all, login: {client: %s, refresh_token: file:refresh-%s}%s}\n",
		name, account.Address(), provider, host, port, client, name, more)
	return account
}

// write writes the configuration and returns its path.
func (r *rig) write() string {
	r.t.Helper()
	google, err := r.world.OAuth(sim.Gmail).Listen()
	r.must(err)
	microsoft, err := r.world.OAuth(sim.Exchange).Listen()
	r.must(err)
	client := "  - {name: %s, provider: %s, id: the-client, secret: file:%s, %s}\n"
	atGoogle := fmt.Sprintf("endpoints: {token: %q, authorize: %q, revoke: %q, tokeninfo: %q}", google+"/token", google+"/o/oauth2/v2/auth", google+"/revoke", google+"/tokeninfo")
	text := "data: data\nhttp: {listen: none}\n" + r.more + "clients:\n" +
		fmt.Sprintf(client, "google", "google", "right-secret", atGoogle) +
		fmt.Sprintf(client, "google2", "google", "wrong-secret", atGoogle) +
		fmt.Sprintf(client, "microsoft", "microsoft", "right-secret", fmt.Sprintf("authority: %q", microsoft)) +
		strings.ReplaceAll(r.clients, "MICROSOFT", microsoft) +
		"mailboxes:\n" + r.boxes.String()
	r.file("mailflume.yaml", text)
	return filepath.Join(r.dir, "mailflume.yaml")
}

func (r *rig) listen(p sim.Provider) string {
	r.t.Helper()
	addr, err := r.world.IMAP(p).ListenTLS()
	r.must(err)
	return addr
}

// output is what a command prints while a test may look at it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// command runs a command line to its end.
func command(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs output
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

// background runs a command line until the test ends.
func background(t testing.TB, args ...string) (errs *output) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	errs = &output{}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, &output{}, errs) }()
	t.Cleanup(func() {
		stop()
		select {
		case code := <-ended:
			if code != 0 {
				t.Errorf("%v ended with %d:\n%s", args, code, errs)
			}
		case <-time.After(within):
			t.Errorf("%v does not stop", args)
		}
	})
	return errs
}

// eventually polls for what takes a moment.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// Each mailbox that cannot be read is said to be so, with the reason and what to do; the others are checked all the same.
func TestCheckSaysWhatIsWrong(t *testing.T) {
	r := newRig(t)
	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	r.box(sim.Gmail, "first", gmail, "google", "")
	off := sim.RefuseLogin(sim.GmailDisabledUser)
	off.When.Times = -1
	r.box(sim.Gmail, "switched-off", gmail, "google", "").Inject(off)
	r.box(sim.Exchange, "revoked", outlook, "microsoft", "").Revoke()
	r.box(sim.Gmail, "wrong-secret", gmail, "google2", "")
	r.box(sim.Exchange, "no-folder", outlook, "microsoft", ", folders: [INBOX, Invoices]")
	r.box(sim.Gmail, "unreachable", "127.0.0.1:1", "google", "")
	r.box(sim.Exchange, "last", outlook, "microsoft", ", folders: ['\\Junk']")
	code, out, errs := command(t.Context(), "check", "--config", r.write())
	if code != exitFailed || !strings.Contains(errs, "5 of 7 mailboxes cannot be read") {
		t.Errorf("exit code %d, %q", code, errs)
	}
	report := sections(out)
	for name, want := range map[string][]string{
		"first":        {"ok", "INBOX"},
		"switched-off": {"FAILED", "not enabled for IMAP", "to do:", "Gmail"},
		"revoked":      {"FAILED", "to do:", "  trace id, for the provider's support: "},
		"wrong-secret": {"FAILED", "google2", "secret", "to do:"},
		"no-folder":    {"FAILED", `"Invoices"`, "to do:"},
		"unreachable":  {"FAILED", "127.0.0.1:1", "to do:"},
		"last":         {"ok", "Junk"},
	} {
		for _, w := range want {
			if !strings.Contains(report[name], w) {
				t.Errorf("%s: no %q in %q", name, w, report[name])
			}
		}
	}
}

// sections splits the output of check by mailbox.
func sections(out string) map[string]string {
	sections := make(map[string]string)
	name := ""
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") {
			name, _, _ = strings.Cut(line, " ")
		}
		sections[name] += line
	}
	return sections
}

// Some of the mailboxes may be named; a name that is none is a usage error.
func TestCheckOfSome(t *testing.T) {
	r := newRig(t)
	r.box(sim.Gmail, "good", r.listen(sim.Gmail), "google", "")
	r.box(sim.Gmail, "bad", "127.0.0.1:1", "google", "")
	path := r.write()
	if code, out, errs := command(t.Context(), "check", "-c", path, "good"); code != 0 || strings.Contains(out, "bad") || errs != "" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if code, _, errs := command(t.Context(), "check", "-c", path, "bad"); code != exitFailed || !strings.Contains(errs, "1 of 1") {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if code, out, errs := command(t.Context(), "check", "-c", path, "other"); code != exitUsage || out != "" || !strings.Contains(errs, `no mailbox "other"`) {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}

// Beside a running mailflume check goes through the server that it has built in, and disturbs nothing.
func TestCheckBesideRun(t *testing.T) {
	r := newRig(t)
	port, err := process.FreePort()
	r.must(err)
	listen := "127.0.0.1:" + port
	r.more = fmt.Sprintf("nats: {embedded: {listen: %q}}\n", listen)
	good := r.box(sim.Gmail, "good", r.listen(sim.Gmail), "google", "")
	path := r.write()
	log := background(t, "run", "--config", path)
	eventually(t, "run watches the mailbox", func() bool { return good.Stats().Commands["IDLE"] > 0 })
	code, out, errs := command(t.Context(), "check", "--config", path)
	if code != 0 || !strings.Contains(out, "ok") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if n := r.world.OAuth(sim.Gmail).Refreshes(good.Address()).Requests; n != 1 {
		t.Errorf("the grant was renewed %d times, want once", n)
	}
	if got := good.Stats(); got.Logins != 2 || got.Connections != 1 {
		t.Errorf("%d logins and %d connections, want that of run and that of check, which has ended", got.Logins, got.Connections)
	}
	if s := log.String(); strings.Contains(s, "level=WARN") {
		t.Errorf("run was disturbed:\n%s", s)
	}
}

// A grant that check is renewing is not renewed by run at the same time: a provider that lets each refresh token be used
// once would revoke it.
func TestCheckAndRunRenewOneAtATime(t *testing.T) {
	r := newRig(t)
	r.more = "sealing_key: file:key\nnats: {url: \"" + broker(t) + "\"}\n"
	r.file("key", "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
	oauth := r.world.OAuth(sim.Gmail)
	oauth.SetRotation(sim.RotateStrict)
	oauth.Inject(sim.SlowToken(4 * time.Second)) // the first request, which is that of check
	a := r.box(sim.Gmail, "a", r.listen(sim.Gmail), "google", "")
	path := r.write()
	checked := make(chan string, 1)
	go func() {
		_, out, errs := command(t.Context(), "check", "--config", path)
		checked <- out + errs
	}()
	eventually(t, "check asks for a token", func() bool { return len(oauth.Requests()) > 0 || oauth.Refreshes(a.Address()).MaxConcurrent > 0 })
	background(t, "run", "--config", path)
	eventually(t, "run watches the mailbox", func() bool { return a.Stats().Commands["IDLE"] > 0 })
	if out := <-checked; !strings.Contains(out, " ok ") {
		t.Errorf("check says %s", out)
	}
	if n := oauth.Refreshes(a.Address()); n.MaxConcurrent != 1 || n.Reused != 0 {
		t.Errorf("the provider saw %+v", n)
	}
}

// broker is a NATS server of its own, for programs that share one. It returns its URL.
func broker(t testing.TB) string {
	t.Helper()
	return brokerAt(t, "127.0.0.1:0")
}

func brokerAt(t testing.TB, listen string) string {
	t.Helper()
	p, err := publish.Open(t.Context(), publish.Config{
		Embedded: publish.Embedded{Dir: t.TempDir(), Listen: listen},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p.Status().URL
}
