package fetcher

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// nullConn gives what r has and swallows what it is told.
type nullConn struct{ r io.Reader }

func (c nullConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c nullConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c nullConn) Close() error                     { return nil }
func (c nullConn) LocalAddr() net.Addr              { return nil }
func (c nullConn) RemoteAddr() net.Addr             { return nil }
func (c nullConn) SetDeadline(time.Time) error      { return nil }
func (c nullConn) SetReadDeadline(time.Time) error  { return nil }
func (c nullConn) SetWriteDeadline(time.Time) error { return nil }

// waiting is a reader that has nothing until ready is closed.
type waiting struct {
	ready chan struct{}
	io.Reader
}

func (w waiting) Read(p []byte) (int, error) { <-w.ready; return w.Reader.Read(p) }

// FuzzFilter: whatever a server sends, go-imap understands what the filter makes of it, so that the session ends with the
// end of the data or an error of the filter, and a body is either one that was sent whole or none.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"* 1 FETCH (UID 1 FLAGS (\\Seen) BODY[] {3}\r\nabc)\r\nT1 OK done\r\n",
		"* 1 FETCH (X-GM-LABELS (\"\\\\Important\" {3}\r\na b NIL) BODY[]<0> {3}\r\nabc UID 2 INTERNALDATE \"x\")\r\nT1 NO [X\r\n",
		"* 1 FETCH (BODY[HEADER.FIELDS (A B)] \"x\\\"\" UID 1)\r\n* BYE x\r\n* LIST (\\a) \"/\" \"&AOQ-\"\r\n+ x\r\nT1 BAD\r\n",
		"* OK [UIDVALIDITY 1] x\r\n* SEARCH 1 2 (MODSEQ 3)\r\n* 9 EXISTS\r\n* ESEARCH (TAG \"x\") UID ALL 1:3\r\n* 1 FETCH ((((\r\n",
		"* 1 FETCH (UID 1 BODY[] {99}\r\nabc",
		"* 3 EXISTS\r\n* OK [UIDNEXT 4] x\r\n* OK [UIDVALIDITY 99999999999] x\r\nT2 OK [READ-ONLY] x\r\n* SEARCH 4294967295 1 3 (MODSEQ 4)\r\nT3 OK\r\n" +
			"* LIST (\\Junk) \"/\" {3}\r\na&- (\"CHILDINFO\" (\"X\"))\r\n* LIST () NIL &ZeVnLIqe-&AOQ-\r\nT4 OK x\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ready := make(chan struct{})
		l := newLink(nullConn{waiting{ready, bytes.NewReader(data)}}, time.Minute)
		flt := newFilter(l, bufio.NewReader(l), map[string]bool{"X-GM-EXT-1": true}, 1000)
		c := imapclient.New(flt, nil)
		defer c.Close()
		if err := c.WaitGreeting(); err != nil {
			t.Fatal(err)
		}
		s := &Session{client: c, filter: flt}
		var set imap.UIDSet
		set.AddRange(1, 3)
		cmd := c.Fetch(set, &imap.FetchOptions{UID: true, BodySection: wholeMessage})
		// What the others get does not matter, as long as they end.
		examine := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true})
		search := c.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{set}}, nil)
		list := c.List("", "*", nil)
		var others sync.WaitGroup
		others.Go(func() {
			list.Collect()
			examine.Wait()
			if data, err := search.Wait(); err == nil {
				data.AllUIDs()
			}
		})
		defer others.Wait()
		close(ready)
		err := s.drain(t.Context(), cmd, func(m fetched) error {
			if m.uid < 1 || m.uid > 3 {
				t.Errorf("UID %d was not asked for", m.uid)
			}
			if m.has && len(m.body) > 0 && !bytes.Contains(data, m.body) && !bytes.Contains(data, []byte{'\\'}) {
				t.Errorf("body %q was not sent", m.body)
			}
			return nil
		})
		if closeErr := cmd.Close(); err == nil {
			err = closeErr
		}
		var answer *imap.Error
		if err == nil || errors.As(err, &answer) {
			return
		}
		if cause := flt.cause(); cause == nil {
			t.Errorf("go-imap stumbled: %v", err)
		} else if !errors.Is(cause, io.ErrUnexpectedEOF) && strings.Contains(cause.Error(), "imapwire") {
			t.Errorf("%v", cause)
		}
	})
}
