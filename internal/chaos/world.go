package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/process"
)

// Options are the settings of a World.
type Options struct {
	Binary    string        // mailflume
	NATS      string        // nats-server; empty: the embedded server is used
	Brokers   int           // how many of them; 1 if zero
	Sync      string        // their sync_interval: "always" if empty, "default" for their own default
	Broker    string        // more of their configuration
	JetStream string        // more of its block jetstream
	Store     string        // the directory of the first one's files, or of the embedded server's, if it must be a certain one
	Lines     bool          // everything goes through a proxy; see World.Lines
	Routes    bool          // the brokers reach each other through proxies; see Brokers.Routes
	Login     string        // what the binary logs in to NATS with, as keys of the configuration
	Stream    string        // more keys of nats.stream
	Mailboxes int           // 2 if zero
	Logins    int           // logins per second; 1000 if zero
	Lease     time.Duration // the default if zero
	Seed      uint64        // of everything random
}

// World is the machinery around the binary under test.
type World struct {
	Dovecot *dovecot.Server
	Config  string   // the configuration file
	Brokers *Brokers // nil: embedded
	Lines   *Lines   // nil unless asked for

	o        Options
	dir      string
	rng      *rand.Rand // of the goroutine that uses the World; the feeder has its own
	boxes    []mailbox
	tokens   *tokens
	oauth    *endpoint
	observer *observer // nil: embedded
	unsteady bool      // the mail server may be away
	conn     *nats.Conn
	js       jetstream.JetStream
}

// mailbox is a mailbox of the configuration.
type mailbox struct {
	name, provider, address string
	folders                 []string // as the server calls them
}

