package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/token"
)

func newTokenForget() *cobra.Command {
	var path string
	lost := false
	c := &cobra.Command{
		Use:   "forget NAME... --lost",
		Short: "Remove grants that cannot be opened any more",
		Long: `Remove the grants of mailboxes that no key of sealing_key opens any more, since the key is lost or the
record damaged, so that the mailboxes can be connected again. The provider is not told, since nobody
knows the refresh tokens: the owner can remove the app there. A grant that can be opened is left
alone; mailflume token revoke gives it up. A mailbox that is not configured any more goes by its id,
which mailflume keys rotate says.`,
		Args: someMailboxes,
		RunE: func(c *cobra.Command, names []string) error {
			if !lost {
				return usage(errors.New("say --lost if the key that the grant was sealed with is lost for good; if it may turn up, put it back into the file of sealing_key"))
			}
			return atDesk(c.Context(), path, func(d *desk) (err error) {
				grants := make([]leftGrant, len(names))
				for i, name := range names { // before anything is removed
					if grants[i], err = d.left(c.Context(), name); err != nil {
						return err
					}
				}
				var failed []error
				for _, g := range grants {
					failed = append(failed, d.forget(c.Context(), c.OutOrStdout(), g))
				}
				return errors.Join(failed...)
			})
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&lost, "lost", false, "the key is lost for good, or the record is damaged")
	return c
}

// someMailboxes is the rule of a command for one mailbox or several.
func someMailboxes(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("the name of a mailbox is missing")
	}
	return nil
}

// leftGrant is a grant that somebody wants to be rid of.
type leftGrant struct {
	name, id string
	next     string // what is left to do then
}

// left returns the grant of the mailbox of a name or id, or one that is left of a mailbox that is not configured any more or
// logs in without a grant.
func (d *desk) left(ctx context.Context, name string) (leftGrant, error) {
	m, account, err := d.account(name)
	if err == nil {
		g := leftGrant{name: m.Name, id: account.Mailbox, next: "mailflume connect " + m.Name}
		switch {
		case account.Mints():
			g.next = "nothing; client " + account.Client.Name + " gets another token by itself"
		case account.RefreshToken != nil:
			g.next = "nothing, if the configured refresh token is still good; else " + g.next
		}
		return g, nil
	}
	g := leftGrant{name: name, id: name, next: "nothing; no mailbox of the configuration used it"}
	if m, id, err := d.find(name); err == nil {
		g.name, g.id = m.Name, id
	}
	ids, listed := d.store.Grants(ctx)
	if listed != nil {
		return g, withAdvice(listed)
	}
	if !slices.Contains(ids, g.id) {
		return g, err
	}
	return g, nil
}

// forget removes a grant if it cannot be opened, and is still the one that was looked at.
func (d *desk) forget(ctx context.Context, out io.Writer, g leftGrant) error {
	_, revision, _, err := d.store.Get(ctx, g.id)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mailbox %s has no grant", g.name)
	}
	if err != nil {
		return withAdvice(err)
	}
	_, err = d.tokens.Status(ctx, g.id)
	var sealed *token.SealError
	switch {
	case err == nil:
		return fmt.Errorf("the grant of mailbox %s can be opened: it is left alone\n  to do: mailflume token revoke %[1]s gives it up", g.name)
	case !errors.As(err, &sealed):
		return withAdvice(err)
	}
	if err := d.store.Delete(ctx, g.id, revision); err != nil {
		return fmt.Errorf("remove the grant of mailbox %s: %w", g.name, err)
	}
	_, err = fmt.Fprintf(out, "The grant of %s was removed.\n  to do: %s\n", g.name, g.next)
	return err
}
