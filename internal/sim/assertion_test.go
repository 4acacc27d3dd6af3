package sim_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// signed makes an assertion; over changes or, with nil, removes claims and the header's alg, kid and x5t#S256.
func signed(t *testing.T, key *rsa.PrivateKey, pss bool, header, claims, over map[string]any) string {
	t.Helper()
	header, claims = maps.Clone(header), maps.Clone(claims)
	for name, value := range over {
		part := claims
		if _, is := header[name]; is {
			part = header
		}
		part[name] = value
		if value == nil {
			delete(part, name)
		}
	}
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, ".")))
	var opts crypto.SignerOpts = crypto.SHA256
	if pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	signature, err := key.Sign(rand.Reader, sum[:], opts)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestServiceAccounts(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Gmail, "alice@corp.test")
	o := w.OAuth(sim.Gmail)
	key, other := rsaKey(t), rsaKey(t)
	service := sim.ServiceAccount{Email: "robot@project.test", KeyID: "k1", Key: &key.PublicKey, Delegated: []string{sim.ScopeGmail}}
	o.AddServiceAccount(service)
	now := time.Now()
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": "k1"}
	claims := map[string]any{
		"iss": service.Email, "sub": a.Address(), "scope": sim.ScopeGmail, "aud": "https://login.test/token",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	ask := func(assertion string) (int, map[string]any) {
		return post(t, o, "/token", "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", assertion)
	}
	status, body := ask(signed(t, key, false, header, claims, nil))
	if _, refresh := body["refresh_token"]; status != 200 || body["expires_in"] != 3599.0 || refresh {
		t.Fatalf("%d %v", status, body)
	}
	c := dial(t, w.IMAP(sim.Gmail))
	c.line()
	c.send("a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), body["access_token"].(string)))
	if lines := c.until("a"); !strings.HasSuffix(lines[len(lines)-1], "authenticated (Success)") {
		t.Errorf("login: %q", lines)
	}
	for name, v := range map[string]struct {
		assertion string
		status    int
		says      string
	}{
		"nonsense":        {"x.y", 400, "Invalid JWT Signature."},
		"another's key":   {signed(t, other, false, header, claims, nil), 400, "Invalid JWT Signature."},
		"another key id":  {signed(t, key, false, header, claims, map[string]any{"kid": "k2"}), 400, "Invalid JWT Signature."},
		"PS256":           {signed(t, key, true, header, claims, map[string]any{"alg": "PS256"}), 400, "Invalid JWT Signature."},
		"no such account": {signed(t, key, false, header, claims, map[string]any{"iss": "x@project.test"}), 400, "Invalid grant: account not found"},
		"no such user":    {signed(t, key, false, header, claims, map[string]any{"sub": "bob@corp.test"}), 400, "Invalid email or User ID"},
		"for another":     {signed(t, key, false, header, claims, map[string]any{"aud": "https://elsewhere.test/token"}), 400, "Invalid JWT: Failed audience check."},
		"expired":         {signed(t, key, false, header, claims, map[string]any{"iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(-time.Hour).Unix()}), 400, sim.GoogleClockSkew.Description},
		"of tomorrow":     {signed(t, key, false, header, claims, map[string]any{"iat": now.Add(24 * time.Hour).Unix(), "exp": now.Add(25 * time.Hour).Unix()}), 400, sim.GoogleClockSkew.Description},
		"for a day":       {signed(t, key, false, header, claims, map[string]any{"exp": now.Add(24 * time.Hour).Unix()}), 400, sim.GoogleClockSkew.Description},
		"another scope":   {signed(t, key, false, header, claims, map[string]any{"scope": sim.ScopeGmail + " https://www.googleapis.com/auth/drive"}), 401, sim.GoogleNotDelegated.Description},
		"no scope":        {signed(t, key, false, header, claims, map[string]any{"scope": nil}), 400, ""},
	} {
		if status, body := ask(v.assertion); status != v.status || v.says != "" && body["error_description"] != v.says {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
}

func TestClientAssertions(t *testing.T) {
	w := world(t)
	a := w.AddAccount(sim.Exchange, "anna@contoso.test")
	a.Set(func(q *sim.Quirks) { q.AppAccess = []string{"app"} })
	o := w.OAuth(sim.Exchange)
	key, other := rsaKey(t), rsaKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	o.AddClient(sim.Client{ID: "app", Certificate: cert})
	o.AddClient(sim.Client{ID: "secret", Secret: "s"})
	o.AddClient(sim.Client{ID: "public"})
	path := "/" + a.Tenant() + "/oauth2/v2.0/token"
	thumb := sha256.Sum256(cert.Raw)
	now := time.Now()
	header := map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(thumb[:])}
	claims := map[string]any{
		"aud": "https://login.test" + path, "iss": "app", "sub": "app", "jti": "once",
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	ask := func(client, assertion string) (int, map[string]any) {
		return post(t, o, path, "grant_type", "client_credentials", "client_id", client, "scope", sim.ScopeOutlookApp,
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion)
	}
	status, body := ask("app", signed(t, key, true, header, claims, nil))
	if status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	c := dial(t, w.IMAP(sim.Exchange))
	c.line()
	c.play("C: a AUTHENTICATE XOAUTH2 " + xoauth2(a.Address(), body["access_token"].(string)) + "\nS: a OK AUTHENTICATE completed.")
	n := 0
	fresh := func(over map[string]any) map[string]any {
		n++
		all := map[string]any{"jti": fmt.Sprint(n)}
		maps.Copy(all, over)
		return all
	}
	for name, v := range map[string]struct {
		client, assertion string
		code              float64
	}{
		"used again":          {"app", signed(t, key, true, header, claims, nil), 700027},
		"nonsense":            {"app", "x.y.z", 700027},
		"another's key":       {"app", signed(t, other, true, header, claims, fresh(nil)), 700027},
		"RS256":               {"app", signed(t, key, false, header, claims, fresh(map[string]any{"alg": "RS256"})), 700027},
		"another thumbprint":  {"app", signed(t, key, true, header, claims, fresh(map[string]any{"x5t#S256": "AAAA"})), 700027},
		"of another client":   {"app", signed(t, key, true, header, claims, fresh(map[string]any{"iss": "x", "sub": "x"})), 700027},
		"for another tenant":  {"app", signed(t, key, true, header, claims, fresh(map[string]any{"aud": "https://login.test/x/oauth2/v2.0/token"})), 700027},
		"expired":             {"app", signed(t, key, true, header, claims, fresh(map[string]any{"nbf": now.Add(-time.Hour).Unix(), "exp": now.Add(-50 * time.Minute).Unix()})), 500133},
		"of a client without": {"secret", signed(t, key, true, header, claims, fresh(map[string]any{"iss": "secret", "sub": "secret"})), 700027},
		"of a public client":  {"public", signed(t, key, true, header, claims, fresh(map[string]any{"iss": "public", "sub": "public"})), 700025},
	} {
		if _, body := ask(v.client, v.assertion); body["error_codes"] == nil || body["error_codes"].([]any)[0] != v.code {
			t.Errorf("%s: %v", name, body)
		}
	}
	if _, body := post(t, o, path, "grant_type", "client_credentials", "client_id", "app", "scope", sim.ScopeOutlookApp); body["error_codes"].([]any)[0] != 7000218.0 {
		t.Errorf("neither secret nor assertion: %v", body)
	}
	if _, body := post(t, o, path, "grant_type", "client_credentials", "client_id", "app", "scope", sim.ScopeOutlookApp, "client_assertion", "x"); body["error_codes"].([]any)[0] != 900144.0 {
		t.Errorf("no type: %v", body)
	}
}
