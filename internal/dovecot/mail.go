package dovecot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Digest is what FetchAll tells of a message.
type Digest struct {
	SHA256 string // of the bytes that the server serves, lower-case hex
	Size   int64
}

// Folder is the server's own view of a folder.
type Folder struct {
	UIDValidity uint32
	UIDNext     uint32
	Mails       map[uint32]Digest // by UID
}

// login opens a connection of the harness to a user's mailbox.
func (s *Server) login(ctx context.Context, user string) (*conn, error) {
	c, err := dial(ctx, s.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if _, err := c.do(nil, "LOGIN %s %s", quote(user), quote(s.Password)); err != nil {
		c.close()
		return nil, fmt.Errorf("log in: %w", err)
	}
	s.mu.Lock()
	s.own[strings.ToLower(user)]++
	s.mu.Unlock()
	return c, nil
}

// Append delivers messages in order on one connection, and returns their UIDs. The folder is created when it is
// missing. INTERNALDATE is when, or the server's clock if when is zero. The server may change line ends and NUL bytes:
// what it made of a message is in FetchAll.
func (s *Server) Append(ctx context.Context, user, folder string, when time.Time, raw ...[]byte) ([]uint32, error) {
	c, err := s.login(ctx, user)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if !strings.EqualFold(folder, "INBOX") {
		var no *refused
		if _, err := c.do(nil, "CREATE %s", quote(folder)); err != nil && !errors.As(err, &no) {
			return nil, err
		}
	}
	var date string
	if !when.IsZero() {
		date = ` "` + when.Format("_2-Jan-2006 15:04:05 -0700") + `"`
	}
	// All commands are on their way before the first answer is read, so the answers need a reader of their own.
	sent := make(chan error, 1)
	go func() {
		for _, m := range raw {
			_, err := c.send("APPEND %s%s {%d+}\r\n%s", quote(folder), date, len(m), m)
			if err != nil {
				sent <- fmt.Errorf("send message: %w", err)
				return
			}
		}
		sent <- nil
	}()
	uids, err := c.appended(len(raw))
	if err != nil {
		c.Close() // frees the sender
	}
	return uids, errors.Join(err, <-sent)
}

// appended reads the answers to n APPEND commands.
func (c *conn) appended(n int) ([]uint32, error) {
	uids := make([]uint32, 0, n)
	for len(uids) < n {
		answer, err := c.read(nil)
		if err != nil {
			return uids, fmt.Errorf("read answer: %w", err)
		}
		if answer.Tag == "*" {
			continue
		}
		_, code, ok := strings.Cut(answer.Text, "[APPENDUID ")
		if !ok {
			return uids, &refused{"APPEND", answer.Text}
		}
		var validity, uid uint32
		if _, err := fmt.Sscanf(code, "%d %d]", &validity, &uid); err != nil {
			return uids, fmt.Errorf("read %q: %w", answer.Text, err)
		}
		uids = append(uids, uid)
	}
	return uids, nil
}

// FetchAll reads every message of a folder and returns its digests: what a correct client must have got.
func (s *Server) FetchAll(ctx context.Context, user, folder string) (Folder, error) {
	f := Folder{Mails: map[uint32]Digest{}}
	c, err := s.login(ctx, user)
	if err != nil {
		return f, err
	}
	defer c.close()
	lines, err := c.do(nil, "EXAMINE %s", quote(folder))
	if err != nil {
		return f, err
	}
	for _, line := range lines {
		fmt.Sscanf(line, "OK [UIDVALIDITY %d]", &f.UIDValidity) // other lines do not match
		fmt.Sscanf(line, "OK [UIDNEXT %d]", &f.UIDNext)         // other lines do not match
	}
	if f.UIDValidity == 0 || f.UIDNext == 0 {
		return f, fmt.Errorf("no UIDVALIDITY or UIDNEXT in %q", lines)
	}
	_, err = c.do(func(line string, r io.Reader) error {
		_, item, _ := strings.Cut(line, "(UID ")
		var uid uint32
		if _, err := fmt.Sscanf(item, "%d BODY[]", &uid); err != nil {
			return fmt.Errorf("read %q: %w", line, err)
		}
		hash := sha256.New()
		size, err := io.Copy(hash, r)
		f.Mails[uid] = Digest{hex.EncodeToString(hash.Sum(nil)), size}
		return err
	}, "UID FETCH 1:* (UID BODY.PEEK[])")
	return f, err
}

// Expunge removes messages.
func (s *Server) Expunge(ctx context.Context, user, folder string, uids ...uint32) error {
	set := make([]string, len(uids))
	for i, uid := range uids {
		set[i] = strconv.FormatUint(uint64(uid), 10)
	}
	list := strings.Join(set, ",")
	_, err := s.Exec(ctx, user, folder, `UID STORE `+list+` +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE "+list)
	return err
}

// Exec logs in, selects folder unless it is empty, sends IMAP commands one after the other, and returns the lines of
// their answers without tags. It is for what has no method here: MOVE, CREATE, RENAME, STORE.
func (s *Server) Exec(ctx context.Context, user, folder string, commands ...string) ([]string, error) {
	c, err := s.login(ctx, user)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if folder != "" {
		if _, err := c.do(nil, "SELECT %s", quote(folder)); err != nil {
			return nil, err
		}
	}
	var all []string
	for _, command := range commands {
		lines, err := c.do(nil, "%s", command)
		all = append(all, lines...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// Kick ends all sessions of a user; they read "* BYE".
func (s *Server) Kick(ctx context.Context, user string) error {
	return s.doveadm(ctx, "kick", user)
}

// BumpUIDValidity gives a folder a new UIDVALIDITY, as after a restore from a backup, and returns it. The messages keep
// their UIDs.
func (s *Server) BumpUIDValidity(ctx context.Context, user, folder string) (uint32, error) {
	f, err := s.FetchAll(ctx, user, folder)
	if err != nil {
		return 0, err
	}
	next := f.UIDValidity + 1
	return next, s.doveadm(ctx, "mailbox", "update", "-u", user, "--uid-validity", strconv.FormatUint(uint64(next), 10), folder)
}

func (s *Server) doveadm(ctx context.Context, args ...string) error {
	binary, err := exec.LookPath("doveadm")
	if err != nil {
		binary = "/usr/bin/doveadm"
	}
	args = append([]string{"-c", filepath.Join(s.dir, "dovecot.conf")}, args...)
	if out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("doveadm %s: %w: %s", strings.Join(args[2:], " "), err, out)
	}
	return nil
}

// Logins counts the logins of a user that succeeded, those of the harness aside.
func (s *Server) Logins(user string) int {
	user = strings.ToLower(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.Log(), "Login: user=<"+user+">,") - s.own[user]
}
