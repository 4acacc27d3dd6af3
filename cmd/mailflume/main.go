// Command mailflume reads mailboxes over IMAP and commits every new message, exactly once, to a NATS JetStream stream.
//
// Each file is one subcommand: flags, signals and wiring. What they do is done by the packages they wire together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
)

// Exit codes, the same for all commands; README has them. What went well ends with 0.
const (
	exitFailed = 1 // it was tried and went wrong, or what it was to look at needs somebody
	exitUsage  = 2 // nothing was begun: bad flags, bad arguments, bad configuration, a port or data directory in use
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal drains, the second ends the program the hard way.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return execute(ctx, newRoot(), args, os.Stdin, stdout, stderr)
}

func execute(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	complain(ctx, stderr, err)
	var code *exitError
	if errors.As(err, &code) {
		return code.code
	}
	return exitFailed
}

// complain says why a command failed. Mistakes of a configuration stand alone, each on its line, as editors want them.
func complain(ctx context.Context, stderr io.Writer, err error) {
	var wrong *configs.Error
	switch {
	case errors.As(err, &wrong):
		for _, m := range wrong.Mistakes {
			fmt.Fprintln(stderr, m)
		}
		if n := len(wrong.Mistakes); n > 1 {
			fmt.Fprintf(stderr, "mailflume: %d mistakes; nothing was started\n", n)
		}
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "mailflume: stopped")
	default:
		for line := range strings.Lines("mailflume: " + err.Error()) { // servers wrote some of it
			fmt.Fprintln(stderr, strings.Map(visible, strings.TrimSuffix(line, "\n")))
		}
	}
}

// exitError is an error that chooses the exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage marks an error before which nothing was started.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "mailflume",
		Short: "Mail from Gmail and Outlook mailboxes on a NATS JetStream stream, exactly once",
		Long: `Mailflume logs into mailboxes over IMAP with OAuth, parses each new message and commits
it, exactly once, to a NATS JetStream stream, where workflow engines pick it up.

Try it without an account:   mailflume demo
Begin with a real mailbox:   mailflume config example > mailflume.yaml

Every command ends with 0 if all is well, with 1 if something went wrong or needs somebody, and
with 2 if nothing was begun: wrong flags or arguments, a mistake in the configuration, a port or
directory in use.`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:                       noCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
	})
	root.AddCommand(newRun(), newDemo(), newCheck(), newStatus(), newConnect(), newToken(), newKeys(), newParse(), newSchema(), newConfig(), newHealth(), newVersion(), newTrial())
	markArgs(root)
	return root
}

// noCommand is the rule of a command that only has others below it: it shows its help, and whatever follows its name is
// the name of none of them.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = ", did you mean " + near[0] + "?"
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], c.CommandPath(), hint)
}

// noArgs is the rule of a command that takes none.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// oneMailbox is the rule of a command for one mailbox.
func oneMailbox(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return errors.New("the name of a mailbox is missing")
	case 1:
		return nil
	}
	return fmt.Errorf("unexpected argument %q: one mailbox at a time", args[1])
}

// markArgs makes a mistake in the arguments of any command a usage error that says where to read on.
func markArgs(c *cobra.Command) {
	if rule := c.Args; rule != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := rule(c, args); err != nil {
				return usage(fmt.Errorf("%w; see %s --help", err, c.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		markArgs(sub)
	}
}
