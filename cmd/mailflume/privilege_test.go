package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mailflume/mailflume/internal/contract"
	"github.com/mailflume/mailflume/internal/samples"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// The user that docs/durability.md gives to mailflume can do all that it does, and nothing that removes events or is about
// anything else on the server.
func TestLeastPrivilege(t *testing.T) {
	server := contract.Serve(t)
	r := newRig(t)
	r.more = fmt.Sprintf("nats: {url: %q, user: mailflume, password: file:nats-password}\nsealing_key: file:key\nevents: {raw: always}\nafter: {seen: true}\n", server.ClientURL())
	r.file("key", token.NewKey())
	r.file("nats-password", "mailflume")
	sales := r.box(sim.Gmail, "sales", r.listen(sim.Gmail), "google", "")
	support := r.box(sim.Exchange, "support", r.listen(sim.Exchange), "microsoft", `, folders: [INBOX, '\Junk']`)
	for i, m := range samples.All() {
		[]*sim.Account{sales, support}[i%2].Deliver("INBOX", m.Raw, time.Now())
	}
	config := r.write()
	t.Run("run", func(t *testing.T) {
		s := start(t, config)
		published := func() (n uint64) {
			for _, st := range s.statuses() {
				if st.State == mailbox.StateWatching {
					n += st.Published["received"] + st.Published["dead"]
				}
			}
			return n
		}
		n := uint64(len(samples.All()))
		eventually(t, "all mail is published", func() bool { return published() == n })
		support.BumpUIDValidity("INBOX") // the stream is read as a ledger
		support.DropConnections()
		support.Deliver("INBOX", []byte("Subject: after the reset\r\n\r\nx\r\n"), time.Now())
		eventually(t, "new mail is published", func() bool { return published() == n+1 })
		for _, args := range [][]string{
			{"status"}, {"check"}, {"token", "status"}, {"keys", "rotate"}, {"token", "revoke", "support"},
		} {
			if code, out, errs := command(t.Context(), append(args, "-c", config)...); code != 0 {
				t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
			}
		}
	})
	if denied := server.Denied("mailflume"); len(denied) > 0 {
		t.Errorf("denied %d times: %q", len(denied), denied)
	}

	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	nc, err := nats.Connect(server.ClientURL(), nats.UserInfo("mailflume", "mailflume"), quiet)
	r.must(err)
	t.Cleanup(nc.Close)
	for _, subject := range []string{
		"$JS.API.STREAM.PURGE.MAIL", "$JS.API.STREAM.DELETE.MAIL", "$JS.API.STREAM.UPDATE.MAIL", "$JS.API.STREAM.MSG.DELETE.MAIL", "$JS.API.STREAM.RESTORE.MAIL",
		"$JS.API.STREAM.PURGE.KV_mailflume", "$JS.API.STREAM.DELETE.KV_mailflume", "$JS.API.STREAM.DELETE.OBJ_mail",
		"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.INFO.OTHER", "$JS.API.STREAM.MSG.GET.KV_other", "$JS.API.STREAM.NAMES",
		"$JS.API.CONSUMER.CREATE.OTHER.x", "$JS.API.CONSUMER.CREATE.KV_other.x", "$KV.other.x", "$O.other.C.x", "orders.new", "$SYS.REQ.SERVER.PING",
	} {
		r.must(nc.Publish(subject, nil))
		r.must(nc.Flush())
		if denied := strings.Join(server.Denied("mailflume"), "\n"); !strings.Contains(denied, fmt.Sprintf("%q", subject)) {
			t.Errorf("it may publish to %s", subject)
		}
	}
	for _, subject := range []string{">", "mail.>", "$KV.mailflume.>", "orders.*"} {
		_, err := nc.SubscribeSync(subject)
		r.must(err)
		r.must(nc.Flush())
		if denied := strings.Join(server.Denied("mailflume"), "\n"); !strings.Contains(denied, fmt.Sprintf("%q", subject)) {
			t.Errorf("it may subscribe to %s", subject)
		}
	}
}
