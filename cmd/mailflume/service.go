package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/parser"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
	"github.com/mailflume/mailflume/token"
	"github.com/mailflume/mailflume/web"
)

// service is one mailflume process: the page from the beginning, and everything else once NATS is there.
type service struct {
	config *configs.Config
	log    *slog.Logger
	keys   *token.Keyring
	web    *web.Server // nil if the configuration wants no page

	hangup chan os.Signal    // SIGHUP: the configuration is to be read anew
	seen   map[string]string // what its files looked like when it was read

	core    atomic.Pointer[core]
	waiting atomic.Pointer[error]     // why core is not there yet
	halted  atomic.Pointer[error]     // why the built-in NATS server does not write
	refused atomic.Pointer[error]     // why the configuration file, as it is now, was not taken over
	stopped atomic.Pointer[time.Time] // when it was asked to stop
}

// core is what a service needs NATS for.
type core struct {
	publisher *publish.Publisher
	store     *state.Store
	replica   *state.Replica
	tokens    *token.Manager
	group     *mailbox.Group
	fleet     atomic.Pointer[fleet]
	weak      atomic.Pointer[[]publish.Weakness] // of the broker; nil: not looked yet
	shared    bounds
	foresight *foresight
}

func newService(config *configs.Config, log *slog.Logger) (*service, error) {
	s := &service{config: config, log: log, hangup: make(chan os.Signal, 1)}
	starting := errors.New("starting")
	s.waiting.Store(&starting)
	if listen := config.HTTP.Address(); listen != "" {
		server, err := web.Listen(web.Config{Listen: listen}, web.Sources{
			Mailboxes: s.statuses, Grants: s.grants, Ready: s.ready, Broker: s.broker, Owner: s.owner, Refused: s.refusal, Weak: s.weak, Replica: replicaName(config), Version: version(),
			Connect: web.Connect{Desk: frontDesk{s}, Doctor: frontDesk{s}, Door: frontDesk{s}, Keys: func() *token.Keyring { return s.keys }, Public: config.HTTP.Public},
		}, log)
		if err != nil {
			return nil, usage(err)
		}
		s.web = server
	}
	// Only now: without a key in the configuration this makes one, and a port in use is to leave nothing behind.
	keys, err := sealingKeys(config)
	if err != nil {
		if s.web != nil {
			err = errors.Join(err, s.web.Close())
		}
		return nil, err
	}
	s.keys, s.seen = keys, look(config)
	return s, nil
}

// replicaName is what people call this replica.
func replicaName(config *configs.Config) string {
	if config.Replica.Name != "" {
		return config.Replica.Name
	}
	host, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return host
}

func (s *service) pageAddr() string {
	if s.web == nil {
		return "none"
	}
	return "http://" + s.web.Addr()
}

// run runs the service until ctx ends or something that time does not heal goes wrong.
func (s *service) run(ctx context.Context, started func(*service)) error {
	signal.Notify(s.hangup, syscall.SIGHUP) // from the beginning: it would end the program
	defer signal.Stop(s.hangup)
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { now := time.Now(); s.stopped.Store(&now) })()
	if s.web != nil {
		group.Go(func() error { return s.web.Run(ctx) })
	}
	group.Go(func() error { return s.carry(ctx, started) })
	return group.Wait()
}

// carry connects to NATS and reads the mailboxes until ctx ends.
func (s *service) carry(ctx context.Context, started func(*service)) (err error) {
	publisher, err := s.connect(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err = errors.Join(err, publisher.Close(closing))
	}()
	var c *core
	err = mailbox.Retry(ctx, s.log, "prepare the stream", func(ctx context.Context) (err error) {
		c, err = s.build(ctx, publisher)
		s.waits(err)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return usage(err)
	}
	s.core.Store(c)
	if started != nil {
		started(s)
	}
	s.log.Info("reading", "nats", publisher.Status().Where)
	looking, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { c.foresight.run(looking, c.tokens) })
	beside.Go(func() { c.watchGrants(looking) })
	beside.Go(func() { s.watchConfig(looking, c) })
	beside.Go(func() { s.report(looking, c) })
	beside.Go(func() { s.keepWriting(looking, publisher) })
	err = c.group.Run(ctx, c.replica)
	stop()
	beside.Wait()
	s.awaitRenewals(ctx, c)
	return err
}

