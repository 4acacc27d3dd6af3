package sim

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Client is an application that is registered with a provider.
type Client struct {
	ID        string
	Secret    string   // empty: a public client
	Redirects []string // besides the loopback ones; none means any
	Testing   bool     // Google: not published, so that refresh tokens live 7 days
	SPA       bool     // Microsoft: registered as a single-page application, so that they live 24 hours
	Tenant    string   // Microsoft: single-tenant; other tenants and "common" are refused
	Personal  bool     // Microsoft: for personal accounts only
	Work      bool     // Microsoft: for work accounts only

	Certificate *x509.Certificate // Microsoft: what it may sign assertions with, instead of a secret
}

// confidential reports whether the client has something to prove itself with.
func (c Client) confidential() bool { return c.Secret != "" || c.Certificate != nil }

// An OAuthServer is one provider's OAuth server: an http.Handler for all of its hosts.
type OAuthServer struct {
	w        *World
	provider Provider
	mux      *http.ServeMux

	mu        sync.Mutex
	rotation  Rotation
	lifetime  time.Duration // of access tokens; 0 means the provider's
	clients   map[string]Client
	signedIn  string // the user in the browser
	screen    bool   // who is asked on a page
	consented map[string]bool
	codes     map[string]*authCode
	devices   map[string]*device
	pace      time.Duration // how far apart the polls for a device code must be; 0 means any
	approval  autoApproval

	services   map[string]ServiceAccount // by email
	assertions map[string]bool           // that were used, by jti
	faults     []*armedOAuthFault
	requests   []TokenRequest
	flying     map[string]int // refreshes under way, by subject
}

// A TokenRequest is one request to a token endpoint.
type TokenRequest struct {
	At         time.Time
	Grant      string // grant_type
	Client     string
	Account    string // whose token it is, as far as known
	Scope      string // that was asked for
	WithSecret bool
	Concurrent int    // refreshes of this account under way, this one included
	Reused     bool   // the refresh token had been rotated before
	Status     int    // of the answer; 0 means the client did not get it
	Error      string // its error, if it is one
	AADSTS     int    // and Microsoft's number
}

func newOAuthServer(w *World, p Provider, r Rotation) *OAuthServer {
	o := &OAuthServer{
		w: w, provider: p, rotation: r, mux: http.NewServeMux(),
		clients: make(map[string]Client), consented: make(map[string]bool), codes: make(map[string]*authCode),
		devices: make(map[string]*device), flying: make(map[string]int),
		services: make(map[string]ServiceAccount), assertions: make(map[string]bool),
	}
	if p == Gmail {
		o.googleRoutes()
	} else {
		o.microsoftRoutes()
	}
	return o
}

// ServeHTTP answers a request.
func (o *OAuthServer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !o.w.enter(nil) {
		panic(http.ErrAbortHandler)
	}
	defer o.w.leave(nil)
	o.mux.ServeHTTP(rw, r)
}

// AddClient registers an application.
func (o *OAuthServer) AddClient(c Client) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clients[c.ID] = c
}

// SetRotation says what a refresh does to the refresh token.
func (o *OAuthServer) SetRotation(r Rotation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rotation = r
}

// SetLifetime sets the lifetime of access tokens that are given out from now on; 0 means the provider's.
func (o *OAuthServer) SetLifetime(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lifetime = d
}

// SignIn makes this the user in the browser, for an authorization request without login_hint.
func (o *OAuthServer) SignIn(address string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.signedIn = address
}

// Requests returns the requests to the token endpoint so far.
func (o *OAuthServer) Requests() []TokenRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests)
}

// A RefreshCount sums up the refreshes of one account.
type RefreshCount struct {
	Requests      int // all
	Succeeded     int
	MaxConcurrent int
	Reused        int // with a refresh token that had been rotated
}

// Refreshes sums up the refreshes of an account.
func (o *OAuthServer) Refreshes(address string) (n RefreshCount) {
	for _, r := range o.Requests() {
		if r.Grant != "refresh_token" || !strings.EqualFold(r.Account, address) {
			continue
		}
		n.Requests++
		if r.Error == "" && r.Status == http.StatusOK {
			n.Succeeded++
		}
		if r.Reused {
			n.Reused++
		}
		n.MaxConcurrent = max(n.MaxConcurrent, r.Concurrent)
	}
	return n
}

// client returns the registered application.
func (o *OAuthServer) client(id string) (Client, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.clients[id]
	return c, ok
}

// allows reports whether the client may be sent back to this address.
func (c Client) allows(redirect string) bool {
	u, err := url.Parse(redirect)
	if err != nil || redirect == "" {
		return false
	}
	switch u.Hostname() {
	case "127.0.0.1", "::1", "localhost":
		return true
	}
	return len(c.Redirects) == 0 || slices.Contains(c.Redirects, redirect)
}

// user returns the account of the user in the browser, or nil.
func (o *OAuthServer) user(hint string) *Account {
	o.mu.Lock()
	if hint == "" {
		hint = o.signedIn
	}
	o.mu.Unlock()
	return o.w.account(o.provider, hint)
}

