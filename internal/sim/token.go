package sim

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Rotation says what a refresh does to the refresh token.
type Rotation string

// The ways to rotate.
const (
	RotateNone    Rotation = "none"    // as Google: the same token for ever, and none in the answer
	RotateLenient Rotation = "lenient" // as Microsoft: a new one each time, and the old one stays good
	RotateStrict  Rotation = "strict"  // as others: the old one dies, and its reuse revokes all that came of the grant
)

// The scopes that open a mailbox over IMAP.
const (
	ScopeGmail       = "https://mail.google.com/"
	ScopeOutlook     = "https://outlook.office.com/IMAP.AccessAsUser.All"
	ScopeOutlookAlso = "https://outlook.office365.com/IMAP.AccessAsUser.All"
	ScopeOutlookApp  = "https://outlook.office365.com/.default"
)

// accessToken is what the registry knows of an access token.
type accessToken struct {
	value    string
	provider Provider
	subject  string // the address of the user who consented
	client   string
	audience string
	scope    string
	app      bool // of an application, without a user
	grant    string
	expires  time.Time
	revoked  bool
}

// reads reports whether the token may be used for IMAP at its provider.
func (t accessToken) reads() bool {
	scopes := strings.Fields(t.scope)
	switch {
	case t.provider == Gmail:
		return slices.Contains(scopes, ScopeGmail)
	case t.audience != "https://outlook.office.com" && t.audience != "https://outlook.office365.com":
		return false
	case t.app:
		return true
	default:
		return slices.ContainsFunc(scopes, func(s string) bool { return strings.HasSuffix(s, "IMAP.AccessAsUser.All") })
	}
}

// refreshToken is what the registry knows of a refresh token.
type refreshToken struct {
	value    string
	provider Provider
	grant    string // all that came of one consent
	subject  string
	client   string
	scope    string
	issued   time.Time
	used     time.Time // last
	rotated  bool      // another one took its place
	dead     bool
	recent   []time.Time // of its refreshes, for Microsoft's loop detection
}

// registry holds every token; World.mu guards it.
type registry struct {
	access  map[string]*accessToken
	refresh map[string]*refreshToken
	order   []*refreshToken // as they were issued
}

func newRegistry() registry {
	return registry{access: make(map[string]*accessToken), refresh: make(map[string]*refreshToken)}
}

// maxRefreshTokens is how many refresh tokens Google keeps alive for one user of one client.
const maxRefreshTokens = 100

func (w *World) lookupAccess(value string) (accessToken, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tokens.access[value]
	if t == nil {
		return accessToken{}, false
	}
	return *t, true
}

// live reports whether the token is good now.
func (t accessToken) live(now time.Time) bool { return !t.revoked && now.Before(t.expires) }

// expireTokens makes the access tokens of a user expired.
func (w *World) expireTokens(subject string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for _, t := range w.tokens.access {
		if strings.EqualFold(t.subject, subject) && now.Before(t.expires) {
			t.expires = now
		}
	}
}

// addAccess gives out an access token: opaque as Google's and Microsoft's personal ones are, or a JWT.
func (w *World) addAccess(t accessToken, opaque bool) string {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case t.provider == Gmail:
		t.value = "ya29.a0" + w.randomLocked(96)
	case opaque:
		t.value = "EwB" + w.randomLocked(96)
	default:
		t.value = jwt(t, now, w.randomLocked(64))
	}
	w.tokens.access[t.value] = &t
	return t.value
}

// jwt writes an access token as Microsoft's are for work accounts: anyone can read it, and only the real thing could
// check its signature.
func jwt(t accessToken, now time.Time, signature string) string {
	_, domain, _ := strings.Cut(t.subject, "@")
	claims := map[string]any{
		"aud": t.audience, "iss": "https://sts.windows.net/" + stableGUID(domain) + "/", "tid": stableGUID(domain),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": t.expires.Unix(), "appid": t.client, "ver": "1.0",
	}
	if t.app {
		claims["roles"] = []string{"IMAP.AccessAsApp"}
		claims["oid"] = stableGUID(t.client)
	} else {
		var short []string
		for _, s := range strings.Fields(t.scope) {
			short = append(short, strings.TrimPrefix(s, t.audience+"/"))
		}
		claims["scp"] = strings.Join(short, " ")
		claims["upn"], claims["unique_name"] = t.subject, t.subject
		claims["oid"] = stableGUID(t.subject)
	}
	part := func(v any) string {
		b, _ := json.Marshal(v) // maps of strings and numbers
		return base64.RawURLEncoding.EncodeToString(b)
	}
	header := map[string]string{"typ": "JWT", "alg": "RS256", "kid": "simulated"}
	return part(header) + "." + part(claims) + "." + base64.RawURLEncoding.EncodeToString([]byte(signature))
}