// New sets everything up but the binary. The caller closes the World.
func New(ctx context.Context, o Options) (*World, error) {
	if o.Mailboxes == 0 {
		o.Mailboxes = 2
	}
	w := &World{o: o, tokens: newTokens(), rng: rand.New(rand.NewPCG(o.Seed, 1))}
	for i := range o.Mailboxes {
		box := mailbox{fmt.Sprintf("box-%d", i), "gmail", fmt.Sprintf("box-%d@example.org", i), []string{"INBOX"}}
		if i%2 == 1 {
			box.provider, box.folders = "outlook", []string{"INBOX", "Junk"}
		}
		w.boxes = append(w.boxes, box)
	}
	if err := w.setUp(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) setUp(ctx context.Context) (err error) {
	if w.dir, err = os.MkdirTemp("", "mf-chaos-"); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if w.Dovecot, err = dovecot.Run(ctx, dovecot.Options{Lookup: w.tokens.lookup}); err != nil {
		return err
	}
	if w.oauth, err = listen(w.tokens); err != nil {
		return err
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	embedded := "127.0.0.1:" + port
	watched := "nats://" + embedded
	if w.o.NATS != "" {
		if err := w.startBrokers(ctx); err != nil {
			return err
		}
		watched = w.Brokers.url()
	}
	if w.o.Lines {
		if w.Lines, err = newLines(w.Brokers.addrs(), w.Dovecot.TLSAddr, w.oauth.addr); err != nil {
			return err
		}
	}
	if err := w.writeConfig(embedded); err != nil {
		return err
	}
	// With the embedded server there is nothing to connect to as yet, and later it comes and goes.
	w.conn, err = nats.Connect(watched, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1),
		nats.UserInfo("observer", "observer"), nats.IgnoreAuthErrorAbort(), nats.PingInterval(500*time.Millisecond))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if w.js, err = jetstream.New(w.conn); err != nil {
		return err
	}
	if w.Brokers != nil {
		w.observer = observe(context.WithoutCancel(ctx), w.js)
	}
	return nil
}

// startBrokers starts nats-servers, processes of their own.
func (w *World) startBrokers(ctx context.Context) (err error) {
	jetStream := w.o.JetStream
	if sync := cmp.Or(w.o.Sync, "always"); sync != "default" {
		jetStream += ", sync_interval: " + sync
	}
	w.Brokers, err = newBrokers(w.o.NATS, filepath.Join(w.dir, "nats"), cmp.Or(w.o.Brokers, 1), jetStream, w.o.Broker, w.o.Store, w.o.Routes)
	if err != nil {
		return err
	}
	return w.Brokers.startAll(ctx)
}

// The secrets of the configuration.
var secrets = []string{
	"CHAOS_CLIENT_SECRET=a client secret",
	"CHAOS_SEALING_KEY=k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	"CHAOS_NATS_PASSWORD=worker",
}

func (w *World) writeConfig(embedded string) error {
	imap, oauth := w.Dovecot.TLSAddr, w.oauth.addr
	if w.Lines != nil {
		imap, oauth = w.Lines.IMAP.Listen, w.Lines.OAuth.Listen
	}
	var b strings.Builder
	fmt.Fprintf(&b, "data: %q\nhttp: {listen: none}\nevents: {raw: always}\nlog: {level: debug}\nlimits: {logins_per_second: %d, login_gap: 0}\n",
		cmp.Or(w.o.Store, "data"), cmp.Or(w.o.Logins, 1000))
	if w.o.Lease != 0 {
		fmt.Fprintf(&b, "replica: {lease: %v}\n", w.o.Lease)
	}
	if w.Brokers == nil {
		fmt.Fprintf(&b, "nats: {embedded: {listen: %q}}\n", embedded)
	} else {
		fmt.Fprintf(&b, "nats:\n  url: %q\n  stream: {replicas: %d%s}\n%ssealing_key: env:CHAOS_SEALING_KEY\n",
			w.natsURL(), w.Brokers.Len(), w.o.Stream, w.o.Login)
	}
	fmt.Fprintf(&b, `clients:
  - {name: google, provider: google, id: google-id, secret: env:CHAOS_CLIENT_SECRET, endpoints: {token: %q}}
  - {name: microsoft, provider: microsoft, id: microsoft-id, authority: %q}
mailboxes:
`, "http://"+oauth+googlePath, "http://"+oauth)
	_, port, _ := net.SplitHostPort(imap)
	for _, box := range w.boxes {
		if err := w.writeMailbox(&b, box, port); err != nil {
			return err
		}
	}
	w.Config = filepath.Join(w.dir, "mailflume.yaml")
	if err := os.WriteFile(w.Config, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// natsURL returns where the binary connects.
func (w *World) natsURL() string {
	if w.Lines != nil {
		return w.Lines.url()
	}
	return w.Brokers.url()
}

func (w *World) writeMailbox(b *strings.Builder, box mailbox, port string) error {
	file := filepath.Join(w.dir, box.name+".refresh-token")
	if err := os.WriteFile(file, []byte(w.tokens.grant(box.address)), 0o600); err != nil {
		return fmt.Errorf("write grant: %w", err)
	}
	client, folders := "google", "[INBOX]"
	if box.provider == "outlook" {
		client, folders = "microsoft", `[INBOX, '\Junk']`
	}
	fmt.Fprintf(b, `  - name: %s
    address: %s
    provider: %s
    host: 127.0.0.1
    port: %s
    ca: %s
    login: {client: %s, refresh_token: "file:%s"}
    folders: %s
    start: all
    idle_refresh: 5s
    poll: 1s
`, box.name, box.address, box.provider, port, w.Dovecot.CAFile, client, file, folders)
	return nil
}

// Start starts the binary; env is added to its environment.
func (w *World) Start(ctx context.Context, env ...string) (*process.Process, error) {
	return process.Start(ctx, w.dir, append(secrets, env...), w.o.Binary, "run", "--config", w.Config)
}

// Exchanges returns how many times a refresh token was exchanged.
func (w *World) Exchanges() int { return w.tokens.count() }

// Deliver puts messages into the mailboxes, in folders taken at random.
func (w *World) Deliver(ctx context.Context, rng *rand.Rand, mails ...[]byte) error {
	type place struct {
		box    int
		folder string
	}
	piles := map[place][][]byte{}
	for _, m := range mails {
		i := rng.IntN(len(w.boxes))
		p := place{i, w.boxes[i].folders[rng.IntN(len(w.boxes[i].folders))]}
		piles[p] = append(piles[p], m)
	}
	for p, pile := range piles {
		if _, err := w.Dovecot.Append(ctx, w.boxes[p.box].address, p.folder, time.Time{}, pile...); err != nil {
			return fmt.Errorf("deliver: %w", err)
		}
	}
	return nil
}

// Served returns the servers' own view: the sha256 of every message by its place.
func (w *World) Served(ctx context.Context) (map[Place]string, error) {
	all := map[Place]string{}
	for _, box := range w.boxes {
		for _, folder := range box.folders {
			f, err := w.Dovecot.FetchAll(ctx, box.address, folder)
			if err != nil {
				return nil, fmt.Errorf("look into %s of %s: %w", folder, box.name, err)
			}
			for uid, m := range f.Mails {
				all[Place{box.name, folder, f.UIDValidity, uid}] = m.SHA256
			}
		}
	}
	return all, nil
}

// Close stops what New started and removes the files.
func (w *World) Close() error {
	var errs []error
	if w.observer != nil {
		w.observer.stop()
	}
	if w.conn != nil {
		w.conn.Close()
	}
	if w.Lines != nil {
		w.Lines.close()
	}
	if w.Brokers != nil {
		w.Brokers.killAll()
	}
	if w.oauth != nil {
		errs = append(errs, w.oauth.stop())
	}
	if w.Dovecot != nil {
		errs = append(errs, w.Dovecot.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}
