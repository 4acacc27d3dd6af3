package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mailflume/mailflume/internal/accept"
	"github.com/mailflume/mailflume/internal/sim"
)

// tunnels is a proxy that knows some hosts, wants a password and notes what it is asked for.
type tunnels struct {
	hosts map[string]string // where each is

	mu    sync.Mutex
	asked map[string]bool
}

func (p *tunnels) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // a test
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	as := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, _ := as.BasicAuth()
	target := p.hosts[r.Host]
	if r.Method != http.MethodConnect || user != "user" || password != "pr0xy-pass" || target == "" {
		io.WriteString(conn, "HTTP/1.1 403 Forbidden by policy\r\n\r\n") //nolint:errcheck // the client tells
		return
	}
	p.mu.Lock()
	p.asked[r.Host] = true
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n") //nolint:errcheck // the client tells
	go func() { io.Copy(server, conn); server.Close() }()               //nolint:errcheck // either end may close
	io.Copy(conn, server)                                               //nolint:errcheck // either end may close
}

// The mail servers and the token endpoints of the presets are reached through the proxy of the environment, whichever
// variable names it; what it does not let through is said without its password.
func TestThroughAProxy(t *testing.T) {
	r := newRig(t)
	at := func(p sim.Provider) string {
		base, err := r.world.OAuth(p).ListenTLS()
		r.must(err)
		return strings.TrimPrefix(base, "https://")
	}
	hosts := map[string]string{
		"imap.gmail.com:993": r.listen(sim.Gmail), "outlook.office365.com:993": r.listen(sim.Exchange),
		"oauth2.googleapis.com:443": at(sim.Gmail), "login.microsoftonline.com:443": at(sim.Exchange),
	}
	text := "data: data\nhttp: {listen: none}\nnats: {embedded: {listen: none}}\nclients:\n" +
		"  - {name: google, provider: google, id: the-client, secret: file:right-secret}\n" +
		"  - {name: microsoft, provider: microsoft, id: the-client, secret: file:right-secret}\nmailboxes:\n"
	for name, p := range map[string]sim.Provider{"one": sim.Gmail, "two": sim.Exchange} {
		account := r.world.AddAccount(p, name+"@mail.test")
		r.file("refresh-"+name, account.RefreshToken("the-client"))
		kind, client := "gmail", "google"
		if p == sim.Exchange {
			kind, client = "outlook", "microsoft"
		}
		text += fmt.Sprintf("  - {name: %s, address: %s@mail.test, provider: %s, ca: ca.pem, login: {client: %s, refresh_token: file:refresh-%[1]s}}\n", name, name, kind, client)
	}
	r.file("mailflume.yaml", text)
	without := map[string]string{}
	for host, addr := range hosts {
		if !strings.HasPrefix(host, "oauth2") {
			without[host] = addr
		}
	}
	for _, tt := range []struct {
		name, variable string
		hosts          map[string]string
		says           string
	}{
		{"HTTPS_PROXY", "HTTPS_PROXY", hosts, ""},
		{"ALL_PROXY", "ALL_PROXY", hosts, ""},
		{"an endpoint that is not let through", "ALL_PROXY", without, "Cannot reach the token endpoint oauth2.googleapis.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &tunnels{hosts: tt.hosts, asked: map[string]bool{}}
			addr := accept.Each(t, p.serve)
			check := exec.CommandContext(t.Context(), "mailflume", "check", "--json", "-c", filepath.Join(r.dir, "mailflume.yaml"))
			for _, v := range os.Environ() {
				if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
					check.Env = append(check.Env, v)
				}
			}
			check.Env = append(check.Env, tt.variable+"=http://user:pr0xy-pass@"+addr, "SSL_CERT_FILE="+filepath.Join(r.dir, "ca.pem"))
			var complaints strings.Builder
			check.Stderr = &complaints
			out, err := check.Output()
			var all []diagnosis
			if jsonErr := json.Unmarshal(out, &all); jsonErr != nil || len(all) != 2 {
				t.Fatalf("%v, %v\n%s\n%s", err, jsonErr, out, complaints.String())
			}
			for _, d := range all {
				if fails := tt.says != "" && d.Mailbox == "one"; d.OK == fails || fails && (!strings.Contains(d.Sentence, tt.says) || !strings.Contains(d.Hint, "proxy")) {
					t.Errorf("%+v", d)
				}
			}
			if strings.Contains(string(out)+complaints.String(), "pr0xy-pass") {
				t.Error("shows the proxy's password")
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.asked) != len(tt.hosts) {
				t.Errorf("the proxy was asked for %v", p.asked)
			}
		})
	}
}
