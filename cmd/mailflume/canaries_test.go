package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// The real program, with everything secret that it can have, in all that it says, serves and stores: no credential
// anywhere, and no mail outside the payload of its events.
func TestCanaries(t *testing.T) {
	a := &aviary{t: t, canaries: map[string][]string{}}
	r := newRig(t)
	fixed := func(what, text string) string { a.plant(what, text); return text }
	r.file("right-secret", fixed("google client secret", "canary-of-google's-client-secret"))
	r.file("ms-secret", fixed("microsoft client secret", "canary~of.microsoft/client+secret="))
	r.file("wrong-secret", fixed("wrong client secret", "canary-of-the-wrong-client-secret"))
	r.world.OAuth(sim.Gmail).AddClient(sim.Client{ID: "the-client", Secret: a.canaries["google client secret"][0]})
	r.world.OAuth(sim.Exchange).AddClient(sim.Client{ID: "the-client", Secret: a.canaries["microsoft client secret"][0]})
	r.world.OAuth(sim.Exchange).AddClient(sim.Client{ID: "public"})
	natsPassword := fixed("NATS password", "canary-of-the-NATS-password")
	nc := guarded(t, natsPassword)
	r.file("nats-password", natsPassword)
	old, fresh := token.NewKey(), token.NewKey()
	for what, line := range map[string]string{"old sealing key": old, "sealing key": fresh} {
		_, key, _ := strings.Cut(line, ":")
		a.plant(what, key)
	}
	r.file("sealing-key", old)
	privateKey, certificate := keyAndCertificate(t)
	r.file("certificate.pem", privateKey+certificate)
	a.plant("certificate key", inside(privateKey))
	serviceKey, _ := keyAndCertificate(t)
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "service@project.test", "client_id": "1", "private_key_id": "k", "private_key": serviceKey,
	})
	r.must(err)
	r.file("service.json", string(account))
	a.plant("service account key", inside(serviceKey))

	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	host, port, err := net.SplitHostPort(gmail)
	r.must(err)
	spies := map[string]*eavesdropper{"google": {secrets: map[string]string{}}, "microsoft": {secrets: map[string]string{}}}
	r.clients = "  - {name: device, provider: microsoft, id: public, authority: MICROSOFT}\n" +
		"  - {name: app, provider: microsoft, grant: app, id: the-client, certificate: file:certificate.pem, tenant: mail.test, authority: MICROSOFT}\n" +
		"  - {name: service, provider: google, service_account: file:service.json, endpoints: {token: \"GOOGLE/token\"}}\n"
	first := r.box(sim.Gmail, "configured", gmail, "google", "")
	second := r.unconnected(sim.Exchange, "by-page", outlook, "microsoft", "")
	r.unconnected(sim.Gmail, "by-command", gmail, "google", "")
	imported := r.unconnected(sim.Gmail, "imported", gmail, "google", "")
	revoked := r.box(sim.Exchange, "revoked", outlook, "microsoft", "")
	byDevice := r.unconnected(sim.Exchange, "by-device", outlook, "device", "")
	r.unconnected(sim.Exchange, "by-app", outlook, "app", "")
	r.unconnected(sim.Gmail, "by-service", gmail, "service", "")
	r.box(sim.Gmail, "wrong-secret", gmail, "google2", "")
	for i, login := range []string{"token_command: [/bin/cat, " + r.dir + "/token-of-command]", "token_file: token-of-file"} {
		r.world.AddAccount(sim.Gmail, fmt.Sprintf("login-%d@mail.test", i))
		fmt.Fprintf(&r.boxes, "  - {name: login-%d, address: login-%d@mail.test, provider: gmail, host: %s, port: %s, ca: ca.pem, login: {%s}}\n", i, i, host, port, login)
	}
	r.file("token-of-command", fixed("token of a command", "ya29.canary-of-a-token-command"))
	r.file("token-of-file", fixed("token of a file", "ya29.canary-of-a-token-file"))
	r.file("password", fixed("IMAP password", "canary-of-the-IMAP-password"))
	host, port, err = net.SplitHostPort(parrot(t, "NO [AUTHENTICATIONFAILED] Wrong password "+a.canaries["IMAP password"][0]+" of "+fixed("address in a server's text", "login-2@mail.test")))
	r.must(err)
	fmt.Fprintf(&r.boxes, "  - {name: login-2, address: login-2@mail.test, provider: imap, host: %s, port: %s, security: plain, login: {password: file:password}}\n", host, port)
	for _, name := range []string{"configured", "revoked", "wrong-secret"} {
		text, err := os.ReadFile(r.dir + "/refresh-" + name)
		r.must(err)
		a.plant(map[string]string{"revoked": "revoked refresh token"}[name]+map[bool]string{true: "configured refresh token"}[name != "revoked"], string(text))
	}
	page, err := process.FreePort()
	r.must(err)
	r.more = fmt.Sprintf("nats: {url: %q, user: mailflume, password: file:nats-password}\nsealing_key: file:sealing-key\nlog: {level: debug, format: json}\nevents: {raw: always}\n", nc.ConnectedUrl())
	path := r.write()
	text, err := os.ReadFile(path)
	r.must(err)
	text = bytes.Replace(text, []byte("http: {listen: none}"), fmt.Appendf(nil, "http: {listen: %q}", "127.0.0.1:"+page), 1)
	text = bytes.Replace(text, []byte("provider: microsoft, id: the-client, secret: file:right-secret"), []byte("provider: microsoft, id: the-client, secret: file:ms-secret"), 1)
	google, microsoft := spies["google"].before(t, r.world.OAuth(sim.Gmail)), spies["microsoft"].before(t, r.world.OAuth(sim.Exchange))
	text = bytes.ReplaceAll(r.through(text, google, microsoft), []byte("GOOGLE"), []byte(google))
	r.must(os.WriteFile(path, text, 0o600))

	// The answer of a token endpoint that repeats what it was sent.
	lost := first.RefreshToken("the-client")
	a.plant("refresh token in a server's text", lost)
	for n, mail := range canaryMails(a) {
		first.Deliver("INBOX", mail, time.Now().Add(time.Duration(n)*time.Second))
		second.Deliver("INBOX", mail, time.Now())
	}
	for _, box := range []*sim.Account{first, second, imported, revoked} {
		a.plant("mailbox's address", box.Address())
	}
	var said bytes.Buffer
	cli := func(stdin string, args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "mailflume", args...)
		c.Stdin = strings.NewReader(stdin)
		out, err := c.CombinedOutput()
		fmt.Fprintf(&said, "%v: %v\n%s\n", args, err, out)
	}
	run := exec.CommandContext(t.Context(), "mailflume", "run", "-c", path)
	var log output
	run.Stdout, run.Stderr = &log, &log
	r.must(run.Start())
	defer func() { _ = run.Process.Kill(); _ = run.Wait() }() // unless it has ended
	v := (&served{t: t}).visitor()
	base := "http://localhost:" + page
	eventually(t, "the first mailbox is watched", func() bool { return first.Stats().Commands["IDLE"] > 0 })
	_, state := signIn(v, base, "by-page")
	a.plant("state of the page", state.Get("state"))
	eventually(t, "the second mailbox is watched", func() bool { return second.Stats().Commands["IDLE"] > 0 })

	code, out, errs := typed(t, func(out string) (string, bool) {
		link := linkPattern.FindStringSubmatch(out)
		if link == nil {
			return "", false
		}
		back, err := url.Parse(link[1])
		r.must(err)
		a.plant("state of the command", back.Query().Get("state"))
		browser(t, link[1], true)
		return "", true
	}, "connect", "-c", path, "by-command")
	// The link is for the person at this terminal alone: it has the state in it.
	link := linkPattern.FindString(out)
	fmt.Fprintf(&said, "connect: %d\n%s\n%s\n", code, strings.Replace(out, link, "", 1), errs)
	refresh := imported.RefreshToken("the-client")
	a.plant("imported refresh token", refresh)
	cli(refresh+"\n", "token", "import", "-c", path, "imported")
	code, out, errs = typed(t, func(out string) (string, bool) {
		_, rest, ok := strings.Cut(out, "enter the code ")
		user, _, ok2 := strings.Cut(rest, ",")
		return "", ok && ok2 && r.world.OAuth(sim.Exchange).ApproveDevice(user, byDevice.Address())
	}, "connect", "-c", path, "--device", "by-device")
	fmt.Fprintf(&said, "device: %d\n%s\n%s\n", code, out, errs)

	revoked.Revoke()
	for _, box := range []*sim.Account{first, second, revoked} {
		idles := box.Stats().Commands["IDLE"]
		box.ExpireTokens()
		box.DropConnections()
		if box != revoked {
			eventually(t, "it is watched again", func() bool { return box.Stats().Commands["IDLE"] > idles })
		}
	}
	r.world.OAuth(sim.Gmail).Inject(sim.OAuthFault{
		Status: 400, Kind: "application/json", When: sim.When{Times: 3},
		Body: fmt.Sprintf(`{"error":"invalid_request","error_description":"cannot do grant_type=refresh_token&refresh_token=%s"}`, url.QueryEscape(lost)),
	})
	r.file("lost", lost)
	cli("", "token", "import", "-c", path, "--file", r.dir+"/lost", "imported")
	r.file("sealing-key", fresh+"\n"+old)
	cli("", "keys", "rotate", "-c", path)
	cli("", "check", "-c", path)
	cli("", "check", "-v", "-c", path)
	cli("", "check", "--json", "-c", path)
	cli("", "token", "status", "-c", path)
	cli("", "token", "status", "--json", "-c", path)
	cli("", "token", "revoke", "-c", path, "imported")
	cli("", "config", "validate", path)
	cli("", "config", "example")
	cli("", "config", "schema")
	cli("", "version")
	cli("", "health", "-c", path)
	cli("", "connect", "-c", path, "nobody")
	cli("", "--help")
	var pages bytes.Buffer
	for _, p := range []string{"/", "/metrics", "/healthz", "/readyz", "/style.css", "/mailboxes/by-page", "/mailboxes/revoked", "/mailboxes/login-2"} {
		resp, body := v.visit(http.MethodGet, base+p)
		fmt.Fprintln(&pages, p, resp.Status, resp.Header, body)
	}
	for _, p := range []string{"by-page", "configured", "revoked", "login-2", "by-app", "by-service"} {
		_, body := v.visit(http.MethodPost, base+"/mailboxes/"+p+"/test")
		fmt.Fprintln(&pages, body)
	}
	var proc bytes.Buffer
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", run.Process.Pid, file))
		if err == nil {
			proc.Write(text)
		}
	}
	r.must(run.Process.Signal(syscall.SIGQUIT)) // it dies as in a panic, with all goroutines on its standard error
	_ = run.Wait()                              // with exit code 2
	if !strings.Contains(log.String(), "goroutine ") {
		t.Error("there is no dump")
	}
	for provider, spy := range spies {
		for text, what := range spy.secrets {
			a.plant(map[string]string{
				"access_token": provider + " access token", "refresh_token": provider + " refresh token", "code": provider + " code", "code_verifier": provider + " verifier",
				"device_code": "device code", "client_assertion": "client assertion", "assertion": "service account assertion", "token": provider + " refresh token",
				"client_secret": provider + " client secret", "id_token": provider + " access token",
			}[what], text)
		}
	}
	for _, c := range state["cookie"] {
		a.plant("cookie", c)
	}
	for _, what := range slices.Concat(credentials, content) {
		if len(a.canaries[what]) == 0 {
			t.Errorf("there is no %s", what)
		}
	}
	for what := range maps.Keys(a.canaries) {
		if !slices.Contains(slices.Concat(credentials, content), what) {
			t.Errorf("%q is not on the list", what)
		}
	}
	a.scan("the log and the dump", []byte(log.String()), credentials, content)
	a.scan("the command line", said.Bytes(), credentials)
	a.scan("a page", pages.Bytes(), credentials, content)
	a.scan("/proc", proc.Bytes(), credentials, content)
	a.scanStreams(nc)
	t.Logf("%d kinds of canaries, %d texts; %d places, %d bytes", len(a.canaries), func() (n int) {
		for _, c := range a.canaries {
			n += len(c)
		}
		return n
	}(), a.places, a.scanned)
}

// signIn connects a mailbox on the page and returns what the provider sent back, and the cookies beside it.
func signIn(v *visitor, base, id string) (text string, answer url.Values) {
	back := v.consent(v.press(base, id))
	answer = back.Query()
	for _, c := range v.client.Jar.Cookies(back) {
		answer.Add("cookie", c.Value)
	}
	_, text = v.read(back.String())
	return text, answer
}
