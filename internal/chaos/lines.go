package chaos

import (
	"context"
	"fmt"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/mailflume/mailflume/internal/process"
)

// Lines are the ways between the binary and what it talks to: a proxy each, which can be cut or spoiled.
type Lines struct {
	NATS  []*Line // one for each broker
	IMAP  *Line
	OAuth *Line
}

// Line is a way to one server.
type Line struct {
	Listen string
	proxy  *toxiproxy.Proxy
}

func newLines(nats []string, imap, oauth string) (*Lines, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &Lines{}
	for _, one := range append(nats, imap, oauth) {
		port, err := process.FreePort() // it stays its own while the line is cut
		if err != nil {
			l.close()
			return nil, err
		}
		p := toxiproxy.NewProxy(server, one, "127.0.0.1:"+port, one)
		if err := p.Start(); err != nil {
			l.close()
			return nil, fmt.Errorf("start a proxy: %w", err)
		}
		line := &Line{p.Listen, p}
		switch one {
		case imap:
			l.IMAP = line
		case oauth:
			l.OAuth = line
		default:
			l.NATS = append(l.NATS, line)
		}
	}
	return l, nil
}

func (l *Lines) url() string {
	addrs := make([]string, len(l.NATS))
	for i, line := range l.NATS {
		addrs[i] = line.Listen
	}
	return urlOf(addrs)
}

func (l *Lines) all() []*Line {
	all := l.NATS
	for _, one := range []*Line{l.IMAP, l.OAuth} {
		if one != nil {
			all = append(all[:len(all):len(all)], one)
		}
	}
	return all
}

func (l *Lines) close() {
	for _, one := range l.all() {
		one.proxy.Stop()
	}
}

// Cut ends all connections and refuses new ones.
func (l *Line) Cut() { l.proxy.Stop() }

// Mend undoes Cut and Hold.
func (l *Line) Mend(ctx context.Context) error {
	l.proxy.Toxics.ResetToxics(ctx)
	if err := l.proxy.Update(&toxiproxy.Proxy{Listen: l.proxy.Listen, Upstream: l.proxy.Upstream, Enabled: true}); err != nil {
		return fmt.Errorf("mend a line: %w", err)
	}
	return nil
}

// Hold lets nothing more through in either direction, and the connections stay: a partition.
func (l *Line) Hold() error {
	for _, way := range []string{"upstream", "downstream"} {
		// It closes what it held when it is removed.
		_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"type": "timeout", "stream": %q, "attributes": {"timeout": 0}}`, way)))
		if err != nil {
			return fmt.Errorf("hold a line: %w", err)
		}
	}
	return nil
}
