package sim

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An OAuthError is an error body. Its zero Status means the one that goes with the code.
type OAuthError struct {
	Status      int
	Code        string // "error"
	Description string // "error_description"; for Microsoft the text of the number
	Sub         string // Google's error_subtype, Microsoft's suberror
	AADSTS      int    // Microsoft's number
	CRLF        bool   // Microsoft: the older form, with line ends in the description
}

// The errors of Google's token endpoint, for OAuthFault.Error.
var (
	GoogleRevoked        = OAuthError{400, "invalid_grant", "Token has been expired or revoked.", "", 0, false}
	GoogleBadRequest     = OAuthError{400, "invalid_grant", "Bad Request", "", 0, false}
	GoogleDeletedAccount = OAuthError{400, "invalid_grant", "Account has been deleted", "", 0, false}
	GoogleRapt           = OAuthError{400, "invalid_grant", "reauth related error (invalid_rapt)", "invalid_rapt", 0, false}
	GoogleClockSkew      = OAuthError{400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.", "", 0, false}
	GoogleNoClient       = OAuthError{401, "invalid_client", "The OAuth client was not found.", "", 0, false}
	GoogleWrongSecret    = OAuthError{401, "invalid_client", "Unauthorized", "", 0, false}
	GoogleDeletedClient  = OAuthError{401, "deleted_client", "The OAuth client was deleted.", "", 0, false}
	GoogleForeignToken   = OAuthError{401, "unauthorized_client", "Unauthorized", "", 0, false}
	GoogleNotDelegated   = OAuthError{401, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.", "", 0, false}
	GoogleAdminPolicy    = OAuthError{400, "admin_policy_enforced", "", "", 0, false}
)

// An OAuthFault is something that an OAuth server does wrong, as data.
type OAuthFault struct {
	Endpoint string // "token" (also when empty), "authorize", "devicecode" or "revoke"
	Account  string // only for this user's refresh tokens; empty means any
	Client   string // only for this client; empty means any
	Grant    string // only for this grant_type; empty means any
	When     When

	Delay  time.Duration     // wait before anything is done
	Error  *OAuthError       // answer with this error
	Status int               // or with this status,
	Body   string            // this body,
	Kind   string            // of this content type, text/html if empty,
	Header map[string]string // and these headers
	Lost   bool              // carry the request out, then close the connection: the answer is lost
}

type armedOAuthFault struct {
	OAuthFault
	arming
}

// Inject arms a fault. Of several that match, the first injected strikes.
func (o *OAuthServer) Inject(f OAuthFault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults = append(o.faults, &armedOAuthFault{f, arming{When: f.When}})
}

// ClearFaults disarms the server's faults.
func (o *OAuthServer) ClearFaults() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults = nil
}

// TooManyRequests is an answer 429.
func TooManyRequests(retryAfter time.Duration) OAuthFault {
	return OAuthFault{
		Status: http.StatusTooManyRequests, Body: `{"error":"temporarily_unavailable"}`, Kind: "application/json",
		Header: map[string]string{"Retry-After": strconv.Itoa(int(retryAfter / time.Second))},
	}
}

// HTMLGarbage is the page of some proxy in place of an answer.
func HTMLGarbage(status int) OAuthFault {
	return OAuthFault{Status: status, Body: "<!DOCTYPE html><html><title>Error</title><body>Service unavailable</body></html>"}
}

// SlowToken is a token endpoint that takes its time.
func SlowToken(d time.Duration) OAuthFault { return OAuthFault{Delay: d} }

// LostAnswer is a refresh that is carried out and whose answer never arrives.
func LostAnswer() OAuthFault { return OAuthFault{Grant: "refresh_token", Lost: true} }

// FailWith is an error answer.
func FailWith(e OAuthError) OAuthFault { return OAuthFault{Error: &e} }

// trip returns the fault that strikes a request, or nil.
func (o *OAuthServer) trip(endpoint string, r TokenRequest) *OAuthFault {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.faults {
		if f.Endpoint != endpoint && (f.Endpoint != "" || endpoint != "token") ||
			f.Account != "" && !strings.EqualFold(f.Account, r.Account) ||
			f.Client != "" && f.Client != r.Client || f.Grant != "" && f.Grant != r.Grant {
			continue
		}
		if f.strikes(r.At) {
			fault := f.OAuthFault
			return &fault
		}
	}
	return nil
}

// respond carries a request out under a fault. It reports false if the client gets no answer.
func (o *OAuthServer) respond(r *http.Request, f *OAuthFault, do func() answer) (a answer, delivered bool) {
	if f == nil {
		return do(), true
	}
	if !o.w.sleep(f.Delay, r.Context().Done()) {
		return answer{}, false
	}
	switch {
	case f.Error != nil:
		a = o.failure(*f.Error)
		a.header = merged(a.header, f.Header)
		return a, true
	case f.Status != 0:
		kind := f.Kind
		if kind == "" {
			kind = "text/html; charset=utf-8"
		}
		return answer{status: f.Status, header: f.Header, body: f.Body, kind: kind, err: OAuthError{Code: http.StatusText(f.Status)}}, true
	}
	return do(), !f.Lost
}

func merged(a, b map[string]string) map[string]string {
	all := make(map[string]string)
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// guarded serves a request to an endpoint other than token, under the faults for it.
func (o *OAuthServer) guarded(endpoint string, do http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		f := o.trip(endpoint, TokenRequest{At: o.w.now(), Client: r.FormValue("client_id")})
		if f == nil {
			do(rw, r)
			return
		}
		var wants bool
		a, delivered := o.respond(r, f, func() answer { wants = true; return answer{} })
		switch {
		case !delivered:
			panic(http.ErrAbortHandler)
		case wants:
			do(rw, r)
		default:
			a.write(rw)
		}
	}
}
