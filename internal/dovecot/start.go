package dovecot

import (
	"errors"
	"os"
	"strconv"
	"testing"
)

// Start runs a Dovecot until the test ends. Without a dovecot in PATH the test is skipped, and in CI it fails.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := Run(tb.Context(), o)
	if ci, _ := strconv.ParseBool(os.Getenv("CI")); errors.Is(err, ErrNotInstalled) && !ci {
		tb.Skip("dovecot is not installed; scripts/test-deps.sh installs it on Debian")
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("dovecot said:%s", tail(s.Log(), 30))
		}
		if err := s.Close(); err != nil {
			tb.Errorf("stop dovecot: %v", err)
		}
	})
	return s
}
