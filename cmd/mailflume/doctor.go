package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// diagnosis is what check found out about a mailbox. It holds no token.
type diagnosis struct {
	Mailbox  string          `json:"mailbox"`
	Host     string          `json:"host"`
	OK       bool            `json:"ok"`
	Class    string          `json:"class,omitempty"` // who must act: person, operator, or passes
	Sentence string          `json:"sentence,omitempty"`
	Hint     string          `json:"hint,omitempty"`
	TraceID  string          `json:"traceId,omitempty"` // for the provider's support
	Folders  []string        `json:"folders,omitempty"`
	Steps    []step          `json:"steps"`
	Warnings []token.Problem `json:"warnings,omitempty"`
}

// step is one step of the way to a mailbox.
type step struct {
	Name   string `json:"step"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// symptom is an error that says itself what is the matter, for what no other package does: most of the steps of check.
type symptom struct {
	who            mailbox.Class
	sentence, hint string
}

func (s *symptom) Error() string              { return s.sentence }
func (s *symptom) Who() string                { return string(s.who) }
func (s *symptom) Advice() (string, string)   { return s.sentence, s.hint }
func (s *symptom) RetryIn() (d time.Duration) { return d }

// patient is a mailbox under examination: what the steps have found so far.
type patient struct {
	*desk
	mailbox configs.Mailbox
	id      string
	account token.Account // if oauth
	oauth   bool
	wire    wire // to the mail server
	greeted bool // it has said a word
	source  fetcher.TokenSource
	access  string // never shown
	claims  *token.Claims
	folders []string
	steps   []step
}

// diagnose takes the steps in order, up to the first that fails.
func (d *desk) diagnose(ctx context.Context, m configs.Mailbox, id string) diagnosis {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	p := &patient{desk: d, mailbox: m, id: id}
	p.account, p.oauth = d.config.Account(m, id)
	err := p.examine(ctx)
	found := diagnosis{Mailbox: m.Name, Host: m.Host, OK: err == nil, Folders: p.folders, Steps: p.steps}
	if p.oauth {
		if s, err := d.tokens.Status(ctx, id); err == nil {
			found.Warnings = p.account.Forecast(s, time.Now())
		}
	}
	if err == nil {
		return found
	}
	v := mailbox.Classify(err)
	if v.Hint == "" && v.Class == mailbox.Passing {
		v.Hint = fmt.Sprintf("see whether %s answers at port %d from here: host and port of the mailbox, network, firewall", m.Host, m.Port)
	}
	found.Class, found.Sentence, found.Hint = string(v.Class), v.Sentence, v.Hint
	var traced interface {
		error
		Trace() string
	}
	if errors.As(err, &traced) {
		found.TraceID = traced.Trace()
	}
	return found
}

func (p *patient) examine(ctx context.Context) error {
	defer p.wire.close()
	if err := p.servers.dead(address(p.mailbox)); err != nil {
		p.note("server", "not asked again: no other mailbox has got through to it", err)
		return err
	}
	err := p.take(ctx, []examination{{"DNS", p.resolve}, {"TCP", p.dial}, {"TLS", p.secure}, {"greeting", p.greet}})
	if ctx.Err() == nil {
		p.servers.tried(address(p.mailbox), p.greeted, err)
	}
	if err != nil {
		return err
	}
	err = p.take(ctx, []examination{{"token endpoint", p.reachEndpoint}, {"token", p.getToken}, {"token claims", p.readClaims}})
	if err != nil {
		return err
	}
	return p.logIn(ctx)
}

// examination is a step to take, and how.
type examination struct {
	name string
	take func(context.Context) (detail string, err error)
}

// take takes steps, up to the first that fails.
func (p *patient) take(ctx context.Context, steps []examination) error {
	for _, s := range steps {
		detail, err := s.take(ctx)
		if detail == "" && err == nil {
			continue // it does not apply
		}
		if !p.note(s.name, detail, err) {
			return err
		}
	}
	return nil
}

// note adds a step.
func (p *patient) note(name, detail string, err error) bool {
	if err != nil && detail == "" {
		detail = mailbox.Classify(err).Sentence
	}
	p.steps = append(p.steps, step{Name: name, OK: err == nil, Detail: detail})
	return err == nil
}

// reachEndpoint asks the token endpoint for anything: whatever answers proves the way to it.
func (p *patient) reachEndpoint(ctx context.Context) (string, error) {
	if !p.oauth {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	u, err := url.Parse(p.account.Client.TokenURL)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, p.account.Client.TokenURL, nil)
	if err != nil {
		return "", err
	}
	transport := toEndpoints()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		var ours *url.Error
		if errors.As(err, &ours) {
			err = ours.Err
		}
		return "", &symptom{
			mailbox.Operator, fmt.Sprintf("Cannot reach the token endpoint %s: %v", u.Host, err),
			"Allow " + u.Host + " (HTTPS) in the egress proxy or the firewall, or set HTTPS_PROXY or SSL_CERT_FILE. This is not a credential problem.",
		}
	}
	resp.Body.Close() //nolint:errcheck // of a HEAD
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		if skew := time.Since(date).Round(time.Second); skew.Abs() > 5*time.Minute {
			return fmt.Sprintf("%s answers; the clock of this host differs from its by %v: fix NTP", u.Host, skew), nil
		}
	}
	return u.Host + " answers", nil
}

// getToken gets what to log in with, as a running mailflume does.
func (p *patient) getToken(ctx context.Context) (string, error) {
	var err error
	if p.source, err = source(p.config, p.tokens, p.mailbox, p.id); err != nil {
		return "", err
	}
	if p.access, err = p.source.Token(ctx, ""); err != nil {
		return "", err
	}
	if !p.oauth {
		return "read from the configuration", nil
	}
	s, err := p.tokens.Status(ctx, p.id)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("valid until %s, of client %s", s.Expiry.Format(time.TimeOnly+" MST"), p.account.Client.Name), nil
}

// readClaims reads what a token of Microsoft's says of itself, or what Google says of one of its own: their mail servers
// refuse all faulty ones in the same words.
func (p *patient) readClaims(ctx context.Context) (string, error) {
	if !p.mailbox.Login.Password.IsZero() {
		return "", nil
	}
	c, ok := token.ReadClaims(p.access)
	if !ok {
		return p.askClaims(ctx)
	}
	p.claims = &c
	detail := "audience " + c.Audience
	if len(c.Scopes) > 0 {
		detail += ", scopes " + strings.Join(c.Scopes, " ")
	}
	if len(c.Roles) > 0 {
		detail += ", roles " + strings.Join(c.Roles, " ")
	}
	if c.Tenant != "" {
		detail += ", tenant " + c.Tenant
	}
	if p.mailbox.Provider != "outlook" {
		return detail, nil
	}
	return detail, faultyClaims(c, p.account.Client, time.Now())
}

// logIn opens the mailbox as a running mailflume does, and its folders.
func (p *patient) logIn(ctx context.Context) error {
	fetch, err := p.config.Fetcher(p.mailbox)
	if err != nil {
		p.note("login", "", err)
		return err
	}
	fetch.Version, fetch.Start, fetch.Logins = version(), fetcher.Start{}, p.logins // now: nothing is read
	session, err := fetcher.Open(ctx, fetch, p.source)
	if err != nil {
		return p.refused(err)
	}
	defer session.Close() //nolint:errcheck // what is to be found out is known by then
	p.note("login", "AUTHENTICATE and NAMESPACE answered", nil)
	p.folders = session.Folders()
	for _, err := range session.Messages(ctx, nil) {
		if err != nil {
			p.note("folders", "", err)
			return err
		}
	}
	p.note("folders", strings.Join(p.folders, ", ")+" opened for reading", nil)
	return nil
}

// refused finds the step at which the mail server turned us away, and explains its refusal by what the token says.
func (p *patient) refused(err error) error {
	var (
		auth         *fetcher.AuthError
		notConnected *fetcher.NotConnectedError
		folder       *fetcher.FolderError
	)
	switch {
	case errors.As(err, &folder):
		p.note("login", "AUTHENTICATE and NAMESPACE answered", nil)
		p.note("LIST", "", err)
		return err
	case errors.As(err, &notConnected):
		p.note("AUTHENTICATE", "accepted", nil)
		p.note("NAMESPACE", notConnected.Text, err)
		if s := p.permission("The mail server accepts the login and serves nothing"); s != nil {
			return s
		}
	case errors.As(err, &auth):
		p.note("AUTHENTICATE", auth.Text, err)
		if s := p.permission("The mail server refuses the login"); s != nil && auth.Stale {
			return s
		}
	default:
		p.note("login", "", err)
	}
	return err
}