// approve gives out a code for an authorization request and sends the browser back.
func (o *OAuthServer) approve(rw http.ResponseWriter, r *http.Request, code authCode) {
	value := "4/0A" + o.w.random(60)
	code.expires = o.w.now().Add(codeLifetime)
	o.mu.Lock()
	o.codes[value] = &code
	o.mu.Unlock()
	sendBack(rw, r, "code", value, "scope", code.scope)
}

// sendBack redirects the browser to the application.
func sendBack(rw http.ResponseWriter, r *http.Request, pairs ...string) {
	q := r.URL.Query()
	u, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		http.Error(rw, "bad redirect_uri", http.StatusBadRequest)
		return
	}
	back := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		back.Set(pairs[i], pairs[i+1])
	}
	if state := q.Get("state"); state != "" {
		back.Set("state", state)
	}
	u.RawQuery = back.Encode()
	http.Redirect(rw, r, u.String(), http.StatusFound)
}

// An answer is what a token endpoint sends.
type answer struct {
	status int
	header map[string]string
	body   any    // as JSON, or as it is if it is a string
	kind   string // its Content-Type, if it is not JSON
	err    OAuthError
}

func (a answer) write(rw http.ResponseWriter) {
	h := rw.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if a.kind != "" {
		h.Set("Content-Type", a.kind)
	}
	for name, value := range a.header {
		h.Set(name, value)
	}
	rw.WriteHeader(a.status)
	if text, ok := a.body.(string); ok {
		fmt.Fprint(rw, text)
		return
	}
	json.NewEncoder(rw).Encode(a.body)
}

// token handles a request to the token endpoint: log, fault, answer.
func (o *OAuthServer) token(rw http.ResponseWriter, r *http.Request, grant func(url.Values, Client) answer) {
	r.Body = http.MaxBytesReader(rw, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		o.failure(OAuthError{Status: http.StatusBadRequest, Code: "invalid_request"}).write(rw)
		return
	}
	form := r.PostForm
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749 has both percent-encoded
		form.Set("client_id", unescape(id))
		form.Set("client_secret", unescape(secret))
	}
	req := TokenRequest{
		At: o.w.now(), Grant: form.Get("grant_type"), Client: form.Get("client_id"), Scope: form.Get("scope"),
		WithSecret: form.Get("client_secret") != "",
	}
	req.Account, req.Reused = o.holder(form.Get("refresh_token"))
	n := o.begin(req)
	f := o.trip("token", req)
	a, delivered := o.respond(r, f, func() answer { return o.grant(r, form, grant) })
	o.finish(n, req, a, delivered)
	if !delivered {
		panic(http.ErrAbortHandler)
	}
	a.write(rw)
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// grant checks the client and carries out the request.
func (o *OAuthServer) grant(r *http.Request, form url.Values, do func(url.Values, Client) answer) answer {
	if o.provider == Gmail && form.Get("grant_type") == assertionGrant {
		return o.googleService(r, form) // who asks is said by the assertion
	}
	c, known := o.client(form.Get("client_id"))
	if e, bad := o.clientProblem(r, c, known, form); bad {
		return o.failure(e)
	}
	return do(form, c)
}

func (o *OAuthServer) clientProblem(r *http.Request, c Client, known bool, form url.Values) (OAuthError, bool) {
	if o.provider == Gmail {
		return googleClientProblem(c, known, form)
	}
	return o.microsoftClientProblem(r, c, known, form)
}

// begin logs a request and returns its number.
func (o *OAuthServer) begin(r TokenRequest) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Grant == "refresh_token" {
		o.flying[r.Account]++
		r.Concurrent = o.flying[r.Account]
	}
	o.requests = append(o.requests, r)
	return len(o.requests) - 1
}

func (o *OAuthServer) finish(n int, r TokenRequest, a answer, delivered bool) {
	o.mu.Lock()
	if r.Grant == "refresh_token" {
		o.flying[r.Account]--
	}
	if delivered {
		o.requests[n].Status, o.requests[n].Error, o.requests[n].AADSTS = a.status, a.err.Code, a.err.AADSTS
	}
	o.mu.Unlock()
	o.w.tracef("oauth %s %s %s: %d %s", o.provider, r.Grant, r.Account, a.status, a.err.Code)
}

// failure writes an error as the provider does.
func (o *OAuthServer) failure(e OAuthError) answer {
	if o.provider == Gmail {
		return googleFailure(e)
	}
	return o.microsoftFailure(e)
}

// issue gives out an access token for a user and returns its lifetime in seconds.
func (o *OAuthServer) issue(a *Account, client, scope, grant string) (token string, seconds int) {
	o.mu.Lock()
	d := o.lifetime
	o.mu.Unlock()
	if d == 0 {
		d = o.usualLifetime()
	}
	return a.token(client, d, scope, grant), int(d / time.Second)
}

// usualLifetime is an hour at Google and between 60 and 90 minutes at Microsoft.
func (o *OAuthServer) usualLifetime() time.Duration {
	if o.provider == Gmail {
		return 3599 * time.Second
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return time.Duration(3600+o.w.rng.IntN(1800)) * time.Second
}
