package chaos

import (
	"context"
	"errors"
	"fmt"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Routes are the ways between the servers of a cluster: a proxy from each to each other.
type Routes struct {
	lines map[[2]int]*Line // by from and to
}

// newRoutes makes the ways to servers whose cluster ports listen at the addresses.
func newRoutes(addrs []string) (*Routes, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	r := &Routes{lines: map[[2]int]*Line{}}
	for from := range addrs {
		for to, addr := range addrs {
			if from == to {
				continue
			}
			p := toxiproxy.NewProxy(server, fmt.Sprint(from, "-", to), "127.0.0.1:0", addr)
			if err := p.Start(); err != nil {
				r.close()
				return nil, fmt.Errorf("start a proxy: %w", err)
			}
			r.lines[[2]int{from, to}] = &Line{p.Listen, p}
		}
	}
	return r, nil
}

// from returns where the server i reaches the others.
func (r *Routes) from(i, n int) (addrs []string) {
	for to := range n {
		if line := r.lines[[2]int{i, to}]; line != nil {
			addrs = append(addrs, line.Listen)
		}
	}
	return addrs
}

// Isolate parts the server i from the others: the connections end, or they stay and nothing comes over them.
func (r *Routes) Isolate(i int, silently bool) error {
	return r.each(i, func(l *Line) error {
		if silently {
			return l.Hold()
		}
		l.Cut()
		return nil
	})
}

// Rejoin undoes Isolate.
func (r *Routes) Rejoin(ctx context.Context, i int) error {
	return r.each(i, func(l *Line) error { return l.Mend(ctx) })
}

// each does something to all ways from and to the server i.
func (r *Routes) each(i int, do func(*Line) error) error {
	var errs []error
	for way, line := range r.lines {
		if way[0] == i || way[1] == i {
			errs = append(errs, do(line))
		}
	}
	return errors.Join(errs...)
}

func (r *Routes) close() {
	for _, line := range r.lines {
		line.proxy.Stop()
	}
}
