package sim

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// microsoftTime is how its texts write a time.
const microsoftTime = "2006-01-02T15:04:05.0000000Z"

// How long Microsoft's refresh tokens live.
const (
	microsoftIdle = 90 * 24 * time.Hour
	microsoftSPA  = 24 * time.Hour
)

func (o *OAuthServer) microsoftRoutes() {
	o.mux.HandleFunc("GET /{tenant}/oauth2/v2.0/authorize", o.guarded("authorize", o.microsoftAuthorize))
	o.mux.HandleFunc("/{tenant}/oauth2/v2.0/token", func(rw http.ResponseWriter, r *http.Request) {
		tenant := r.PathValue("tenant")
		o.token(rw, r, func(form url.Values, c Client) answer { return o.microsoftGrant(tenant, form, c) })
	})
	o.mux.HandleFunc("POST /{tenant}/oauth2/v2.0/devicecode", o.guarded("devicecode", o.microsoftDevice))
	o.mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(rw http.ResponseWriter, r *http.Request) {
		tenant := r.PathValue("tenant")
		base := baseURL(r) + "/" + tenant
		answer{status: 200, body: map[string]string{
			"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
			"token_endpoint": base + "/oauth2/v2.0/token", "device_authorization_endpoint": base + "/oauth2/v2.0/devicecode",
		}}.write(rw)
	})
}

// tenantProblem checks the first segment of the path.
func (o *OAuthServer) tenantProblem(tenant string, c Client) (OAuthError, bool) {
	switch {
	case c.Tenant != "" && tenant != c.Tenant:
		return MicrosoftError(50194).about("app", c.ID), true
	case c.Personal && tenant != "consumers":
		return MicrosoftError(9002331).about("app", c.ID), true
	case c.Work && tenant == "consumers":
		return MicrosoftError(9002332).about("app", c.ID), true
	}
	switch tenant {
	case "common", "organizations", "consumers", c.Tenant:
		return OAuthError{}, false
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	for address := range o.w.accounts {
		if _, domain, _ := strings.Cut(address, "@"); tenant == domain || tenant == stableGUID(domain) {
			return OAuthError{}, false
		}
	}
	return MicrosoftError(90002).about("tenant", tenant), true
}

// Tenant returns the tenant GUID of the account's domain.
func (a *Account) Tenant() string {
	_, domain, _ := strings.Cut(a.address, "@")
	return stableGUID(domain)
}

func (o *OAuthServer) microsoftAuthorize(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c, known := o.client(q.Get("client_id"))
	page := func(e OAuthError) {
		errorPage(rw, http.StatusBadRequest, fmt.Sprintf("AADSTS%d: %s", e.AADSTS, e.Description))
	}
	if !known {
		page(MicrosoftError(700016))
		return
	}
	if e, bad := o.tenantProblem(r.PathValue("tenant"), c); bad {
		page(e)
		return
	}
	user := o.user(q.Get("login_hint"))
	switch {
	case !c.allows(q.Get("redirect_uri")):
		page(MicrosoftError(50011))
	case q.Get("response_type") != "code", q.Get("scope") == "":
		page(MicrosoftError(900144))
	case user == nil:
		o.microsoftDeclined(rw, r)
	default:
		switch o.decide(rw, r, user) {
		case asked:
			return
		case declined:
			o.microsoftDeclined(rw, r)
			return
		}
		scope := q.Get("scope")
		if granted := user.quirk().GrantScope; granted != "" {
			scope = granted
		}
		o.approve(rw, r, authCode{
			client: c.ID, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), subject: user.address,
			scope: scope, refresh: offline(scope),
		})
	}
}

func (o *OAuthServer) microsoftDeclined(rw http.ResponseWriter, r *http.Request) {
	sendBack(rw, r, "error", "access_denied", "error_description", "AADSTS65004: "+MicrosoftError(65004).Description)
}

// offline reports whether a refresh token is asked for.
func offline(scope string) bool { return strings.Contains(" "+scope+" ", " offline_access ") }

