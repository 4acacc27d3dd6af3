package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
	"github.com/mailflume/mailflume/token"
)

func newCheck() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check [NAME...]",
		Short: "Open each mailbox and say what is wrong and what to do",
		Long: `Log into the mailboxes of the configuration, or only into those named, and open their folders.
Nothing is read and nothing is published. Exit code 1 means that at least one of them has a
problem. A mailflume that is running with the same configuration is not disturbed.`,
		RunE: func(c *cobra.Command, names []string) error {
			config, err := loadConfig(path)
			if err != nil {
				return err
			}
			chosen, err := choose(config, names)
			if err != nil {
				return usage(err)
			}
			return check(c.Context(), config, chosen, c.OutOrStdout())
		},
	}
	configFlag(c, &path)
	return c
}

// choose returns the mailboxes of those names, all of them for none.
func choose(config *configs.Config, names []string) (map[string]bool, error) {
	chosen := make(map[string]bool)
	for _, m := range config.Mailboxes {
		chosen[m.Name] = len(names) == 0
	}
	for _, name := range names {
		if _, ok := chosen[name]; !ok {
			return nil, fmt.Errorf("%s has no mailbox %q", config.File, name)
		}
		chosen[name] = true
	}
	return chosen, nil
}

// checkWithin bounds the check of one mailbox; Exchange may take seconds to let one in.
const checkWithin = 90 * time.Second

func check(ctx context.Context, config *configs.Config, chosen map[string]bool, out io.Writer) (err error) {
	publisher, err := openBeside(ctx, config)
	if err != nil {
		return explain(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		err = errors.Join(err, publisher.Close(closing))
	}()
	store, err := state.Open(ctx, publisher.JetStream(), config.StateBucket())
	if err != nil {
		return explain(err)
	}
	keys, err := config.Keyring()
	if err != nil {
		return fmt.Errorf("the keys that seal grants (setting sealing_key): %w", err)
	}
	tokens, err := newTokens(keys, store, &visitor{id: "check-" + rand.Text()}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ids, err := identify(ctx, store, config)
	if err != nil {
		return explain(err)
	}
	checked, failed := 0, 0
	for i, m := range config.Mailboxes {
		if ctx.Err() != nil {
			return errors.New("stopped before all mailboxes were checked")
		}
		if !chosen[m.Name] {
			continue
		}
		checked++
		found, err := checkMailbox(ctx, config, tokens, m, ids[i])
		if err != nil {
			failed++
			complain(out, m, err)
			continue
		}
		fmt.Fprintf(out, "%-20s ok      logged in at %s, reads %s\n", m.Name, m.Host, strings.Join(found, ", "))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d mailboxes cannot be read", failed, checked)
	}
	return nil
}

// complain says what is wrong with a mailbox and what to do.
func complain(out io.Writer, m configs.Mailbox, err error) {
	v := mailbox.Classify(err)
	if v.Hint == "" && v.Class == mailbox.Passing {
		v.Hint = fmt.Sprintf("see whether %s answers at port %d from here: host and port of the mailbox, network, firewall", m.Host, m.Port)
	}
	fmt.Fprintf(out, "%-20s FAILED  %s\n", m.Name, v.Sentence)
	if v.Hint != "" {
		fmt.Fprintf(out, "%-20s   to do: %s\n", "", v.Hint)
	}
}

// checkMailbox logs in and returns the folders that would be read.
func checkMailbox(ctx context.Context, config *configs.Config, tokens *token.Manager, m configs.Mailbox, id string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	fetch, err := config.Fetcher(m)
	if err != nil {
		return nil, err
	}
	source, err := source(config, tokens, m, id)
	if err != nil {
		return nil, err
	}
	session, folders, err := open(ctx, fetch, source)
	if err != nil {
		return nil, err
	}
	return folders, session.Close()
}

// visitor is the session of a process that carries no mailbox: it may renew a grant, and takes over nobody's attempt.
type visitor struct{ id string }

func (v *visitor) ID() string               { return v.id }
func (v *visitor) Remaining() time.Duration { return checkWithin }
func (v *visitor) Alive(string) bool        { return true }

// openBeside connects to NATS. If the built-in server's directory is in use, a mailflume with this configuration is running
// and its server listens where the configuration says.
func openBeside(ctx context.Context, config *configs.Config) (*publish.Publisher, error) {
	c, err := config.Publish()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	p, err := publish.Open(ctx, c, log)
	var held *publish.InUseError
	if errors.As(err, &held) && c.Embedded.Listen != "none" {
		c.URL = "nats://" + c.Embedded.Listen
		if beside, besideErr := publish.Open(ctx, c, log); besideErr == nil {
			return beside, nil
		}
	}
	return p, err
}

// explain adds what to do about an error to its text.
func explain(err error) error {
	if v := mailbox.Classify(err); v.Hint != "" {
		return fmt.Errorf("%w\n  to do: %s", err, v.Hint)
	}
	return err
}
