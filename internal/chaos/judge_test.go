package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
)

// The way from a real stream and a real mail server to the verdict is checked too: events published by hand, with a
// fault at a time.
func TestJudgeSeesFaultsOnARealStream(t *testing.T) {
	w := newWorld(t, Options{NATS: buildNATS(t)})
	ctx := t.Context()
	sent := madeUp(20, w.rng) // CRLF throughout, so that the server leaves them as they are
	bytesOf := map[string][]byte{}
	for _, m := range sent {
		sum := sha256.Sum256(m)
		bytesOf[hex.EncodeToString(sum[:])] = m
	}
	if err := w.Deliver(ctx, w.rng, sent...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.CreateStream(ctx, jetstream.StreamConfig{Name: "MAIL", Subjects: []string{"mail.>"}}); err != nil {
		t.Fatal(err)
	}
	bucket, err := w.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "mail"})
	if err != nil {
		t.Fatal(err)
	}
	served, err := w.Served(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var places []Place
	for p := range served {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b Place) int { return int(a.UID) - int(b.UID) })

	publish := func(p Place, id string) {
		t.Helper()
		e := event.MessageEvent{Envelope: event.Envelope{ID: id, Type: event.TypeReceived}}
		e.Data.Mailbox.ID, e.Data.IMAP = p.Mailbox, event.IMAP{Folder: p.Folder, UIDValidity: p.UIDValidity, UID: p.UID}
		e.Data.Raw = &event.Ref{Bucket: "mail", Name: p.Mailbox + "/" + id}
		if _, err := bucket.PutBytes(ctx, e.Data.Raw.Name, bytesOf[served[p]]); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		m := nats.NewMsg("mail." + p.Mailbox + "." + p.Folder + ".received")
		m.Data = data
		m.Header.Set("Mailflume-Position", fetcher.Position{UIDValidity: p.UIDValidity, Low: p.UID, N: uint64(p.UID)}.String())
		if _, err := w.js.PublishMsg(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	judge := func() Verdict {
		t.Helper()
		v, _, err := w.Judge(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	last := len(places) - 1
	for _, p := range places[:last] {
		publish(p, fmt.Sprint(p))
	}
	if v := judge(); len(v.Lost) != 1 || len(v.Wrong) != 0 {
		t.Errorf("one is missing: %v", v.Err())
	}
	publish(places[last], "the last")
	if v := judge(); v.Err() != nil || v.Events != len(places) {
		t.Errorf("all are there: %v", v.Err())
	}
	publish(places[0], "once more")
	if v := judge(); len(v.Duplicate) != 1 || len(v.Disorder) != 1 || len(v.Position) != 1 {
		t.Errorf("one is there twice, and moves its position back: %v", v.Err())
	}
	damaged := bytesOf[served[places[1]]]
	damaged[len(damaged)/2]++
	if _, err := bucket.PutBytes(ctx, places[1].Mailbox+"/"+fmt.Sprint(places[1]), damaged); err != nil {
		t.Fatal(err)
	}
	if v := judge(); len(v.Wrong) != 1 {
		t.Errorf("the bytes of one are damaged: %v", v.Err())
	}
}
