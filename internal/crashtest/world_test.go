package crashtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// patience bounds the wait for anything. It is long because the machine may be busy; nothing is measured by it.
const patience = 90 * time.Second

// account is a mailbox as it is asked for.
type account struct {
	name     string
	provider sim.Provider
	client   string
	preset   string
	folders  []string
	after    string // what is done to a message once it is published
}

// three are the mailboxes of most tests, and one that comes to the configuration later. The third is not connected at first.
var three = []account{
	{"one", sim.Gmail, "google", "gmail", []string{"INBOX"}, "seen: true, label: Published"},
	{"two", sim.Exchange, "microsoft", "outlook", []string{"INBOX", "Junk Email"}, "flag: true"},
	{"three", sim.Gmail, "google", "gmail", []string{"INBOX"}, "move: Done"},
	{"later", sim.Exchange, "microsoft", "outlook", []string{"INBOX"}, ""},
}

// setting is a way to run mailflume.
type setting struct {
	replicas int
	builtIn  bool      // the NATS server is in the process, and dies with it
	page     bool      // it has its page
	more     string    // of each mailbox's configuration
	boxes    []account // three if nil
}

func (s setting) String() string {
	if s.builtIn {
		return fmt.Sprintf("%d replica, built-in server", s.replicas)
	}
	return fmt.Sprintf("%d replicas, external server", s.replicas)
}

// death is what CRASH says: at the n-th hit of a point. The zero value kills nobody.
type death struct {
	point string
	n     int
}

func (d death) String() string { return fmt.Sprintf("%s:%d", d.point, d.n) }

// mailbox is one of the configuration.
type mailbox struct {
	*sim.Account
	name    string
	folders []string
}

// world is everything around the binary.
type world struct {
	t       *testing.T
	ctx     context.Context
	setting setting
	death   death
	dir     string
	hits    string // the directory of CRASH_HITS
	sim     *sim.World
	boxes   []*mailbox
	later   *mailbox // that is not in the configuration yet
	entry   string   // its entry there
	config  string
	port    string // of the NATS server
	page    string // where the page is
	js      jetstream.JetStream

	served  map[string]*served // all that was delivered, by the sum of its bytes
	noMails int                // how many of them are no message

	replicas []*process.Process // nil where one has died and is not started yet
	died     bool
}

// newWorld prepares everything and starts no mailflume.
func newWorld(t *testing.T, s setting, d death) *world {
	ctx, cancel := context.WithCancel(t.Context())
	if s.boxes == nil {
		s.boxes = three
	}
	w := &world{
		t: t, ctx: ctx, setting: s, death: d, dir: t.TempDir(), sim: sim.New(sim.Options{}),
		served: map[string]*served{}, replicas: make([]*process.Process, s.replicas),
	}
	t.Cleanup(w.sim.Close)
	t.Cleanup(func() {
		cancel()
		for _, p := range w.replicas {
			if p != nil {
				p.Kill()
			}
		}
	})
	w.hits = filepath.Join(w.dir, "hits")
	w.must(os.Mkdir(w.hits, 0o700))
	var err error
	w.port, err = process.FreePort()
	w.must(err)
	if !s.builtIn {
		w.startBroker()
	}
	w.configure()
	conn, err := nats.Connect("nats://127.0.0.1:"+w.port, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1))
	w.must(err)
	t.Cleanup(conn.Close)
	w.js, err = jetstream.New(conn)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// startBroker starts a NATS server that syncs every write: the external one, or one over what the built-in one has left.
func (w *world) startBroker() {
	opts, dir := &server.Options{}, filepath.Join(w.dir, "nats")
	if w.setting.builtIn {
		dir = filepath.Join(w.dir, "data", "nats")
		opts.JetStreamKey, opts.JetStreamCipher = storeKey, server.ChaCha
	}
	w.must(opts.ProcessConfigString(fmt.Sprintf("listen: 127.0.0.1:%s\njetstream {store_dir: %q, sync_interval: always}\n", w.port, dir)))
	opts.NoSigs = true
	srv, err := server.NewServer(opts)
	w.must(err)
	srv.Start()
	w.t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		w.t.Fatal("the NATS server does not become ready")
	}
}

// storeKey is what the built-in server's store is encrypted with.
const storeKey = "the key of the built-in server's store"

