package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// volume is a configuration file as a mounted volume has it: a link to a directory that another link leads to, which is
// replaced whenever the contents change.
type volume struct {
	t     *testing.T
	dir   string
	turns int
}

func (v *volume) put(text string) {
	v.t.Helper()
	v.turns++
	name := fmt.Sprintf("..%d", v.turns)
	must := func(err error) {
		if err != nil {
			v.t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(v.dir, name), 0o755))
	must(os.WriteFile(filepath.Join(v.dir, name, "mailflume.yaml"), []byte(text), 0o600))
	must(os.Symlink(name, filepath.Join(v.dir, "..new")))
	must(os.Rename(filepath.Join(v.dir, "..new"), filepath.Join(v.dir, "..data")))
	if v.turns > 1 {
		must(os.RemoveAll(filepath.Join(v.dir, fmt.Sprintf("..%d", v.turns-1))))
		return
	}
	must(os.Remove(filepath.Join(v.dir, "mailflume.yaml")))
	must(os.Symlink("..data/mailflume.yaml", filepath.Join(v.dir, "mailflume.yaml")))
}

// broken are ways to break a configuration, and what is said of them.
var broken = []struct {
	how  func(text string) string
	says string
}{
	{func(string) string { return "" }, "mailboxes"},
	{func(string) string { return "mailboxes" }, "mailflume.yaml:1: "},
	{func(s string) string { return s[:len(s)*2/3] }, "mailflume.yaml:"},
	{func(s string) string { return s + "\x00" }, "is not YAML"},
	{func(s string) string { return s + "---\na: b\n" }, "second document"},
	{func(s string) string { return s + "\tx: y\n" }, "mailflume.yaml:"},
	{func(s string) string { return s + "mailboxs: []\n" }, "mailboxes"},
	{func(s string) string { return strings.Replace(s, "name: stable0", "name: stable1", 1) }, "stable1"},
	{func(s string) string { return strings.Replace(s, "name: stable0", "nmae: stable0", 1) }, "nmae"},
	{func(s string) string { return strings.Replace(s, "client: google,", "client: gogle,", 1) }, "gogle"},
	{func(s string) string { return strings.Replace(s, "provider: gmail", "provider: mail", 1) }, "provider"},
	{func(s string) string { return strings.Replace(s, "start: all", "start: whenever", 1) }, "start"},
	{func(s string) string { return strings.Replace(s, "poll: 10s", "poll: 10 s", 1) }, "poll"},
	{func(s string) string { return strings.Replace(s, "ca: ca.pem", "ca: no.pem", 1) }, "no.pem"},
	{func(s string) string {
		return strings.Replace(s, "secret: file:right-secret", "secret: right-secret", 1)
	}, "secret"},
	{func(s string) string { return strings.Replace(s, "file:right-secret", "file:no-secret", 1) }, "no-secret"},
	{func(s string) string { return strings.Replace(s, "file:right-secret", "env:NO_SUCH_VARIABLE", 1) }, "NO_SUCH_VARIABLE"},
	{func(s string) string { return strings.Replace(s, "stable0@mail.test", "stable0", 1) }, "address"},
	{func(s string) string { return s + "memory: lots\n" }, "memory"},
	{func(s string) string { return s + "limits: {message_size: 0}\n" }, "limits.message_size"},
	{func(s string) string { return strings.Replace(s, "listen: none", "listen: nowhere", 1) }, "listen"},
	{func(s string) string { return s + "log: {level: loud}\n" }, "log.level"},
	{func(s string) string { return s + "events: {raw: sometimes}\n" }, "events.raw"},
	{func(s string) string { return "[" + s }, "mailflume.yaml:"},
	// Sound, and not for a program that runs.
	{func(s string) string { return strings.Replace(s, "data: data", "data: other", 1) }, "data: restart needed"},
	{func(s string) string { return s + "memory: 300MiB\n" }, "memory: restart needed"},
	{func(s string) string { return s + "replica: {name: other}\n" }, "replica.name: restart needed"},
	{func(s string) string { return s + "log: {level: debug}\n" }, "log.level: restart needed"},
	{func(s string) string { return s + "sealing_key: file:key\n" }, "sealing_key: restart needed"},
	{func(s string) string { return strings.Replace(s, "listen: none}", "listen: none}, bucket: other", 1) }, "nats.bucket: restart needed"},
}

