package web_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/web"
)

// sources returns a healthy replica with the given mailboxes.
func sources(all ...mailbox.Status) web.Sources {
	return web.Sources{
		Mailboxes: func() []mailbox.Status { return all },
		Ready:     func() error { return nil },
		Broker:    func() string { return "NATS 2.15.2 at test" },
		Replica:   "worker-1", Version: "v1.2.3",
	}
}

// status returns a mailbox in a state.
func status(name string, state mailbox.State) mailbox.Status {
	return mailbox.Status{
		Mailbox: event.Mailbox{ID: name, Name: name, Address: name + "@example.test", Provider: "gmail"},
		State:   state, Since: time.Now().Add(-3 * time.Minute),
	}
}

func get(t *testing.T, s web.Sources, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	web.Handler(s).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// page returns what a reader of the page sees, white space made one space, and its elements.
func page(t *testing.T, s web.Sources) (text string, elements []html.Token) {
	t.Helper()
	w := get(t, s, "/")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("status %d, %s", w.Code, w.Header().Get("Content-Type"))
	}
	z := html.NewTokenizer(w.Body)
	for z.Next() != html.ErrorToken {
		switch token := z.Token(); token.Type {
		case html.TextToken:
			text += " " + token.Data
		case html.StartTagToken, html.SelfClosingTagToken:
			elements = append(elements, token)
		}
	}
	if !errors.Is(z.Err(), io.EOF) {
		t.Fatal(z.Err())
	}
	return strings.Join(strings.Fields(text), " "), elements
}

func wants(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
}

func TestPageSaysStatesInWords(t *testing.T) {
	for state, words := range map[mailbox.State]string{
		mailbox.StateElsewhere:  "not on this replica",
		mailbox.StateConnecting: "logging in",
		mailbox.StateReading:    "reading new mail",
		mailbox.StateWatching:   "watching",
		mailbox.StateWaiting:    "will try again by itself",
		mailbox.StateParked:     "needs attention",
	} {
		text, _ := page(t, sources(status("sales", state)))
		wants(t, text, "sales gmail "+words+" for 3 min", "1 mailbox: 1 ")
	}
}

func TestPageShowsWhatAnOperatorNeeds(t *testing.T) {
	s := status("sales", mailbox.StateParked)
	s.Sentence, s.Hint = "The login is refused.", "Sign in again."
	s.LastChecked, s.LastMessage = time.Now().Add(-90*time.Second), time.Now().Add(-5*time.Hour)
	s.Published = map[string]uint64{"received": 1200, "dead": 34}
	s.Dropped = map[string]uint64{"already_published": 56}
	s.Positions = map[string]string{"INBOX": "7 4711", "Junk": "8 15"}
	text, _ := page(t, sources(s, status("support", mailbox.StateWatching)))
	wants(t, text, "(1) Mailflume", "replica worker-1 · v1.2.3 · NATS 2.15.2 at test",
		"2 mailboxes: 1 in need of attention, 1 watching",
		"The login is refused. Sign in again.", "90 s ago 5 h ago 1234 34 56 INBOX 7 4711 Junk 8 15",
		"support gmail watching for 3 min never never 0 0 0")
}

func TestPageBeforeNATSAnswers(t *testing.T) {
	s := sources()
	s.Ready = func() error { return errors.New("cannot reach NATS") }
	text, _ := page(t, s)
	wants(t, text, "Not ready. cannot reach NATS", "as soon as NATS answers")
	if strings.Contains(text, "no mailbox") {
		t.Errorf("it says that nothing is configured: %q", text)
	}
}

// Names are the configuration's and sentences are those of servers: neither becomes markup.
func TestPageEscapes(t *testing.T) {
	const evil = `</td><script>alert(1)</script><img src=x onerror=alert(2)>"'&amp;`
	s := status(evil, mailbox.StateParked)
	s.Sentence, s.Hint, s.Mailbox.Provider = evil, evil, evil
	s.Positions = map[string]string{evil: evil}
	src := sources(s)
	src.Replica, src.Version = evil, evil
	src.Broker = func() string { return evil }
	src.Ready = func() error { return errors.New(evil) }
	text, elements := page(t, src)
	if n := strings.Count(text, evil); n != 10 {
		t.Errorf("the text is there %d times, want 10: %q", n, text)
	}
	for _, e := range elements {
		if e.Data == "script" || e.Data == "img" {
			t.Errorf("it became %s", e)
		}
	}
}

// The page needs no script, loads nothing from elsewhere, and its policy lets a browser do nothing else.
func TestPageIsInert(t *testing.T) {
	_, elements := page(t, sources(status("sales", mailbox.StateWatching)))
	for _, e := range elements {
		if slices.Contains([]string{"script", "style", "iframe", "form", "img"}, e.Data) {
			t.Errorf("there is a %s", e)
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.Contains(a.Val, "//") {
				t.Errorf("%s has %s=%q", e.Data, a.Key, a.Val)
			}
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	for _, path := range []string{"/", "/style.css", "/healthz", "/readyz", "/metrics", "/nowhere"} {
		h := get(t, sources(), path).Header()
		policy := h.Get("Content-Security-Policy")
		wants(t, policy, "default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'")
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %s", path, policy)
		}
		for key, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if got := h.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", path, key, got, want)
			}
		}
	}
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200},
		{"HEAD", "/", 200},
		{"GET", "/style.css", 200},
		{"GET", "/healthz", 200},
		{"GET", "/readyz", 200},
		{"GET", "/metrics", 200},
		{"GET", "/nowhere", 404},
		{"GET", "/index.html", 404},
		{"GET", "/debug/pprof/", 404},
		{"POST", "/", 405},
		{"DELETE", "/healthz", 405},
	} {
		w := httptest.NewRecorder()
		web.Handler(sources()).ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.status)
		}
	}
}