// renewalsEnd is how long after the end of its service a grant may still be renewed: an answer that nobody waits for is a
// refresh token that nobody has. It leaves what comes after it a part of stopWithin.
const renewalsEnd = 4500 * time.Millisecond

// awaitRenewals waits for the grants that are being renewed. A token endpoint that does not answer is not our failure.
func (s *service) awaitRenewals(ctx context.Context, c *core) {
	left := max(renewalsEnd-time.Since(s.stopping()), 500*time.Millisecond)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
	defer cancel()
	if err := c.tokens.Close(closing); err != nil {
		s.log.Warn("stopped while a grant was being renewed; should its mailbox need to be connected again, this is why", "error", err)
	}
}

// stopping returns when the service was asked to stop, or now.
func (s *service) stopping() time.Time {
	if at := s.stopped.Load(); at != nil {
		return *at
	}
	return time.Now()
}

// connect starts the built-in NATS server, or connects to that of the configuration and waits for it if need be.
func (s *service) connect(ctx context.Context) (*publish.Publisher, error) {
	config, err := s.config.Publish()
	if err != nil {
		return nil, usage(err)
	}
	var p *publish.Publisher
	if config.URL == "" {
		// What keeps our own server from starting, such as a port or a directory, does not pass by itself.
		p, err = publish.Open(ctx, config, s.log)
		return p, usage(err)
	}
	err = mailbox.Retry(ctx, s.log, "connect to NATS", func(ctx context.Context) (err error) {
		p, err = publish.Open(ctx, config, s.log)
		s.waits(err)
		return err
	})
	return p, usage(err)
}

// waits notes why the service cannot go on yet, for /readyz and the page.
func (s *service) waits(err error) {
	if err != nil {
		s.waiting.Store(&err)
	}
}

// build prepares the stream and wires everything that carries mail. Nothing is running yet when it returns.
func (s *service) build(ctx context.Context, p *publish.Publisher) (_ *core, err error) {
	if err := p.Setup(ctx); err != nil {
		return nil, err
	}
	store, err := state.Open(ctx, p.JetStream(), s.config.StateBucket())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			store.Close() // it will be built anew
		}
	}()
	replica := state.ReplicaConfig{Name: s.config.Replica.Name, Lease: s.config.Replica.Lease}
	if p.Status().Embedded {
		// Whoever has the built-in server's directory is alone: a session that is left there is that of a dead process.
		replica.Lock = embeddedLock
	}
	c := &core{publisher: p, store: store, replica: state.NewReplica(store, replica, s.log)}
	if c.tokens, err = newTokens(s.keys, store, c.replica, s.log); err != nil {
		return nil, err
	}
	c.shared = bounds{
		budget: fetcher.NewBudget(int64(s.config.Memory)), turns: mailbox.NewTurns(commitsAtOnce),
		logins: fetcher.NewLogins(float64(s.config.Limits.LoginsPerSecond)).
			Among(func() int { return staying(c.replica) }).Apart(s.config.Limits.LoginGap),
	}
	f, err := s.muster(ctx, c, s.config, nil)
	if err != nil {
		return nil, err
	}
	if err := opens(ctx, c.tokens, f.ids); err != nil {
		return nil, err
	}
	c.fleet.Store(f)
	c.group = mailbox.NewGroup(f.workers...)
	c.foresight = &foresight{service: s, core: c, said: map[string]time.Time{}}
	return c, nil
}

// staying returns how many replicas carry mailboxes, as far as is known here.
func staying(r *state.Replica) (n int) {
	for _, peer := range r.Replicas() {
		if !peer.Leaving {
			n++
		}
	}
	return n
}

// embeddedLock stands for the lock of the built-in server's directory.
const embeddedLock = "embedded"

// newTokens returns the manager of the mailboxes' grants.
func newTokens(keys *token.Keyring, store *state.Store, session token.Session, log *slog.Logger) (*token.Manager, error) {
	return token.New(token.Config{Store: store, Session: session, Keys: keys, Transport: toEndpoints(), Log: log})
}

// toEndpoints reaches token endpoints as mail servers are reached: http.DefaultTransport does not know ALL_PROXY.
func toEndpoints() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nobody replaces it
	transport.Proxy = func(r *http.Request) (*url.URL, error) { return fetcher.Proxy(r.URL) }
	return transport
}

