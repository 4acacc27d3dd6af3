package rivals

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/process"
)

// contender is a program that brings mail to its destination: one of the fetchers, or mailflume.
type contender interface {
	start(ctx context.Context) (*process.Process, error)
	count(ctx context.Context) (int, error)
	delivered(ctx context.Context) ([]delivery, error)
	ends() bool // by itself, when it has fetched what there is
}

// Result is what a program came out with.
type Result struct {
	Name                    string
	Messages, Kills         int
	Lost, Duplicate, Broken int             // Broken: what lies at the destination is a part of a message, or another
	First                   []time.Duration // from each restart after a kill to the first message, sorted
	CaughtUp                []time.Duration // and to the last of those that waited, sorted
	Portion                 time.Duration   // what the first portion took, with nothing killed
}

func median(times []time.Duration) time.Duration { return times[len(times)/2] }

// passed is the time of a program that was let run.
type passed struct{ from, to time.Time }

// arena is where a contender fights: the server, its mailboxes, and the mails that are still to come.
type arena struct {
	server *dovecot.Server
	users  []string
	rng    *rand.Rand
	coming [][]mail
	served int
}

// patience bounds a pass.
const patience = 3 * time.Minute

// fight runs a contender: for each kill it delivers a portion, starts the program, kills it, delivers another portion and
// starts it again, now until it has fetched everything.
func (a *arena) fight(ctx context.Context, name string, c contender, mails []mail, kills int) (Result, error) {
	r := Result{Name: name, Messages: len(mails)}
	size := len(mails) / (2*kills + 1)
	a.coming = slices.Collect(slices.Chunk(mails, size))
	var clean passed
	if err := a.pass(ctx, c, &clean); err != nil {
		return r, err
	}
	r.Portion = clean.to.Sub(clean.from)
	var restarts []passed
	for len(a.coming) > 1 && r.Kills < kills {
		killed, err := a.killed(ctx, c, r.Portion)
		if err != nil {
			return r, err
		}
		if killed {
			r.Kills++
		}
		var restart passed
		if err := a.pass(ctx, c, &restart); err != nil {
			return r, err
		}
		if killed {
			restarts = append(restarts, restart)
		}
	}
	for len(a.coming) > 0 {
		if err := a.pass(ctx, c, nil); err != nil {
			return r, err
		}
	}
	all, err := c.delivered(ctx)
	r.judge(mails, all, restarts)
	return r, err
}

// killed delivers a portion, starts the program and kills it, unless it has ended before.
func (a *arena) killed(ctx context.Context, c contender, within time.Duration) (bool, error) {
	if err := a.deliver(ctx); err != nil {
		return false, err
	}
	p, err := c.start(ctx)
	if err != nil {
		return false, err
	}
	time.Sleep(time.Duration(a.rng.Int64N(int64(within))))
	running := p.Running() == nil
	p.Kill()
	return running, nil
}

// pass delivers a portion and lets the program fetch all there is; took is told from when to when, unless it is nil.
func (a *arena) pass(ctx context.Context, c contender, took *passed) error {
	if err := a.deliver(ctx); err != nil {
		return err
	}
	p, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := a.fetched(ctx, c, p); err != nil {
		return err
	}
	if took != nil {
		*took = passed{p.Began, time.Now()}
	}
	return nil
}

// fetched waits until the program has ended or, if it does not end by itself, until everything has arrived.
func (a *arena) fetched(ctx context.Context, c contender, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if c.ends() {
		if code, err := p.Wait(ctx); err != nil || code != 0 {
			return errors.Join(err, fmt.Errorf("exit code %d\n%s", code, p.Output()))
		}
		return nil
	}
	for {
		n, err := c.count(ctx)
		if err == nil && n >= a.served {
			return nil
		}
		if err := errors.Join(p.Running(), ctx.Err()); err != nil {
			return fmt.Errorf("%d of %d messages: %w\n%s", n, a.served, err, p.Output())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// deliver puts the next portion into mailboxes taken at random.
func (a *arena) deliver(ctx context.Context) error {
	if len(a.coming) == 0 {
		return nil
	}
	piles := make([][][]byte, len(a.users))
	for _, m := range a.coming[0] {
		i := a.rng.IntN(len(piles))
		piles[i] = append(piles[i], m.raw)
	}
	for i, pile := range piles {
		if len(pile) == 0 {
			continue
		}
		if _, err := a.server.Append(ctx, a.users[i], "INBOX", time.Time{}, pile...); err != nil {
			return fmt.Errorf("deliver: %w", err)
		}
	}
	a.served += len(a.coming[0])
	a.coming = a.coming[1:]
	return nil
}

// judge compares what was delivered with the mails.
func (r *Result) judge(mails []mail, all []delivery, restarts []passed) {
	copies := map[string]int{}
	bodies := map[string]string{}
	for _, m := range mails {
		bodies[m.id] = m.body
	}
	for _, d := range all {
		if body, ok := bodies[d.id]; !ok || body != d.body {
			r.Broken++
			continue
		}
		copies[d.id]++
	}
	for _, m := range mails {
		if n := copies[m.id]; n == 0 {
			r.Lost++
		} else {
			r.Duplicate += n - 1
		}
	}
	slices.SortFunc(all, func(a, b delivery) int { return a.at.Compare(b.at) })
	for _, restart := range restarts {
		first := slices.IndexFunc(all, func(d delivery) bool { return !d.at.Before(restart.from) })
		if first < 0 || all[first].at.After(restart.to) {
			continue
		}
		last := first
		for last+1 < len(all) && !all[last+1].at.After(restart.to) {
			last++
		}
		r.First = append(r.First, all[first].at.Sub(restart.from))
		r.CaughtUp = append(r.CaughtUp, all[last].at.Sub(restart.from))
	}
	slices.Sort(r.First)
	slices.Sort(r.CaughtUp)
}
