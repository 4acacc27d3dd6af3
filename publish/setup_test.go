package publish

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestSetupCreatesStreamAndBucket(t *testing.T) {
	p := newPublisher(t)
	mustSetup(t, p) // again: nothing to do
	s, err := p.js.Stream(t.Context(), "MAIL")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	if strings.Join(c.Subjects, " ") != "mail.> mailbox.>" || c.MaxAge != 30*24*time.Hour || c.Discard != jetstream.DiscardNew ||
		!c.DenyDelete || !c.AllowAtomicPublish || !c.AllowDirect || c.Storage != jetstream.FileStorage || c.MaxMsgSize != -1 {
		t.Errorf("stream %+v", c)
	}
	if err := s.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a message can be deleted")
	}
	b, err := p.js.ObjectStore(t.Context(), "mail")
	if err != nil {
		t.Fatal(err)
	}
	st, err := b.Status(t.Context())
	if err != nil || st.TTL() != 2*c.MaxAge {
		t.Errorf("bucket %+v, %v", st, err)
	}
	u, err := p.Usage(t.Context())
	if err != nil || u.Stream.Name != "MAIL" || u.Stream.MaxAge != c.MaxAge || u.Stream.MaxBytes != 0 || u.Bucket.Name != "mail" {
		t.Errorf("usage %+v, %v", u, err)
	}
	if s := p.Status(); !s.Connected || !s.Embedded || s.Version == "" {
		t.Errorf("status %+v", s)
	}
}

func TestSetupBySeveralReplicas(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	var wg sync.WaitGroup
	for range 4 {
		p := mustOpen(t, Config{URL: srv.ClientURL()})
		for range 2 {
			wg.Go(func() {
				if err := p.Setup(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func TestSetupReportsWhatAStreamLacks(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	p := mustOpen(t, Config{URL: srv.ClientURL()})
	good := jetstream.StreamConfig{
		Name: "MAIL", Subjects: []string{"mail.>", "mailbox.>"}, Discard: jetstream.DiscardNew, DenyDelete: true,
		MaxAge: 7 * 24 * time.Hour,
	}
	// A server removes the directory of its last stream some time after the stream, with the next one in it if need be.
	if _, err := p.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEEP", Subjects: []string{"keep"}}); err != nil {
		t.Fatal(err)
	}
	round := 0
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		config Stream
		want   []string // in the text; none: it is good
	}{
		"as it should be":   {},
		"other limits":      {change: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30 }},
		"one more subject":  {change: func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more.>") }},
		"discard old":       {change: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, want: []string{"discard", "nats stream edit MAIL --discard=new"}},
		"deletable":         {change: func(c *jetstream.StreamConfig) { c.DenyDelete = false }, want: []string{"--deny-delete"}},
		"work queue":        {change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, want: []string{"retention", "limits"}},
		"memory":            {change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, want: []string{"storage", "file"}},
		"without subject":   {change: func(c *jetstream.StreamConfig) { c.Subjects = []string{"mail.>"} }, want: []string{"mailbox.>", "--subjects='mail.>,mailbox.>'"}},
		"per subject limit": {change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject, c.DiscardNewPerSubject = 5, true }, want: []string{"--max-msgs-per-subject=-1"}},
		"small messages":    {change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }, want: []string{"--max-msg-size=-1"}},
		"age":               {config: Stream{MaxAge: 48 * time.Hour}, want: []string{"168h0m0s", "--max-age=48h0m0s", "nats.stream.max_age"}},
		"two": {
			change: func(c *jetstream.StreamConfig) { c.DenyDelete, c.MaxMsgs = false, 10 },
			want:   []string{"--deny-delete", "--max-msgs=-1"},
		},
		"replicas": {config: Stream{Replicas: 3}, want: []string{"--replicas=3", "nats.stream.replicas to 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			round++
			have := good
			have.Name = fmt.Sprint("MAIL", round)
			if c.change != nil {
				c.change(&have)
			}
			if _, err := p.js.CreateStream(t.Context(), have); err != nil {
				t.Fatal(err)
			}
			defer p.js.DeleteStream(t.Context(), have.Name)
			before := p.config.Stream
			defer func() { p.config.Stream = before }()
			c.config.Name = have.Name
			p.config.Stream = c.config
			_, err := p.setupStream(t.Context())
			if len(c.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var settings *SettingsError
			if !errors.As(err, &settings) || settings.Stream != have.Name || len(settings.Differences) == 0 {
				t.Fatalf("error is %v", err)
			}
			for _, text := range c.want {
				wantText(t, err, strings.ReplaceAll(text, "MAIL", have.Name))
			}
			s, err := p.js.Stream(t.Context(), have.Name)
			if err != nil || s.CachedInfo().Config.DenyDelete != have.DenyDelete || s.CachedInfo().Config.MaxAge != have.MaxAge {
				t.Errorf("the stream was changed: %+v, %v", s.CachedInfo().Config, err)
			}
		})
	}
}

func TestSetupSwitchesOnWhatTakesNothingAway(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	p := mustOpen(t, Config{URL: srv.ClientURL()})
	_, err := p.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "MAIL", Subjects: []string{"mail.>", "mailbox.>"}, Discard: jetstream.DiscardNew, DenyDelete: true,
		MaxAge: time.Hour, Description: "mine", Metadata: map[string]string{"owner": "me"},
	})
	if err != nil {
		t.Fatal(err)
	}
	mustSetup(t, p)
	s, err := p.js.Stream(t.Context(), "MAIL")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	if !c.AllowAtomicPublish || !c.AllowDirect || c.MaxAge != time.Hour || c.Description != "mine" || c.Metadata["owner"] != "me" {
		t.Errorf("stream %+v", c)
	}
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 5)})

	// The bucket follows the stream that is there, not the one we would have made.
	b, err := p.js.ObjectStore(t.Context(), "mail")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := b.Status(t.Context()); err != nil || st.TTL() != 2*time.Hour {
		t.Errorf("bucket %+v, %v", st, err)
	}
}

