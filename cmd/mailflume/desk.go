package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
	"github.com/mailflume/mailflume/token"
)

// desk is what a command works with that looks after mailboxes and their grants, beside a mailflume that may be running
// with the same configuration.
type desk struct {
	config    *configs.Config
	publisher *publish.Publisher
	store     *state.Store
	leave     func() // ends our session
	tokens    *token.Manager
	ids       []string // of the configuration's mailboxes

	logins  *fetcher.Logins // bounds those of check; unbounded if nil
	servers *servers        // that check has found dead; may be nil
}

// openDesk connects to NATS and begins a session there. The desk is to be closed.
func openDesk(ctx context.Context, config *configs.Config) (*desk, error) {
	d := &desk{config: config}
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(err, d.close(ctx))
	}
	return d, nil
}

func (d *desk) open(ctx context.Context) (err error) {
	if d.publisher, err = openBeside(ctx, d.config); err != nil {
		return withAdvice(err)
	}
	if d.store, err = state.Open(ctx, d.publisher.JetStream(), d.config.StateBucket()); err != nil {
		return withAdvice(err)
	}
	keys, err := sealingKeys(d.config)
	if err != nil {
		return err
	}
	session, err := d.visit(ctx)
	if err != nil {
		return err
	}
	if d.tokens, err = newTokens(keys, d.store, session, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	d.ids, err = identify(ctx, d.store, d.config)
	return withAdvice(err)
}

// sealingKeys reads the keys that seal grants; without any in the configuration it makes one.
func sealingKeys(config *configs.Config) (*token.Keyring, error) {
	keys, err := config.Keyring()
	if err != nil {
		return nil, usage(fmt.Errorf("%w (setting sealing_key); mailflume keys new prints a key", err))
	}
	return keys, nil
}

// close waits for what is under way, so that no renewed grant is lost.
func (d *desk) close(ctx context.Context) error {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	var err error
	if d.tokens != nil {
		err = d.tokens.Close(closing)
	}
	if d.leave != nil {
		d.leave()
	}
	if d.publisher != nil {
		err = errors.Join(err, d.publisher.Close(closing))
	}
	return err
}

// find returns the mailbox of a name or id.
func (d *desk) find(name string) (configs.Mailbox, string, error) {
	for i, m := range d.config.Mailboxes {
		if m.Name == name || d.ids[i] == name {
			return m, d.ids[i], nil
		}
	}
	return configs.Mailbox{}, "", noMailbox(d.config, name)
}

// named is how many mailboxes are named to somebody who looks for one.
const named = 10

// noMailbox says that the configuration has no mailbox of that name, and which it has.
func noMailbox(config *configs.Config, name string) error {
	var names []string
	for _, m := range config.Mailboxes[:min(len(config.Mailboxes), named)] {
		names = append(names, m.Name)
	}
	if more := len(config.Mailboxes) - named; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return usage(fmt.Errorf("%s has no mailbox %q; it has %s", config.File, name, strings.Join(names, ", ")))
}

// account returns the OAuth account of the mailbox of a name or id.
func (d *desk) account(name string) (configs.Mailbox, token.Account, error) {
	m, id, err := d.find(name)
	if err != nil {
		return m, token.Account{}, err
	}
	account, ok := d.config.Account(m, id)
	if !ok {
		return m, token.Account{}, usage(fmt.Errorf("mailbox %q logs in without a client of ours: it has no grant", m.Name))
	}
	return m, account, nil
}

// visitWithin is how long the first heartbeat may take.
const visitWithin = 10 * time.Second

// visit begins a session that takes no mailboxes. A replica that wants a grant which is being renewed here sees by it that it
// must wait: of a session that it cannot find it would take the attempt over, and a strict provider revokes a grant for that.
func (d *desk) visit(ctx context.Context) (*state.Replica, error) {
	c := state.ReplicaConfig{Name: replicaName(d.config) + " (visiting)", Lease: d.config.Replica.Lease, Visitor: true}
	if d.publisher.Status().Embedded {
		c.Lock = embeddedLock
	}
	r := state.NewReplica(d.store, c, slog.New(slog.DiscardHandler))
	staying, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(staying, nil, nil) }()
	d.leave = func() { stop(); <-ended }
	for deadline := time.Now().Add(visitWithin); !r.Valid(); time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("NATS took no heartbeat within %v", visitWithin)
		}
	}
	return r, nil
}

