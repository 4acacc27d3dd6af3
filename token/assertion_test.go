package token_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// keyPair is a key and its certificate, in PEM.
func keyPair(t *testing.T) (*rsa.PrivateKey, *x509.Certificate, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mailflume"}, NotAfter: time.Now().Add(240 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return key, cert, string(text) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// claimsOf checks the signature of an assertion as the provider does, and returns header and claims.
func claimsOf(t *testing.T, jwt string, key *rsa.PublicKey, pss bool) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	if pss {
		err = rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, to) != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	return header, claims
}

// short reports whether an assertion's times are those of one made just now.
func short(claims map[string]any) bool {
	from, _ := claims["iat"].(float64)
	to, _ := claims["exp"].(float64)
	now := float64(time.Now().Unix())
	return from <= now && from > now-60 && to > from && to-from <= 600
}

// An application that signs in as itself, with a secret and with a certificate: no refresh token, and yet one exchange for
// all, and another when the server refuses the token.
func TestApp(t *testing.T) {
	l := newLab(t, sim.Exchange)
	l.account.Client.App, l.account.Client.Scopes = true, []string{sim.ScopeOutlookApp}
	l.renews()
	for _, r := range l.oauth.Requests() {
		if r.Grant != "client_credentials" || r.Scope != sim.ScopeOutlookApp {
			t.Errorf("%+v", r)
		}
	}

	key, cert, text := keyPair(t)
	l.oauth.AddClient(sim.Client{ID: simClient, Certificate: cert})
	seen := map[any]bool{}
	l.filter = func(_ http.ResponseWriter, r *http.Request) bool {
		if err := r.ParseForm(); err != nil || r.PostForm.Has("client_secret") {
			t.Errorf("a secret was sent, or %v", err)
		}
		header, claims := claimsOf(t, r.PostForm.Get("client_assertion"), &key.PublicKey, true)
		thumb := sha256.Sum256(cert.Raw)
		if header["alg"] != "PS256" || header["x5t#S256"] != base64.RawURLEncoding.EncodeToString(thumb[:]) ||
			claims["aud"] != l.account.Client.TokenURL || claims["iss"] != simClient || claims["sub"] != simClient || !short(claims) || seen[claims["jti"]] ||
			r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			t.Errorf("header %v, claims %v", header, claims)
		}
		seen[claims["jti"]] = true
		return false
	}
	l.account.Mailbox, l.account.Client.Credential = "bob", token.Certificate
	l.account.Client.Secret = func() (string, error) { return text, nil }
	l.renews()
	if len(seen) != 2 {
		t.Errorf("%d assertions", len(seen))
	}
	_, err := l.manager.Begin(l.account, "http://127.0.0.1/", "")
	wants(t, err, "no_consent_needed", "mailflume check")
	_, _, other := keyPair(t)
	for name, bad := range map[string]string{
		"empty": "x", "no key": text[strings.Index(text, "-----BEGIN CERT"):], "no certificate": text[:strings.Index(text, "-----BEGIN CERT")],
		"another's key": other[:strings.Index(other, "-----BEGIN CERT")] + text[strings.Index(text, "-----BEGIN CERT"):],
	} {
		l.account.Mailbox = name
		l.account.Client.Secret = func() (string, error) { return bad, nil }
		_, err := l.manager.Token(t.Context(), l.account, "")
		wants(t, err, "secret_unreadable", "certificate")
		if strings.Contains(err.Error(), "BEGIN") {
			t.Error("shows the text")
		}
	}
}

// A permission that is missing is looked for again each hour: nobody can bring another refresh token.
func TestServiceAccount(t *testing.T) {
	l := newLab(t, sim.Gmail)
	key, _, text := keyPair(t)
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "robot@project.iam.gserviceaccount.com", "client_id": "104", "private_key_id": "k1",
		"private_key": text[:strings.Index(text, "-----BEGIN CERT")],
	})
	l.must(err)
	l.account.Client.ID, l.account.Client.Credential = "", token.ServiceKey
	l.account.Client.Secret = func() (string, error) { return string(file), nil }
	service := sim.ServiceAccount{Email: "robot@project.iam.gserviceaccount.com", KeyID: "k1", Key: &key.PublicKey}
	l.oauth.AddServiceAccount(service)
	n := 0
	l.filter = func(_ http.ResponseWriter, r *http.Request) bool {
		n++
		l.must(r.ParseForm())
		header, claims := claimsOf(t, r.PostForm.Get("assertion"), &key.PublicKey, false)
		if header["alg"] != "RS256" || header["kid"] != "k1" || claims["iss"] != "robot@project.iam.gserviceaccount.com" || claims["sub"] != "alice@example.com" ||
			claims["scope"] != sim.ScopeGmail || claims["aud"] != l.account.Client.TokenURL || !short(claims) ||
			r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || r.PostForm.Has("client_secret") {
			t.Errorf("header %v, claims %v, form %v", header, claims, r.PostForm)
		}
		return false
	}
	_, err = l.manager.Token(t.Context(), l.account, "")
	wants(t, err, "unauthorized_client", "Domain-wide delegation")
	service.Delegated = []string{sim.ScopeGmail}
	l.oauth.AddServiceAccount(service)
	l.account.Mailbox, l.account.Client.Name, l.account.Client.TokenURL = "later", "later", l.server.URL+"/token?later"
	l.renews()
	if n != 3 {
		t.Errorf("%d exchanges", n)
	}
	l.account.Client.Secret = func() (string, error) { return `{"type":"authorized_user","private_key":"canary"}`, nil }
	l.account.Mailbox = "bad"
	_, err = l.manager.Token(t.Context(), l.account, "")
	wants(t, err, "secret_unreadable", "service account's key")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}
