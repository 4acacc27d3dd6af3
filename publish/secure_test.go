package publish

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// authority signs certificates and writes them to files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority writes its own certificate to NAME.pem.
func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	must(a.t, err)
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	for file, block := range map[string]*pem.Block{
		a.file(name): {Type: "CERTIFICATE", Bytes: der}, a.keyOf(name): {Type: "PRIVATE KEY", Bytes: plain},
	} {
		must(a.t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	}
	cert, err := x509.ParseCertificate(der)
	must(a.t, err)
	return cert, key
}

func (a *authority) file(name string) string  { return filepath.Join(a.dir, name+".pem") }
func (a *authority) keyOf(name string) string { return filepath.Join(a.dir, name+".key") }

// A server that speaks TLS alone and wants to see a certificate: who has both gets in, and again after it was away.
func TestOpenOverTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	ours.sign("server", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	client := func() *x509.Certificate {
		return &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	}
	ours.sign("client", client())
	theirs.sign("client", client())
	conf := ownPort(t) + fmt.Sprintf("tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}", ours.file("server"), ours.keyOf("server"), ours.file("ours"))
	dir := t.TempDir()
	srv := external(t, dir, conf)
	url := "tls://" + srv.Addr().String()
	right := TLS{CAFile: ours.file("ours"), CertFile: ours.file("client"), KeyFile: ours.keyOf("client")}
	p := mustSetup(t, mustOpen(t, Config{URL: url, TLS: right}))
	tail := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})

	for name, wrong := range map[string]TLS{
		"another authority":                {CAFile: theirs.file("theirs"), CertFile: right.CertFile, KeyFile: right.KeyFile},
		"the system's authorities":         {CertFile: right.CertFile, KeyFile: right.KeyFile},
		"no certificate":                   {CAFile: right.CAFile},
		"a certificate that nobody trusts": {CAFile: right.CAFile, CertFile: theirs.file("client"), KeyFile: theirs.keyOf("client")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(timeout(t, 20*time.Second), Config{URL: url, TLS: wrong}, quiet())
			var login *LoginError
			if !errors.As(err, &login) {
				t.Fatalf("error is %v", err)
			}
			wantText(t, err, url, "nats.tls")
		})
	}

	srv.Shutdown()
	srv.WaitForShutdown()
	eventually(t, 20*time.Second, "it knows that the server is gone", func() bool { return !p.Status().Connected })
	external(t, dir, conf)
	eventually(t, 20*time.Second, "it is connected again", func() bool { return p.Status().Connected })
	mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("INBOX", 3, 3)})
}

// A server that trusts an operator, and whoever has a JWT of an account of his: from a .creds file, or as two values.
func TestOpenWithCredentials(t *testing.T) {
	operator, account, system, stranger := newSigner(t, nkeys.CreateOperator), newSigner(t, nkeys.CreateAccount),
		newSigner(t, nkeys.CreateAccount), newSigner(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(account.public)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	srv := external(t, t.TempDir(), fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {%s: %s, %s: %s}\n",
		operator.sign(jwt.NewOperatorClaims(operator.public)), system.public,
		system.public, operator.sign(jwt.NewAccountClaims(system.public)), account.public, operator.sign(claims)))
	creds, token, seed := account.user()
	p := mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL(), Auth: Auth{CredsFile: creds}}))
	tail := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	p = mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL(), Auth: Auth{JWT: token, Seed: seed}}))
	mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("INBOX", 3, 3)})

	theirs, _, theirSeed := stranger.user()
	for name, wrong := range map[string]Auth{
		"nobody": {}, "of an account that he does not know": {CredsFile: theirs}, "with another's seed": {JWT: token, Seed: theirSeed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(timeout(t, 20*time.Second), Config{URL: srv.ClientURL(), Auth: wrong}, quiet())
			var login *LoginError
			if !errors.As(err, &login) {
				t.Fatalf("error is %v", err)
			}
			wantText(t, err, "nats.creds")
		})
	}
}

// signer is an operator or an account.
type signer struct {
	t      *testing.T
	keys   nkeys.KeyPair
	public string
}

func newSigner(t *testing.T, create func() (nkeys.KeyPair, error)) signer {
	t.Helper()
	keys, err := create()
	must(t, err)
	public, err := keys.PublicKey()
	must(t, err)
	return signer{t, keys, public}
}

func (s signer) sign(claims jwt.Claims) string {
	s.t.Helper()
	token, err := claims.Encode(s.keys)
	must(s.t, err)
	return token
}

// user makes one of an account.
func (s signer) user() (creds string, token, seed Secret) {
	s.t.Helper()
	u := newSigner(s.t, nkeys.CreateUser)
	signed := s.sign(jwt.NewUserClaims(u.public))
	plain, err := u.keys.Seed()
	must(s.t, err)
	text, err := jwt.FormatUserConfig(signed, plain)
	must(s.t, err)
	creds = filepath.Join(s.t.TempDir(), "user.creds")
	must(s.t, os.WriteFile(creds, text, 0o600))
	return creds, NewSecret(signed), NewSecret(string(plain))
}
