package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/token"
)

// byLink prints a link with which the mailbox's owner signs in on the status page, from anywhere.
func (k *connect) byLink(d *desk, m configs.Mailbox, a token.Account, expect string) error {
	public := strings.TrimSuffix(d.config.HTTP.Public, "/")
	if public == "" {
		return usage(errors.New("a link needs the address under which browsers reach the status page: set http.public_url"))
	}
	redirect := public + callbackPath(d.provider(a), a.Client.Name)
	if _, err := d.tokens.Begin(a, redirect, expect); err != nil { // whatever keeps anybody from signing in
		return withAdvice(err)
	}
	keys, err := sealingKeys(d.config)
	if err != nil {
		return err
	}
	invitation, text := keys.Invite(a.Mailbox, expect, k.valid)
	fmt.Fprintf(k.out, "Send this link to whoever signs in as %s. It is good once, until %s:\n\n  %s/link/%s\n\n"+
		"A mailflume must be running that this address leads to (/link/, /oauth/ and /style.css are enough), and client\n%s must have this redirect URI at its provider: %s\n",
		expect, invitation.Ends.Format("2006-01-02 15:04 MST"), public, text, a.Client.Name, redirect)
	return nil
}

// Invited returns the mailbox of a link that is still good.
func (f frontDesk) Invited(ctx context.Context, link string) (id string, ends time.Time, err error) {
	i, err := f.service.keys.Invitation(link)
	if err != nil {
		return "", time.Time{}, err
	}
	d, err := f.open()
	if err != nil {
		return "", time.Time{}, err
	}
	spent, err := i.Spent(ctx, d.store)
	if err == nil && spent {
		err = token.LinkSpent()
	}
	return i.Mailbox, i.Ends, err
}

// spend uses up the link that a sign-in was begun with, if it was with one. What comes of the sign-in is said to settle:
// if nothing was stored, the link is good again.
func (d *desk) spend(ctx context.Context, keys *token.Keyring, link string) (settle func(stored bool), err error) {
	if link == "" {
		return func(bool) {}, nil
	}
	i, err := keys.Invited(link)
	if err == nil {
		err = i.Spend(ctx, d.store)
	}
	return func(stored bool) {
		if !stored {
			_ = i.GiveBack(ctx, d.store) // else it stays used: another can be made
		}
	}, err
}
