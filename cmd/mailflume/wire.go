package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/mailbox"
)

// wire is the connection that check makes to see how far it gets; it says nothing over it.
type wire struct{ conn net.Conn }

func (l *wire) close() {
	if l.conn != nil {
		l.conn.Close() //nolint:errcheck // nothing was said over it
	}
}

// lineWithin bounds each step of it.
const lineWithin = 20 * time.Second

func (p *patient) resolve(ctx context.Context) (string, error) {
	if net.ParseIP(p.mailbox.Host) != nil {
		return p.mailbox.Host + " is an address", nil
	}
	if through, err := fetcher.ProxyOf(address(p.mailbox)); err != nil || through != nil {
		return "left to the proxy of the environment", nil // of which the next step says what is wrong
	}
	ctx, cancel := context.WithTimeout(ctx, lineWithin)
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(ctx, p.mailbox.Host)
	if err != nil {
		return "", &symptom{
			mailbox.Operator, fmt.Sprintf("%s has no address here: %v", p.mailbox.Host, err),
			"Correct the host of the mailbox, or see why this machine cannot resolve it. This is not a credential problem.",
		}
	}
	return p.mailbox.Host + " is " + strings.Join(found[:min(len(found), 3)], ", "), nil
}

func (p *patient) dial(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lineWithin)
	defer cancel()
	addr := address(p.mailbox)
	conn, err := fetcher.Dial(ctx, "tcp", addr)
	var proxy *fetcher.ProxyError
	if errors.As(err, &proxy) && proxy.Hint != "" {
		return "", &symptom{mailbox.Operator, "Cannot connect to " + addr + ": " + proxy.Error(), proxy.Hint}
	}
	if err != nil {
		return "", &symptom{
			mailbox.Passing, fmt.Sprintf("Cannot connect to %s: %v", addr, err),
			fmt.Sprintf("See whether %s answers at port %d from here: host and port of the mailbox, network, firewall. This is not a credential problem.", p.mailbox.Host, p.mailbox.Port),
		}
	}
	p.wire.conn = conn
	return "connected to " + conn.RemoteAddr().String(), nil
}

func (p *patient) secure(ctx context.Context) (string, error) {
	switch p.mailbox.Security {
	case "plain":
		return "none, as configured", nil
	case "starttls":
		return "begins with STARTTLS, when logging in", nil
	}
	ctx, cancel := context.WithTimeout(ctx, lineWithin)
	defer cancel()
	fetch, err := p.config.Fetcher(p.mailbox)
	if err != nil {
		return "", err
	}
	conn := tls.Client(p.wire.conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: p.mailbox.Host, RootCAs: fetch.RootCAs})
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", insecure(p.mailbox.Host, err)
	}
	p.wire.conn = conn
	state := conn.ConnectionState()
	return fmt.Sprintf("%s, certificate good until %s", tls.VersionName(state.Version), state.PeerCertificates[0].NotAfter.Format(time.DateOnly)), nil
}

// insecure explains a handshake that failed.
func insecure(host string, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	hint := "See whether this port speaks TLS (993 does, as a rule; security: starttls is for 143)."
	switch {
	case errors.As(err, &unknown):
		hint = "Give the authority that signed it with ca: PATH, or see whether a proxy here opens TLS connections."
	case errors.As(err, &name):
		hint = "Use the name that its certificate has."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "Compare the clock of this machine; if it is right, the server's certificate has to be renewed."
	}
	return &symptom{mailbox.Operator, fmt.Sprintf("The connection to %s cannot be secured: %v", host, err), hint}
}

// greet waits for the server's first line.
func (p *patient) greet(context.Context) (string, error) {
	if err := p.wire.conn.SetDeadline(time.Now().Add(lineWithin)); err != nil {
		return "", err
	}
	text, err := bufio.NewReaderSize(p.wire.conn, 4096).ReadSlice('\n')
	p.wire.close() // the login makes a connection of its own
	p.greeted = err == nil && strings.HasPrefix(string(text), "* ")
	switch said := string(text); {
	case !p.greeted:
		return "", &symptom{
			mailbox.Passing, fmt.Sprintf("What answers at %s, port %d, is no IMAP server, or one that does not let us in now", p.mailbox.Host, p.mailbox.Port),
			"Check host, port and security of the mailbox.",
		}
	case strings.HasPrefix(said, "* BYE"):
		return "", &symptom{mailbox.Passing, "The mail server takes no more connections now.", "Nothing to do if it passes."}
	case strings.Contains(said, "Gimap"):
		return "Gmail", nil
	case strings.Contains(said, "Microsoft Exchange"):
		return "Exchange", nil
	}
	return "an IMAP server", nil
}
