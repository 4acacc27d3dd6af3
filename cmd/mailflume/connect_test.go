package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
)

// unconnected adds a mailbox that nobody has signed in for.
func (r *rig) unconnected(p sim.Provider, name, addr, client, more string) *sim.Account {
	r.t.Helper()
	account := r.world.AddAccount(p, name+"@mail.test")
	host, port, err := net.SplitHostPort(addr)
	r.must(err)
	provider := map[sim.Provider]string{sim.Gmail: "gmail", sim.Exchange: "outlook"}[p]
	fmt.Fprintf(&r.boxes, "  - {name: %s, address: %s, provider: %s, host: %s, port: %s, ca: ca.pem, start: all, login: {client: %s}%s}\n",
		name, account.Address(), provider, host, port, client, more)
	return account
}

// typed runs a command line and gives it what answer makes of its output as input.
func typed(t *testing.T, answer func(out string) (in string, ready bool), args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var out, errs output
	in, keys := io.Pipe()
	ended := make(chan int, 1)
	root := newRoot()
	go func() { ended <- execute(ctx, root, args, in, &out, &errs) }()
	for {
		select {
		case code := <-ended:
			return code, out.String(), errs.String()
		case <-time.After(5 * time.Millisecond):
		}
		if answer == nil {
			continue
		}
		if text, ready := answer(out.String()); ready {
			answer = nil
			go io.WriteString(keys, text) //nolint:errcheck // a command that does not read it says so
		}
	}
}

var linkPattern = regexp.MustCompile(`(?m)^  (http\S+)$`)

// browser opens the link that connect prints and follows it back, as a browser does; it returns what the last page says.
func browser(t *testing.T, link string, follow bool) (last *url.URL, page string) {
	t.Helper()
	client := &http.Client{}
	if !follow {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	resp, err := client.Get(link)
	if err != nil {
		t.Error(err)
		return &url.URL{}, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	if back, err := resp.Location(); err == nil {
		return back, string(text)
	}
	return resp.Request.URL, string(text)
}

func TestConnect(t *testing.T) {
	for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(p), func(t *testing.T) {
			r := newRig(t)
			client := map[sim.Provider]string{sim.Gmail: "google", sim.Exchange: "microsoft"}[p]
			r.unconnected(p, "box", r.listen(p), client, "")
			path := r.write()
			code, out, _ := command(t.Context(), "check", "-c", path)
			if code != exitFailed || !strings.Contains(out, "mailflume connect box") {
				t.Errorf("before: %d, %s", code, out)
			}
			page, at := "", &url.URL{}
			code, out, errs := typed(t, func(out string) (string, bool) {
				link := linkPattern.FindStringSubmatch(out)
				if link == nil {
					return "", false
				}
				forged := regexp.MustCompile(`redirect_uri=([^&]+)`).FindStringSubmatch(link[1])
				home, err := url.QueryUnescape(forged[1])
				r.must(err)
				if _, page := browser(t, home+"/?state=forged&code=x", true); !strings.Contains(page, "does not belong") {
					t.Errorf("a forged answer: %s", page)
				}
				at, page = browser(t, link[1], true)
				return "", true
			}, "connect", "-c", path, "box")
			if code != 0 || !strings.Contains(out, "box is connected") {
				t.Fatalf("exit code %d\n%s\n%s", code, out, errs)
			}
			if at.Path != "/signed-in" || at.RawQuery != "" || !strings.Contains(page, "Signed in.") {
				t.Errorf("the browser ends at %s: %s", at, page)
			}
			if code, out, errs := command(t.Context(), "check", "-c", path); code != 0 {
				t.Errorf("after: %d, %s, %s", code, out, errs)
			}
			if code, out, errs := command(t.Context(), "token", "status", "-c", path); code != 0 || !strings.Contains(out, "in order, access token valid") {
				t.Errorf("status: %d, %s, %s", code, out, errs)
			}
		})
	}
}

