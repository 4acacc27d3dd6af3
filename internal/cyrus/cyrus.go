// Package cyrus runs a private Cyrus, a second real IMAP server beside Dovecot: it speaks another dialect, gives messages an
// identity of their own (OBJECTID, RFC 8474), and counts changes differently.
//
// Its package and Dovecot's cannot both be installed, so it runs from packages that scripts/cyrus.sh unpacked. Every login
// name is a user, and every password is right; it has no XOAUTH2.
package cyrus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// Server is a running Cyrus.
type Server struct {
	Addr string // plain IMAP, host:port

	dir    string
	master *process.Process
}

// Start runs a Cyrus until the test ends. MAILFLUME_CYRUS names the directory of scripts/cyrus.sh; without it the test is
// skipped.
func Start(tb testing.TB) *Server {
	tb.Helper()
	root := os.Getenv("MAILFLUME_CYRUS")
	if root == "" {
		tb.Skip("set MAILFLUME_CYRUS, or run make cyrus")
	}
	s := &Server{}
	if err := s.start(tb.Context(), root); err != nil {
		s.Close()
		tb.Fatalf("start cyrus: %v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

func (s *Server) start(ctx context.Context, root string) (err error) {
	if s.dir, err = os.MkdirTemp("/tmp", "mf-cyrus-"); err != nil { // short: it holds sockets
		return err
	}
	who, err := user.Current()
	if err != nil {
		return err
	}
	if who.Uid == "0" { // it gives up the rights of root
		if who, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	s.Addr = net.JoinHostPort("127.0.0.1", port)
	if err := s.write(root, who); err != nil {
		return err
	}
	libraries := filepath.Join(root, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "lib/x86_64-linux-gnu")
	s.master, err = process.Start(context.WithoutCancel(ctx), s.dir, []string{"LD_LIBRARY_PATH=" + libraries},
		filepath.Join(root, "usr/lib/cyrus/bin/master"), "-C", s.path("imapd.conf"), "-M", s.path("cyrus.conf"), "-p", s.path("pid"))
	if err != nil {
		return err
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		c, err := s.Login("probe")
		if err == nil {
			return c.Close()
		}
		if ended := s.master.Running(); ended != nil || time.Since(began) > 30*time.Second {
			return errors.Join(err, ended)
		}
	}
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// write writes the configuration and the directories.
func (s *Server) write(root string, who *user.User) error {
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		return err
	}
	for _, dir := range []string{"", "conf", "conf/db", "conf/proc", "conf/socket", "conf/log", "spool", "tmp"} {
		err := errors.Join(os.MkdirAll(s.path(dir), 0o755), os.Chown(s.path(dir), uid, -1))
		if err != nil {
			return err
		}
	}
	settings := []string{
		"configdirectory: " + s.path("conf"), "partition-default: " + s.path("spool"), "defaultpartition: default", "temp_path: " + s.path("tmp"),
		"cyrus_user: " + who.Username, "sasl_pwcheck_method: alwaystrue", "sasl_mech_list: PLAIN LOGIN", "allowplaintext: yes",
		"unixhierarchysep: yes", "altnamespace: yes", "autocreate_quota: -1", "conversations: yes", "imapidlepoll: 1", "delete_mode: immediate",
	}
	services := fmt.Sprintf("START {\n}\nSERVICES {\n  imap cmd=%q listen=%q proto=\"tcp4\" prefork=0 maxchild=50\n}\nEVENTS {\n}\n",
		filepath.Join(root, "usr/lib/cyrus/bin/imapd")+" -C "+s.path("imapd.conf"), s.Addr)
	return errors.Join(
		os.WriteFile(s.path("imapd.conf"), []byte(strings.Join(settings, "\n")+"\n"), 0o644),
		os.WriteFile(s.path("cyrus.conf"), []byte(services), 0o644),
	)
}

// Close stops the server and removes what it kept.
func (s *Server) Close() {
	if s.master != nil {
		s.master.Kill()
	}
	os.RemoveAll(s.dir) //nolint:errcheck // in /tmp
}

// Conn is a connection of the harness: lines and literals, without any code of the program under test.
type Conn struct {
	net.Conn
	r *bufio.Reader
	n int
}

// Login opens a connection to a user's mailbox, whose INBOX is made if there is none.
func (s *Server) Login(user string) (*Conn, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: conn, r: bufio.NewReader(conn)}
	_, err = c.r.ReadString('\n')
	if err == nil {
		_, err = c.Do("LOGIN %s x", user)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	_, _ = c.Do("CREATE INBOX") // it may be there
	return c, nil
}

// Do sends a command and returns the lines of its answer, the tagged one last and without its tag. Literals stand in them as
// they came.
func (c *Conn) Do(format string, args ...any) (lines []string, err error) {
	c.n++
	tag := "H" + strconv.Itoa(c.n)
	c.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // the next line tells
	if _, err := fmt.Fprintf(c, tag+" "+format+"\r\n", args...); err != nil {
		return nil, err
	}
	for {
		line, err := c.line()
		if err != nil {
			return lines, err
		}
		text, tagged := strings.CutPrefix(line, tag+" ")
		lines = append(lines, text)
		if tagged && !strings.HasPrefix(text, "OK") {
			return lines, fmt.Errorf("%s: %s", fmt.Sprintf(format, args...)[:4], text)
		}
		if tagged {
			return lines, nil
		}
	}
}

// line reads one line with its literals.
func (c *Conn) line() (string, error) {
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		all.WriteString(line)
		open := strings.LastIndexByte(line, '{')
		end := strings.TrimRight(line, "\r\n")
		if open < 0 || !strings.HasSuffix(end, "}") {
			return strings.TrimRight(all.String(), "\r\n"), nil
		}
		size, err := strconv.ParseInt(end[open+1:len(end)-1], 10, 64)
		if err != nil {
			return strings.TrimRight(all.String(), "\r\n"), nil
		}
		if _, err := io.CopyN(&all, c.r, size); err != nil {
			return "", err
		}
	}
}

// Append puts messages into a folder.
func (c *Conn) Append(folder string, raw ...[]byte) error {
	for _, m := range raw {
		if _, err := c.Do("APPEND %s {%d+}\r\n%s", folder, len(m), m); err != nil {
			return err
		}
	}
	return nil
}
