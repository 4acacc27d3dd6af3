package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/token"
)

// connect is what the flags of connect say.
type connect struct {
	path      string
	as        string
	redirect  string
	device    bool
	noBrowser bool
	link      bool
	valid     time.Duration // of a link
	in        io.Reader
	out       io.Writer
}

func newConnect() *cobra.Command {
	k := &connect{}
	c := &cobra.Command{
		Use:   "connect NAME",
		Short: "Sign in to a mailbox, so that mailflume may read it",
		Long: `Let the owner of a mailbox sign in at its provider, check what was granted, and keep the grant,
sealed. A running mailflume takes it up within seconds.

Without flags, it prints a link to open in a browser on this machine, and waits for the browser
to come back. On a machine without one, use --no-browser: open the link anywhere, and paste the
address that the browser ends at (the page itself cannot be shown there). For Microsoft, --device
shows a code to enter on another device.

If somebody else owns the mailbox, --link prints a link for them instead: they sign in on the
status page (http.public_url), from anywhere, once.

A shared mailbox of Microsoft 365 has no login of its own: a member signs in, named with --as.`,
		Args: oneMailbox,
		RunE: func(c *cobra.Command, args []string) error {
			config, err := loadConfig(k.path)
			if err != nil {
				return err
			}
			if k.device && (k.noBrowser || k.redirect != "") {
				return usage(errors.New("--device goes without --no-browser and --redirect; see mailflume connect --help"))
			}
			if k.link && (k.device || k.noBrowser || k.redirect != "") {
				return usage(errors.New("--link goes without --device, --no-browser and --redirect; see mailflume connect --help"))
			}
			if k.valid < time.Minute || k.valid > token.MaxInvitation {
				return usage(fmt.Errorf("--valid %v: a link is good for 1m to %v", k.valid, token.MaxInvitation))
			}
			k.in, k.out = c.InOrStdin(), c.OutOrStdout()
			return k.run(c.Context(), config, args[0])
		},
	}
	configFlag(c, &k.path)
	c.Flags().StringVar(&k.as, "as", "", "the address that signs in, if it is not the mailbox's own (a shared mailbox)")
	c.Flags().BoolVar(&k.device, "device", false, "sign in with a code on another device (Microsoft)")
	c.Flags().BoolVar(&k.noBrowser, "no-browser", false, "sign in on another machine and paste the answer")
	c.Flags().StringVar(&k.redirect, "redirect", "", "the redirect URI, if the client has only fixed ones (default: this machine, any port)")
	c.Flags().BoolVar(&k.link, "link", false, "print a link with which the mailbox's owner signs in, once, from anywhere")
	c.Flags().DurationVar(&k.valid, "valid", 24*time.Hour, "how long the link is good")
	return c
}

func (k *connect) run(ctx context.Context, config *configs.Config, name string) (err error) {
	d, err := openDesk(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close(ctx)) }()
	m, account, err := d.account(name)
	if err != nil {
		return err
	}
	expect := m.User
	if k.as != "" {
		expect = k.as
	}
	if k.link {
		return k.byLink(d, m, account, expect)
	}
	var granted *token.Granted
	switch {
	case k.device:
		granted, err = k.byDevice(ctx, d.tokens, account, expect)
	case k.noBrowser:
		granted, err = k.byHand(ctx, d, account, expect)
	default:
		granted, err = k.byBrowser(ctx, d, account, expect)
	}
	if err != nil {
		return withAdvice(err)
	}
	if _, err := d.adopt(ctx, m, account, granted); err != nil {
		return err
	}
	fmt.Fprintf(k.out, "%s is connected: signed in, access granted, logged in at %s, grant sealed and stored.\n", m.Name, m.Host)
	return nil
}

// loopbackURI is where the browser comes back to. Microsoft lets any port pass for localhost alone, and compares the path;
// Google lets any port pass for 127.0.0.1.
func loopbackURI(provider, addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	if provider == "microsoft" {
		return "http://localhost:" + port
	}
	return "http://127.0.0.1:" + port
}

func (k *connect) byBrowser(ctx context.Context, d *desk, a token.Account, expect string) (*token.Granted, error) {
	listen := "127.0.0.1:0"
	if k.redirect != "" {
		u, err := url.Parse(k.redirect)
		if err != nil || u.Scheme != "http" || u.Port() == "" || u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" {
			return nil, usage(errors.New("--redirect is not http://127.0.0.1:PORT or http://localhost:PORT: use it with --no-browser"))
		}
		listen = "127.0.0.1:" + u.Port()
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the browser: %w", err)
	}
	redirect := k.redirect
	if redirect == "" {
		redirect = loopbackURI(d.provider(a), l.Addr().String())
	}
	consent, err := d.tokens.Begin(a, redirect, expect)
	if err != nil {
		l.Close() //nolint:errcheck // nothing was said over it
		return nil, err
	}
	fmt.Fprintf(k.out, "Open this link in a browser on this machine, and sign in as %s:\n\n  %s\n\nWaiting for the browser to come back ...\n", expect, consent.URL())
	return awaitBrowser(ctx, l, redirect, consent)
}

// provider returns the provider of an account's client.
func (d *desk) provider(a token.Account) string {
	for _, c := range d.config.Clients {
		if c.Name == a.Client.Name {
			return c.Provider
		}
	}
	return ""
}

// byHand lets the person carry the answer over. Nobody listens at the redirect URI: the browser's error page is expected.
func (k *connect) byHand(ctx context.Context, d *desk, a token.Account, expect string) (*token.Granted, error) {
	redirect := k.redirect
	if redirect == "" {
		redirect = loopbackURI(d.provider(a), "127.0.0.1:53682")
	}
	consent, err := d.tokens.Begin(a, redirect, expect)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(k.out, "Open this link in any browser, and sign in as %s:\n\n  %s\n\n"+
		"In the end the browser cannot show the page. Copy the whole address from its address bar, paste it here,\nand press Enter: ", expect, consent.URL())
	line, err := readLine(ctx, k.in)
	if err != nil {
		return nil, err
	}
	answer, err := pasted(line)
	if err != nil {
		return nil, usage(err)
	}
	return consent.Finish(ctx, answer)
}

// pasted reads the address that somebody pasted, or only its query.
func pasted(line string) (url.Values, error) {
	line = strings.TrimSpace(line)
	if _, query, ok := strings.Cut(line, "?"); ok {
		line = query
	}
	line, _, _ = strings.Cut(line, "#")
	answer, err := url.ParseQuery(line)
	if err != nil || !answer.Has("code") && !answer.Has("error") {
		return nil, errors.New("that is not the address that the browser ended at: it has code= and state= in it")
	}
	return answer, nil
}

// maxLine bounds what somebody may paste.
const maxLine = 64 << 10

// readLine reads a line, until ctx ends. What goes on waiting for input then ends with the process.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, maxLine)).ReadString('\n')
		if errors.Is(err, io.EOF) && line != "" {
			err = nil
		}
		got <- result{line, err}
	}()
	select {
	case r := <-got:
		if errors.Is(r.err, io.EOF) {
			return "", errors.New("the input ended before anything came")
		}
		if r.err != nil {
			return "", fmt.Errorf("read the input: %w", r.err)
		}
		return r.line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (k *connect) byDevice(ctx context.Context, tokens *token.Manager, a token.Account, expect string) (*token.Granted, error) {
	d, err := tokens.BeginDevice(ctx, a, expect)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(k.out, "On any device, open %s, enter the code %s,\nand sign in as %s. Waiting ...\n", d.URL, d.UserCode, expect)
	return d.Wait(ctx)
}
