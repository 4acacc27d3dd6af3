package dovecot

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mailflume/mailflume/internal/testca"
)

// writeCertificates makes a certificate for the loopback, writes ca.pem, cert.pem and key.pem, and returns the CA's.
func writeCertificates(dir string) ([]byte, error) {
	ca, err := testca.New()
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.LeafPEM()
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{
		{"ca.pem", ca.PEM, 0o644},
		{"cert.pem", cert, 0o644},
		{"key.pem", key, 0o600},
	} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.text, f.mode); err != nil {
			return nil, fmt.Errorf("write certificate: %w", err)
		}
	}
	return ca.PEM, nil
}
