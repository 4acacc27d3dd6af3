package main

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

// frontDesk does for the page what the commands connect and check do.
type frontDesk struct{ service *service }

// errNoDesk says that the page was faster than NATS.
var errNoDesk = &symptom{mailbox.Passing, "Mailflume is not connected to NATS yet, where grants are kept.", "Try again in a moment."}

// open returns what the commands work with.
func (f frontDesk) open() (*desk, error) {
	c := f.service.core.Load()
	if c == nil {
		return nil, errNoDesk
	}
	now := c.fleet.Load()
	return &desk{config: now.config, publisher: c.publisher, store: c.store, tokens: c.tokens, ids: now.ids}, nil
}

// at returns the mailbox of an id. Other than in commands, a name is none.
func (d *desk) at(id string) (configs.Mailbox, bool) {
	for i, m := range d.config.Mailboxes {
		if d.ids[i] == id {
			return m, true
		}
	}
	return configs.Mailbox{}, false
}

// Login says how a mailbox logs in, and how its grant stands.
func (f frontDesk) Login(ctx context.Context, id string) (l web.Login, ok bool) {
	d, err := f.open()
	if err != nil {
		return web.Login{Name: id, Why: err.Error(), Problem: err.Error()}, true
	}
	m, ok := d.at(id)
	if !ok {
		return web.Login{}, false
	}
	l = web.Login{Name: m.Name, Provider: m.Provider}
	account, ours := d.config.Account(m, id)
	if !ours {
		l.Grant.State, l.Why = token.Absent, "It logs in with a password."
		if _, ok := d.config.Broker(m); ok {
			l.Why = "Another program renews its tokens."
		}
		return l, true
	}
	l.Client = account.Client.Name
	l.Callback = callbackPath(d.provider(account), account.Client.Name)
	switch {
	case account.Mints():
		l.Why = "Client " + account.Client.Name + " gets tokens by itself; nobody has to sign in."
	case account.Client.AuthorizeURL == "":
		l.Why = "Client " + account.Client.Name + " has no authorization endpoint (endpoints.authorize)."
	}
	if l.Grant, err = d.tokens.Status(ctx, id); err != nil {
		v := mailbox.Classify(err)
		l.Problem = v.Sentence + " " + v.Hint
	}
	l.Grant.Warnings = account.Forecast(l.Grant, time.Now())
	return l, true
}

// callbackPath is where a provider sends browsers back to: one address for each, so that the answer of one cannot pass for
// that of another (RFC 9700, section 4.4).
func callbackPath(provider, client string) string {
	if provider == "google" || provider == "microsoft" {
		return "/oauth/" + provider + "/callback"
	}
	return "/oauth/other/" + url.PathEscape(client) + "/callback"
}

// Begin begins a sign-in that any replica can finish.
func (f frontDesk) Begin(ctx context.Context, id, redirect string) (link string, state token.Secret, err error) {
	d, err := f.open()
	if err != nil {
		return "", token.Secret{}, err
	}
	m, account, err := d.account(id)
	if err != nil {
		return "", token.Secret{}, err
	}
	consent, err := d.tokens.Begin(account, redirect, m.User)
	if err != nil {
		return "", token.Secret{}, err
	}
	return consent.URL(), consent.State(), consent.Keep(ctx, d.store)
}

// Finish exchanges the answer, checks whose grant it is, tries it out and keeps it. The mailbox's worker, whichever replica
// has it, takes it up at once.
func (f frontDesk) Finish(ctx context.Context, redirect string, answer url.Values) (id string, err error) {
	d, err := f.open()
	if err != nil {
		return "", err
	}
	consent, err := d.tokens.Resume(ctx, d.store, token.NewSecret(answer.Get("state")), redirect, func(mailbox string) (token.Account, error) {
		_, account, err := d.account(mailbox)
		return account, err
	})
	if err != nil {
		return "", err
	}
	id = consent.Account().Mailbox
	granted, err := consent.Finish(ctx, answer)
	if err != nil {
		return id, err
	}
	m, ok := d.at(id)
	if !ok {
		return id, errors.New("the mailbox is gone from the configuration")
	}
	return id, d.adopt(ctx, m, consent.Account(), granted)
}

// Examine goes the way to a mailbox step by step.
func (f frontDesk) Examine(ctx context.Context, id string) web.Examination {
	d, err := f.open()
	if err != nil {
		v := mailbox.Classify(err)
		return web.Examination{Sentence: v.Sentence, Hint: v.Hint}
	}
	m, ok := d.at(id)
	if !ok {
		return web.Examination{Sentence: "The configuration has no such mailbox."}
	}
	found := d.diagnose(ctx, m, id)
	e := web.Examination{OK: found.OK, Sentence: found.Sentence, Hint: found.Hint}
	for _, s := range found.Steps {
		e.Steps = append(e.Steps, web.Step{Name: s.Name, Detail: s.Detail, OK: s.OK})
	}
	return e
}
