package token

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// certificate is what a client signs its assertions with.
type certificate struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

// parseCertificate reads a certificate and its private key from PEM. No error repeats the text: it holds the key.
func parseCertificate(text Secret) (certificate, error) {
	var c certificate
	rest := []byte(text.Reveal())
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		var err error
		switch {
		case block.Type == "CERTIFICATE" && c.cert == nil: // what follows the first is its chain
			if c.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
				return c, errors.New("the certificate cannot be read")
			}
		case block.Type == "PRIVATE KEY" || block.Type == "RSA PRIVATE KEY":
			if c.key, err = parseRSA(block.Bytes); err != nil {
				return c, err
			}
		}
	}
	switch {
	case c.cert == nil:
		return c, errors.New("there is no certificate in it: it must hold the certificate and its private key, both in PEM")
	case c.key == nil:
		return c, errors.New("there is no private key in it: it must hold the certificate and its private key (not encrypted), both in PEM")
	case !c.key.PublicKey.Equal(c.cert.PublicKey):
		return c, errors.New("the private key is not that of the certificate")
	}
	return c, nil
}

func parseRSA(der []byte) (*rsa.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key cannot be read")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not an RSA key, which is what the provider takes")
	}
	return key, nil
}

// assertionLife is short: an assertion is made for the one request that it goes with.
const assertionLife = 5 * time.Minute

// assertion is what Microsoft takes in place of a client secret.
func (c certificate) assertion(client Client, now time.Time) (string, error) {
	thumb := sha256.Sum256(c.cert.Raw)
	return sign(c.key, crypto.SHA256, true,
		map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(thumb[:])},
		map[string]any{
			"aud": client.TokenURL, "iss": client.ID, "sub": client.ID, "jti": rand.Text(),
			"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
		})
}

// serviceKey is the key file of a Google service account.
type serviceKey struct {
	email, id string
	clientID  string // the number that the Admin console asks for
	key       *rsa.PrivateKey
}

func parseServiceKey(text Secret) (serviceKey, error) {
	var file struct {
		Type     string `json:"type"`
		Email    string `json:"client_email"`
		ClientID string `json:"client_id"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
	}
	if json.Unmarshal([]byte(text.Reveal()), &file) != nil || file.Email == "" || file.Key == "" {
		return serviceKey{}, errors.New("it is not the JSON key of a service account (IAM & Admin, Service accounts, Keys, Add key)")
	}
	block, _ := pem.Decode([]byte(file.Key))
	if block == nil {
		return serviceKey{}, errors.New("the private key in it cannot be read")
	}
	key, err := parseRSA(block.Bytes)
	return serviceKey{email: file.Email, id: file.KeyID, clientID: file.ClientID, key: key}, err
}

// assertion asks for a token of the user subject, for whom the domain's administrator lets the service account act.
func (k serviceKey) assertion(subject string, c Client, now time.Time) (string, error) {
	header := map[string]any{"alg": "RS256", "typ": "JWT"}
	if k.id != "" {
		header["kid"] = k.id
	}
	return sign(k.key, crypto.SHA256, false, header, map[string]any{
		"iss": k.email, "sub": subject, "scope": strings.Join(c.Scopes, " "), "aud": c.TokenURL,
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
}

// sign makes a JWT of a header and claims.
func sign(key *rsa.PrivateKey, hash crypto.Hash, pss bool, header, claims map[string]any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("sign an assertion: %w", err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign an assertion: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sum := sha256.Sum256([]byte(text))
	var opts crypto.SignerOpts = hash
	if pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature, err := key.Sign(rand.Reader, sum[:], opts)
	if err != nil {
		return "", fmt.Errorf("sign an assertion: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
