package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

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
alone; mailflume token revoke gives it up.`,
		Args: someMailboxes,
		RunE: func(c *cobra.Command, names []string) error {
			if !lost {
				return usage(errors.New("say --lost if the key that the grant was sealed with is lost for good; if it may turn up, put it back into the file of sealing_key"))
			}
			return atDesk(c.Context(), path, func(d *desk) error {
				if _, err := choose(d.config, names); err != nil {
					return err
				}
				var failed []error
				for _, name := range names {
					failed = append(failed, d.forget(c.Context(), c.OutOrStdout(), name))
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

// forget removes the grant of a mailbox if it cannot be opened, and is still the one that was looked at.
func (d *desk) forget(ctx context.Context, out io.Writer, name string) error {
	m, account, err := d.account(name)
	if err != nil {
		return err
	}
	_, revision, _, err := d.store.Get(ctx, account.Mailbox)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mailbox %s has no grant", m.Name)
	}
	if err != nil {
		return withAdvice(err)
	}
	_, err = d.tokens.Status(ctx, account.Mailbox)
	var sealed *token.SealError
	switch {
	case err == nil:
		return fmt.Errorf("the grant of mailbox %s can be opened: it is left alone\n  to do: mailflume token revoke %[1]s gives it up", m.Name)
	case !errors.As(err, &sealed):
		return withAdvice(err)
	}
	if err := d.store.Delete(ctx, account.Mailbox, revision); err != nil {
		return fmt.Errorf("remove the grant of mailbox %s: %w", m.Name, err)
	}
	next := "mailflume connect " + m.Name
	switch {
	case account.Mints():
		next = "nothing; client " + account.Client.Name + " gets another token by itself"
	case account.RefreshToken != nil:
		next = "nothing, if the configured refresh token is still good; else " + next
	}
	_, err = fmt.Fprintf(out, "The grant of %s was removed.\n  to do: %s\n", m.Name, next)
	return err
}
