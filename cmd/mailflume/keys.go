package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mailflume/mailflume/token"
)

func newKeys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Make and change the keys that seal grants",
		Long: `Grants are sealed with the first key of sealing_key; all keys there open them. To change the key:

  1. mailflume keys new, and put the line above the others, wherever mailflume runs
  2. mailflume keys rotate, once; replicas may go on running
  3. remove the old line`,
		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
		Args:                       noCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var path string
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Seal every grant with the first key, while mailflume runs",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return atDesk(c.Context(), path, func(d *desk) error {
				start := time.Now()
				changed, all, err := d.rotate(c.Context())
				rest := ""
				if err == nil && changed < all {
					rest = " The others have the first key already."
				}
				fmt.Fprintf(c.OutOrStdout(), "%d of %d grants were sealed anew in %v.%s\n", changed, all, time.Since(start).Round(time.Millisecond), rest)
				return err
			})
		},
	}
	configFlag(rotate, &path)
	c.AddCommand(rotate, &cobra.Command{
		Use:   "new",
		Short: "Print a new key, a line for the file of sealing_key",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), token.NewKey())
			return err
		},
	})
	return c
}

// rotateAtOnce is how many grants are sealed anew at a time.
const rotateAtOnce = 64

// rotate seals every grant of the store anew, those of mailboxes that are no longer configured too. What cannot be sealed
// is named, and keeps none of the others from it.
func (d *desk) rotate(ctx context.Context) (changed, all int, err error) {
	ids, err := d.store.Grants(ctx)
	if err != nil {
		return 0, 0, withAdvice(err)
	}
	var n atomic.Int64
	failed := make([]error, len(ids))
	var group errgroup.Group
	group.SetLimit(rotateAtOnce)
	for i, id := range ids {
		group.Go(func() error {
			did, err := d.tokens.Reseal(ctx, id)
			if did {
				n.Add(1)
			}
			if err != nil {
				failed[i] = fmt.Errorf("mailbox %s: %w", id, withAdvice(err))
			}
			return nil
		})
	}
	_ = group.Wait() // each error is in failed
	return int(n.Load()), len(ids), errors.Join(failed...)
}

// opens refuses to start with keys that are not those of the stored grants: if there are grants, one of them must open.
// What else may be wrong, the mailbox in question says.
func opens(ctx context.Context, tokens *token.Manager, ids []string) error {
	var refused error
	for _, id := range ids {
		s, err := tokens.Status(ctx, id)
		var sealed *token.SealError
		switch {
		case errors.As(err, &sealed):
			refused = err
		case err != nil:
			return nil // the store does not answer: the mailboxes will wait for it
		case s.State != token.Absent:
			return nil
		}
	}
	if refused == nil {
		return nil
	}
	return fmt.Errorf("the keys that seal grants (setting sealing_key) are not those that the stored grants were sealed with: %w", withAdvice(refused))
}