// Health is about the process, readiness about its work: without NATS the process is healthy and not ready.
func TestHealthAndReadiness(t *testing.T) {
	s := sources()
	if w := get(t, s, "/readyz"); w.Code != 200 || w.Body.String() != "ready\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	s.Ready = func() error { return errors.New("not connected to NATS at nats://x") }
	if w := get(t, s, "/readyz"); w.Code != 503 || w.Body.String() != "not ready: not connected to NATS at nats://x\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := get(t, s, "/healthz"); w.Code != 200 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

var (
	sampleRE = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*")*\})? (\S+)$`)
	typeRE   = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)$`)
)

// metrics reads the text format of Prometheus: the samples, and the type of each family.
func metrics(t *testing.T, s web.Sources) (samples map[string]float64, types map[string]string) {
	t.Helper()
	w := get(t, s, "/metrics")
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %s\n%s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	samples, types = make(map[string]float64), make(map[string]string)
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSuffix(line, "\n")
		if m := typeRE.FindStringSubmatch(line); m != nil {
			types[m[1]] = m[2]
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sampleRE.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a sample: %q", line)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, twice := samples[m[1]+m[2]]; twice {
			t.Errorf("%s%s is there twice", m[1], m[2])
		}
		samples[m[1]+m[2]] = v
	}
	return samples, types
}

func TestMetrics(t *testing.T) {
	busy := status("sales", mailbox.StateWatching)
	busy.LastChecked, busy.LastMessage = time.UnixMilli(1_700_000_000_500), time.UnixMilli(1_700_000_001_000)
	busy.Published = map[string]uint64{"received": 12}
	busy.Dropped = map[string]uint64{"already_published": 3}
	busy.Actions = mailbox.Actions{Done: map[string]uint64{"done": 7}, Failures: 2}
	busy.Failures = 4
	samples, types := metrics(t, sources(busy, status(`ev"il\`+"\n", mailbox.StateParked)))
	for series, want := range map[string]float64{
		`mailflume_mailbox_state{mailbox="sales",state="watching"}`:                    1,
		`mailflume_mailbox_state{mailbox="sales",state="parked"}`:                      0,
		`mailflume_mailbox_state{mailbox="ev\"il\\\n",state="parked"}`:                 1,
		`mailflume_events_published_total{mailbox="sales",route="received"}`:           12,
		`mailflume_events_published_total{mailbox="sales",route="dead"}`:               0,
		`mailflume_events_published_total{mailbox="ev\"il\\\n",route="received"}`:      0,
		`mailflume_messages_dropped_total{mailbox="sales",reason="already_published"}`: 3,
		`mailflume_actions_total{mailbox="sales",result="done"}`:                       7,
		`mailflume_action_failures_total{mailbox="sales"}`:                             2,
		`mailflume_failures_total{mailbox="sales"}`:                                    4,
		`mailflume_mailbox_last_checked_timestamp_seconds{mailbox="sales"}`:            1_700_000_000.5,
		`mailflume_mailbox_last_event_timestamp_seconds{mailbox="sales"}`:              1_700_000_001,
		`mailflume_mailbox_last_event_timestamp_seconds{mailbox="ev\"il\\\n"}`:         0,
	} {
		if got, ok := samples[series]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", series, got, ok, want)
		}
	}
	one := 0.0
	for series, v := range samples {
		if strings.HasPrefix(series, `mailflume_mailbox_state{mailbox="sales"`) {
			one += v
		}
	}
	if one != 1 {
		t.Errorf("sales is in %v states", one)
	}
	for family, kind := range map[string]string{
		"mailflume_events_published_total": "counter", "mailflume_failures_total": "counter", "mailflume_mailbox_state": "gauge",
		"go_goroutines": "gauge", "process_resident_memory_bytes": "gauge",
	} {
		if types[family] != kind {
			t.Errorf("%s is a %q, want %s; there are %v", family, types[family], kind, slices.Sorted(maps.Keys(types)))
		}
	}
}

// The server answers until its ctx ends, and then frees its port.
func TestServerServesAndStops(t *testing.T) {
	server, err := web.Listen(web.Config{Listen: "127.0.0.1:0"}, sources(status("sales", mailbox.StateWatching)), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	answer, err := client.Get("http://" + server.Addr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Error(answer.Status)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not stop")
	}
	if _, err := client.Get("http://" + server.Addr() + "/healthz"); err == nil {
		t.Error("it still answers")
	}
}

func TestListenNamesTheSetting(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	first, err := web.Listen(web.Config{Listen: "127.0.0.1:0"}, sources(), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- first.Run(ctx) }()
	defer func() { stop(); <-ended }()
	_, err = web.Listen(web.Config{Listen: first.Addr()}, sources(), log)
	if err == nil {
		t.Fatal("two servers listen on one port")
	}
	wants(t, err.Error(), first.Addr(), "http.listen")
}

// A process that is killed while it starts another leaves its port to that one for a moment.
func TestListenWaitsForThePort(t *testing.T) {
	before, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { before.Close() })
	server, err := web.Listen(web.Config{Listen: before.Addr().String()}, sources(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}
