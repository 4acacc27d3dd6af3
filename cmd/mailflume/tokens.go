package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

func newToken() *cobra.Command {
	c := &cobra.Command{
		Use:                        "token",
		Short:                      "Show, import, revoke and forget the mailboxes' grants",
		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
		Args:                       noCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTokenStatus(), newTokenImport(), newTokenRevoke(), newTokenForget())
	return c
}

// atDesk runs do with everything that a command for grants needs.
func atDesk(ctx context.Context, path string, do func(*desk) error) error {
	config, err := loadConfig(path)
	if err != nil {
		return err
	}
	d, err := openDesk(ctx, config)
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.close(ctx))
}

func newTokenStatus() *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Say how the grants stand, without asking any provider",
		Long: `Say how the grants of the mailboxes stand, or only of those named: as the store has them, no
provider is asked and no token is shown. Exit code 1 means that somebody must act before one of
them can be renewed: its mailbox's owner, or whoever runs the OAuth client.`,
		RunE: func(c *cobra.Command, names []string) error {
			return atDesk(c.Context(), path, func(d *desk) error { return d.tokenStatus(c.Context(), names, asJSON, c.OutOrStdout()) })
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (d *desk) tokenStatus(ctx context.Context, names []string, asJSON bool, out io.Writer) error {
	chosen, err := choose(d.config, names)
	if err != nil {
		return err
	}
	list, bad := []token.Status{}, 0
	for i, m := range d.config.Mailboxes {
		account, ok := d.config.Account(m, d.ids[i])
		if !chosen[m.Name] || !ok {
			continue
		}
		s, err := d.tokens.Status(ctx, d.ids[i])
		if err != nil { // that of one grant keeps nobody from seeing the others
			v := mailbox.Classify(err)
			s.State, s.Problem = token.NeedsPerson, &token.Problem{Code: "unreadable", Sentence: v.Sentence, Hint: v.Hint, At: time.Now()}
		}
		s.Warnings = account.Forecast(s, time.Now())
		if s.Broken() || s.State == token.Absent && !account.Mints() && account.RefreshToken == nil {
			bad++
		}
		list = append(list, s)
		if !asJSON {
			printStatus(out, m, account, s)
		}
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(list); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d grants need somebody", bad, len(list))
	}
	return nil
}

func printStatus(out io.Writer, m configs.Mailbox, a token.Account, s token.Status) {
	now := time.Now()
	line := map[token.State]string{token.Idle: "in order", token.Refreshing: "being renewed"}[s.State]
	switch {
	case s.State == token.Absent && a.Mints():
		line = "no token yet; client " + a.Client.Name + " gets one by itself"
	case s.State == token.Absent && a.RefreshToken != nil:
		line = "not begun: the configured refresh token was not used yet"
	case s.State == token.Absent:
		line = "not connected: run mailflume connect " + m.Name
	case s.State == token.NeedsPerson:
		line = "needs somebody"
	case s.Broken() && !s.Expiry.After(now):
		line = "cannot be renewed"
	case s.Problem != nil && !s.Expiry.After(now):
		line = "cannot be renewed at the moment; it is tried again by itself"
	default:
		if s.Expiry.After(now) {
			line += ", access token valid for " + web.Short(s.Expiry.Sub(now))
		}
		if age := s.RefreshAge(now); age > 0 {
			line += ", refresh token of " + s.RefreshAt.Format(time.DateOnly)
		}
	}
	paragraph(out, fmt.Sprintf("%-20s ", clip(m.Name, 20)), line)
	said := func(label string, p token.Problem) {
		paragraph(out, "  "+label, p.Sentence+" ["+p.Code+"]")
		paragraph(out, "  the provider says: ", p.Detail)
		paragraph(out, traceLabel, p.TraceID)
		advice(out, p.Hint)
	}
	if s.Problem != nil {
		said("", *s.Problem)
	}
	for _, w := range s.Warnings {
		said(label(w)+": ", w)
	}
}

func newTokenImport() *cobra.Command {
	var path, file, as string
	c := &cobra.Command{
		Use:   "import NAME",
		Short: "Take over a refresh token that was granted elsewhere",
		Long: `Read a refresh token from standard input, or from a file, try it out, and keep it, sealed. It must
have been granted to the mailbox's client. A running mailflume takes it up within seconds.`,
		Args: oneMailbox,
		RunE: func(c *cobra.Command, args []string) error {
			return atDesk(c.Context(), path, func(d *desk) error {
				m, account, err := d.account(args[0])
				if err != nil {
					return err
				}
				if file == "" && typedIn(c.InOrStdin()) {
					fmt.Fprintf(c.ErrOrStderr(), "The refresh token of %s, on one line: ", m.Name)
				}
				text, err := readToken(c.Context(), c.InOrStdin(), file)
				if err != nil {
					return usage(err)
				}
				if as == "" {
					as = m.User
				}
				granted, err := d.tokens.Redeem(c.Context(), account, text, as)
				if err != nil {
					return withAdvice(err)
				}
				if _, err := d.adopt(c.Context(), m, account, granted); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s is connected: the token works, logged in at %s, grant sealed and stored.\n", m.Name, m.Host)
				return nil
			})
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&file, "file", "", "read it from this file instead of standard input")
	c.Flags().StringVar(&as, "as", "", "the address that signed in, if it is not the mailbox's own (a shared mailbox)")
	return c
}

// typedIn reports whether a person types what is read.
func typedIn(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// readToken reads one token, and never repeats it.
func readToken(ctx context.Context, in io.Reader, file string) (string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	line, err := readLine(ctx, in)
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if line == "" || strings.ContainsAny(line, " \t") {
		return "", errors.New("there is no refresh token: it is one word, on the first line")
	}
	return line, nil
}

func newTokenRevoke() *cobra.Command {
	var path string
	here := false
	c := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Give a mailbox's grant up, at the provider too",
		Long: `Revoke the grant of a mailbox at its provider, where the provider lets programs do that (Google does,
Microsoft does not), and forget its tokens. The mailbox is not read any more until it is connected again.`,
		Args: oneMailbox,
		RunE: func(c *cobra.Command, args []string) error {
			return atDesk(c.Context(), path, func(d *desk) error {
				m, account, err := d.account(args[0])
				if err != nil {
					return err
				}
				if here {
					account.Client.RevokeURL = ""
				}
				r, err := d.tokens.Revoke(c.Context(), account)
				if err != nil {
					return orHere(withAdvice(err), m)
				}
				if here && !r.None {
					r.Hint = "The provider was not told. There the owner removes the app's access; at Google that is https://myaccount.google.com/permissions."
				}
				said := "The grant of " + m.Name + " was given up here."
				switch {
				case r.None:
					said = m.Name + " had no grant. A refresh token in the configuration will not be taken over."
				case r.AtProvider:
					said = "The grant of " + m.Name + " was given up at the provider and here."
				}
				fmt.Fprintln(c.OutOrStdout(), said)
				if r.Hint != "" {
					fmt.Fprintf(c.OutOrStdout(), "  to do: %s\n", r.Hint)
				}
				return nil
			})
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&here, "here", false, "only forget it, without telling the provider")
	return c
}

// orHere adds what can be done at once if a grant cannot be revoked at the provider.
func orHere(err error, m configs.Mailbox) error {
	var sealed *token.SealError
	if errors.As(err, &sealed) {
		return err
	}
	return fmt.Errorf("%w\n  or: mailflume token revoke %s --here forgets the grant without telling the provider", err, m.Name)
}
