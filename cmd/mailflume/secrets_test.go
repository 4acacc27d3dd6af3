package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/web"
)

// eavesdropper stands before a provider's OAuth server and collects every secret that goes over the wire.
type eavesdropper struct {
	mu      sync.Mutex
	secrets map[string]string // and what each is
}

func (e *eavesdropper) note(what string, values ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range values {
		if len(v) > 8 {
			e.secrets[v] = what
		}
	}
}

func (e *eavesdropper) before(t testing.TB, next http.Handler) string {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, err := url.ParseQuery(string(body)); err == nil {
			for _, name := range []string{"client_secret", "refresh_token", "code", "code_verifier", "client_assertion", "assertion", "device_code", "token"} {
				e.note(name, form.Get(name))
			}
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var got map[string]any
		if json.Unmarshal(answer.Body.Bytes(), &got) == nil {
			for _, name := range []string{"access_token", "refresh_token", "id_token", "device_code"} {
				text, _ := got[name].(string)
				e.note(name, text)
			}
		}
		for k, v := range answer.Header() {
			rw.Header()[k] = v
		}
		rw.WriteHeader(answer.Code)
		rw.Write(answer.Body.Bytes()) //nolint:errcheck // the client may have gone
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// hits returns which of the secrets stand in a text: as they are, or in base64, hexadecimal or as in a URL.
func (e *eavesdropper) hits(text []byte) (found []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s, what := range e.secrets {
		raw := []byte(s)
		forms := map[string]string{
			"plain": s, "url": url.QueryEscape(s), "hex": hex.EncodeToString(raw),
			"base64": strings.TrimRight(base64.StdEncoding.EncodeToString(raw), "="), "base64url": base64.RawURLEncoding.EncodeToString(raw),
		}
		for form, f := range forms {
			// The last characters of base64 depend on what follows.
			if strings.HasPrefix(form, "base64") {
				f = f[:len(f)-2]
			}
			if bytes.Contains(text, []byte(f)) {
				found = append(found, what+" ("+form+")")
			}
		}
	}
	return found
}

// No secret that ever went over the wire is in what the program prints, logs, serves or stores, nor on its command line.
func TestSecretsStayInside(t *testing.T) {
	r := newRig(t)
	r.more = "log: {level: debug}\nnats: {embedded: {listen: none}}\n"
	spy := &eavesdropper{secrets: map[string]string{"the-client-secret": "client_secret"}}
	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	r.unconnected(sim.Gmail, "one", gmail, "google", "")
	r.unconnected(sim.Exchange, "two", outlook, "microsoft", "")
	imported := r.unconnected(sim.Gmail, "three", gmail, "google", "")
	r.box(sim.Exchange, "revoked", outlook, "microsoft", "").Revoke()
	path := r.write()
	text, err := os.ReadFile(path)
	r.must(err)
	google, microsoft := spy.before(t, r.world.OAuth(sim.Gmail)), spy.before(t, r.world.OAuth(sim.Exchange))
	text = r.through(text, google, microsoft)
	r.must(os.WriteFile(path, text, 0o600))
	var said strings.Builder
	for _, name := range []string{"one", "two"} {
		code, out, errs := typed(t, func(out string) (string, bool) {
			link := linkPattern.FindStringSubmatch(out)
			if link == nil {
				return "", false
			}
			browser(t, link[1], true)
			return "", true
		}, "connect", "-c", path, name)
		if code != 0 {
			t.Fatalf("connect %s: %s %s", name, out, errs)
		}
		said.WriteString(out + errs)
	}
	refresh := imported.RefreshToken("the-client")
	spy.note("refresh_token", refresh)
	code, out, errs := typed(t, func(string) (string, bool) { return refresh + "\n", true }, "token", "import", "-c", path, "three")
	if code != 0 {
		t.Fatalf("import: %s %s", out, errs)
	}
	said.WriteString(out + errs)
	for _, args := range [][]string{
		{"check", "-v"}, {"check", "--json"}, {"token", "status"}, {"token", "status", "--json"}, {"keys", "rotate"}, {"token", "revoke"},
	} {
		if args[1] == "revoke" {
			args = append(args, "three")
		}
		_, out, errs := command(t.Context(), append(args, "-c", path)...)
		said.WriteString(out + errs)
	}
	said.WriteString(r.running(path))
	key, err := os.ReadFile(filepath.Join(r.dir, "data", "sealing-key"))
	r.must(err)
	spy.note("sealing key", strings.TrimSpace(string(key[bytes.IndexByte(key, ':')+1:])))
	if len(spy.secrets) < 12 {
		t.Errorf("only %d secrets", len(spy.secrets))
	}
	if found := spy.hits([]byte(said.String())); found != nil {
		t.Errorf("said: %v", found)
	}
	scanned := 0
	r.must(filepath.WalkDir(filepath.Join(r.dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "sealing-key" {
			return err
		}
		text, err := os.ReadFile(path)
		scanned += len(text)
		if found := spy.hits(text); found != nil {
			t.Errorf("stored in %s: %v", path, found)
		}
		return err
	}))
	for _, file := range []string{"cmdline", "environ"} {
		if text, err := os.ReadFile("/proc/self/" + file); err == nil && spy.hits(text) != nil {
			t.Errorf("/proc/self/%s: %v", file, spy.hits(text))
		}
	}
	t.Logf("%d secrets, %d bytes of output, %d bytes of files", len(spy.secrets), said.Len(), scanned)
}

// through puts the addresses of the eavesdroppers in place of those of the providers.
func (r *rig) through(config []byte, google, microsoft string) []byte {
	r.t.Helper()
	var old [2]string
	for line := range strings.Lines(string(config)) {
		if strings.Contains(line, "name: google,") {
			_, rest, _ := strings.Cut(line, `token: "`)
			old[0], _, _ = strings.Cut(rest, "/token")
		}
		if strings.Contains(line, "name: microsoft,") {
			_, rest, _ := strings.Cut(line, `authority: "`)
			old[1], _, _ = strings.Cut(rest, `"`)
		}
	}
	return []byte(strings.NewReplacer(old[0], google, old[1], microsoft).Replace(string(config)))
}

// running runs the program for a while, with tokens that expire, and returns its log, its page, its metrics, and what a panic
// would print of its goroutines.
func (r *rig) running(path string) string {
	r.t.Helper()
	config, err := configs.Load(path)
	r.must(err)
	var log output
	s, err := newService(config, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	r.must(err)
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, nil) }()
	one := r.world.Account("one@mail.test")
	eventually(r.t, "the first mailbox is watched", func() bool { return one.Stats().Commands["IDLE"] > 0 })
	idles := one.Stats().Commands["IDLE"]
	one.ExpireTokens()
	one.DropConnections()
	eventually(r.t, "it is watched again", func() bool { return one.Stats().Commands["IDLE"] > idles })
	c := s.core.Load()
	c.foresight.look(ctx, c.tokens, time.Now())
	var text strings.Builder
	handler := web.Handler(web.Sources{Mailboxes: s.statuses, Grants: s.grants, Ready: s.ready, Broker: s.broker})
	for _, page := range []string{"/", "/metrics", "/healthz", "/readyz"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", page, nil))
		fmt.Fprintln(&text, answer.Header(), answer.Body)
	}
	r.must(pprof.Lookup("goroutine").WriteTo(&text, 2))
	stop()
	r.must(<-ended)
	return text.String() + log.String()
}

// Any other OAuth server, by hand: its endpoints and scope, and OAUTHBEARER.
func TestOtherProvider(t *testing.T) {
	r := newRig(t)
	base, err := r.world.OAuth(sim.Gmail).Listen()
	r.must(err)
	host, port, err := net.SplitHostPort(r.listen(sim.Gmail))
	r.must(err)
	account := r.world.AddAccount(sim.Gmail, "box@mail.test")
	r.clients = fmt.Sprintf("  - {name: other, provider: other, id: the-client, secret: file:right-secret, scopes: [%q], endpoints: {authorize: %q, token: %q}}\n",
		sim.ScopeGmail, base+"/o/oauth2/v2/auth", base+"/token")
	fmt.Fprintf(&r.boxes, "  - {name: box, address: %s, provider: imap, host: %s, port: %s, ca: ca.pem, login: {client: other, mechanism: oauthbearer}}\n", account.Address(), host, port)
	path := r.write()
	code, out, errs := typed(t, func(out string) (string, bool) {
		link := linkPattern.FindStringSubmatch(out)
		if link == nil {
			return "", false
		}
		browser(t, link[1], true)
		return "", true
	}, "connect", "-c", path, "box")
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, out, errs)
	}
	if code, out, errs := command(t.Context(), "check", "-c", path); code != 0 {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
}