func (w *world) write(name, text string) {
	w.must(os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
}

// configure makes the accounts and writes the configuration. The last mailbox is not connected yet.
func (w *world) configure() {
	ca, err := w.sim.CertPEM()
	w.must(err)
	w.write("ca.pem", string(ca))
	w.write("secret", "the client's secret")
	w.write("store-key", storeKey)
	bases, imap := map[sim.Provider]string{}, map[sim.Provider]string{}
	for _, p := range []sim.Provider{sim.Gmail, sim.Exchange} {
		w.sim.OAuth(p).AddClient(sim.Client{ID: "client", Secret: "the client's secret"})
		bases[p], err = w.sim.OAuth(p).Listen()
		w.must(err)
		imap[p], err = w.sim.IMAP(p).ListenTLS()
		w.must(err)
	}
	var b strings.Builder
	w.page = "none"
	if w.setting.page {
		port, err := process.FreePort()
		w.must(err)
		w.page = "127.0.0.1:" + port
	}
	fmt.Fprintf(&b, "data: data\nhttp: {listen: %q}\nevents: {raw: always}\nlog: {level: debug}\n", w.page)
	if w.setting.builtIn {
		fmt.Fprintf(&b, "nats: {embedded: {listen: \"127.0.0.1:%s\", key: \"file:store-key\"}}\n", w.port)
	} else {
		fmt.Fprintf(&b, "replica: {lease: 2s}\nnats: {url: \"nats://127.0.0.1:%s\", stream: {replicas: 1}}\nsealing_key: file:data/sealing-key\n", w.port)
		w.must(os.Mkdir(filepath.Join(w.dir, "data"), 0o700))
		w.write("data/sealing-key", token.NewKey())
	}
	google := bases[sim.Gmail]
	fmt.Fprintf(&b, `clients:
  - {name: google, provider: google, id: client, secret: file:secret, endpoints: {token: %q, authorize: %q, revoke: %q}}
  - {name: microsoft, provider: microsoft, id: client, secret: file:secret, authority: %q}
mailboxes:
`, google+"/token", google+"/o/oauth2/v2/auth", google+"/revoke", bases[sim.Exchange])
	for _, box := range w.setting.boxes {
		a := w.sim.AddAccount(box.provider, box.name+"@mail.test")
		a.Set(func(q *sim.Quirks) { q.WireChunk = 4096 }) // so that a message comes in pieces
		login := "client: " + box.client
		if box.name != "three" {
			w.write("refresh-"+box.name, a.RefreshToken("client"))
			login += ", refresh_token: file:refresh-" + box.name
		}
		host, at, err := net.SplitHostPort(imap[box.provider])
		w.must(err)
		entry := fmt.Sprintf("  - {name: %s, address: %s, provider: %s, host: %s, port: %s, ca: ca.pem, start: all, login: {%s}, folders: ['%s'], after: {%s}%s}\n",
			box.name, a.Address(), box.preset, host, at, login, strings.Join(box.folders, "', '"), box.after, w.setting.more)
		m := &mailbox{a, box.name, box.folders}
		if box.name == "later" {
			w.later, w.entry = m, entry
			continue
		}
		b.WriteString(entry)
		w.boxes = append(w.boxes, m)
	}
	w.config = filepath.Join(w.dir, "mailflume.yaml")
	w.write("mailflume.yaml", b.String())
}

// served is a message that was delivered.
type served struct {
	box    string
	places map[place]bool // where it was seen
}

// place is where a message lies, whatever the UIDVALIDITY.
type place struct {
	folder string
	uid    uint32
}

func sumOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// deliver puts messages into a folder.
func (w *world) deliver(box *mailbox, folder string, mails ...[]byte) {
	for _, raw := range mails {
		sum := sumOf(raw)
		w.served[sum] = &served{box.name, map[place]bool{}}
		box.Deliver(folder, raw, time.Now())
	}
	w.see(box)
}

// renumber changes the UIDVALIDITY of a folder and all UIDs in it.
func (w *world) renumber(box *mailbox, folder string) {
	box.BumpUIDValidity(folder)
	w.see(box)
}

// see notes where everything lies.
func (w *world) see(box *mailbox) {
	for _, folder := range box.folders {
		for _, uid := range box.UIDs(folder) {
			w.served[sumOf(box.Raw(folder, uid))].places[place{folder, uid}] = true
		}
	}
}
