package main

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// Whoever may write to NATS and has no key: each byte of a grant changed, the grants of two mailboxes swapped, older
// records put back, with and without what the store asks of an honest writer. A process that has seen nothing before
// refuses all of it.
func TestGrantsAtRest(t *testing.T) {
	r := newRig(t)
	gmail := r.listen(sim.Gmail)
	r.box(sim.Gmail, "one", gmail, "google", "")
	r.box(sim.Gmail, "two", gmail, "google", "")
	config, err := configs.Load(r.write())
	r.must(err)
	d, err := openDesk(t.Context(), config)
	r.must(err)
	defer func() { r.must(d.close(t.Context())) }()
	kv, err := d.publisher.JetStream().KeyValue(t.Context(), config.NATS.State)
	r.must(err)
	read := func(name string) jetstream.KeyValueEntry {
		t.Helper()
		e, err := kv.Get(t.Context(), "g."+name)
		r.must(err)
		return e
	}
	var past [][]byte
	rejected := ""
	for range 3 {
		for _, name := range []string{"one", "two"} {
			_, account, err := d.account(name)
			r.must(err)
			tok, err := d.tokens.Token(t.Context(), account, rejected)
			r.must(err)
			if name == "one" {
				rejected = tok
				past = append(past, bytes.Clone(read("one").Value()))
			}
		}
	}
	keys, err := config.Keyring()
	r.must(err)
	refused, tried := 0, 0
	// attempt writes a value in place of the grant of one and reports what somebody makes of it who knows nothing else.
	attempt := func(what string, value []byte, honest bool) {
		t.Helper()
		var err error
		if honest {
			_, err = kv.Update(t.Context(), "g.one", value, read("one").Revision())
		} else {
			_, err = kv.Put(t.Context(), "g.one", value)
		}
		r.must(err)
		newcomer, err := newTokens(keys, d.store, loneSession{}, slog.New(slog.DiscardHandler))
		r.must(err)
		tried++
		var sealed *token.SealError
		switch s, err := newcomer.Status(t.Context(), "one"); {
		case !errors.As(err, &sealed):
			t.Errorf("%s (honest: %v): accepted: %+v, %v", what, honest, s, err)
		case sealed.Hint == "" || sealed.Mailbox != "one":
			t.Errorf("%s: %+v", what, sealed)
		default:
			refused++
		}
	}
	last := past[len(past)-1]
	for i := range last {
		bad := bytes.Clone(last)
		bad[i] ^= 1
		attempt("a byte changed", bad, i%2 == 0)
	}
	for _, honest := range []bool{false, true} {
		attempt("the grant of another mailbox", read("two").Value(), honest)
		for _, old := range past {
			attempt("an older record", old, honest)
		}
		attempt("nothing", nil, honest)
	}
	t.Logf("%d of %d refused", refused, tried)
	if _, account, _ := d.account("two"); account.Mailbox == "" {
		t.Error("no account")
	} else if _, err := d.tokens.Token(t.Context(), account, ""); err != nil {
		t.Errorf("the other mailbox: %v", err)
	}
	// Deleted and connected again, it goes on.
	r.must(kv.Delete(t.Context(), "g.one"))
	_, account, err := d.account("one")
	r.must(err)
	if _, err := d.tokens.Token(t.Context(), account, ""); err != nil {
		t.Errorf("after it was deleted: %v", err)
	}
}
