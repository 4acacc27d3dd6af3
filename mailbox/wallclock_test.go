//go:build wallclock

package mailbox_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/internal/vault"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// These tests are built by scripts/wallclock.sh, which gives them a time.ShiftWall: they move the clock on the wall under a
// worker that lives, while timers go on undisturbed, as ntpd, an administrator or a machine that slept does.

// wall is the clock on the wall of our machine, and how the world's goes.
type wall struct{ ahead, slept time.Duration }

// jump moves the clock of our machine.
func (w *wall) jump(d time.Duration) {
	w.ahead += d
	time.ShiftWall(int64((w.ahead + w.slept) / time.Second))
}

// sleep is a machine that was off for so long: the world went on, timers did not.
func (w *wall) sleep(d time.Duration) {
	w.slept += d
	time.ShiftWall(int64((w.ahead + w.slept) / time.Second))
}

// world is what time it really is.
func (w *wall) world() time.Time { return time.Now().Round(0).Add(-w.ahead) }

// withGrant gives a mailbox the grant of a real token manager, and a worker.
func withGrant(l *lab, p sim.Provider, id string) *subject {
	const client = "00000000-1111-2222-3333-444444444444"
	s := l.add(p, id)
	l.world.OAuth(p).AddClient(sim.Client{ID: client})
	key, refresh := token.NewKey(), s.a.RefreshToken(client)
	keys, err := token.NewKeyring(func() (string, error) { return key, nil })
	must(l.t, err)
	store := vault.New()
	m, err := token.New(token.Config{Store: store, Session: vault.Session("only"), Keys: keys, Transport: l.world.OAuth(p).HTTPClient().Transport})
	must(l.t, err)
	path, scopes := "https://gmail.test/token", []string{sim.ScopeGmail}
	if p == sim.Exchange {
		path, scopes = "https://exchange.test/common/oauth2/v2.0/token", []string{sim.ScopeOutlook, "offline_access"}
	}
	source, err := m.Source(token.Account{
		Mailbox: id, RefreshToken: func() (string, error) { return refresh, nil },
		Client: token.Client{Name: "main", ID: client, TokenURL: path, Scopes: scopes},
	})
	must(l.t, err)
	s.open = func(ctx context.Context) (mailbox.Session, []string, error) {
		session, err := fetcher.Open(ctx, s.fetch, source)
		if err != nil {
			return nil, nil, err
		}
		return session, session.Folders(), nil
	}
	return s
}

// TestWallClock: whatever the clock on the wall does, mail comes, a token is renewed at most twice more than without, and no
// timer runs wild.
func TestWallClock(t *testing.T) {
	const day = 24 * time.Hour
	to2038 := time.Date(2038, 1, 19, 3, 14, 7, 0, time.UTC).Sub(time.Date(2000, 1, 1, 6, 0, 0, 0, time.UTC))
	for name, do := range map[string]func(w *wall){
		"nothing":             func(*wall) {},
		"a second on":         func(w *wall) { w.jump(time.Second) },
		"a second back":       func(w *wall) { w.jump(-time.Second) },
		"a leap second":       func(w *wall) { w.jump(-time.Second); time.Sleep(time.Second); w.jump(time.Second) },
		"an hour on":          func(w *wall) { w.jump(time.Hour) },
		"an hour back":        func(w *wall) { w.jump(-time.Hour) },
		"a day on":            func(w *wall) { w.jump(day) },
		"a day back":          func(w *wall) { w.jump(-day) },
		"past January 2038":   func(w *wall) { w.jump(to2038) },
		"2038 and back again": func(w *wall) { w.jump(to2038); time.Sleep(time.Minute); w.jump(-to2038) },
		"asleep for a minute": func(w *wall) { w.sleep(time.Minute) },
		"asleep for a night":  func(w *wall) { w.sleep(9 * time.Hour) },
		"asleep for a month":  func(w *wall) { w.sleep(30 * day) },
	} {
		t.Run(name, func(t *testing.T) { both(t, func(t *testing.T, p sim.Provider) { jumped(t, p, do) }) })
	}
}

// jumped runs a mailbox for six hours, lets something happen to the clock, and looks at the six hours after that.
func jumped(t *testing.T, p sim.Provider, do func(*wall)) {
	w := new(wall)
	defer time.ShiftWall(0)
	inLab(t, func() sim.Options { return sim.Options{Now: w.world} }, func(l *lab) {
		s := withGrant(l, p, "anna")
		defer s.run()()
		hours := func(from int) (refreshes, logins, commands int) {
			renewed, before := l.world.OAuth(p).Refreshes(s.fetch.User).Requests, s.a.Stats()
			for i := range 6 {
				s.deliver(from+i, 1)
				s.within(15*time.Minute, fmt.Sprintf("message %d", from+i), func() bool { return s.received() == from+i+1 })
				time.Sleep(45 * time.Minute)
			}
			now := s.a.Stats()
			for verb, n := range now.Commands {
				commands += n - before.Commands[verb]
			}
			return l.world.OAuth(p).Refreshes(s.fetch.User).Requests - renewed, now.Logins + now.Refused - before.Logins - before.Refused, commands
		}
		refreshes, logins, commands := hours(0)
		do(w)
		refreshes2, logins2, commands2 := hours(6)
		t.Logf("before: %d refreshes, %d logins, %d commands; after: %d, %d, %d", refreshes, logins, commands, refreshes2, logins2, commands2)
		if refreshes2 > refreshes+2 || logins2 > logins+3 || commands2 > commands*6/5+20 {
			t.Errorf("before: %d refreshes, %d logins, %d commands; after: %d, %d, %d", refreshes, logins, commands, refreshes2, logins2, commands2)
		}
		if st := s.w.Status(); !s.watching() {
			t.Errorf("%+v", st)
		}
		s.once()
	})
}
