package sim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// serverNames are the names that the test certificate is good for, besides 127.0.0.1 and ::1.
var serverNames = []string{
	"localhost", "imap.gmail.com", "outlook.office365.com", "accounts.google.com", "oauth2.googleapis.com",
	"login.microsoftonline.com",
}

// authority is a certificate authority and the server certificate that it signed.
type authority struct {
	pem  []byte
	root *x509.Certificate
	leaf tls.Certificate
}

func newAuthority() (*authority, error) {
	// TLS looks at the machine's clock, not at the World's.
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Mailflume test CA"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: serverNames,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &authority{
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		root: root,
		leaf: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key},
	}, nil
}

func (w *World) authority() (*authority, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ca == nil {
		ca, err := newAuthority()
		if err != nil {
			return nil, fmt.Errorf("make a test certificate: %w", err)
		}
		w.ca = ca
	}
	return w.ca, nil
}

// TLSConfig returns a server's configuration with the World's certificate, for a listener of one's own.
func (w *World) TLSConfig() (*tls.Config, error) {
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{ca.leaf}, MinVersion: tls.VersionTLS12}, nil
}

// CertPEM returns the certificate authority that clients of the TLS listeners must trust.
func (w *World) CertPEM() ([]byte, error) {
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	return ca.pem, nil
}

// ClientTLS returns a client's configuration that trusts the World's certificate authority.
func (w *World) ClientTLS() (*tls.Config, error) {
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.root)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}, nil
}