// While mail comes in, the configuration is replaced by 30 that are broken and 30 that are not, some of which add, change
// and remove a mailbox. What did not change keeps its connection all the while; what is wrong is said with file and line.
func TestReload(t *testing.T) {
	t.Setenv("MAILFLUME_LIMITS_LOGIN_GAP", "0") // each change logs in anew, and nobody makes twenty in a minute
	r := newRig(t)
	r.file("key", "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	var stable []*sim.Account
	for i := range 6 {
		p, addr, client := sim.Gmail, gmail, "google"
		if i%2 == 1 {
			p, addr, client = sim.Exchange, outlook, "microsoft"
		}
		stable = append(stable, r.box(p, fmt.Sprintf("stable%d", i), addr, client, ""))
	}
	without := r.boxes.Len()
	moving := r.box(sim.Gmail, "moving", gmail, "google", ", poll: 10s")
	s := r.serve()
	raw, err := os.ReadFile(filepath.Join(r.dir, "mailflume.yaml"))
	r.must(err)
	good := string(raw)
	alone := strings.TrimSuffix(good, r.boxes.String()[without:])
	files := &volume{t: t, dir: r.dir}
	files.put(good)
	all := append([]*sim.Account{moving}, stable...)
	sent := 0
	deliver := func() {
		sent++
		for _, a := range all {
			a.Deliver("INBOX", fmt.Appendf(nil, "From: a@b.example\r\nSubject: %d\r\n\r\nx\r\n", sent), time.Now())
		}
	}
	eventually(t, "all mailboxes are watched", func() bool {
		for _, st := range s.statuses() {
			if st.State != mailbox.StateWatching {
				return false
			}
		}
		return len(s.statuses()) == 7
	})
	var slowest time.Duration
	await := func(what, line string, from int) {
		t.Helper()
		began := time.Now()
		eventually(t, what, func() bool { return strings.Contains(s.log.String()[from:], line) })
		slowest = max(slowest, time.Since(began))
	}
	place := regexp.MustCompile(`mailflume\.yaml(:\d+)?: `)
	for i, b := range broken {
		deliver()
		text := b.how(good)
		if text == good {
			t.Fatalf("broken configuration %d is not", i)
		}
		from := len(s.log.String())
		files.put(text)
		await(fmt.Sprintf("broken configuration %d is refused for %q", i, b.says), "the old one goes on", from)
		await(fmt.Sprintf("broken configuration %d is refused for %q", i, b.says), b.says, from)
		if said := s.log.String()[from:]; !place.MatchString(said) {
			t.Errorf("broken configuration %d: no file in %s", i, said)
		}
		if len(s.statuses()) != 7 {
			t.Fatalf("broken configuration %d: %d mailboxes", i, len(s.statuses()))
		}
	}
	for i := range 30 {
		deliver()
		text, want := alone, "1 removed"
		switch i % 3 {
		case 1:
			text, want = strings.Replace(good, "poll: 10s", fmt.Sprintf("poll: %ds", 10+i), 1), "1 added"
		case 2:
			text, want = strings.Replace(good, "poll: 10s", fmt.Sprintf("poll: %ds", 10+i), 1), "1 changed"
		}
		from, logins := len(s.log.String()), moving.Stats().Logins
		files.put(text)
		await(fmt.Sprintf("configuration %d is taken over", i), want, from)
		if want != "1 removed" {
			eventually(t, fmt.Sprintf("the mailbox of configuration %d logs in", i), func() bool { return moving.Stats().Logins > logins })
		}
	}
	deliver()
	eventually(t, "all mail is published", func() bool {
		for _, st := range s.statuses() {
			if st.Published["received"] != uint64(sent) && st.Mailbox.ID != "moving" {
				return false
			}
		}
		usage, err := s.core.Load().publisher.Usage(t.Context())
		return err == nil && usage.Stream.Messages >= uint64(sent*7)
	})
	for i, a := range stable {
		if st := a.Stats(); st.Logins != 1 {
			t.Errorf("stable%d logged in %d times", i, st.Logins)
		}
	}
	t.Logf("%d broken and 30 good configurations, %d messages: the slowest took %v; no mailbox that did not change was disturbed", len(broken), sent*7, slowest.Round(time.Millisecond))
	if n := moving.Stats().Logins; n < 20 {
		t.Errorf("the mailbox that was changed, removed and added logged in %d times", n)
	}
}

// add adds an entry to mailboxes, the last key of the configuration.
func (r *rig) add(path, entry string) {
	r.t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	r.must(err)
	_, err = f.WriteString(entry)
	r.must(errors.Join(err, f.Close()))
}

// What becomes of the configuration while NATS is not there yet is not missed.
func TestReloadOfWhatChangedBeforeNATS(t *testing.T) {
	r := newRig(t)
	port, err := process.FreePort()
	r.must(err)
	r.more = fmt.Sprintf("nats: {url: \"nats://127.0.0.1:%s\"}\nsealing_key: file:key\n", port)
	r.file("key", token.NewKey())
	gmail := r.listen(sim.Gmail)
	r.box(sim.Gmail, "first", gmail, "google", "")
	path := r.write()
	log := background(t, "run", "-c", path)
	eventually(t, "it waits for NATS", func() bool { return strings.Contains(log.String(), "connect to NATS") })
	was := r.boxes.Len()
	second := r.box(sim.Gmail, "second", gmail, "google", "")
	r.add(path, r.boxes.String()[was:])
	brokerAt(t, "127.0.0.1:"+port)
	eventually(t, "both mailboxes are read", func() bool { return second.Stats().Commands["IDLE"] > 0 })
}

// A mailbox that is added brings its secrets along; they have not changed.
func TestReloadOfAnotherMailboxChangesNoSecret(t *testing.T) {
	r := newRig(t)
	gmail := r.listen(sim.Gmail)
	r.box(sim.Gmail, "first", gmail, "google", "")
	s := r.serve()
	was := r.boxes.Len()
	r.box(sim.Gmail, "second", gmail, "google", "")
	r.add(r.dir+"/mailflume.yaml", r.boxes.String()[was:])
	r.must(syscall.Kill(os.Getpid(), syscall.SIGHUP))
	eventually(t, "it is added", func() bool { return strings.Contains(s.log.String(), "2 mailboxes: 1 added") })
	read := func() int { return strings.Count(s.log.String(), "the configuration was read anew") }
	n := read()
	r.must(syscall.Kill(os.Getpid(), syscall.SIGHUP))
	eventually(t, "it is read once more", func() bool { return read() > n })
	if said := around(s.log.String(), "a secret has changed"); said != "" {
		t.Error(said)
	}
}

// A mailbox whose server has a certificate of another authority goes on when the file of authorities is replaced.
func TestReloadOfAuthorities(t *testing.T) {
	r := newRig(t)
	right, err := r.world.CertPEM()
	r.must(err)
	_, wrong := keyAndCertificate(t)
	r.file("ca.pem", wrong)
	r.box(sim.Gmail, "anna", r.listen(sim.Gmail), "google", "")
	s := r.serve()
	state := func() mailbox.State { return s.statuses()[0].State }
	eventually(t, "the server is not trusted", func() bool { return state() == mailbox.StateParked })
	r.file("ca.pem", "no certificate")
	eventually(t, "the file is of no use", func() bool {
		st := s.statuses()[0]
		return st.Who == mailbox.Operator && strings.Contains(st.Sentence, "has no certificate") && strings.Contains(st.Hint, "ca")
	})
	r.file("ca.pem", string(right))
	eventually(t, "the mailbox is watched", func() bool { return state() == mailbox.StateWatching })
}

// A mailbox that waits because the provider refuses the client goes on when the client's secret is replaced, in its file or
// by another file, without a restart.
func TestReloadOfAClientSecret(t *testing.T) {
	for _, how := range []string{"the file has another text", "the configuration names another file", "a signal"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			r.box(sim.Gmail, "anna", r.listen(sim.Gmail), "google2", "")
			s := r.serve()
			refused := func() bool {
				st := s.statuses()
				return len(st) == 1 && st[0].State == mailbox.StateParked && st[0].Who == mailbox.Operator
			}
			eventually(t, "the client is refused", refused)
			switch how {
			case "the file has another text":
				r.file("wrong-secret", "the-client-secret")
			case "the configuration names another file":
				path := filepath.Join(r.dir, "mailflume.yaml")
				text, err := os.ReadFile(path)
				r.must(err)
				r.must(os.WriteFile(path+".new", []byte(strings.Replace(string(text), "file:wrong-secret", "file:right-secret", 1)), 0o600))
				r.must(os.Rename(path+".new", path))
			case "a signal":
				r.file("wrong-secret", "the-client-secret")
				r.must(syscall.Kill(os.Getpid(), syscall.SIGHUP))
			}
			eventually(t, "the mailbox is watched", func() bool {
				st := s.statuses()
				return len(st) == 1 && st[0].State == mailbox.StateWatching
			})
		})
	}
}
