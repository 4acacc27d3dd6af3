package dovecot

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// conn is an IMAP connection for the harness's own use. It knows no more of IMAP than lines and literals.
type conn struct {
	net.Conn
	r    *bufio.Reader
	n    int    // of the last tag
	said string // the greeting
	stop func() bool
}

// response is one line from the server. A literal in it is given to the handler while the line is read; Text has {} in
// its place.
type response struct {
	Tag, Text string
}

// refused says that a command was answered by NO or BAD.
type refused struct{ command, answer string }

func (e *refused) Error() string { return fmt.Sprintf("%s: %s", e.command, e.answer) }

// dial connects and reads the greeting. The end of ctx cuts the connection.
func dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, r: bufio.NewReaderSize(nc, 64<<10)}
	c.stop = context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) }) // nothing more to do
	greeting, err := c.read(nil)
	if c.said = greeting.Text; err == nil && !strings.HasPrefix(c.said, "OK") {
		err = &refused{"greeting", c.said}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) close() {
	c.stop()
	c.Close()
}

// send writes a command and returns its tag.
func (c *conn) send(format string, args ...any) (string, error) {
	c.n++
	tag := "H" + strconv.Itoa(c.n)
	_, err := fmt.Fprintf(c, tag+" "+format+"\r\n", args...)
	return tag, err
}

// do sends a command and returns the untagged lines of its answer. Literals go to literal, or are skipped if it is nil.
func (c *conn) do(literal func(line string, r io.Reader) error, format string, args ...any) ([]string, error) {
	tag, err := c.send(format, args...)
	if err != nil {
		return nil, err
	}
	var lines []string
	for {
		answer, err := c.read(literal)
		if err != nil {
			return lines, fmt.Errorf("read answer: %w", err)
		}
		if answer.Tag != tag {
			lines = append(lines, answer.Text)
			continue
		}
		if !strings.HasPrefix(answer.Text, "OK") {
			return lines, &refused{fmt.Sprintf(format, args...), answer.Text}
		}
		return append(lines, answer.Text), nil
	}
}

// read reads one response. literal sees each literal of it together with the text before.
func (c *conn) read(literal func(line string, r io.Reader) error) (response, error) {
	var text strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return response{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		size, start := literalSize(line)
		if size < 0 {
			text.WriteString(line)
			tag, rest, _ := strings.Cut(text.String(), " ")
			return response{tag, rest}, nil
		}
		text.WriteString(line[:start])
		body := io.LimitReader(c.r, size)
		if literal != nil {
			if err := literal(text.String(), body); err != nil {
				return response{}, err
			}
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return response{}, err
		}
		text.WriteString("{}")
	}
}

// literalSize returns the size of the literal that a line announces and where the announcement starts, or -1.
func literalSize(line string) (size int64, start int) {
	start = strings.LastIndexByte(line, '{')
	if start < 0 || !strings.HasSuffix(line, "}") {
		return -1, 0
	}
	size, err := strconv.ParseInt(line[start+1:len(line)-1], 10, 64)
	if err != nil {
		return -1, 0
	}
	return size, start
}

// quote makes a quoted string. Names with other than ASCII characters must come as IMAP has them, in modified UTF-7.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
