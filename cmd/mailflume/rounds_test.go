package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/mailflume/mailflume/internal/accept"
)

// turnstile is a server that greets nobody before so many have come, and counts who is there.
type turnstile struct {
	wants int
	open  chan struct{}

	mu               sync.Mutex
	here, most, came int
}

func newTurnstile(t *testing.T, wants int) (s *turnstile, addr string) {
	t.Helper()
	s = &turnstile{wants: wants, open: make(chan struct{})}
	return s, accept.Each(t, s.serve)
}

func (s *turnstile) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // a test
	s.mu.Lock()
	s.came++
	s.here++
	s.most = max(s.most, s.here)
	if s.came == s.wants {
		close(s.open)
	}
	s.mu.Unlock()
	<-s.open
	s.mu.Lock()
	s.here-- // whoever hears the following may let the next one come
	s.mu.Unlock()
	fmt.Fprint(conn, "* BYE not today\r\n")
	conn.Read(make([]byte, 1)) //nolint:errcheck // until the other side has gone
}

// Mailboxes are checked at the same time: so many of one server and no more, of one account one after the other, and what is
// found comes in the order of the configuration.
func TestCheckTakesManyAtOnce(t *testing.T) {
	r := newRig(t)
	r.file("password", "a password")
	r.more += "limits: {connections_per_account: 15}\n"
	add := func(name, user, addr string) {
		host, port, err := net.SplitHostPort(addr)
		r.must(err)
		fmt.Fprintf(&r.boxes, "  - {name: %s, address: %s@mail.test, user: %s, provider: imap, host: %s, port: %s, security: plain, login: {password: file:password}}\n",
			name, name, user, host, port)
	}
	// One that comes in turn would wait for the others at the turnstile until it is given up.
	many, manyAt := newTurnstile(t, checksAtOneServer)
	one, oneAt := newTurnstile(t, 1)
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("m%02d", i)
		add(name, name, manyAt)
		add(name+"-shared", "Shared", oneAt)
		want = append(want, name, name+"-shared")
	}
	code, out, errs := command(t.Context(), "check", "--json", "-c", r.write())
	var found []diagnosis
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != exitFailed {
		t.Fatalf("exit code %d, %v, %s", code, err, errs)
	}
	var got []string
	for _, d := range found {
		got = append(got, d.Mailbox)
		if !strings.Contains(d.Sentence, "takes no more connections now") {
			t.Errorf("%s: %q", d.Mailbox, d.Sentence)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("in the order %v", got)
	}
	if many.most != checksAtOneServer || many.came != 20 {
		t.Errorf("%d of one server at once, %d in all", many.most, many.came)
	}
	if one.most != 1 || one.came != 20 {
		t.Errorf("%d of one account at once, %d in all", one.most, one.came)
	}
}

// A server that nobody can connect to costs the wait for a few connections, however many mailboxes it has, and each of them is
// told why.
func TestCheckOfADeadServer(t *testing.T) {
	r := newRig(t)
	r.file("password", "a password")
	const boxes = 60
	for i := range boxes {
		fmt.Fprintf(&r.boxes, "  - {name: m%d, address: m%d@mail.test, provider: imap, host: mail.test, login: {password: file:password}}\n", i, i)
	}
	var mu sync.Mutex
	asked := 0
	proxy := accept.Each(t, func(conn net.Conn) {
		defer conn.Close() //nolint:errcheck // a test
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			mu.Lock()
			asked++
			mu.Unlock()
			fmt.Fprint(conn, "HTTP/1.1 504 No such host\r\n\r\n")
		}
	})
	check := exec.CommandContext(t.Context(), "mailflume", "check", "--json", "-c", r.write())
	check.Env = append(os.Environ(), "ALL_PROXY=http://"+proxy, "HTTPS_PROXY=", "NO_PROXY=")
	out, _ := check.Output()
	var found []diagnosis
	if err := json.Unmarshal(out, &found); err != nil || len(found) != boxes {
		t.Fatalf("%d, %v", len(found), err)
	}
	for _, d := range found {
		if d.OK || d.Sentence != found[0].Sentence || !strings.Contains(d.Sentence, "Cannot connect to mail.test:993") {
			t.Errorf("%s: %q", d.Mailbox, d.Sentence)
		}
	}
	if mu.Lock(); asked < deadAfter || asked > deadAfter+checksAtOneServer {
		t.Errorf("%d attempts for %d mailboxes", asked, boxes)
	}
	mu.Unlock()
}
