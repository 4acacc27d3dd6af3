package sim

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/mailflume/mailflume/internal/testca"
)

// serverNames are the providers' names that the test certificate is good for.
var serverNames = []string{
	"imap.gmail.com", "outlook.office365.com", "accounts.google.com", "oauth2.googleapis.com", "login.microsoftonline.com",
}

func (w *World) authority() (*testca.Authority, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ca == nil {
		ca, err := testca.New(serverNames...)
		if err != nil {
			return nil, err
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
	return &tls.Config{Certificates: []tls.Certificate{ca.Leaf}, MinVersion: tls.VersionTLS12}, nil
}

// CertPEM returns the certificate authority that clients of the TLS listeners must trust.
func (w *World) CertPEM() ([]byte, error) {
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	return ca.PEM, nil
}

// ClientTLS returns a client's configuration that trusts the World's certificate authority.
func (w *World) ClientTLS() (*tls.Config, error) {
	ca, err := w.authority()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Root)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}, nil
}
