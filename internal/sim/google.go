package sim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// How long Google's refresh tokens live.
const (
	googleIdle    = 180 * 24 * time.Hour
	googleTesting = 7 * 24 * time.Hour
)

func (o *OAuthServer) googleRoutes() {
	o.mux.HandleFunc("GET /o/oauth2/v2/auth", o.guarded("authorize", o.googleAuthorize))
	o.mux.HandleFunc("/token", func(rw http.ResponseWriter, r *http.Request) { o.token(rw, r, o.googleGrant) })
	o.mux.HandleFunc("POST /revoke", o.guarded("revoke", o.googleRevoke))
	o.mux.HandleFunc("POST /device/code", o.guarded("devicecode", o.googleDevice))
	o.mux.HandleFunc("/tokeninfo", o.googleInfo)
	o.mux.HandleFunc("GET /.well-known/openid-configuration", func(rw http.ResponseWriter, r *http.Request) {
		base := baseURL(r)
		answer{status: 200, body: map[string]string{
			"issuer": base, "authorization_endpoint": base + "/o/oauth2/v2/auth", "token_endpoint": base + "/token",
			"revocation_endpoint": base + "/revoke", "device_authorization_endpoint": base + "/device/code",
		}}.write(rw)
	})
}

func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// errorPage is an error page of an authorization endpoint.
func errorPage(rw http.ResponseWriter, status int, code string) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.WriteHeader(status)
	fmt.Fprintf(rw, "<!DOCTYPE html><html><title>Error %d: %s</title><body>Error %d: %s</body></html>", status, code, status, code)
}

func (o *OAuthServer) googleAuthorize(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c, known := o.client(q.Get("client_id"))
	user := o.user(q.Get("login_hint"))
	switch {
	case !known:
		errorPage(rw, http.StatusUnauthorized, "invalid_client")
		return
	case !c.allows(q.Get("redirect_uri")):
		errorPage(rw, http.StatusBadRequest, "redirect_uri_mismatch")
		return
	case q.Get("response_type") != "code", q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256":
		errorPage(rw, http.StatusBadRequest, "invalid_request")
		return
	case user == nil:
		sendBack(rw, r, "error", "access_denied")
		return
	}
	switch o.decide(rw, r, user) {
	case asked:
		return
	case declined:
		sendBack(rw, r, "error", "access_denied")
		return
	}
	scope := q.Get("scope")
	if granted := user.quirk().GrantScope; granted != "" {
		scope = granted
	}
	key := c.ID + " " + user.address
	o.mu.Lock()
	first := !o.consented[key]
	o.consented[key] = true
	o.mu.Unlock()
	offline := q.Get("access_type") == "offline" && (first || q.Get("prompt") == "consent")
	o.approve(rw, r, authCode{
		client: c.ID, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), subject: user.address,
		scope: scope, refresh: offline,
	})
}

func googleClientProblem(c Client, known bool, form url.Values) (OAuthError, bool) {
	switch {
	case !known:
		return GoogleNoClient, true
	case c.Secret != "" && form.Get("client_secret") != c.Secret:
		return GoogleWrongSecret, true
	}
	return OAuthError{}, false
}

func (o *OAuthServer) googleGrant(form url.Values, c Client) answer {
	switch form.Get("grant_type") {
	case "authorization_code":
		return o.googleCode(form, c)
	case "refresh_token":
		return o.googleRefresh(form, c)
	default:
		return googleFailure(OAuthError{Status: 400, Code: "unsupported_grant_type", Description: "Invalid grant_type: " + form.Get("grant_type")})
	}
}

func (o *OAuthServer) googleCode(form url.Values, c Client) answer {
	code, problem := o.redeem(form, c.ID)
	switch problem {
	case "":
	case codeVerifier: // text not documented
		return googleFailure(OAuthError{Status: 400, Code: "invalid_grant", Description: "Invalid code verifier."})
	case codeRedirect:
		return googleFailure(OAuthError{Status: 400, Code: "redirect_uri_mismatch", Description: "Bad Request"})
	default:
		return googleFailure(GoogleBadRequest)
	}
	user := o.w.account(Gmail, code.subject)
	if user == nil {
		return googleFailure(GoogleDeletedAccount)
	}
	grant := o.w.random(16)
	body := o.googleToken(user, c, code.scope, grant)
	if code.refresh {
		body["refresh_token"] = o.w.addRefresh(refreshToken{
			provider: Gmail, grant: grant, subject: code.subject, client: c.ID, scope: code.scope,
		})
		if c.Testing {
			body["refresh_token_expires_in"] = int(googleTesting / time.Second)
		}
	}
	return answer{status: 200, body: body}
}

