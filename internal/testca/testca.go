// Package testca makes what the servers of tests and the demo need for TLS: a certificate authority and one server
// certificate.
package testca

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

// Authority is a certificate authority, which clients must trust, and the server certificate that it signed.
type Authority struct {
	PEM  []byte // of the authority's certificate
	Root *x509.Certificate
	Leaf tls.Certificate
}

// New makes an authority and a certificate for localhost, 127.0.0.1, ::1 and the names given. Both are good for a year.
func New(names ...string) (*Authority, error) {
	a, err := create(append([]string{"localhost"}, names...))
	if err != nil {
		return nil, fmt.Errorf("make a test certificate: %w", err)
	}
	return a, nil
}

func create(names []string) (*Authority, error) {
	now := time.Now() // TLS looks at the clock of the machine
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// Clients that keep certificates tell them apart by issuer and number.
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Mailflume test CA"},
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
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &Authority{
		PEM: encode("CERTIFICATE", caDER), Root: root,
		Leaf: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key},
	}, nil
}

// LeafPEM returns the server certificate and its key, for servers that read them from files.
func (a *Authority) LeafPEM() (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.Leaf.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key of a test certificate: %w", err)
	}
	return encode("CERTIFICATE", a.Leaf.Certificate[0]), encode("PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
