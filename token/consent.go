package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// consentLife is how long somebody may take to sign in.
const consentLife = 10 * time.Minute

// Consent is one sign-in under way: authorization code with PKCE (S256). It can be finished once.
type Consent struct {
	manager  *Manager
	account  Account
	redirect string
	expect   string // the account that must consent
	state    Secret
	verifier Secret
	nonce    string
	begun    time.Time
	link     string // see By

	mu   sync.Mutex
	used bool
}

// ConsentError says why a sign-in gave no grant. Nothing was stored.
type ConsentError struct {
	Problem
	Err error
}

func (e *ConsentError) Error() string {
	s := e.text()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ConsentError) Unwrap() error { return e.Err }

// Who says that the mailbox's owner must act.
func (e *ConsentError) Who() string { return "person" }

// Advice returns what is wrong and what to do about it.
func (e *ConsentError) Advice() (sentence, hint string) { return e.Sentence, e.Hint }

// RetryIn is 0: it is begun anew, by whoever signs in.
func (e *ConsentError) RetryIn() time.Duration { return 0 }

func refuse(code, sentence, hint string) *ConsentError {
	return &ConsentError{Problem: Problem{Code: code, Sentence: sentence, Hint: hint, At: stamp(time.Now())}}
}

// Begin begins a sign-in for the account. The browser comes back to redirect, which must be an exact URL of ours; expect is
// the address of the account that has to sign in.
func (m *Manager) Begin(a Account, redirect, expect string) (*Consent, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	if a.Client.mints() {
		return nil, refuse("no_consent_needed", "Client "+a.Client.Name+" reads mailboxes by itself; nobody has to sign in.",
			"Run mailflume check "+a.Mailbox+" to see whether it may.")
	}
	if a.Client.AuthorizeURL == "" {
		return nil, refuse("no_authorize_endpoint", "Client "+a.Client.Name+" has no authorization endpoint.",
			"Set endpoints.authorize of the client, or use mailflume token import.")
	}
	// rand.Text has at least 128 bits; a verifier must have 43 characters or more.
	return &Consent{
		manager: m, account: a, redirect: redirect, expect: expect, begun: time.Now(),
		state: NewSecret(rand.Text()), verifier: NewSecret(rand.Text() + rand.Text()), nonce: rand.Text(),
	}, nil
}

// URL is where the person signs in.
func (c *Consent) URL() string {
	challenge := sha256.Sum256([]byte(c.verifier.Reveal()))
	q := url.Values{
		"client_id": {c.account.Client.ID}, "redirect_uri": {c.redirect}, "response_type": {"code"},
		"scope": {strings.Join(c.account.Client.signInScopes(), " ")}, "state": {c.state.Reveal()}, "nonce": {c.nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	for name, value := range c.account.Client.SignIn {
		q.Set(name, value)
	}
	if c.expect != "" {
		q.Set("login_hint", c.expect)
	}
	glue := "?"
	if strings.Contains(c.account.Client.AuthorizeURL, "?") {
		glue = "&"
	}
	return c.account.Client.AuthorizeURL + glue + q.Encode()
}

// signInScopes are those of the exchange, and what makes the provider say who consented.
func (c Client) signInScopes() []string {
	scopes := slices.Clone(c.Scopes)
	for _, s := range c.Identity {
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// Finish takes what the browser came back with and exchanges the code. Whatever happens, the Consent is used up then,
// unless the answer was not meant for it.
func (c *Consent) Finish(ctx context.Context, answer url.Values) (*Granted, error) {
	const again = "Begin again: the link can be used once."
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(answer[name]) > 1 {
			return nil, refuse("malformed_answer", "The answer has "+name+" twice.", again)
		}
	}
	if subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(c.state.Reveal())) != 1 {
		return nil, refuse("wrong_state", "The answer does not belong to this sign-in.",
			"Use the link that was printed last, in one browser; if you did, somebody may have sent you a link of theirs: close the page.")
	}
	c.mu.Lock()
	used := c.used
	c.used = true
	c.mu.Unlock()
	switch {
	case used:
		return nil, refuse("state_used", "This sign-in was finished before.", again)
	case time.Since(c.begun) > consentLife:
		return nil, refuse("expired", "The sign-in took longer than 10 minutes.", "Begin again.")
	case !c.rightIssuer(answer.Get("iss")):
		return nil, refuse("wrong_issuer", "The answer comes from another provider than the one that was asked.",
			"Check the endpoints of client "+c.account.Client.Name+"; if they are right, somebody tried to mix up two providers.")
	case answer.Get("error") != "":
		return nil, c.declined(answer)
	case answer.Get("code") == "" || len(answer.Get("code")) > 4096:
		return nil, refuse("no_code", "The answer has no code.", again)
	}
	got, err := c.manager.redeem(ctx, c.account, url.Values{
		"grant_type": {"authorization_code"}, "code": {answer.Get("code")}, "redirect_uri": {c.redirect}, "code_verifier": {c.verifier.Reveal()},
	})
	if err != nil {
		return nil, err
	}
	return got, got.verify(c.account, c.expect, c.nonce)
}

// rightIssuer compares the issuer, if the answer names one (RFC 9207), with the host that was asked.
func (c *Consent) rightIssuer(iss string) bool {
	if iss == "" {
		return true
	}
	asked, errAsked := url.Parse(c.account.Client.AuthorizeURL)
	says, errSays := url.Parse(iss)
	return errAsked == nil && errSays == nil && says.Scheme == asked.Scheme && strings.EqualFold(says.Host, asked.Host)
}

// declined explains an error that the authorization endpoint sent back.
func (c *Consent) declined(answer url.Values) error {
	f := &failure{status: 400, code: clean(answer.Get("error"), nil), text: clean(answer.Get("error_description"), nil)}
	if m := aadstsPattern.FindStringSubmatch(f.text); m != nil {
		f.aadsts = number(m[1])
	}
	v := classify(c.account, &grant{}, f, stamp(time.Now()))
	return &ConsentError{Problem: v.problem}
}