func (o *OAuthServer) googleToken(user *Account, c Client, scope, grant string) map[string]any {
	token, seconds := o.issue(user, c.ID, scope, grant)
	return map[string]any{"access_token": token, "expires_in": seconds, "scope": scope, "token_type": "Bearer"}
}

func (o *OAuthServer) googleRefresh(form url.Values, c Client) answer {
	var age time.Duration
	if c.Testing {
		age = googleTesting
	}
	value := form.Get("refresh_token")
	if client := o.clientOf(value); client != "" && client != c.ID {
		return googleFailure(GoogleForeignToken)
	}
	r, problem := o.refresh(value, googleIdle, age)
	switch problem {
	case "":
	case refreshUnknown:
		return googleFailure(GoogleBadRequest)
	default:
		return googleFailure(GoogleRevoked)
	}
	user := o.w.account(Gmail, r.token.subject)
	if user == nil {
		return googleFailure(GoogleDeletedAccount)
	}
	body := o.googleToken(user, c, r.token.scope, r.token.grant)
	if r.next != "" {
		body["refresh_token"] = r.next
	}
	return answer{status: 200, body: body}
}

// clientOf returns the client that a refresh token was given to.
func (o *OAuthServer) clientOf(value string) string {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if t := o.w.tokens.refresh[value]; t != nil && t.provider == o.provider {
		return t.client
	}
	return ""
}

func (o *OAuthServer) googleRevoke(rw http.ResponseWriter, r *http.Request) {
	value := r.FormValue("token")
	grant := ""
	o.w.mu.Lock()
	if t := o.w.tokens.refresh[value]; t != nil && !t.dead {
		grant = t.grant
	} else if t := o.w.tokens.access[value]; t != nil && t.live(o.w.now()) {
		grant = t.grant
	}
	o.w.mu.Unlock()
	if grant == "" {
		googleFailure(OAuthError{Status: 400, Code: "invalid_token", Description: "Token expired or revoked"}).write(rw)
		return
	}
	o.w.revokeGrant(grant)
	answer{status: 200, body: struct{}{}}.write(rw)
}

func (o *OAuthServer) googleDevice(rw http.ResponseWriter, r *http.Request) {
	scopes := strings.Fields(r.FormValue("scope"))
	i := slices.IndexFunc(scopes, func(s string) bool { return s != "email" && s != "profile" && s != "openid" })
	if i < 0 {
		googleFailure(OAuthError{Status: 400, Code: "invalid_request"}).write(rw)
		return
	}
	googleFailure(OAuthError{Status: 400, Code: "invalid_scope", Description: "Invalid device flow scope: " + scopes[i]}).write(rw)
}

func (o *OAuthServer) googleInfo(rw http.ResponseWriter, r *http.Request) {
	t, known := o.w.lookupAccess(r.FormValue("access_token"))
	if !known || t.provider != Gmail || !t.live(o.w.now()) {
		googleFailure(OAuthError{Status: 400, Code: "invalid_token", Description: "Invalid Value"}).write(rw)
		return
	}
	answer{status: 200, body: map[string]string{
		"aud": t.client, "azp": t.client, "scope": t.scope, "access_type": "offline",
		"exp": fmt.Sprint(t.expires.Unix()), "expires_in": fmt.Sprint(int(t.expires.Sub(o.w.now()) / time.Second)),
	}}.write(rw)
}

func googleFailure(e OAuthError) answer {
	body := map[string]string{"error": e.Code}
	if e.Description != "" {
		body["error_description"] = e.Description
	}
	if e.Sub != "" {
		body["error_subtype"] = e.Sub
	}
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	return answer{status: status, body: body, err: e}
}
