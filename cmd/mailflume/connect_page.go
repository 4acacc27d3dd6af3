package main

import (
	"context"
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
func (f frontDesk) Begin(ctx context.Context, id, redirect, link string) (target string, state token.Secret, err error) {
	d, err := f.open()
	if err != nil {
		return "", token.Secret{}, err
	}
	expect := ""
	if link != "" {
		i, err := f.service.keys.Invitation(link)
		if err != nil {
			return "", token.Secret{}, err
		}
		id, expect = i.Mailbox, i.Expect
	}
	m, ok := d.at(id)
	account, ours := d.config.Account(m, id)
	if !ok || !ours {
		return "", token.Secret{}, errGone
	}
	if expect == "" {
		expect = m.User
	}
	consent, err := d.tokens.Begin(account, redirect, expect)
	if err != nil {
		return "", token.Secret{}, err
	}
	consent.By(link)
	return consent.URL(), consent.State(), consent.Keep(ctx, d.store)
}

var (
	// errGone says that the configuration was changed while somebody signed in.
	errGone = &symptom{mailbox.Operator, "The mailbox is gone from the configuration, or nobody signs in for it any more.", "See the list of mailboxes."}
	// errElsewhere says that a sign-in was begun on this machine and finished on another.
	errElsewhere = &symptom{mailbox.Person, "This sign-in was begun on the machine that mailflume runs on, and must be finished there.", "Begin again there, or with a link: mailflume connect NAME --link"}
)

// Finish exchanges the answer, checks whose grant it is, tries it out and keeps it. The mailbox's worker, whichever replica
// has it, takes it up at once.
func (f frontDesk) Finish(ctx context.Context, redirect string, answer url.Values, here bool) (end web.End, err error) {
	d, err := f.open()
	if err != nil {
		return end, err
	}
	consent, err := d.tokens.Resume(ctx, d.store, token.NewSecret(answer.Get("state")), redirect, func(mailbox string) (token.Account, error) {
		m, ok := d.at(mailbox)
		account, ours := d.config.Account(m, mailbox)
		if !ok || !ours {
			return account, errGone
		}
		return account, nil
	})
	if err != nil {
		return end, err
	}
	end = web.End{ID: consent.Account().Mailbox, Link: consent.Link()}
	if !here && end.Link == "" {
		return end, errElsewhere
	}
	settle, err := d.spend(ctx, f.service.keys, end.Link)
	if err != nil {
		return end, err
	}
	stored := false
	defer func() { settle(stored) }()
	granted, err := consent.Finish(ctx, answer)
	if err != nil {
		return end, err
	}
	m, _ := d.at(end.ID)
	stored, err = d.adopt(ctx, m, consent.Account(), granted)
	return end, err
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
