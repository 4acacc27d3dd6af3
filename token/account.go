package token

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Account is what the configuration says of a mailbox that logs in by OAuth.
type Account struct {
	Mailbox string // the mailbox's id: the key of its grant, and what sentences call it; an address is nobody's to read in a log
	Client  Client

	// RefreshToken reads the configured refresh token anew at each call; nil if there is none. It is taken over when there
	// is no stored grant, or one that the provider does not accept any more. One that was never seen before is tried beside
	// a stored grant that works, and takes its place when the provider accepts it: then somebody has connected the mailbox
	// again. Otherwise the stored grant, which moves on with each renewal, wins.
	RefreshToken func() (string, error)

	Subject string // the address that a service account acts for
}

// Client is an OAuth client as it is registered with a provider.
type Client struct {
	Name     string                 // as the configuration calls it
	ID       string                 // client_id
	Secret   func() (string, error) // read anew for each exchange; nil for a public client, which must not send one
	TokenURL string
	Scopes   []string // sent with each exchange

	Credential Credential // what Secret reads
	App        bool       // the application signs in as itself (client credentials); no refresh token is needed
	SecretEnds time.Time  // when the provider lets the secret expire, if the configuration says so

	SignIn   map[string]string // further parameters of the authorization request
	Identity []string          // scopes that make the provider say who consented; asked for when signing in only

	Idle    time.Duration // after how long without use the provider lets a refresh token die; 0: not known
	Rotates bool          // the provider gives a new refresh token with each access token

	// Endpoints that signing in and out needs; each may be empty, and then that is not possible.
	AuthorizeURL, DeviceURL, RevokeURL string

	InfoURL string // says what an access token is good for; empty: nothing does (see Manager.Inspect)
}

func (a Account) check() error {
	var errs []error
	if a.Mailbox == "" {
		errs = append(errs, errors.New("the mailbox has no id"))
	}
	if a.Client.ID == "" && a.Client.Credential != ServiceKey {
		errs = append(errs, fmt.Errorf("OAuth client %s has no id", a.Client.Name))
	}
	if u, err := url.Parse(a.Client.TokenURL); err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		errs = append(errs, fmt.Errorf("the token endpoint of OAuth client %s is not a URL", a.Client.Name))
	}
	return errors.Join(errs...)
}

// key tells clients apart: the names are the configuration's own affair and may change.
func (c Client) key() string { return c.TokenURL + "\n" + c.ID }

// asked is a for the explanation of what another endpoint of the client's answered.
func (a Account) asked(endpoint string) Account {
	a.Client.TokenURL = endpoint
	return a
}

// host is where the client's token endpoint is.
func (c Client) host() string {
	u, err := url.Parse(c.TokenURL)
	if err != nil {
		return c.TokenURL
	}
	return u.Host
}

// tenant is the first step of the token endpoint's path, which is the tenant at Microsoft.
func (c Client) tenant() string {
	u, err := url.Parse(c.TokenURL)
	if err != nil {
		return ""
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return tenant
}

// manyTenants reports whether the client serves accounts of any tenant of Microsoft's.
func (c Client) manyTenants() bool {
	return slices.Contains([]string{"common", "organizations", "consumers"}, c.tenant())
}

// secret reads the client's secret; a public client has none.
func (c Client) secret() (Secret, error) {
	if c.Secret == nil {
		return Secret{}, c.usableSecret(Secret{})
	}
	text, err := c.Secret()
	if err != nil {
		return Secret{}, err
	}
	if text == "" {
		return Secret{}, errors.New("the client secret is empty")
	}
	secret := NewSecret(text)
	return secret, c.usableSecret(secret)
}

// Static hands out what read returns, such as a password, and reads it anew at each login, so that a changed file is seen.
type Static func() (string, error)

// Token reads the text. A rejected one is not held back: only its owner can change it.
func (s Static) Token(ctx context.Context, _ string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", context.Cause(ctx)
	}
	return s()
}

// Source hands out the access tokens of one account; it is what fetcher logs in with.
type Source struct {
	manager *Manager
	account Account
}

// Token is Manager.Token for the account.
func (s *Source) Token(ctx context.Context, rejected string) (string, error) {
	return s.manager.Token(ctx, s.account, rejected)
}

// Ends returns when the access token ends that the store holds for the account, which is the one that Token gave last; zero if
// that cannot be told now.
func (s *Source) Ends(ctx context.Context) time.Time {
	status, err := s.manager.Status(ctx, s.account.Mailbox)
	if err != nil {
		return time.Time{}
	}
	return status.Expiry
}
