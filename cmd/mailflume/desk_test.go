package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// Keys that are none are a mistake of the configuration, and every command that needs them says so.
func TestBadSealingKey(t *testing.T) {
	r := newRig(t)
	r.unconnected(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	r.file("key", "not a key")
	r.more += "sealing_key: file:key\n"
	path := r.write()
	for _, args := range [][]string{{"check"}, {"connect", "box"}, {"token", "status"}, {"token", "revoke", "box"}, {"keys", "rotate"}, {"run"}} {
		code, out, errs := command(t.Context(), append(args, "-c", path)...)
		if code != exitUsage || out != "" || !strings.Contains(errs, "setting sealing_key") || !strings.Contains(errs, "line 1") || strings.Contains(errs, "not a key") {
			t.Errorf("%v: exit code %d\n%s\n%s", args, code, out, errs)
		}
	}
}

// Who mistypes a name is told which there are.
func TestUnknownMailbox(t *testing.T) {
	r := newRig(t)
	addr := r.listen(sim.Gmail)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
		r.unconnected(sim.Gmail, "box-"+name, addr, "google", "")
	}
	path := r.write()
	for _, args := range [][]string{{"check", "bx"}, {"connect", "bx"}, {"token", "status", "bx"}, {"token", "revoke", "bx"}, {"token", "import", "bx"}} {
		code, _, errs := command(t.Context(), append(args, "-c", path)...)
		if code != exitUsage || !strings.Contains(errs, `no mailbox "bx"; it has box-a, box-b, `) || !strings.HasSuffix(errs, "box-j, 2 more\n") {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
}

// A person who stops a command is not told of contexts.
func TestStopped(t *testing.T) {
	r := newRig(t)
	r.unconnected(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	path := r.write()
	ctx, stop := context.WithCancel(t.Context())
	var out, errs output
	ended := make(chan int, 1)
	in, _ := io.Pipe()
	go func() {
		ended <- execute(ctx, newRoot(), []string{"connect", "-c", path, "--no-browser", "box"}, in, &out, &errs)
	}()
	eventually(t, "it waits", func() bool { return strings.Contains(out.String(), "Enter: ") })
	stop()
	if code := <-ended; code != exitFailed || errs.String() != "mailflume: stopped\n" {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}

// A server's words do not steer the terminal.
func TestCheckIsHarmless(t *testing.T) {
	r := newRig(t)
	host, port, err := net.SplitHostPort(parrot(t, "NO \x1b[2J\x1b]0;owned\x07Wrong password"))
	r.must(err)
	r.file("password", "a password")
	r.boxes.WriteString("  - {name: box, address: box@mail.test, provider: imap, host: " + host + ", port: " + port + ", security: plain, login: {password: file:password}}\n")
	code, out, errs := command(t.Context(), "check", "-c", r.write())
	if code != exitFailed || !strings.Contains(out, "Wrong password") || strings.ContainsAny(out+errs, "\x1b\x07") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}

// What the provider refuses of the client needs somebody, as much as what it refuses of a grant.
func TestTokenStatusOfARefusedClient(t *testing.T) {
	r := newRig(t)
	r.box(sim.Gmail, "box", r.listen(sim.Gmail), "google2", "")
	path := r.write()
	if code, out, _ := command(t.Context(), "check", "-c", path); code != exitFailed || !strings.Contains(out, "secret") {
		t.Errorf("check: exit code %d, %s", code, out)
	}
	code, out, errs := command(t.Context(), "token", "status", "-c", path)
	if code != exitFailed || !strings.Contains(out, "cannot be renewed") || !strings.Contains(errs, "1 of 1") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	if code, out, _ := command(t.Context(), "token", "status", "--json", "-c", path); code != exitFailed || !strings.Contains(out, `"problemOf": "operator"`) {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// A command beside a running mailflume finds its built-in server wherever it listens, even at a port that nobody chose, and
// where it listens nowhere the command says what to do.
func TestBesideARunningOne(t *testing.T) {
	for listen, says := range map[string]string{"127.0.0.1:0": "", "none": "set nats.embedded.listen to 127.0.0.1:4222"} {
		t.Run(listen, func(t *testing.T) {
			r := newRig(t)
			r.more = fmt.Sprintf("nats: {embedded: {listen: %q}}\n", listen)
			r.box(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
			s := r.serve()
			eventually(t, "the mailbox is watched", func() bool { return s.statuses()[0].State == mailbox.StateWatching })
			code, out, errs := command(t.Context(), "check", "-c", r.dir+"/mailflume.yaml")
			if well := code == 0 && strings.Contains(out, "ok"); well != (says == "") || !strings.Contains(errs, says) || strings.Contains(errs, "stop it, give") {
				t.Errorf("exit code %d: %s%s", code, out, errs)
			}
		})
	}
}

// When the key that sealed the grants is lost, what is said to do about it can be done: the grant is removed, and the mailbox
// is read again. One that can be opened is not removed, and none without being told that the key is lost.
func TestTheKeyIsLost(t *testing.T) {
	r := newRig(t)
	r.box(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	r.file("key", token.NewKey())
	r.more += "sealing_key: file:key\n"
	path := r.write()
	step := func(code int, says string, args ...string) {
		t.Helper()
		got, out, errs := command(t.Context(), append(args, "-c", path)...)
		if text := strings.Join(strings.Fields(out+errs), " "); got != code || !strings.Contains(text, says) {
			t.Fatalf("%v: exit code %d, want %d and %q\n%s%s", args, got, code, says, out, errs)
		}
	}
	step(0, "ok", "check")
	step(exitFailed, "can be opened: it is left alone", "token", "forget", "box", "--lost")
	r.file("key", token.NewKey())
	step(exitFailed, "mailflume token forget NAME --lost", "check")
	step(exitUsage, "--lost", "token", "forget", "box")
	step(exitFailed, "cannot be opened", "token", "revoke", "box")
	step(exitUsage, "no mailbox", "token", "forget", "other", "--lost")
	step(0, "The grant of box was removed. to do: nothing, if the configured", "token", "forget", "box", "--lost")
	step(0, "ok", "check")
	step(0, "in order", "token", "status")
	step(exitFailed, "can be opened: it is left alone", "token", "forget", "box", "--lost")
}

// Google's client ids are as long as tokens are, and are compared as they are.
func TestCheckOfALongClientID(t *testing.T) {
	const id = "407408718192-0123456789abcdefghijklmnopqrstuv.apps.googleusercontent.com"
	r := newRig(t)
	r.world.OAuth(sim.Gmail).AddClient(sim.Client{ID: id, Secret: "the-client-secret"})
	box := r.box(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	r.file("refresh-box", box.RefreshToken(id))
	path := r.write()
	text, err := os.ReadFile(path)
	r.must(err)
	r.file("mailflume.yaml", strings.ReplaceAll(string(text), "id: the-client,", "id: "+id+","))
	if code, out, errs := command(t.Context(), "check", "-v", "-c", path); code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), "of client "+id+",") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
}

// What is said about a grant that no key opens can be done as well if its mailbox is not configured any more, or has a
// password now: else the keys could never be changed without an error again.
func TestTheKeyIsLostOfARemovedMailbox(t *testing.T) {
	r := newRig(t)
	gmail := r.listen(sim.Gmail)
	host, port, err := net.SplitHostPort(gmail)
	r.must(err)
	r.box(sim.Gmail, "stays", gmail, "google", "")
	stays := r.boxes.String()
	r.box(sim.Gmail, "removed", gmail, "google", "")
	r.box(sim.Gmail, "by-password", gmail, "google", "")
	r.file("key", token.NewKey())
	r.more += "sealing_key: file:key\n"
	step := func(path string, code int, says string, args ...string) {
		t.Helper()
		got, out, errs := command(t.Context(), append(args, "-c", path)...)
		if text := strings.Join(strings.Fields(out+errs), " "); got != code || !strings.Contains(text, says) {
			t.Fatalf("%v: exit code %d, want %d and %q\n%s%s", args, got, code, says, out, errs)
		}
	}
	path := r.write()
	step(path, 0, "ok", "check")
	r.boxes.Reset()
	r.boxes.WriteString(stays)
	r.file("password", "a password")
	fmt.Fprintf(&r.boxes, "  - {name: by-password, address: by-password@mail.test, provider: imap, host: %s, port: %s, ca: ca.pem, login: {password: file:password}}\n", host, port)
	r.file("key", token.NewKey())
	path = r.write()
	step(path, exitFailed, "mailbox removed: the stored grant", "keys", "rotate")
	step(path, exitUsage, `no mailbox "other"`, "token", "forget", "--lost", "removed", "other")
	step(path, 0, "The grant of removed was removed. to do: nothing; no mailbox of the configuration used it The grant of by-password was removed. to do: nothing; no mailbox",
		"token", "forget", "--lost", "removed", "by-password")
	step(path, exitUsage, `no mailbox "removed"`, "token", "forget", "--lost", "removed")
	step(path, 0, "The grant of stays was removed. to do: nothing, if the configured", "token", "forget", "--lost", "stays")
	step(path, 0, "0 of 0 grants", "keys", "rotate")
}

// A provider that refuses to revoke a grant does not keep anybody from giving it up.
func TestRevokeHere(t *testing.T) {
	r := newRig(t)
	r.box(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	path := r.write()
	if code, out, errs := command(t.Context(), "check", "-c", path); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, out, errs)
	}
	r.world.OAuth(sim.Gmail).Inject(sim.OAuthFault{Endpoint: "revoke", Status: 400, Kind: "application/json", Body: `{"error":"unsupported_token_type"}`})
	code, out, errs := command(t.Context(), "token", "revoke", "-c", path, "box")
	if code != exitFailed || !strings.Contains(errs, "or: mailflume token revoke box --here") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	if code, out, errs := command(t.Context(), "token", "status", "-c", path); code != 0 || !strings.Contains(out, "in order") {
		t.Errorf("it was changed: exit code %d\n%s\n%s", code, out, errs)
	}
	code, out, errs = command(t.Context(), "token", "revoke", "-c", path, "--here", "box")
	if code != 0 || !strings.Contains(out, "was given up here.") || !strings.Contains(out, "The provider was not told") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	if code, out, _ := command(t.Context(), "token", "status", "--json", "-c", path); code != exitFailed || !strings.Contains(out, `"code": "revoked_here"`) {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
