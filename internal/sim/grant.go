package sim

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"slices"
	"time"
)

// authCode is an authorization code that was given out.
type authCode struct {
	client, redirect, challenge, subject, scope string
	refresh                                     bool // a refresh token goes with it
	expires                                     time.Time
	used                                        bool
}

// codeLifetime is how long an authorization code is good.
const codeLifetime = 10 * time.Minute

// codeProblem says what is wrong with a code; empty means it is good, and now used.
type codeProblem string

const (
	codeUnknown  codeProblem = "unknown"
	codeUsed     codeProblem = "used"
	codeExpired  codeProblem = "expired"
	codeForeign  codeProblem = "foreign"
	codeVerifier codeProblem = "verifier"
	codeRedirect codeProblem = "redirect"
)

// redeem takes an authorization code.
func (o *OAuthServer) redeem(form url.Values, client string) (authCode, codeProblem) {
	now := o.w.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.codes[form.Get("code")]
	switch {
	case c == nil:
		return authCode{}, codeUnknown
	case c.client != client:
		return *c, codeForeign
	case c.used:
		return *c, codeUsed
	case now.After(c.expires):
		return *c, codeExpired
	case c.redirect != form.Get("redirect_uri"):
		return *c, codeRedirect
	case c.challenge != "" && !verifies(c.challenge, form.Get("code_verifier")):
		return *c, codeVerifier
	}
	c.used = true
	return *c, ""
}

// verifies checks PKCE with S256.
func verifies(challenge, verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// refreshed is the outcome of a refresh token's use.
type refreshed struct {
	token refreshToken // as it was before
	next  string       // the new refresh token; empty means keep the old one
}

// refreshProblem says why a refresh token is refused.
type refreshProblem string

const (
	refreshUnknown refreshProblem = "unknown"
	refreshDead    refreshProblem = "dead"
	refreshIdle    refreshProblem = "idle" // too long without use
	refreshAge     refreshProblem = "age"  // too long since it was issued
	refreshReused  refreshProblem = "reused"
	refreshLoop    refreshProblem = "loop"
)

// loopLimit is how many refreshes with the same token in loopWindow Microsoft lets pass. The real number is not known.
const (
	loopLimit  = 15
	loopWindow = 5 * time.Minute
)

// refresh uses a refresh token. idle and age are how long one lives without use and at all; 0 means for ever.
func (o *OAuthServer) refresh(value string, idle, age time.Duration) (refreshed, refreshProblem) {
	o.mu.Lock()
	rotation := o.rotation
	o.mu.Unlock()
	now := o.w.now()

	o.w.mu.Lock()
	t := o.w.tokens.refresh[value]
	if t == nil || t.provider != o.provider {
		o.w.mu.Unlock()
		return refreshed{}, refreshUnknown
	}
	before := *t
	problem := t.problem(now, idle, age, rotation)
	if problem == "" {
		t.used = now
		t.recent = append(t.recent, now)
		t.rotated = rotation != RotateNone
	}
	o.w.mu.Unlock()

	switch {
	case problem == refreshReused:
		o.w.revokeGrant(before.grant)
		fallthrough
	case problem != "":
		return refreshed{token: before}, problem
	case rotation == RotateNone:
		return refreshed{token: before}, ""
	}
	next := o.w.addRefresh(refreshToken{
		provider: before.provider, grant: before.grant, subject: before.subject, client: before.client, scope: before.scope,
	})
	return refreshed{before, next}, ""
}

// problem wants World.mu held.
func (t *refreshToken) problem(now time.Time, idle, age time.Duration, rotation Rotation) refreshProblem {
	t.recent = slices.DeleteFunc(t.recent, func(at time.Time) bool { return now.Sub(at) > loopWindow })
	switch {
	case t.dead:
		return refreshDead
	case t.rotated && rotation == RotateStrict:
		return refreshReused
	case idle > 0 && now.Sub(t.used) > idle:
		return refreshIdle
	case age > 0 && now.Sub(t.issued) > age:
		return refreshAge
	case t.provider == Exchange && len(t.recent) >= loopLimit:
		return refreshLoop
	}
	return ""
}

// holder returns whose refresh token it is.
func (o *OAuthServer) holder(value string) (subject string, rotated bool) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if t := o.w.tokens.refresh[value]; t != nil {
		return t.subject, t.rotated
	}
	return "", false
}
