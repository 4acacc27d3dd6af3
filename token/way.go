package token

import (
	"errors"
	"net/url"
	"time"
)

// Credential says what Client.Secret reads: how the client proves that it is itself.
type Credential string

// The credentials. Each is one way for the client to sign in; all go over the same exchange.
const (
	SharedSecret Credential = ""                // the client secret; a public client has none
	Certificate  Credential = "certificate"     // PEM: a certificate and its private key, which sign an assertion (Microsoft)
	ServiceKey   Credential = "service_account" // the JSON key of a service account with domain-wide delegation (Google)
)

// mints reports whether access tokens come without anybody having signed in: there is no refresh token then, and nothing
// that a person could lose.
func (c Client) mints() bool { return c.App || c.Credential == ServiceKey }

// params is the way to an access token: which grant is sent to the token endpoint, and what belongs to it.
func (a Account) params(g *grant, secret Secret, now time.Time) (url.Values, error) {
	switch {
	case a.Client.Credential == ServiceKey:
		key, err := parseServiceKey(secret)
		if err != nil {
			return nil, err
		}
		assertion, err := key.assertion(a.Subject, a.Client, now)
		return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}, err
	case a.Client.App:
		return url.Values{"grant_type": {"client_credentials"}}, nil
	default:
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.refresh.Reveal()}}, nil
	}
}

// prove adds to params what proves the client, and returns the client secret to be sent, if that is what it has.
func (c Client) prove(params url.Values, secret Secret, now time.Time) (Secret, error) {
	switch c.Credential {
	case ServiceKey: // the assertion is the grant itself
		return Secret{}, nil
	case Certificate:
		pair, err := parseCertificate(secret)
		if err != nil {
			return Secret{}, err
		}
		assertion, err := pair.assertion(c, now)
		params.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		params.Set("client_assertion", assertion)
		return Secret{}, err
	}
	return secret, nil
}

// usableSecret reports what is wrong with the text of a credential.
func (c Client) usableSecret(secret Secret) error {
	var err error
	switch c.Credential {
	case ServiceKey:
		_, err = parseServiceKey(secret)
	case Certificate:
		_, err = parseCertificate(secret)
	default:
		if c.App && secret.IsZero() {
			err = errors.New("an application that signs in as itself needs a secret or a certificate")
		}
	}
	return err
}