// identify returns the id of each mailbox of the configuration.
func identify(ctx context.Context, store *state.Store, config *configs.Config) ([]string, error) {
	list := make([]state.Mailbox, 0, len(config.Mailboxes))
	for _, m := range config.Mailboxes {
		list = append(list, state.Mailbox{ID: m.ID, Name: m.Name, Address: m.Address})
	}
	return store.Identify(ctx, list)
}

// commitsAtOnce is how many mailboxes may parse and commit at the same time. It keeps more than the cores busy, and less
// than the 50 batches that a stream holds open.
const commitsAtOnce = 16

// bounds are what all mailboxes of this process share.
type bounds struct {
	budget *fetcher.Budget
	logins *fetcher.Logins
	turns  mailbox.Turns
}

func (s *service) worker(c *core, config *configs.Config, m configs.Mailbox, id string) (*mailbox.Worker, error) {
	fetch, err := config.Fetcher(m)
	if err != nil {
		return nil, err
	}
	fetch.Budget, fetch.Version, fetch.Log = c.shared.budget, version(), s.log.With("mailbox", id)
	fetch.Logins = c.shared.logins.Entry(id, func() int { return c.fleet.Load().entries(m) })
	source, err := source(config, c.tokens, m, id)
	if err != nil {
		return nil, err
	}
	return mailbox.NewWorker(mailbox.Config{
		Mailbox:  event.Mailbox{ID: id, Name: m.Name, Address: m.Address, Provider: m.Provider},
		Raw:      mailbox.RawPolicy(m.Raw),
		Parse:    parser.Options{AuthServIDs: m.AuthServ},
		Trial:    trialCommand(m.AuthServ),
		Binary:   config.Events.Mode == "binary",
		Describe: config.Events.Attachments == "omit",
		Sent:     slices.Contains(m.Include, "sent"),
		After:    m.Action(),
		Open: func(ctx context.Context) (mailbox.Session, []string, error) {
			now := fetch
			var err error
			if now.RootCAs, err = m.Authorities(); err != nil { // its file may have changed
				return nil, nil, &symptom{mailbox.Operator, "It is not known which certificates to trust: " + err.Error(), "Correct the file that ca names; the mailbox is tried again as soon as it changes."}
			}
			return open(ctx, now, source)
		},
		Stream: c.publisher, Line: c.publisher, Bytes: c.publisher, Announcer: c.publisher, Floor: c.store,
		Journal: c.publisher, Deeds: c.store, Turns: c.shared.turns, Allowance: fetch.Allowance, Log: s.log,
	}), nil
}

// open logs in and returns the session with the names of the watched folders.
func open(ctx context.Context, c fetcher.Config, t fetcher.TokenSource) (mailbox.Session, []string, error) {
	session, err := fetcher.Open(ctx, c, t)
	if err != nil {
		return nil, nil, err
	}
	return session, session.Folders(), nil
}

// source returns what a mailbox logs in with: the tokens of its grant, or its password.
func source(config *configs.Config, tokens *token.Manager, m configs.Mailbox, id string) (fetcher.TokenSource, error) {
	if broker, ok := config.Broker(m); ok {
		return broker, nil
	}
	account, ok := config.Account(m, id)
	if !ok {
		return token.Static(m.Login.Password.Read), nil
	}
	return tokens.Source(account)
}

func (s *service) grants() web.Grants {
	if c := s.core.Load(); c != nil {
		return c.foresight.shown()
	}
	return web.Grants{}
}

func (s *service) statuses() []mailbox.Status {
	if c := s.core.Load(); c != nil {
		return c.group.Statuses()
	}
	return nil
}

// ready returns why this replica cannot do its work, or nil. A mailbox that only its owner can help does not make the
// replica unready: the others go on.
func (s *service) ready() error {
	c := s.core.Load()
	if c == nil {
		return *s.waiting.Load()
	}
	if err := s.halted.Load(); err != nil && *err != nil {
		return *err
	}
	if !c.publisher.Status().Connected {
		return fmt.Errorf("not connected to NATS at %s", c.publisher.Status().Where)
	}
	if !c.replica.Valid() {
		return errors.New("this replica's session is not valid: its heartbeats do not reach NATS")
	}
	return c.group.Unready()
}

func (s *service) broker() string {
	c := s.core.Load()
	if c == nil {
		return "NATS: not connected yet"
	}
	st := c.publisher.Status()
	return fmt.Sprintf("NATS %s at %s", st.Version, st.Where)
}
