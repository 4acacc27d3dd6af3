package fetcher

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// command is a command that waits for its tagged response.
type command struct {
	verb   string // "UID FETCH", "IDLE"
	uids   imap.UIDSet
	one    uint32 // the UID, if it asks for only one
	body   bool   // it asks for a body
	bodies int    // so many may still come
	ran    bool   // of IDLE: the server has accepted it
}

// Write passes commands on, line by line, and remembers what they ask for.
func (f *filter) Write(p []byte) (int, error) {
	f.mu.Lock()
	left := f.left
	f.mu.Unlock()
	if left {
		return 0, net.ErrClosed
	}
	f.line = append(f.line, p...)
	for {
		line, rest, ok := strings.Cut(string(f.line), "\r\n")
		if !ok {
			if len(f.line) > maxCommand {
				return 0, fmt.Errorf("command of more than %d bytes", maxCommand)
			}
			return len(p), nil
		}
		f.line = append(f.line[:0], rest...)
		if line = f.noteCommand(line); line == "" {
			continue
		}
		if len(line) > maxCommand {
			return 0, fmt.Errorf("command of %d bytes", len(line))
		}
		if err := f.send(line); err != nil {
			return 0, err
		}
	}
}

// send writes a command. While the reader lives, a failure is none: the server may have said why before it went, and
// go-imap would close the connection on an error; so the reader is left to find the BYE or the end, soon, and ends every
// command. Once it has ended, nothing but an error would end them.
func (f *filter) send(line string) error {
	if err := f.cause(); err != nil {
		return err
	}
	_, err := io.WriteString(f.link, line+"\r\n")
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return err // by us
	}
	if err != nil {
		f.expect(byePatience)
		f.debug("write failed", "error", err)
	}
	return nil
}

// noteCommand remembers a command and returns what to send in its place, "" for nothing.
func (f *filter) noteCommand(line string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.untagged, f.chatter, f.drained = 0, 0, 0
	if line == "DONE" {
		if f.idle == nil {
			return "" // the server has ended this IDLE by itself
		}
		f.idle = nil
		f.expect(idlePatience)
		return line
	}
	tag, rest, _ := strings.Cut(line, " ")
	if rest == "NOOP" && f.carried != "" {
		rest, f.carried = f.carried, ""
		line = tag + " " + rest
	}
	verb, args, _ := strings.Cut(rest, " ")
	cmd := &command{verb: verb}
	if verb == "UID" {
		word, more, _ := strings.Cut(args, " ")
		cmd.verb, args = "UID "+word, more
	}
	f.cmds[tag] = cmd
	switch cmd.verb {
	case "UID FETCH":
		clear(f.facts)
		set, items, _ := strings.Cut(args, " ")
		cmd.uids = parseUIDSet(set)
		nums, _ := cmd.uids.Nums()
		if cmd.bodies = len(nums); cmd.bodies == 1 {
			cmd.one = uint32(nums[0])
		}
		if cmd.body = strings.Contains(items, "BODY"); cmd.body {
			line = strings.Replace(line, "(UID ", "(UID "+f.extra, 1)
		}
		f.expect(0)
	case "IDLE":
		f.idle = cmd
		f.expect(idlePatience)
	case "LOGOUT":
		f.expect(byePatience)
	case "UID SEARCH":
		f.found, f.searching = nil, true
		f.expect(0)
	case "EXAMINE", "SELECT":
		f.validity, f.permanent, f.readOnly = 0, nil, false
		f.expect(0)
	default:
		f.expect(0)
	}
	return line
}

func parseUIDSet(s string) imap.UIDSet {
	var set imap.UIDSet
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(part, ":")
		a, errA := strconv.ParseUint(from, 10, 32)
		b := a
		var errB error
		if ranged {
			b, errB = strconv.ParseUint(to, 10, 32)
		}
		if errA == nil && errB == nil {
			set.AddRange(imap.UID(a), imap.UID(b))
		}
	}
	return set
}
