package sim_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/mailflume/mailflume/internal/sim"
)

// xoauth2Client is the XOAUTH2 mechanism for go-imap.
type xoauth2Client struct{ user, token string }

func (x xoauth2Client) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

func (xoauth2Client) Next([]byte) ([]byte, error) { return []byte{1}, nil }

// TestIMAPClient lets a client that is not ours log in over TLS, fetch, and be told of new mail.
func TestIMAPClient(t *testing.T) {
	for _, provider := range []sim.Provider{sim.Gmail, sim.Exchange} {
		t.Run(string(provider), func(t *testing.T) {
			w := world(t)
			a := w.AddAccount(provider, "a@b.test")
			for range 3 {
				a.Deliver("INBOX", raw, time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC))
			}
			addr, err := w.IMAP(provider).ListenTLS()
			if err != nil {
				t.Fatal(err)
			}
			conf, err := w.ClientTLS()
			if err != nil {
				t.Fatal(err)
			}
			grown := make(chan uint32, 8)
			c, err := imapclient.DialTLS(addr, &imapclient.Options{
				TLSConfig: conf,
				UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(m *imapclient.UnilateralDataMailbox) {
					if m.NumMessages != nil {
						grown <- *m.NumMessages
					}
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Authenticate(xoauth2Client{a.Address(), "stale"}); err == nil {
				t.Error("a stale token was taken")
			}
			if err := c.Authenticate(xoauth2Client{a.Address(), a.AccessToken(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			c.Caps() // asks now, not during IDLE
			folders, err := c.List("", "*", nil).Collect()
			if err != nil || len(folders) < 9 {
				t.Errorf("LIST: %d folders, %v", len(folders), err)
			}
			box, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
			if err != nil || box.NumMessages != 3 {
				t.Fatalf("EXAMINE: %+v, %v", box, err)
			}
			found, err := c.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{{imap.UIDRange{Start: 2}}}}, nil).Wait()
			if err != nil || len(found.AllUIDs()) != 2 {
				t.Errorf("SEARCH: %+v, %v", found, err)
			}
			body := &imap.FetchItemBodySection{Peek: true}
			messages, err := c.Fetch(imap.UIDSetNum(1, 3), &imap.FetchOptions{
				UID: true, Flags: true, InternalDate: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{body},
			}).Collect()
			if err != nil || len(messages) != 2 || string(messages[1].FindBodySection(body)) != string(raw) || messages[1].UID != 3 {
				t.Errorf("FETCH: %+v, %v", messages, err)
			}
			idle, err := c.Idle()
			if err != nil {
				t.Fatal(err)
			}
			a.Deliver("INBOX", raw, time.Time{})
			for n := uint32(0); n != 4; { // SELECT's EXISTS may be in the channel
				select {
				case n = <-grown:
				case <-time.After(5 * time.Second):
					t.Fatal("IDLE says nothing")
				}
			}
			if err := idle.Close(); err != nil {
				t.Error(err)
			}
			if err := idle.Wait(); err != nil {
				t.Error(err)
			}
			if err := c.Logout().Wait(); err != nil {
				t.Error(err)
			}
			if v := w.Violations(); len(v) != 0 {
				t.Errorf("violations %v", v)
			}
		})
	}
}

// TestListenOAuth asks an OAuth server over a socket.
func TestListenOAuth(t *testing.T) {
	w := world(t)
	w.AddAccount(sim.Exchange, "a@b.test")
	base, err := w.OAuth(sim.Exchange).ListenTLS()
	if err != nil {
		t.Fatal(err)
	}
	conf, err := w.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: conf}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(base + "/common/v2.0/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), base+"/common/oauth2/v2.0/token") {
		t.Errorf("discovery: %s", body)
	}
}