// resourceScope returns the scopes that an access token is for.
func resourceScope(scope string) string {
	var kept []string
	for _, s := range strings.Fields(scope) {
		if s != "offline_access" {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, " ")
}

func (o *OAuthServer) microsoftClientProblem(r *http.Request, c Client, known bool, form url.Values) (OAuthError, bool) {
	secret, signed := form.Get("client_secret"), form.Get("client_assertion") != ""
	var code int
	switch {
	case !known:
		code = 700016
	case !c.confidential() && (secret != "" || signed):
		code = 700025
	case signed:
		code = o.assertionProblem(r, c, form)
	case c.confidential() && secret == "":
		code = 7000218
	case c.Secret != secret:
		code = 7000215
	}
	if code == 0 {
		return OAuthError{}, false
	}
	return MicrosoftError(code).about("app", form.Get("client_id")), true
}

func (o *OAuthServer) microsoftGrant(tenant string, form url.Values, c Client) answer {
	if e, bad := o.tenantProblem(tenant, c); bad {
		return o.failure(e)
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		return o.microsoftCode(form, c)
	case "refresh_token":
		return o.microsoftRefresh(form, c)
	case "client_credentials":
		return o.microsoftApp(tenant, form, c)
	case deviceGrant:
		return o.microsoftPoll(form, c)
	default:
		return o.failure(MicrosoftError(70003))
	}
}

func (o *OAuthServer) microsoftCode(form url.Values, c Client) answer {
	code, problem := o.redeem(form, c.ID)
	switch problem {
	case "":
		return o.microsoftTokens(code.subject, c, code.scope, code.refresh)
	case codeVerifier:
		return o.failure(MicrosoftError(501481))
	case codeUsed:
		return o.failure(MicrosoftError(54005))
	case codeExpired:
		return o.failure(MicrosoftError(70008))
	case codeRedirect:
		return o.failure(MicrosoftError(50011))
	default:
		return o.failure(MicrosoftError(70000))
	}
}

// microsoftTokens answers a sign-in.
func (o *OAuthServer) microsoftTokens(subject string, c Client, scope string, withRefresh bool) answer {
	user := o.w.account(Exchange, subject)
	if user == nil {
		return o.failure(MicrosoftError(50034))
	}
	grant := o.w.random(16)
	body := o.microsoftToken(user, c, scope, grant)
	if withRefresh {
		body["refresh_token"] = o.w.addRefresh(refreshToken{
			provider: Exchange, grant: grant, subject: subject, client: c.ID, scope: scope,
		})
	}
	return answer{status: 200, body: body}
}

func (o *OAuthServer) microsoftToken(user *Account, c Client, scope, grant string) map[string]any {
	scope = resourceScope(scope)
	token, seconds := o.issue(user, c.ID, scope, grant)
	return map[string]any{
		"token_type": "Bearer", "scope": scope, "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
	}
}

func (o *OAuthServer) microsoftRefresh(form url.Values, c Client) answer {
	if form.Get("scope") == "" {
		return o.failure(MicrosoftError(900144))
	}
	var age time.Duration
	if c.SPA {
		age = microsoftSPA
	}
	value := form.Get("refresh_token")
	if client := o.clientOf(value); client != "" && client != c.ID {
		return o.failure(MicrosoftError(70000))
	}
	r, problem := o.refresh(value, microsoftIdle, age)
	if problem != "" {
		code := map[refreshProblem]int{
			refreshUnknown: 70000, refreshDead: 50173, refreshIdle: 700082, refreshAge: 700084, refreshReused: 70000, refreshLoop: 50196,
		}[problem]
		return o.failure(MicrosoftError(code).about("issued", r.token.issued.UTC().Format(microsoftTime)))
	}
	user := o.w.account(Exchange, r.token.subject)
	if user == nil {
		return o.failure(MicrosoftError(50034))
	}
	body := o.microsoftToken(user, c, form.Get("scope"), r.token.grant)
	if r.next != "" {
		body["refresh_token"] = r.next
	}
	return answer{status: 200, body: body}
}

// microsoftApp answers an application that signs in as itself.
func (o *OAuthServer) microsoftApp(tenant string, form url.Values, c Client) answer {
	switch {
	case tenant == "common" || tenant == "consumers":
		return o.failure(MicrosoftError(9001023))
	case !strings.HasSuffix(form.Get("scope"), "/.default"):
		return o.failure(MicrosoftError(70011))
	}
	d := o.usualLifetime()
	scope := form.Get("scope")
	token := o.w.addAccess(accessToken{
		provider: Exchange, client: c.ID, audience: audienceOf(scope), scope: scope, app: true, expires: o.w.now().Add(d),
	}, false)
	seconds := int(d / time.Second)
	return answer{status: 200, body: map[string]any{
		"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
	}}
}

func (o *OAuthServer) microsoftFailure(e OAuthError) answer {
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	at := o.w.now().UTC()
	now := at.Format("2006-01-02 15:04:05Z")
	// An error that a test injects names no application, tenant or time.
	e = e.about("app", stableGUID("app"), "tenant", stableGUID("tenant"), "issued", at.Format(microsoftTime), "now", at.Format(microsoftTime))
	trace, correlation := o.w.guid(), o.w.guid()
	space := " "
	if e.CRLF {
		space = "\r\n"
	}
	text := e.Description
	if e.AADSTS != 0 {
		text = fmt.Sprintf("AADSTS%d: %s", e.AADSTS, e.Description)
	}
	body := map[string]any{
		"error":             e.Code,
		"error_description": text + space + "Trace ID: " + trace + space + "Correlation ID: " + correlation + space + "Timestamp: " + now,
		"error_codes":       []int{e.AADSTS}, "timestamp": now, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", e.AADSTS),
	}
	if e.Sub != "" {
		body["suberror"] = e.Sub
	}
	header := map[string]string{
		"x-ms-request-id": trace, "x-ms-ests-server": "2.1.19000.1 - simulated", "x-ms-clitelem": fmt.Sprintf("1,%d,0,,", e.AADSTS),
	}
	if status == http.StatusTooManyRequests {
		header["Retry-After"] = "60"
	}
	return answer{status: status, header: header, body: body, err: e}
}