func (w *World) addRefresh(t refreshToken) string {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.provider == Gmail {
		t.value = "1//0g" + w.randomLocked(64)
	} else {
		t.value = "0.AXoA" + w.randomLocked(96)
	}
	if t.grant == "" {
		t.grant = w.randomLocked(16)
	}
	t.issued, t.used = now, now
	w.tokens.refresh[t.value] = &t
	w.tokens.order = append(w.tokens.order, &t)
	if t.provider == Gmail {
		w.tokens.thin(&t)
	}
	return t.value
}

// thin lets the oldest refresh tokens of a user and client die when there are too many.
func (r *registry) thin(of *refreshToken) {
	n := 0
	for _, t := range slices.Backward(r.order) {
		if t.dead || t.provider != of.provider || t.client != of.client || !strings.EqualFold(t.subject, of.subject) {
			continue
		}
		if n++; n > maxRefreshTokens {
			t.dead = true
		}
	}
}

// revokeGrant kills all that came of one consent.
func (w *World) revokeGrant(grant string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tokens.refresh {
		if t.grant == grant {
			t.dead = true
		}
	}
	for _, t := range w.tokens.access {
		if t.grant == grant {
			t.revoked = true
		}
	}
}

// AccessToken gives out an access token that opens the mailbox, for tests that need no OAuth server.
func (a *Account) AccessToken(lifetime time.Duration) string {
	return a.token("test", lifetime, a.defaultScope(), "")
}

// TokenFor gives out an access token with this scope: one that does not open the mailbox, say. The audience of
// Microsoft's tokens is taken from the scope.
func (a *Account) TokenFor(scope string, lifetime time.Duration) string {
	return a.token("test", lifetime, scope, "")
}

// AppToken gives out Microsoft's token of an application; it opens the mailboxes whose quirk AppAccess names the client.
func (a *Account) AppToken(client string, lifetime time.Duration) string {
	return a.w.addAccess(accessToken{
		provider: a.provider, subject: a.address, client: client, audience: audienceOf(ScopeOutlookApp),
		scope: ScopeOutlookApp, app: true, expires: a.w.now().Add(lifetime),
	}, false)
}

// RefreshToken gives out a refresh token for the client, as if the user had consented.
func (a *Account) RefreshToken(client string) string {
	return a.w.addRefresh(refreshToken{provider: a.provider, subject: a.address, client: client, scope: a.defaultScope()})
}

// Revoke takes back every grant of the user: refresh tokens die, access tokens do not open another session.
func (a *Account) Revoke() {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	for _, t := range a.w.tokens.refresh {
		t.dead = t.dead || strings.EqualFold(t.subject, a.address)
	}
	for _, t := range a.w.tokens.access {
		t.revoked = t.revoked || strings.EqualFold(t.subject, a.address)
	}
}

// ChangePassword does to the user's grants what a new password does: Google's all end, and Microsoft's of public clients.
func (a *Account) ChangePassword() {
	o := a.w.OAuth(a.provider)
	ends := func(id string) bool {
		c, _ := o.client(id)
		return a.provider == Gmail || !c.confidential()
	}
	var grants []string
	a.w.mu.Lock()
	for _, t := range a.w.tokens.refresh {
		if t.provider == a.provider && strings.EqualFold(t.subject, a.address) {
			grants = append(grants, t.grant+" "+t.client)
		}
	}
	a.w.mu.Unlock()
	for _, g := range grants {
		if grant, client, _ := strings.Cut(g, " "); ends(client) {
			a.w.revokeGrant(grant)
		}
	}
}

func (a *Account) token(client string, lifetime time.Duration, scope, grant string) string {
	return a.w.addAccess(accessToken{
		provider: a.provider, subject: a.address, client: client, audience: audienceOf(scope), scope: scope, grant: grant,
		expires: a.w.now().Add(lifetime),
	}, a.quirk().Personal)
}

func (a *Account) defaultScope() string {
	if a.provider == Gmail {
		return ScopeGmail
	}
	return ScopeOutlook
}

// audienceOf returns the resource of Microsoft's scopes: that of the first which names one. A scope without one is
// Graph's, which is how people get a token that IMAP refuses.
func audienceOf(scope string) string {
	for _, s := range strings.Fields(scope) {
		switch s {
		case "openid", "profile", "email", "offline_access":
			continue
		}
		if i := strings.LastIndexByte(s, '/'); i > 0 && strings.HasPrefix(s, "https://") {
			return s[:i]
		}
		break
	}
	return "https://graph.microsoft.com"
}