// On a machine without a browser the answer is pasted: the whole address, or what follows the question mark.
func TestConnectByHand(t *testing.T) {
	r := newRig(t)
	r.unconnected(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	path := r.write()
	for i, paste := range []func(u *url.URL) string{(*url.URL).String, func(u *url.URL) string { return u.RawQuery }} {
		code, out, errs := typed(t, func(out string) (string, bool) {
			link := linkPattern.FindStringSubmatch(out)
			if link == nil || !strings.Contains(out, "Enter: ") {
				return "", false
			}
			back, _ := browser(t, link[1], false)
			return paste(back) + "\n", true
		}, "connect", "-c", path, "--no-browser", "box")
		if code != 0 || !strings.Contains(out, "box is connected") {
			t.Errorf("%d: exit code %d\n%s\n%s", i, code, out, errs)
		}
	}
	code, _, errs := typed(t, func(out string) (string, bool) { return "nonsense\n", strings.Contains(out, "Enter: ") }, "connect", "-c", path, "--no-browser", "box")
	if code != exitUsage || !strings.Contains(errs, "code= and state=") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if code, _, errs := command(t.Context(), "connect", "-c", path, "nobody"); code != exitUsage || !strings.Contains(errs, `no mailbox "nobody"`) {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

// Another account than the mailbox's is refused, unless it is named; and one that is named and may not open the mailbox
// leads to the command that lets it.
func TestConnectOfAnotherAccount(t *testing.T) {
	r := newRig(t)
	addr := r.listen(sim.Exchange)
	shared := r.unconnected(sim.Exchange, "shared", addr, "microsoft", "")
	r.world.AddAccount(sim.Exchange, "anna@mail.test")
	path := r.write()
	connect := func(as string, args ...string) (int, string, string) {
		return typed(t, func(out string) (string, bool) {
			link := linkPattern.FindStringSubmatch(out)
			if link == nil || !strings.Contains(out, "Enter: ") {
				return "", false
			}
			q := regexp.MustCompile(`login_hint=[^&]*`).ReplaceAllString(link[1], "login_hint="+url.QueryEscape(as))
			back, _ := browser(t, q, false)
			return back.String() + "\n", true
		}, append([]string{"connect", "-c", path, "--no-browser", "shared"}, args...)...)
	}
	if code, _, errs := connect("anna@mail.test"); code != exitFailed || !strings.Contains(errs, "Another account") || !strings.Contains(errs, "--as") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if code, _, errs := connect("anna@mail.test", "--as", "anna@mail.test"); code != exitFailed || !strings.Contains(errs, "cannot be opened yet") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	code, out, _ := command(t.Context(), "check", "-c", path)
	if words := strings.Join(strings.Fields(out), " "); code != exitFailed || !strings.Contains(words, "the token belongs to anna@mail.test") || !strings.Contains(out, "Add-MailboxPermission -Identity shared@mail.test -User anna@mail.test") {
		t.Errorf("exit code %d, %s", code, out)
	}
	shared.Set(func(q *sim.Quirks) { q.FullAccess = []string{"anna@mail.test"} })
	if code, out, errs := connect("anna@mail.test", "--as", "anna@mail.test"); code != 0 {
		t.Errorf("exit code %d, %s, %s", code, out, errs)
	}
}

func TestConnectByDevice(t *testing.T) {
	r := newRig(t)
	r.world.OAuth(sim.Exchange).AddClient(sim.Client{ID: "public"})
	r.clients = "  - {name: public, provider: microsoft, id: public, authority: MICROSOFT}\n"
	box := r.unconnected(sim.Exchange, "box", r.listen(sim.Exchange), "public", "")
	path := r.write()
	code, out, errs := typed(t, func(out string) (string, bool) {
		m := regexp.MustCompile(`enter the code (\S+),`).FindStringSubmatch(out)
		return "", m != nil && r.world.OAuth(sim.Exchange).ApproveDevice(m[1], box.Address())
	}, "connect", "-c", path, "--device", "box")
	if code != 0 || !strings.Contains(out, "box is connected") || !strings.Contains(out, "https://microsoft.com/devicelogin") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	if code, _, errs := command(t.Context(), "connect", "-c", path, "--device", "--no-browser", "box"); code != exitUsage || !strings.Contains(errs, "--device goes without") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

// A refresh token that somebody has comes in by standard input or by a file, and never shows.
func TestTokenImportAndRevoke(t *testing.T) {
	r := newRig(t)
	box := r.unconnected(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	path := r.write()
	if code, _, errs := command(t.Context(), "token", "status", "-c", path); code != exitFailed || !strings.Contains(errs, "1 of 1") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	refresh := box.RefreshToken("the-client")
	code, out, errs := typed(t, func(string) (string, bool) { return refresh + "\n", true }, "token", "import", "-c", path, "box")
	if code != 0 || !strings.Contains(out, "box is connected") || strings.Contains(out+errs, refresh) {
		t.Fatalf("exit code %d\n%s\n%s", code, out, errs)
	}
	if code, out, errs := command(t.Context(), "token", "revoke", "-c", path, "box"); code != 0 || !strings.Contains(out, "at the provider and here") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	r.file("again", refresh)
	code, out, errs = command(t.Context(), "token", "import", "-c", path, "--file", r.dir+"/again", "box")
	if code != exitFailed || !strings.Contains(errs, "to do:") || strings.Contains(out+errs, refresh) {
		t.Errorf("a revoked token: exit code %d\n%s\n%s", code, out, errs)
	}
	code, out, _ = command(t.Context(), "token", "status", "--json", "-c", path)
	if code != exitFailed || !strings.Contains(out, `"code": "revoked_here"`) {
		t.Errorf("exit code %d, %s", code, out)
	}
	// The account cannot be told from Google's token, so it must open the mailbox before anything is stored.
	other := r.world.AddAccount(sim.Gmail, "mallory@mail.test").RefreshToken("the-client")
	code, out, errs = typed(t, func(string) (string, bool) { return other + "\n", true }, "token", "import", "-c", path, "box")
	if code != exitFailed || !strings.Contains(errs, "Nothing was stored") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	for _, bad := range []string{"\n", "two words\n"} {
		if code, _, errs := typed(t, func(string) (string, bool) { return bad, true }, "token", "import", "-c", path, "box"); code != exitUsage || !strings.Contains(errs, "one word") {
			t.Errorf("%q: exit code %d, %s", bad, code, errs)
		}
	}
}

// Another program's tokens: of a command, and of a file.
func TestForeignTokens(t *testing.T) {
	r := newRig(t)
	addr := r.listen(sim.Gmail)
	host, port, err := net.SplitHostPort(addr)
	r.must(err)
	for name, login := range map[string]string{"by-command": "token_command: [/bin/cat, " + r.dir + "/token-by-command]", "by-file": "token_file: token-by-file"} {
		account := r.world.AddAccount(sim.Gmail, name+"@mail.test")
		r.file("token-"+name, account.AccessToken(time.Hour)+"\n")
		fmt.Fprintf(&r.boxes, "  - {name: %s, address: %s, provider: gmail, host: %s, port: %s, ca: ca.pem, login: {%s}}\n", name, account.Address(), host, port, login)
	}
	path := r.write()
	if code, out, errs := command(t.Context(), "check", "-c", path); code != 0 {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	r.must(os.Remove(r.dir + "/token-by-file"))
	if code, out, _ := command(t.Context(), "check", "-c", path, "by-file"); code != exitFailed || !strings.Contains(out, "login.token_file") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// A client with fixed redirect URIs: the port is the one that is registered, and nothing else is listened at.
func TestConnectRedirect(t *testing.T) {
	r := newRig(t)
	r.unconnected(sim.Gmail, "box", r.listen(sim.Gmail), "google", "")
	path := r.write()
	port, err := process.FreePort()
	r.must(err)
	redirect := "http://127.0.0.1:" + port
	for _, end := range []string{"", "/", "/signed-in", "/oauth/callback", "/%7Bx%7D/"} {
		back := &url.URL{}
		code, out, errs := typed(t, func(out string) (string, bool) {
			link := linkPattern.FindStringSubmatch(out)
			if link == nil {
				return "", false
			}
			back, _ = browser(t, link[1], false)
			if _, page := browser(t, back.String(), true); !strings.Contains(page, "Signed in.") {
				t.Errorf("%q: the browser sees %s", end, page)
			}
			return "", true
		}, "connect", "-c", path, "--redirect", redirect+end, "box")
		if code != 0 || !strings.Contains(out, "box is connected") || !strings.HasPrefix(back.String(), redirect+end+"?") {
			t.Errorf("%q: exit code %d, back to %s\n%s\n%s", end, code, back, out, errs)
		}
	}
	for _, bad := range []string{"https://mail.example.test/callback", "http://127.0.0.1/", "http://192.0.2.1:8080", "nonsense", "http://evil.example:8080"} {
		if code, _, errs := command(t.Context(), "connect", "-c", path, "--redirect", bad, "box"); code != exitUsage || !strings.Contains(errs, "use it with --no-browser") {
			t.Errorf("%s: exit code %d, %s", bad, code, errs)
		}
	}
}
