package sim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What a client that signs sends to the token endpoint (RFC 7523).
const (
	assertionGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertionType  = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// How long an assertion may be good for, and how far the clocks may be apart; the latter is our choice.
const (
	assertionLife = time.Hour
	assertionSkew = 5 * time.Minute
)

// A ServiceAccount is one of Google's, and what the administrators of domains let it do there.
type ServiceAccount struct {
	Email     string
	KeyID     string
	Key       *rsa.PublicKey
	Delegated []string // scopes; none: it may act for nobody
}

// AddServiceAccount registers a service account with Google, or changes it.
func (o *OAuthServer) AddServiceAccount(s ServiceAccount) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.services[s.Email] = s
}

// assertion is a JWT that a client has made and signed.
type assertion struct {
	header struct {
		Alg   string
		Kid   string
		Thumb string `json:"x5t#S256"`
	}
	claims struct {
		Iss, Sub, Aud, Scope, Jti string
		Iat, Nbf, Exp             int64
	}
	sum       [sha256.Size]byte
	signature []byte
}

func parseAssertion(text string) (a assertion, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return a, false
	}
	for i, to := range []any{&a.header, &a.claims} {
		part, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(part, to) != nil {
			return a, false
		}
	}
	var err error
	a.signature, err = base64.RawURLEncoding.DecodeString(parts[2])
	a.sum = sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return a, err == nil
}

// signedBy checks the signature, which is made as alg says and no other way.
func (a assertion) signedBy(key *rsa.PublicKey, alg string) bool {
	switch {
	case key == nil || a.header.Alg != alg:
		return false
	case alg == "RS256":
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, a.sum[:], a.signature) == nil
	}
	return rsa.VerifyPSS(key, crypto.SHA256, a.sum[:], a.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}

// timely reports whether it was made a moment ago, for not too long. issued is iat, or nbf.
func (a assertion) timely(issued int64, now time.Time) bool {
	from, to := time.Unix(issued, 0), time.Unix(a.claims.Exp, 0)
	return from.Before(now.Add(assertionSkew)) && to.After(now.Add(-assertionSkew)) && to.After(from) && to.Sub(from) <= assertionLife
}

// isFor reports whether it is meant for the endpoint that was asked.
func (a assertion) isFor(r *http.Request) bool {
	u, err := url.Parse(a.claims.Aud)
	return err == nil && u.Host == r.Host && u.Path == r.URL.Path
}

// googleService gives a service account a token of a user for whom it may act.
func (o *OAuthServer) googleService(r *http.Request, form url.Values) answer {
	bad := func(description string) answer {
		return googleFailure(OAuthError{Status: http.StatusBadRequest, Code: "invalid_grant", Description: description})
	}
	a, ok := parseAssertion(form.Get("assertion"))
	o.mu.Lock()
	service, known := o.services[a.claims.Iss]
	o.mu.Unlock()
	switch {
	case !ok:
		return bad("Invalid JWT Signature.") // for what is none at all, not documented
	case !known:
		return bad("Invalid grant: account not found")
	case a.header.Kid != service.KeyID || !a.signedBy(service.Key, "RS256"):
		return bad("Invalid JWT Signature.")
	case !a.timely(a.claims.Iat, o.w.now()):
		return googleFailure(GoogleClockSkew)
	case !a.isFor(r):
		return bad("Invalid JWT: Failed audience check.")
	}
	user := o.w.account(Gmail, a.claims.Sub)
	if user == nil {
		return bad("Invalid email or User ID") // the text could not be verified
	}
	for scope := range strings.FieldsSeq(a.claims.Scope) {
		if !slices.Contains(service.Delegated, scope) {
			return googleFailure(GoogleNotDelegated)
		}
	}
	if a.claims.Scope == "" {
		return googleFailure(OAuthError{Status: http.StatusBadRequest, Code: "invalid_scope"})
	}
	token, seconds := o.issue(user, service.Email, a.claims.Scope, "")
	return answer{status: http.StatusOK, body: map[string]any{"access_token": token, "expires_in": seconds, "token_type": "Bearer"}}
}

// assertionProblem returns the number of what is wrong with a client's assertion, 0 if nothing is. That it may be used once
// only is stricter than Microsoft is known to be.
func (o *OAuthServer) assertionProblem(r *http.Request, c Client, form url.Values) int {
	a, ok := parseAssertion(form.Get("client_assertion"))
	switch {
	case form.Get("client_assertion_type") != assertionType:
		return 900144
	case !ok || c.Certificate == nil || a.header.Thumb != thumbprint(c.Certificate):
		return 700027
	}
	key, _ := c.Certificate.PublicKey.(*rsa.PublicKey)
	switch {
	case !a.signedBy(key, "PS256") || a.claims.Iss != c.ID || a.claims.Sub != c.ID || !a.isFor(r):
		return 700027
	case !a.timely(a.claims.Nbf, o.w.now()):
		return 500133
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.claims.Jti == "" || o.assertions[a.claims.Jti] {
		return 700027
	}
	o.assertions[a.claims.Jti] = true
	return 0
}

func thumbprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
