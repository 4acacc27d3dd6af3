package rivals

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mailflume/mailflume/internal/dovecot"
	"github.com/mailflume/mailflume/internal/process"
)

// fetcher is one of the programs that write into Maildirs: it makes one pass over its mailboxes and ends.
type fetcher struct {
	name, program string
	// configure writes the settings for the users' mailboxes into dir and returns the arguments.
	configure func(dir string, server *dovecot.Server, users []string) (args []string, err error)
}

var fetchers = []fetcher{
	{"mbsync", "mbsync", configureMbsync},
	{"fetchmail", "fetchmail", configureFetchmail},
	{"getmail6", "getmail", configureGetmail},
	{"offlineimap3", "offlineimap", configureOfflineimap},
}

// host is a name, since mbsync does not look for an address in a certificate.
const host = "localhost"

func port(server *dovecot.Server) string {
	_, port, _ := net.SplitHostPort(server.TLSAddr)
	return port
}

// run is a fetcher with its mailboxes.
type run struct {
	dir, program string
	args         []string
}

func (f fetcher) prepare(dir string, server *dovecot.Server, users []string) (*run, error) {
	for _, user := range users {
		if err := makeMaildir(filepath.Join(dir, "mail", user, "INBOX")); err != nil {
			return nil, err
		}
	}
	args, err := f.configure(dir, server, users)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return &run{dir, f.program, args}, nil
	}
	if out, err := exec.Command("chown", "-R", "mail:mail", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("give %s to the user mail: %w: %s", dir, err, out)
	}
	// getmail does not deliver as root.
	return &run{dir, "setpriv", append([]string{"--reuid=mail", "--regid=mail", "--clear-groups", f.program}, args...)}, nil
}

func (r *run) start(ctx context.Context) (*process.Process, error) {
	return process.Start(ctx, r.dir, []string{"HOME=" + r.dir}, r.program, r.args...)
}

func (r *run) count(context.Context) (int, error) { return countMaildirs(filepath.Join(r.dir, "mail")) }

func (r *run) delivered(context.Context) ([]delivery, error) {
	return readMaildirs(filepath.Join(r.dir, "mail"))
}

// ends: one pass, and then it is started again.
func (r *run) ends() bool { return true }

func write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// configureMbsync: FSync is on by default, and so is the journal.
func configureMbsync(dir string, server *dovecot.Server, users []string) ([]string, error) {
	port := port(server)
	var b strings.Builder
	for _, user := range users {
		fmt.Fprintf(&b, `IMAPStore %[1]s-far
Host %[2]s
Port %[3]s
User %[1]s
Pass %[4]s
SSLType IMAPS
CertificateFile %[5]s

MaildirStore %[1]s-near
Path %[6]s/mail/%[1]s/
Inbox %[6]s/mail/%[1]s/INBOX

Channel %[1]s
Far :%[1]s-far:INBOX
Near :%[1]s-near:INBOX
Sync Pull New
SyncState %[6]s/state-%[1]s-

`, user, host, port, server.Password, server.CAFile, dir)
	}
	config := filepath.Join(dir, "mbsyncrc")
	return []string{"-q", "-c", config, "-a"}, write(config, b.String())
}

// deliverScript is the delivery program of fetchmail: it writes, syncs and renames, as the Maildir format demands.
const deliverScript = `#!/bin/sh
set -e
name=$(date +%s.%N).$$
cat > "$1/tmp/$name"
sync -d "$1/tmp/$name"
mv "$1/tmp/$name" "$1/new/$name"
`

func configureFetchmail(dir string, server *dovecot.Server, users []string) ([]string, error) {
	port := port(server)
	script := filepath.Join(dir, "deliver")
	if err := write(script, deliverScript); err != nil {
		return nil, err
	}
	if err := os.Chmod(script, 0o700); err != nil {
		return nil, fmt.Errorf("make executable: %w", err)
	}
	var b strings.Builder
	b.WriteString("set invisible\nset no bouncemail\n")
	for _, user := range users {
		fmt.Fprintf(&b, "poll box-%[1]s via %[2]s proto imap port %[3]s user %[1]q pass %[4]q ssl sslcertck sslcertfile %[5]q keep no rewrite "+
			"mda %[6]q\n", user, host, port, server.Password, server.CAFile, script+" "+filepath.Join(dir, "mail", user, "INBOX"))
	}
	config := filepath.Join(dir, "fetchmailrc")
	return []string{"-f", config, "--nodetach", "-s", "-d", "0", "-i", filepath.Join(dir, "fetchids"), "--pidfile", filepath.Join(dir, "pid")},
		write(config, b.String())
}

// configureGetmail leaves out to_oldmail_on_each_mail, which remembers each message at once and not at the end of a session:
// in 6.18.11 it forgets those before, so that each run fetches everything again, even if nothing is killed.
func configureGetmail(dir string, server *dovecot.Server, users []string) ([]string, error) {
	port := port(server)
	args := []string{"--quiet", "--getmaildir", dir}
	for i, user := range users {
		config := filepath.Join(dir, fmt.Sprintf("getmailrc-%d", i))
		text := fmt.Sprintf(`[retriever]
type = SimpleIMAPSSLRetriever
server = %s
port = %s
username = %s
password = %s
ca_certs = %s
mailboxes = ("INBOX",)

[destination]
type = Maildir
path = %s/mail/%s/INBOX/

[options]
read_all = false
delete = false
delivered_to = false
received = false
`, host, port, user, server.Password, server.CAFile, dir, user)
		if err := write(config, text); err != nil {
			return nil, err
		}
		args = append(args, "--rcfile", config)
	}
	return args, nil
}

// configureOfflineimap: fsync is on by default.
func configureOfflineimap(dir string, server *dovecot.Server, users []string) ([]string, error) {
	port := port(server)
	var b strings.Builder
	fmt.Fprintf(&b, "[general]\nmetadata = %s/metadata\naccounts = %s\nui = quiet\n", dir, strings.Join(users, ","))
	for _, user := range users {
		fmt.Fprintf(&b, `
[Account %[1]s]
localrepository = %[1]s-near
remoterepository = %[1]s-far

[Repository %[1]s-near]
type = Maildir
localfolders = %[6]s/mail/%[1]s

[Repository %[1]s-far]
type = IMAP
readonly = true
remotehost = %[2]s
remoteport = %[3]s
remoteuser = %[1]s
remotepass = %[4]s
ssl = yes
sslcacertfile = %[5]s
folderfilter = lambda name: name == 'INBOX'
`, user, host, port, server.Password, server.CAFile, dir)
	}
	config := filepath.Join(dir, "offlineimaprc")
	return []string{"-o", "-c", config}, write(config, b.String())
}
