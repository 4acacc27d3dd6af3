package token

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/mailflume/mailflume/internal/crash"
)

const (
	exchangeTimeout = 15 * time.Second
	maxAnswer       = 1 << 20

	// assumedLife is how long an access token is taken to live if the endpoint does not say it in a way that makes sense.
	// If that is too long, the server's refusal corrects it.
	assumedLife = time.Hour
)

// answer is what a token endpoint granted.
type answer struct {
	access  Secret
	refresh Secret // zero: keep the one we have
	life    time.Duration
	scope   string

	refreshLife time.Duration // if the provider says how long the refresh token lives
	idToken     Secret        // says who consented, if the provider says it
}

// failure is what a token endpoint answered instead.
type failure struct {
	status     int // 0: there was no answer
	code       string
	text       string
	subtype    string
	aadsts     int
	traceID    string
	html       bool
	retryAfter time.Duration
	skew       time.Duration // our clock minus the endpoint's, if it told the time
	err        error         // of the transport; never with a body
	unsent     bool          // the request certainly did not reach the endpoint
}

// newHTTPClient returns a client for token endpoints: bounded in time and bytes, and following no redirects, since a
// redirect would carry the secrets to another host.
func newHTTPClient(base http.RoundTripper) *http.Client {
	if base == nil {
		base = http.DefaultTransport
	}
	return &http.Client{
		Transport:     base,
		Timeout:       exchangeTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends one grant to the client's token endpoint: params says which (grant_type and what belongs to it). Every way to
// a token goes through here. hide names more secrets that the endpoint might repeat in an error.
//
// x/oauth2's TokenSource sends no scope when it refreshes, and Microsoft may want it (AADSTS900144); its
// clientcredentials.Config sends scope and lets grant_type be set, so it serves for every grant.
func post(ctx context.Context, base *http.Client, c Client, secret Secret, params url.Values, hide ...Secret) (answer, *failure) {
	rec := &recorder{base: base.Transport}
	client := *base
	client.Transport = rec
	sent, err := c.prove(params, secret, time.Now())
	if err != nil {
		return answer{}, &failure{err: err, unsent: true}
	}
	conf := clientcredentials.Config{
		ClientID: c.ID, ClientSecret: sent.Reveal(), TokenURL: c.TokenURL, Scopes: c.Scopes,
		EndpointParams: params, AuthStyle: oauth2.AuthStyleInParams,
	}
	tok, err := conf.Token(context.WithValue(ctx, oauth2.HTTPClient, &client))
	if err != nil {
		return answer{}, rec.failure(ctx, err, append(secretParams(params), append(hide, secret)...))
	}
	a := answer{access: NewSecret(tok.AccessToken), life: assumedLife}
	if tok.RefreshToken != params.Get("refresh_token") {
		a.refresh = NewSecret(tok.RefreshToken)
	}
	if !tok.Expiry.IsZero() {
		if life := time.Until(tok.Expiry); life > 0 {
			a.life = life.Round(time.Second)
		}
	}
	a.scope, _ = tok.Extra("scope").(string)
	if id, ok := tok.Extra("id_token").(string); ok {
		a.idToken = NewSecret(id)
	}
	if seconds, ok := tok.Extra("refresh_token_expires_in").(float64); ok && seconds > 0 {
		a.refreshLife = time.Duration(seconds) * time.Second
	}
	return a, nil
}

// ask posts a form to an endpoint that x/oauth2 has no call for. What it answered is in the recorder, whatever its status.
func (m *Manager) ask(ctx context.Context, endpoint string, form url.Values) (*recorder, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	rec := &recorder{base: m.http.Transport}
	client := *m.http
	client.Transport = rec
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return rec, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return rec, err
	}
	return rec, resp.Body.Close()
}

// secretParams returns the values that an endpoint could send back to us in an error text.
func secretParams(params url.Values) []Secret {
	var s []Secret
	for _, name := range []string{"refresh_token", "code", "code_verifier", "client_assertion", "assertion", "device_code", "password"} {
		s = append(s, NewSecret(params.Get(name)))
	}
	return s
}

// recorder is the RoundTripper of one exchange: it caps the answer, keeps what x/oauth2 drops, and smooths what x/oauth2
// would stumble over and so lose a rotated refresh token.
type recorder struct {
	base http.RoundTripper

	status int
	header http.Header
	body   []byte
	skew   time.Duration

	traced    bool        // connected is told
	connected atomic.Bool // the request had a connection to go out on
}

var errTooLarge = fmt.Errorf("the answer of the token endpoint is larger than %d bytes", maxAnswer)

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("Accept", "application/json")
	if _, r.traced = r.base.(*http.Transport); r.traced {
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { r.connected.Store(true) },
		}))
	}
	resp, err := r.base.RoundTrip(req)
	crash.At("token.refresh.sent")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	r.status, r.header = resp.StatusCode, resp.Header
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.skew = time.Since(date)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of the token endpoint: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, errTooLarge
	}
	r.body = body
	smooth(resp, body)
	return resp, nil
}

// smooth gives resp a body that x/oauth2 understands: a JSON object whatever its Content-Type, and expires_in only if it
// is a whole number of seconds above zero.
func smooth(resp *http.Response, body []byte) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) == nil && fields != nil {
		resp.Header = resp.Header.Clone()
		resp.Header.Set("Content-Type", "application/json")
		if raw, ok := fields["expires_in"]; ok && !wholeSeconds(raw) {
			delete(fields, "expires_in")
			if b, err := json.Marshal(fields); err == nil {
				body = b
			}
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
}

func wholeSeconds(raw json.RawMessage) bool {
	var n json.Number
	if json.Unmarshal(raw, &n) != nil {
		return false
	}
	i, err := n.Int64()
	return err == nil && i > 0
}

// failure tells what became of the exchange. It does not wrap x/oauth2's RetrieveError, whose text holds the body.
func (r *recorder) failure(ctx context.Context, err error, hide []Secret) *failure {
	f := &failure{status: r.status, skew: r.skew}
	var retrieve *oauth2.RetrieveError
	switch {
	case errors.As(err, &retrieve):
		f.read(r.body)
		f.code = or(f.code, retrieve.ErrorCode)
		f.text = or(f.text, retrieve.ErrorDescription)
	case r.body != nil: // an answer that x/oauth2 cannot read, or one without a token
		f.err = errors.New("the answer is no token response")
	case ctx.Err() != nil:
		f.err = context.Cause(ctx)
	default:
		f.err = err
	}
	f.unsent = r.unsent(err)
	f.html = strings.Contains(r.header.Get("Content-Type"), "html") || bytes.HasPrefix(bytes.TrimSpace(r.body), []byte("<"))
	f.retryAfter = retryAfter(r.header.Get("Retry-After"), time.Now())
	f.code, f.text, f.subtype, f.traceID = clean(f.code, hide), clean(f.text, hide), clean(f.subtype, hide), clean(f.traceID, hide)
	return f
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// unsent reports whether no connection came about, be it to the endpoint or through a proxy to it.
func (r *recorder) unsent(err error) bool {
	if r.traced {
		return !r.connected.Load()
	}
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	var d time.Duration
	if s, err := time.ParseDuration(strings.TrimSpace(value) + "s"); err == nil {
		d = s
	} else if t, err := http.ParseTime(value); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), longestHold)
}
