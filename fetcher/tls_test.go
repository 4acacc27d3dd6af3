package fetcher

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/accept"
)

// certificate makes a CA that is its own server certificate.
func certificate(t *testing.T, name string, until time.Time, most uint16) (*tls.Config, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour),
		NotAfter: until, IsCA: true, BasicConstraintsValid: true, DNSNames: []string{name},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: most, MinVersion: tls.VersionTLS10}, pool
}

// local serves every connection to a port of localhost, by the name of which a certificate can be.
func local(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	return strings.Replace(accept.Each(t, serve), "127.0.0.1", "localhost", 1)
}

// tlsCases are servers as TLS finds them, and what their clients trust.
func tlsCases(t *testing.T) []tlsCase {
	later := time.Now().Add(time.Hour)
	good, pool := certificate(t, "localhost", later, 0)
	_, other := certificate(t, "localhost", later, 0)
	late, latePool := certificate(t, "localhost", time.Now().Add(-time.Hour), 0)
	alien, alienPool := certificate(t, "elsewhere.example", later, 0)
	ten, tenPool := certificate(t, "localhost", later, tls.VersionTLS10)
	eleven, elevenPool := certificate(t, "localhost", later, tls.VersionTLS11)
	twelve, twelvePool := certificate(t, "localhost", later, tls.VersionTLS12)
	return []tlsCase{
		{"good", good, pool, true},
		{"TLS 1.2", twelve, twelvePool, true},
		{"TLS 1.0", ten, tenPool, false},
		{"TLS 1.1", eleven, elevenPool, false},
		{"expired", late, latePool, false},
		{"self-signed", good, nil, false},
		{"another CA now", good, other, false},
		{"wrong name", alien, alienPool, false},
	}
}

type tlsCase struct {
	name   string
	server *tls.Config
	pool   *x509.CertPool
	ok     bool
}

// TestTLS: a server that cannot be trusted hears not one command.
func TestTLS(t *testing.T) {
	for _, tt := range tlsCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, 1)
			addr := local(t, func(conn net.Conn) { f.serve(tls.Server(conn, tt.server)) })
			c := Config{Addr: addr, User: "u@example.com", RootCAs: tt.pool, Start: Start{All: true}}
			s, err := Open(t.Context(), c, secret{"x"})
			if (err == nil) != tt.ok || !tt.ok && len(f.commands("")) > 0 {
				t.Errorf("%v; the server heard %q", err, f.commands(""))
			}
			if s != nil {
				wantUIDs(t, readAll(t.Context(), s, nil), 1)
				s.Close()
			}
		})
	}
}

// startTLSCases are what comes before the TLS handshake, line by line as the client speaks, where TAG is the tag of
// its last command. None of them may get a credential in clear, or be believed afterwards.
var startTLSCases = []struct {
	name  string
	lines []string
	ok    bool
}{
	{"good", []string{"* OK hello", "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nTAG OK", "TAG OK go"}, true},
	{"offered in the greeting", []string{"* OK [CAPABILITY IMAP4rev1 STARTTLS] hello", "TAG OK go"}, true},
	{"capabilities that change with it", []string{"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=NONSENSE] hello", "TAG OK [CAPABILITY IMAP4rev1 AUTH=NONSENSE] go"}, true},
	{"words of somebody in between", []string{"* OK [ALERT] call 555 to keep your mail", "* CAPABILITY STARTTLS\r\n* BYE [ALERT] call 555\r\nTAG OK [ALERT] call 555", "* NO [ALERT] call 555\r\nTAG OK go"}, true},
	{"not offered", []string{"* OK hello", "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\nTAG OK"}, false},
	{"stripped from the greeting", []string{"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] hello"}, false},
	{"no capabilities", []string{"* OK hello", "TAG OK"}, false},
	{"capabilities refused", []string{"* OK hello", "TAG BAD"}, false},
	{"refused by BAD", []string{"* OK [CAPABILITY STARTTLS] hello", "TAG BAD no"}, false},
	{"refused by NO", []string{"* OK [CAPABILITY STARTTLS AUTH=XOAUTH2] hello", "TAG NO not now"}, false},
	{"an injected capability", []string{"* OK [CAPABILITY STARTTLS] hello", "TAG OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN"}, false},
	{"an injected answer", []string{"* OK [CAPABILITY STARTTLS] hello", "TAG OK go\r\nM2 OK [CAPABILITY AUTH=PLAIN] done"}, false},
	{"an early answer", []string{"* OK hello", "* CAPABILITY STARTTLS\r\nTAG OK\r\nM2 OK go", "TAG OK go"}, false},
	{"PREAUTH", []string{"* PREAUTH [CAPABILITY IMAP4rev1] hello"}, false},
	{"BYE", []string{"* BYE [ALERT] go away"}, false},
	{"a continuation", []string{"* OK [CAPABILITY STARTTLS] hello", "+ go"}, false},
	{"a BYE for an answer", []string{"* OK [CAPABILITY STARTTLS] hello", "* BYE later"}, false},
	{"an answer in clear afterwards", []string{"* OK [CAPABILITY STARTTLS] hello", "TAG OK go", "* OK fooled you"}, false},
}

