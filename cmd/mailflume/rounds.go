package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/fetcher"
)

// How many mailboxes are checked at the same time: in all, and of one server.
const (
	checksAtOnce      = 32
	checksAtOneServer = 8
)

// rounds examines the chosen mailboxes at the same time, one after the other where they are of one account, and returns where
// each diagnosis comes, in the order of the configuration. When ctx ends some may never come.
func (d *desk) rounds(ctx context.Context, chosen map[string]bool) (results []<-chan diagnosis) {
	limits := d.config.Limits
	d.logins = fetcher.NewLogins(float64(limits.LoginsPerSecond)).Apart(limits.LoginGap)
	d.servers = &servers{failed: map[string]int{}, last: map[string]error{}}
	var beds slots = map[string]chan struct{}{}
	for i, m := range d.config.Mailboxes {
		if !chosen[m.Name] {
			continue
		}
		result := make(chan diagnosis, 1)
		results = append(results, result)
		waits := []chan struct{}{ // in this order for all, so that nobody waits in a circle
			beds.of("account "+strings.ToLower(m.User)+" at "+m.Host, 1),
			beds.of("server "+address(m), checksAtOneServer),
			beds.of("all", checksAtOnce),
		}
		go func() {
			for _, slot := range waits {
				select {
				case slot <- struct{}{}:
					defer func() { <-slot }()
				case <-ctx.Done():
					return
				}
			}
			result <- d.diagnose(ctx, m, d.ids[i])
		}()
	}
	return results
}

// slots are places by name, of which there are only so many.
type slots map[string]chan struct{}

func (s slots) of(name string, n int) chan struct{} {
	if s[name] == nil {
		s[name] = make(chan struct{}, n)
	}
	return s[name]
}

func address(m configs.Mailbox) string { return net.JoinHostPort(m.Host, strconv.Itoa(m.Port)) }

// deadAfter is how many mailboxes must have failed to reach a server, and none have got through, before it is taken for dead.
const deadAfter = 3

// servers remembers which of them nobody got through to, so that a dead one costs its mailboxes the wait for a few
// connections, and not for one each.
type servers struct {
	mu     sync.Mutex
	failed map[string]int // by address; below zero once one has greeted somebody
	last   map[string]error
}

// dead returns why a server is taken for dead, nil if it is not.
func (s *servers) dead(addr string) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed[addr] < deadAfter {
		return nil
	}
	return s.last[addr]
}

// tried notes how it went to reach a server: whether it said a word, and else why not.
func (s *servers) tried(addr string, greeted bool, err error) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case greeted:
		s.failed[addr] = -1
	case s.failed[addr] >= 0:
		s.failed[addr]++
		s.last[addr] = err
	}
}
