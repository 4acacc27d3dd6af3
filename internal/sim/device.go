package sim

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// deviceGrant is the grant type of the device code flow.
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// deviceLifetime is how long a user may take to enter the code.
const deviceLifetime = 15 * time.Minute

// device is a device code that waits for its user.
type device struct {
	userCode, client, scope string
	subject                 string // who approved it
	declined, used          bool
	polls                   int
	polled                  time.Time // last
	expires                 time.Time
}

// autoApproval lets a device code be approved without a user, for the demo.
type autoApproval struct {
	address string
	polls   int
}

// ApproveDevice enters a user code as this user. It reports false for a code that is not known.
func (o *OAuthServer) ApproveDevice(userCode, address string) bool {
	return o.answerDevice(userCode, func(d *device) { d.subject = address })
}

// DeclineDevice enters a user code and says no.
func (o *OAuthServer) DeclineDevice(userCode string) bool {
	return o.answerDevice(userCode, func(d *device) { d.declined = true })
}

// AutoApproveDevices approves every device code as this user, after so many polls that are told to wait.
func (o *OAuthServer) AutoApproveDevices(address string, polls int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.approval = autoApproval{address, polls}
}

// PaceDevices has polls for a device code refused with slow_down (RFC 8628, section 3.5) if they come sooner after each other
// than this; 0 lets all of them pass.
func (o *OAuthServer) PaceDevices(gap time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pace = gap
}

func (o *OAuthServer) answerDevice(userCode string, do func(*device)) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.devices {
		if strings.EqualFold(d.userCode, userCode) {
			do(d)
			return true
		}
	}
	return false
}

func (o *OAuthServer) microsoftDevice(rw http.ResponseWriter, r *http.Request) {
	c, known := o.client(r.FormValue("client_id"))
	scope := r.FormValue("scope")
	switch {
	case !known:
		o.failure(MicrosoftError(700016)).write(rw)
		return
	case c.confidential():
		o.failure(MicrosoftError(7000218)).write(rw)
		return
	case scope == "":
		o.failure(MicrosoftError(900144)).write(rw)
		return
	}
	code, userCode := o.w.random(48), strings.ToUpper(o.w.random(9))
	o.mu.Lock()
	o.devices[code] = &device{userCode: userCode, client: c.ID, scope: scope, expires: o.w.now().Add(deviceLifetime)}
	o.mu.Unlock()
	answer{status: 200, body: map[string]any{
		"device_code": code, "user_code": userCode, "verification_uri": "https://microsoft.com/devicelogin",
		"expires_in": int(deviceLifetime / time.Second), "interval": 5,
		"message": "To sign in, use a web browser to open the page https://microsoft.com/devicelogin and enter the code " + userCode + " to authenticate.",
	}}.write(rw)
}

func (o *OAuthServer) microsoftPoll(form url.Values, c Client) answer {
	now := o.w.now()
	o.mu.Lock()
	d := o.devices[form.Get("device_code")]
	if d == nil || d.client != c.ID || d.used {
		o.mu.Unlock()
		return o.failure(MicrosoftError(70018))
	}
	if d.polls++; d.subject == "" && o.approval.address != "" && d.polls > o.approval.polls {
		d.subject = o.approval.address
	}
	tooSoon := !d.polled.IsZero() && now.Sub(d.polled) < o.pace
	d.polled = now
	expired, declined, subject, scope := now.After(d.expires), d.declined, d.subject, d.scope
	d.used = subject != "" && !expired && !declined && !tooSoon
	o.mu.Unlock()
	switch {
	case tooSoon:
		return o.failure(OAuthError{Status: http.StatusBadRequest, Code: "slow_down", Description: "The request came too soon."})
	case expired:
		return o.failure(MicrosoftError(70019))
	case declined:
		return o.failure(OAuthError{Status: 400, Code: "authorization_declined", Description: MicrosoftError(65004).Description, AADSTS: 65004})
	case subject == "":
		return o.failure(MicrosoftError(70016))
	}
	return o.microsoftTokens(subject, c, scope, offline(scope))
}