func TestSetupReportsAShortLivedBucket(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	p := mustOpen(t, Config{URL: srv.ClientURL()})
	if _, err := p.js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "mail", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	var settings *SettingsError
	err := p.Setup(t.Context())
	if !errors.As(err, &settings) || settings.Stream != "OBJ_mail" {
		t.Fatalf("error is %v", err)
	}
	wantText(t, err, "--max-age=1440h", "dangles")
}

// A bucket that somebody has made keeps what it takes, or it is refused.
func TestSetupReportsWhatABucketLacks(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		want   []string
	}{
		"memory":            {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, []string{"storage is Memory", "file", "nats.bucket"}},
		"per subject limit": {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, []string{"--max-msgs-per-subject=-1"}}, // one subject has all chunks
		"discard old":       {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, []string{"--discard=new"}},
		"without rollup":    {func(c *jetstream.StreamConfig) { c.AllowRollup = false }, []string{"--allow-rollup"}},
		"without answers":   {func(c *jetstream.StreamConfig) { c.NoAck = true }, []string{"no_ack"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustOpen(t, Config{URL: srv.ClientURL()})
			have := jetstream.StreamConfig{
				Name: "OBJ_mail", Subjects: []string{"$O.mail.C.>", "$O.mail.M.>"}, Discard: jetstream.DiscardNew, AllowRollup: true, AllowDirect: true,
			}
			c.change(&have)
			_, err := p.js.CreateStream(t.Context(), have)
			must(t, err)
			defer p.js.DeleteStream(t.Context(), have.Name)
			err = p.Setup(t.Context())
			var settings *SettingsError
			if !errors.As(err, &settings) || settings.Stream != "OBJ_mail" || len(settings.Differences) != 1 {
				t.Fatalf("error is %v", err)
			}
			wantText(t, err, c.want...)
		})
	}
}

// The bucket has as many copies as the stream, or its owner has said that fewer will do.
func TestSetupReportsABucketWithFewerCopies(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	p := mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL()}))
	p.config.Stream.Replicas = 3
	err := p.setupBucket(t.Context(), bucketAge(defaultMaxAge))
	var settings *SettingsError
	if !errors.As(err, &settings) || settings.Stream != "OBJ_mail" {
		t.Fatalf("error is %v", err)
	}
	wantText(t, err, "nats stream edit OBJ_mail --replicas=3", "nats.stream.replicas to 1")
}

// More copies than there are servers cannot be made: it says so, and what to set.
func TestSetupNeedsAServerForEachCopy(t *testing.T) {
	srv := external(t, t.TempDir(), "")
	p := mustOpen(t, Config{URL: srv.ClientURL(), Stream: Stream{Replicas: 3}})
	wantError(t, p.Setup(t.Context()), ErrNoStream, "nats.stream.replicas")
}

// In the built-in server the configuration is the only place to say it, so Setup does what it says.
func TestSetupAppliesLimitsInTheBuiltInServer(t *testing.T) {
	c := embeddedConfig(t.TempDir())
	p := mustSetup(t, mustOpen(t, c))
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 2)})
	mustClose(t, p)
	c.Stream.MaxAge, c.Stream.MaxBytes = 48*time.Hour, 1<<20
	p = mustSetup(t, mustOpen(t, c))
	u, err := p.Usage(t.Context())
	if err != nil || u.Stream.MaxAge != 48*time.Hour || u.Stream.MaxBytes != 1<<20 || u.Bucket.MaxAge != 96*time.Hour ||
		u.Stream.Messages != 2 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

