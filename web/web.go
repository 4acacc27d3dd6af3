// Package web shows what the mailboxes are doing and connects them: page, health, metrics.
//
// It has no login of its own, so it listens on loopback unless the configuration says otherwise, and only from there lets
// anybody do more than look: connect a mailbox, and test the way to one. It shows no mail, and names mailboxes by what the
// configuration calls them.
package web

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mailflume/mailflume/internal/handover"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// Config is where the page listens.
type Config struct {
	Listen string // host:port; empty means that there is no page
}

// Sources is what the page shows. Ready and Broker must not block.
type Sources struct {
	Mailboxes func() []mailbox.Status
	Ready     func() error                // nil, or why this replica cannot do its work
	Broker    func() string               // one line about the broker, for the page
	Grants    func() Grants               // for the metrics; may be nil
	Owner     func(mailbox string) string // the name of the replica that reads it, empty if none is known; may be nil
	Refused   func() error                // why the configuration file, as it is now, was not taken over; may be nil
	Weak      func() []Weakness
	Connect   Connect // without a Desk no mailbox can be connected
	Replica   string
	Version   string
}

// Weakness is what could be safer about the broker. Code is short and does not change.
type Weakness struct{ Code, Sentence, Fix string }

// Server is the web server of one process.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen opens the port. The error names the address and the setting.
func Listen(c Config, s Sources, log *slog.Logger) (*Server, error) {
	listener, err := handover.Listen(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the status page on %s (setting http.listen): %w", c.Listen, err)
	}
	if s.Connect.Public == "" {
		_, port, _ := net.SplitHostPort(listener.Addr().String()) //nolint:errcheck // a listener's address has a port
		s.Connect.Public, s.Connect.direct = "http://localhost:"+port, true
	}
	return &Server{
		listener: listener,
		server: &http.Server{
			Handler:           Handler(s),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       15 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close gives the port up again, if Run was not called.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.server.Shutdown(grace); err != nil {
			s.server.Close()
		}
	})
	defer stop()
	if err := s.server.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the status page on %s: %w", s.Addr(), err)
	}
	return nil
}

// Handler returns the routes: /, its /style.css, /healthz, /readyz and /metrics, and those to connect mailboxes.
func Handler(s Sources) http.Handler {
	mux := http.NewServeMux()
	s.routes(mux)
	mux.Handle("GET /{$}", s.known(http.HandlerFunc(s.page)))
	mux.HandleFunc("GET /style.css", style)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.known(promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{})))
	return secure(mux)
}

const policy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// secure sets the headers that keep a browser from doing anything but showing the page.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (s Sources) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.Ready(); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (s Sources) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{s.Mailboxes}, brokerCollector{s.weak, s.refused},
	)
	if s.Grants != nil {
		r.MustRegister(grantCollector{s.Grants})
	}
	return r
}

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

// pageTemplate is parsed when it is first shown: most commands, and the processes that try out messages, show no page.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"span":    span,
		"words":   words,
		"sum":     sum,
		"path":    url.PathEscape,
		"lag":     lag,
		"rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}).Parse(pageHTML))
})

func style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	fmt.Fprint(w, styleCSS)
}

func (s Sources) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	rows := s.Mailboxes()
	data := struct {
		Replica, Version, Broker string
		NotReady, Refused        string // why, or empty
		Rows                     []mailbox.Status
		Weak                     []Weakness
		Summary                  string
		Attention                int // mailboxes that need someone to act
		Where                    func(mailbox.Status) string
		Secrets                  []token.Problem                      // of clients, that expire before long
		Soon                     func(mailbox string) []token.Problem // what else will stop a mailbox before long
		Linked                   bool                                 // each mailbox has a page of its own
	}{Replica: s.Replica, Version: s.Version, Broker: s.Broker(), Rows: worstFirst(rows), Weak: s.weak(), Where: s.where, Linked: s.Connect.Desk != nil}
	if err := s.refused(); err != nil {
		data.Refused = err.Error()
	}
	if err := s.Ready(); err != nil {
		data.NotReady = err.Error()
	}
	data.Summary, data.Attention = summary(rows)
	data.Secrets, data.Soon = s.soon()
	if err := pageTemplate().Execute(w, data); err != nil {
		// The header is out already; the connection says the rest.
		return
	}
}

