package token

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
)

// Device is a sign-in on another device (RFC 8628): this one shows a code, and the person enters it there.
type Device struct {
	UserCode string
	URL      string // where to enter it
	Ends     time.Time

	manager  *Manager
	account  Account
	expect   string
	code     Secret
	interval time.Duration
}

const (
	deviceGrant    = "urn:ietf:params:oauth:grant-type:device_code"
	deviceInterval = 5 * time.Second // if the endpoint does not say; and what slow_down adds
	deviceLife     = 15 * time.Minute
)

// BeginDevice asks for a code to sign in with.
func (m *Manager) BeginDevice(ctx context.Context, a Account, expect string) (*Device, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	if a.Client.DeviceURL == "" || a.Client.mints() {
		return nil, refuse("no_device_endpoint", "Client "+a.Client.Name+" cannot sign in by device code.",
			"Google does not allow it for mail: run mailflume connect "+a.Mailbox+" --no-browser instead. For another provider set endpoints.device of the client.")
	}
	form := url.Values{"client_id": {a.Client.ID}, "scope": {strings.Join(a.Client.signInScopes(), " ")}}
	rec, err := m.ask(ctx, a.Client.DeviceURL, form)
	var got struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		URI        string `json:"verification_uri"`
		URL        string `json:"verification_url"` // as Google once called it
		ExpiresIn  int    `json:"expires_in"`
		Interval   int    `json:"interval"`
	}
	if err != nil || rec.status != http.StatusOK || json.Unmarshal(rec.body, &got) != nil || got.DeviceCode == "" {
		return nil, rec.refusal(ctx, err).explain(a.asked(a.Client.DeviceURL), stamp(time.Now()))
	}
	d := &Device{
		UserCode: plain(got.UserCode, nil), URL: plain(or(got.URI, got.URL), nil), manager: m, account: a, expect: expect,
		code: NewSecret(got.DeviceCode), interval: deviceInterval, Ends: time.Now().Add(deviceLife),
	}
	if got.Interval > 0 && got.Interval < 120 {
		d.interval = time.Duration(got.Interval) * time.Second
	}
	if got.ExpiresIn > 0 && got.ExpiresIn < 3600 {
		d.Ends = time.Now().Add(time.Duration(got.ExpiresIn) * time.Second)
	}
	return d, nil
}

// refusal is a failure of an endpoint that x/oauth2 has no call for.
// hide is what it was sent and might repeat.
func (r *recorder) refusal(ctx context.Context, err error, hide ...Secret) *failure {
	if err == nil {
		err = errors.New("the answer makes no sense")
	}
	f := r.failure(ctx, err, hide)
	if f.read(r.body); f.code != "" {
		f.err = nil // it says itself what is wrong
	}
	f.code, f.text, f.subtype, f.traceID = clean(f.code, hide), clean(f.text, hide), clean(f.subtype, hide), clean(f.traceID, hide)
	return f
}

// Wait asks, at the pace that the endpoint wants, until the person has signed in, has declined, or the code has expired.
func (d *Device) Wait(ctx context.Context) (*Granted, error) {
	for {
		if err := pause(ctx, d.interval); err != nil {
			return nil, err
		}
		if !time.Now().Before(d.Ends) {
			return nil, refuse("expired_token", "Nobody entered the code in time.", "Begin again.")
		}
		secret, err := d.account.Client.secret()
		if err != nil {
			return nil, &ClientError{Client: d.account.Client.Name, Err: err, Problem: unreadable(d.account.Client, stamp(time.Now()))}
		}
		got, failed := post(ctx, d.manager.http, d.account.Client, secret, url.Values{"grant_type": {deviceGrant}, "device_code": {d.code.Reveal()}})
		switch {
		case failed == nil:
			crash.At("oauth.callback")
			g := newGranted(got, stamp(time.Now()))
			return g, g.verify(d.account, d.expect, "")
		case failed.code == "authorization_pending":
		case failed.code == "slow_down":
			d.interval += deviceInterval
		case failed.status == 0 || failed.status == http.StatusTooManyRequests || failed.status >= 500:
			d.interval = min(2*d.interval, time.Minute) // as RFC 8628 wants it for a lost connection
		default:
			return nil, failed.explain(d.account, stamp(time.Now()))
		}
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