func TestSTARTTLS(t *testing.T) {
	conf, pool := certificate(t, "localhost", time.Now().Add(time.Hour), 0)
	for _, tt := range startTLSCases {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, 1)
			var heard clearText
			addr := local(t, func(conn net.Conn) {
				defer conn.Close()
				if heard.converse(conn, tt.lines); tt.ok {
					c := &fakeConn{Conn: tls.Server(conn, conf), f: f}
					c.serveLines()
				}
			})
			c := Config{Addr: addr, Security: STARTTLS, User: "u@example.com", RootCAs: pool, Start: Start{All: true}}
			s, err := Open(t.Context(), c, secret{"x"})
			if (err == nil) != tt.ok {
				t.Error(err)
			}
			if s != nil {
				wantUIDs(t, readAll(t.Context(), s, nil), 1)
				if err := s.Notice(); err != nil {
					t.Errorf("what was said in clear is believed: %v", err)
				}
				s.Close()
			}
			for line := range strings.Lines(heard.text()) {
				if tag, command, _ := strings.Cut(strings.TrimSpace(line), " "); tag != "" && tag[0] == 'M' && command != "CAPABILITY" && command != "STARTTLS" {
					t.Errorf("sent %q in clear", line)
				}
			}
			if strings.Contains(heard.text(), "example.com") || tt.ok != (len(f.commands("AUTHENTICATE XOAUTH2")) == 1) {
				t.Errorf("heard %q in clear; under TLS %q", heard.text(), f.commands(""))
			}
		})
	}
	for _, tt := range tlsCases(t) {
		t.Run("then "+tt.name, func(t *testing.T) {
			f := newFake(t, 1)
			addr := local(t, func(conn net.Conn) {
				defer conn.Close()
				new(clearText).converse(conn, startTLSCases[0].lines)
				c := &fakeConn{Conn: tls.Server(conn, tt.server), f: f}
				c.serveLines()
			})
			c := Config{Addr: addr, Security: STARTTLS, User: "u@example.com", RootCAs: tt.pool}
			s, err := Open(t.Context(), c, secret{"x"})
			var insecure *TLSError
			if (err == nil) != tt.ok || !tt.ok && (len(f.commands("")) > 0 || strings.HasPrefix(tt.name, "self") && !errors.As(err, &insecure)) {
				t.Errorf("%v; the server heard %q", err, f.commands(""))
			}
			if s != nil {
				s.Close()
			}
		})
	}
}

// TestPortWithoutTLS: to a server that begins in clear it is said which port and setting to use.
func TestPortWithoutTLS(t *testing.T) {
	f := newFake(t, 1)
	c := Config{Addr: local(t, f.serve), User: "u@example.com"}
	var insecure *TLSError
	if _, err := Open(t.Context(), c, secret{"x"}); !errors.As(err, &insecure) || !strings.Contains(insecure.Hint, "starttls") {
		t.Error(err)
	}
}

// clearText is what was heard before TLS.
type clearText struct {
	mu   sync.Mutex
	said strings.Builder
}

// text is what was heard, up to a TLS handshake, whose random octets may look like anything.
func (c *clearText) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear, _, _ := strings.Cut(c.said.String(), "\x16\x03")
	return clear
}

// converse says each line, after the first in answer to a command.
func (c *clearText) converse(conn net.Conn, lines []string) {
	tag := ""
	buf := make([]byte, 1000)
	for i, line := range lines {
		if i > 0 {
			n, _ := conn.Read(buf)
			c.mu.Lock()
			c.said.Write(buf[:n])
			c.mu.Unlock()
			tag, _, _ = strings.Cut(string(buf[:n]), " ")
		}
		io.WriteString(conn, strings.ReplaceAll(line, "TAG", tag)+"\r\n") //nolint:errcheck // the client tells
	}
}