// soon returns what the grants of this replica's mailboxes warn of: what concerns a client once, and the rest by mailbox.
func (s Sources) soon() (secrets []token.Problem, of func(mailbox string) []token.Problem) {
	byMailbox := make(map[string][]token.Problem)
	if s.Grants != nil {
		for _, g := range s.Grants().List {
			for _, w := range g.Warnings {
				switch {
				case w.Code != "secret_expires":
					byMailbox[g.Mailbox] = append(byMailbox[g.Mailbox], w)
				case !slices.ContainsFunc(secrets, func(o token.Problem) bool { return o.Sentence == w.Sentence }):
					secrets = append(secrets, w)
				}
			}
		}
	}
	return secrets, func(mailbox string) []token.Problem { return byMailbox[mailbox] }
}

// where says which replica reads a mailbox that this one does not.
func (s Sources) where(r mailbox.Status) string {
	if s.Owner == nil || r.State != mailbox.StateElsewhere {
		return ""
	}
	if name := s.Owner(r.Mailbox.ID); name != "" {
		return "but on " + name
	}
	return "and on no other that we know of"
}

func (s Sources) weak() []Weakness {
	if s.Weak == nil {
		return nil
	}
	return s.Weak()
}

func (s Sources) refused() error {
	if s.Refused == nil {
		return nil
	}
	return s.Refused()
}

// worstFirst puts the mailboxes that someone must look at before the others, which stay in their order.
func worstFirst(rows []mailbox.Status) []mailbox.Status {
	rank := func(s mailbox.Status) int {
		switch {
		case s.State == mailbox.StateParked, !s.StaleSince.IsZero():
			return 0
		case s.Notice != "":
			return 1
		case s.State == mailbox.StateWaiting:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(rows, func(a, b mailbox.Status) int { return rank(a) - rank(b) })
	return rows
}

// summary says in a line how the mailboxes are, and how many of them need someone to act.
func summary(rows []mailbox.Status) (line string, attention int) {
	count := make(map[mailbox.State]int)
	for _, r := range rows {
		count[r.State]++
	}
	line = fmt.Sprintf("%d mailboxes", len(rows))
	if len(rows) == 1 {
		line = "1 mailbox"
	}
	sep := ": "
	for _, state := range slices.Backward(states) { // what is worst first
		if n := count[state]; n > 0 {
			line += fmt.Sprintf("%s%d %s", sep, n, several(state))
			sep = ", "
		}
	}
	return line, count[mailbox.StateParked]
}

// span says how long ago a moment was, in words.
func span(t time.Time) string {
	if d := time.Since(t); d >= 2*time.Second {
		return Short(d)
	}
	return "a second"
}

// Short says how long something takes, in one unit, as the page and the commands both do.
func Short(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", max(int(d.Seconds()), 0))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// lag says how long after its arrival the last message was published; empty if that says nothing.
func lag(s mailbox.Status) string {
	if s.LastArrived.IsZero() {
		return ""
	}
	return Short(delay(s)) + " after it arrived"
}

// words says what a state means.
func words(s mailbox.State) string {
	switch s {
	case mailbox.StateElsewhere:
		return "not on this replica"
	case mailbox.StateConnecting:
		return "logging in"
	case mailbox.StateReading:
		return "reading new mail"
	case mailbox.StateWatching:
		return "watching"
	case mailbox.StateWaiting:
		return "will try again by itself"
	case mailbox.StateParked:
		return "needs attention"
	default:
		return string(s)
	}
}

// several is words for any number of mailboxes.
func several(s mailbox.State) string {
	switch s {
	case mailbox.StateWaiting:
		return "to be tried again"
	case mailbox.StateParked:
		return "in need of attention"
	default:
		return words(s)
	}
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
