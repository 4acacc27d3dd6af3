package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/samples"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/publish"
)

// demo is what the flags of the demo say.
type demo struct {
	messages int           // stop after so many events; 0: go on
	json     bool          // print the events themselves
	mail     string        // deliver the .eml files of this folder
	pace     time.Duration // between two deliveries
	verbose  bool
	out      io.Writer
	errs     io.Writer
}

func newDemo() *cobra.Command {
	d := &demo{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Mail from simulated Gmail and Outlook mailboxes on a stream: no account, no network",
		Long: `Start simulated Gmail and Outlook servers with their OAuth, write a configuration for two
mailboxes of theirs, and run it as "mailflume run" does, with the built-in NATS server.
Sample mails arrive, and one line is printed for each event. Nothing leaves this machine.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d.out, d.errs = c.OutOrStdout(), c.ErrOrStderr()
			if d.messages < 0 || d.pace < 0 {
				return usage(errors.New("--messages and --pace cannot be negative; see mailflume demo --help"))
			}
			if d.json && !c.Flags().Changed("pace") {
				d.pace = 5 * time.Millisecond
			}
			return d.run(c.Context())
		},
	}
	c.Flags().IntVar(&d.messages, "messages", 0, "stop after this many events (0: run until interrupted)")
	c.Flags().BoolVar(&d.json, "json", false, "print the events as JSON lines, at full speed")
	c.Flags().StringVar(&d.mail, "mail", "", "deliver the .eml files of this folder instead of the samples")
	c.Flags().DurationVar(&d.pace, "pace", time.Second, "time between two deliveries")
	c.Flags().BoolVar(&d.verbose, "verbose", false, "show the log of the running mailflume")
	return c
}

// mailboxes of the demo: the address and whose it is.
var demoMailboxes = []struct {
	name, address string
	provider      sim.Provider
}{
	{"sales", "sales@gmail.test", sim.Gmail},
	{"support", "support@contoso.test", sim.Exchange},
}

func (d *demo) run(ctx context.Context) error {
	mails, err := d.mails()
	if err != nil {
		return usage(err)
	}
	dir, err := os.MkdirTemp("", "mailflume-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer os.RemoveAll(dir)
	world := sim.New(sim.Options{})
	defer world.Close()
	path, err := writeDemoConfig(dir, world)
	if err != nil {
		return fmt.Errorf("prepare the demo: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("prepare the demo: %w", err)
	}
	// The environment of a real mailflume must not send the demo's mail to a real server.
	config, err := configs.Parse(path, text, nil)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if d.verbose {
		log = newLog(config.Log, d.errs)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err = serve(ctx, config, log, func(s *service) {
		d.greet(path, s)
		go d.deliver(ctx, world, mails)
		go func() { stop(d.print(ctx, s.core.Load().publisher)) }()
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// mails returns the n-th mail to deliver, for every n.
func (d *demo) mails() (func(n int) []byte, error) {
	if d.mail == "" {
		return func(n int) []byte { return samples.Nth(n, time.Now()) }, nil
	}
	paths, err := filepath.Glob(filepath.Join(d.mail, "*.eml"))
	if err != nil {
		return nil, fmt.Errorf("--mail %s: %w", d.mail, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("--mail %s: no file there ends in .eml", d.mail)
	}
	slices.Sort(paths)
	if d.messages == 0 {
		d.messages = len(paths)
	}
	var raw [][]byte
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--mail: %w", err)
		}
		raw = append(raw, text)
	}
	return func(n int) []byte { return raw[n%len(raw)] }, nil
}

// writeDemoConfig starts the simulated providers and writes a configuration for their mailboxes.
func writeDemoConfig(dir string, world *sim.World) (path string, err error) {
	ca, err := world.CertPEM()
	if err != nil {
		return "", err
	}
	files := map[string]string{"ca.pem": string(ca), "client-secret": "demo-secret"}
	var clients, boxes strings.Builder
	for _, m := range demoMailboxes {
		account := world.AddAccount(m.provider, m.address)
		oauth := world.OAuth(m.provider)
		oauth.AddClient(sim.Client{ID: "demo-client", Secret: files["client-secret"]})
		base, err := oauth.Listen()
		if err != nil {
			return "", err
		}
		addr, err := world.IMAP(m.provider).ListenTLS()
		if err != nil {
			return "", err
		}
		host, port, _ := strings.Cut(addr, ":")
		files["refresh-"+m.name] = account.RefreshToken("demo-client")
		// Every endpoint is a simulated one: nothing leaves this machine.
		client, provider := "google", "gmail"
		at := fmt.Sprintf("endpoints: {token: %q, authorize: %q, revoke: %q, tokeninfo: %q}", base+"/token", base+"/o/oauth2/v2/auth", base+"/revoke", base+"/tokeninfo")
		if m.provider == sim.Exchange {
			client, provider = "microsoft", "outlook"
			at = fmt.Sprintf("authority: %q, tenant: %s", base, account.Tenant())
		}
		fmt.Fprintf(&clients, "  - {name: %s, provider: %s, id: demo-client, secret: file:client-secret, %s}\n", client, client, at)
		fmt.Fprintf(&boxes, "  - name: %s\n    address: %s\n    provider: %s\n    host: %s\n    port: %s\n    ca: ca.pem\n"+
			"    login: {client: %s, refresh_token: file:refresh-%s}\n    start: all\n",
			m.name, m.address, provider, host, port, client, m.name)
	}
	files["mailflume.yaml"] = "clients:\n" + clients.String() + "mailboxes:\n" + boxes.String() +
		"data: data\nhttp: {listen: \"127.0.0.1:0\"}\nnats: {embedded: {listen: \"127.0.0.1:0\"}}\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "mailflume.yaml"), nil
}

// greet says what is running and how to look at it.
func (d *demo) greet(path string, s *service) {
	url := s.core.Load().publisher.Status().URL
	fmt.Fprintf(d.errs, `Two simulated mailboxes, one at Gmail and one at Outlook, are being read.

  configuration  %[1]s
  status page    %[2]s
  look at it     mailflume status -c %[1]s
  subscribe      nats --server %[3]s consumer add MAIL workflow --pull --defaults
                 nats --server %[3]s consumer next MAIL workflow

`, path, s.pageAddr(), url)
}

// deliver puts mail into the mailboxes in turn.
func (d *demo) deliver(ctx context.Context, world *sim.World, mail func(n int) []byte) {
	for n := 0; ctx.Err() == nil && (d.messages == 0 || n < d.messages); n++ {
		world.Account(demoMailboxes[n%len(demoMailboxes)].address).Deliver("INBOX", mail(n), time.Now())
		select {
		case <-time.After(d.pace):
		case <-ctx.Done():
		}
	}
}

// print prints the events until there were enough of them.
func (d *demo) print(ctx context.Context, p *publish.Publisher) error {
	printed := 0
	for got, err := range p.Follow(ctx, "mail.>") {
		if err != nil {
			return err
		}
		if err := d.printOne(got); err != nil {
			return err
		}
		if printed++; printed == d.messages {
			return nil
		}
	}
	return nil
}

func (d *demo) printOne(got publish.Delivery) error {
	if d.json {
		_, err := fmt.Fprintf(d.out, "%s\n", got.Data)
		return err
	}
	var e event.MessageEvent
	if err := json.Unmarshal(got.Data, &e); err != nil {
		return fmt.Errorf("read event %s: %w", got.ID, err)
	}
	_, err := fmt.Fprintln(d.out, line(got, e))
	return err
}

// line is an event for a person.
func line(got publish.Delivery, e event.MessageEvent) string {
	subject, from := "(no subject)", "(nobody)"
	if s := e.Data.Email.Subject; s != nil {
		subject = *s
	}
	if f := e.Data.Email.From; len(f) > 0 {
		from = f[0].Email
		if f[0].Name != nil {
			from = *f[0].Name
		}
	}
	var notes []string
	if n := len(e.Data.Attachments); n > 0 {
		notes = append(notes, fmt.Sprintf("%d attached", n))
	}
	for _, class := range []struct {
		is   bool
		name string
	}{
		{e.Data.Class.AutoReply, "auto-reply"},
		{e.Data.Class.Bounce != nil, "bounce"},
		{e.Data.Class.Calendar != nil, "invitation"},
		{e.Data.Class.List != nil, "list"},
	} {
		if class.is {
			notes = append(notes, class.name)
		}
	}
	if n := len(e.Data.Defects); n > 0 {
		notes = append(notes, fmt.Sprintf("%d repaired", n))
	}
	text := fmt.Sprintf("%-34s %-24.24s %.60s", got.Subject, strings.Map(visible, from), strings.Map(visible, subject))
	if len(notes) > 0 {
		text += "  [" + strings.Join(notes, ", ") + "]"
	}
	return text
}
