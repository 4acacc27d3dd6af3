// Package toxic puts toxiproxy between a program and its servers, in this process: a Line is one such proxy.
package toxic

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/mailflume/mailflume/internal/process"
)

// A Toxic is what a bad network does: one of toxiproxy's toxics with its attributes, in both directions, or Down.
type Toxic struct {
	Kind       string // "latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", or "down"
	Attributes map[string]int
}

// Down takes no connections and ends those there are.
const Down = "down"

// Line is a connection to a server over a network that can go bad. It is safe for concurrent use.
type Line struct {
	proxy *toxiproxy.Proxy
	addr  string

	mu    sync.Mutex
	names []string // of the toxics that are on
}

// server is what a proxy wants to belong to; it serves nothing.
var server = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())

// Open listens on a free port of 127.0.0.1 and connects who calls there to upstream, a host:port. The caller closes the Line.
func Open(upstream string) (*Line, error) {
	port, err := process.FreePort() // it stays its own while the Line is down
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort("127.0.0.1", port)
	l := &Line{proxy: toxiproxy.NewProxy(server, upstream, addr, upstream), addr: addr}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("listen for %s: %w", upstream, err)
	}
	return l, nil
}

// Addr is where the Line listens, as host:port.
func (l *Line) Addr() string { return l.addr }

// Close ends all connections.
func (l *Line) Close() { l.proxy.Stop() }

// Spoil turns a toxic on, for the connections there are and for new ones.
func (l *Line) Spoil(t Toxic) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Kind == Down {
		l.proxy.Stop()
		l.names = append(l.names, Down)
		return nil
	}
	for _, stream := range []string{"upstream", "downstream"} {
		text, err := json.Marshal(map[string]any{"name": t.Kind + stream, "type": t.Kind, "stream": stream, "attributes": t.Attributes})
		if err != nil {
			return err
		}
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			return fmt.Errorf("turn on %+v: %w", t, err)
		}
		l.names = append(l.names, t.Kind+stream)
	}
	return nil
}

// Clear turns every toxic off. Connections to which a toxic did lasting harm end.
func (l *Line) Clear() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := l.names
	l.names = nil
	for _, name := range names {
		if name == Down {
			if err := l.proxy.Start(); err != nil {
				return fmt.Errorf("listen again at %s: %w", l.proxy.Listen, err)
			}
			continue
		}
		if err := l.proxy.Toxics.RemoveToxic(context.Background(), name); err != nil {
			return fmt.Errorf("turn off %s: %w", name, err)
		}
	}
	return nil
}