// openBeside connects to NATS. If the built-in server's directory is in use, a mailflume with this configuration is running,
// and its server is asked.
func openBeside(ctx context.Context, config *configs.Config) (*publish.Publisher, error) {
	c, err := config.Publish()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	p, err := publish.Open(ctx, c, log)
	var held *publish.InUseError
	if !errors.As(err, &held) {
		return p, err
	}
	who := fmt.Sprintf("a mailflume is running here (process %d has %s)", held.PID, held.Dir)
	listen := cmp.Or(held.Listen, c.Embedded.Listen) // that it noted is where it really listens
	if _, port, err := net.SplitHostPort(listen); err != nil || port == "0" {
		return nil, fmt.Errorf("%s, and its built-in NATS server takes no connections, so that nothing can be asked of it or done beside it\n"+
			"  to do: set nats.embedded.listen to 127.0.0.1:4222 and restart it, or stop it first", who)
	}
	c.URL, c.Beside = "nats://"+listen, true
	p, err = publish.Open(ctx, c, log)
	if err != nil {
		return nil, fmt.Errorf("%s, and its built-in NATS server cannot be used: %w", who, err)
	}
	return p, nil
}

// withAdvice adds what to do about an error to its text.
func withAdvice(err error) error {
	if err == nil {
		return nil
	}
	if v := mailbox.Classify(err); v.Hint != "" {
		return &advised{err: err, text: v.Sentence + "\n  to do: " + v.Hint}
	}
	return err
}

// advised is an error that is said in the words of its advice.
type advised struct {
	err  error
	text string
}

func (e *advised) Error() string { return e.text }
func (e *advised) Unwrap() error { return e.err }

// tryOut logs in with a token that was just granted, before it is saved.
func tryOut(ctx context.Context, config *configs.Config, m configs.Mailbox, t fetcher.TokenSource) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	fetch, err := config.Fetcher(m)
	if err != nil {
		return err
	}
	fetch.Version = version()
	session, _, err := open(ctx, fetch, t)
	if err != nil {
		return err
	}
	return session.Close()
}

// adopt tries a grant out and saves it. Whose it is must be certain: because the provider vouches for it, or else because it
// opens the mailbox. It may be stored and yet be of no use so far.
func (d *desk) adopt(ctx context.Context, m configs.Mailbox, a token.Account, g *token.Granted) (stored bool, err error) {
	opens := tryOut(ctx, d.config, m, g)
	if opens != nil && !g.Known() {
		return false, &unopenedError{"Nothing was stored, since nobody vouches for whose account it is and it does not open the mailbox: ", opens}
	}
	if err := d.tokens.Save(ctx, a, g); err != nil {
		return false, withAdvice(err)
	}
	if opens != nil {
		return true, &unopenedError{"Mailbox " + m.Name + " is connected, but it cannot be opened yet: ", opens}
	}
	return true, nil
}

// unopenedError says what became of a grant that does not open its mailbox.
type unopenedError struct {
	what string
	err  error
}

func (e *unopenedError) Error() string {
	sentence, hint := e.Advice()
	return sentence + "\n  to do: " + hint
}

func (e *unopenedError) Unwrap() error { return e.err }

// Who must act is whoever must act on why it does not open.
func (e *unopenedError) Who() string { return string(mailbox.Classify(e.err).Class) }

// Advice returns what became of it and what to do about it.
func (e *unopenedError) Advice() (sentence, hint string) {
	v := mailbox.Classify(e.err)
	return e.what + v.Sentence, v.Hint
}

// RetryIn is 0: it is begun anew.
func (e *unopenedError) RetryIn() time.Duration { return 0 }