// NATS answers what it does not allow with silence; we say what it was.
func TestPermissionsAreNamed(t *testing.T) {
	srv := external(t, t.TempDir(), `
		authorization { users [
			{ user: all, password: p }
			{ user: read, password: p, permissions { publish { deny: ["mail.>", "mailbox.>", "$JS.API.STREAM.MSG.GET.>"] } } }
			{ user: some, password: p, permissions { publish { deny: "mail.m.secret.>" } } }
			{ user: none, password: p, permissions { publish { deny: "$JS.API.STREAM.>" } } }
			{ user: blind, password: p, permissions { publish { deny: "$JS.API.CONSUMER.CREATE.>" } } }
			{ user: deaf, password: p, permissions { publish { deny: "$JS.API.CONSUMER.MSG.NEXT.>" } } }
		] }`)
	as := func(user string) Config {
		return Config{URL: srv.ClientURL(), Auth: Auth{User: user, Password: NewSecret("p")}}
	}
	mustSetup(t, mustOpen(t, as("all")))
	p := mustOpen(t, as("read"))
	p.commitWait, p.readWait = 500*time.Millisecond, 500*time.Millisecond
	mustSetup(t, p)
	var denied *PermissionError
	for _, n := range []int{1, 2} {
		_, err := p.Commit(t.Context(), Batch{Mailbox: "m", Events: evs("INBOX", 0, n)})
		if !errors.As(err, &denied) || denied.Subject != "mail.m.INBOX.received" {
			t.Fatalf("error is %v", err)
		}
		wantText(t, err, "publish to", "grant it")
	}
	if _, err := p.Recover(t.Context(), "m", nil); !errors.As(err, &denied) || denied.Subject != "$JS.API.STREAM.MSG.GET.MAIL" {
		t.Errorf("error is %v", err)
	}
	if err := p.Announce(t.Context(), Notice{Mailbox: "m", What: "stale"}); !errors.As(err, &denied) {
		t.Errorf("error is %v", err)
	}

	// Only a part of the batch is not allowed: the rest arrives, and NATS calls the batch incomplete.
	p = mustSetup(t, mustOpen(t, as("some")))
	eventually(t, 5*time.Second, "the denied part is named", func() bool {
		_, err := p.Commit(t.Context(), Batch{Mailbox: "m", Events: append(evs("secret", 0, 1), evs("INBOX", 0, 1)...)})
		return errors.As(err, &denied) && denied.Subject == "mail.m.secret.received"
	})
	tail := mustRecover(t, p, "m").Seq + 1 // or there would be nothing to read
	for user, subject := range map[string]string{"blind": "$JS.API.CONSUMER.CREATE.MAIL.", "deaf": "$JS.API.CONSUMER.MSG.NEXT.MAIL."} {
		p = mustOpen(t, as(user))
		p.commitWait = time.Second
		eventually(t, 20*time.Second, "what the ledger needs is named", func() bool {
			for _, err := range p.Ledger(timeout(t, time.Second), "m", tail) {
				if errors.As(err, &denied) {
					return strings.HasPrefix(denied.Subject, subject)
				}
			}
			return false
		})
	}
	p = mustOpen(t, as("none"))
	if err := p.Setup(timeout(t, time.Second)); !errors.As(err, &denied) || denied.Subject != "$JS.API.STREAM.INFO.MAIL" {
		t.Errorf("error is %v", err)
	}
}

// What was denied once is not taken for the reason for ever: the server may allow it when it lets us in again.
func TestADenialEndsWithItsConnection(t *testing.T) {
	dir, port := t.TempDir(), ownPort(t)
	const conf = "authorization { users [ { user: u, password: p, permissions { subscribe { deny: %q } } } ] }"
	srv := external(t, dir, port+fmt.Sprintf(conf, "_INBOX.>"))
	p := mustOpen(t, Config{URL: srv.ClientURL(), Auth: Auth{User: "u", Password: NewSecret("p")}})
	ask := func(wait time.Duration) error {
		p.readWait = wait
		_, err := p.Recover(t.Context(), "m", nil)
		return err
	}
	var denied *PermissionError
	eventually(t, 20*time.Second, "the inbox is named", func() bool { return errors.As(ask(100*time.Millisecond), &denied) })
	wantText(t, denied, "subscribe to", "_INBOX.")

	srv.Shutdown()
	srv.WaitForShutdown()
	eventually(t, 20*time.Second, "it knows that the server is gone", func() bool { return !p.Status().Connected })
	external(t, dir, port+fmt.Sprintf(conf, "nothing"))
	eventually(t, 20*time.Second, "there is an answer", func() bool { return errors.Is(ask(20*time.Second), ErrNoStream) })
	eventually(t, 20*time.Second, "an answer that does not come is just that", func() bool { return errors.Is(ask(time.Nanosecond), ErrUnavailable) })
}

func TestSetupWithoutJetStream(t *testing.T) {
	srv := external(t, t.TempDir(), `
		accounts {
			A { users [ { user: a, password: p } ] }
			SYS { users [ { user: s, password: p } ] }
		}
		system_account: SYS`)
	p := mustOpen(t, Config{URL: srv.ClientURL(), Auth: Auth{User: "a", Password: NewSecret("p")}})
	wantError(t, p.Setup(t.Context()), ErrNoStream, "enable")
}
