package crashtest

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/chaos"
)

// stream waits for the stream. A question that was asked of a server which has just ended is never answered: it is asked again.
func (w *world) stream(ctx context.Context) jetstream.Stream {
	w.t.Helper()
	for {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		stream, err := w.js.Stream(asking, "MAIL")
		cancel()
		if err == nil {
			return stream
		}
		if ctx.Err() != nil {
			w.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// judge compares the stream with what was delivered. Nothing is running any more but a NATS server.
func (w *world) judge() chaos.Verdict {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if w.setting.builtIn {
		w.startBroker()
	}
	stream := w.stream(ctx)
	info, err := stream.Info(ctx)
	w.must(err)
	var events []chaos.Published
	dead, server := 0, map[chaos.Place]string{}
	published := map[*served]chaos.Place{}
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		w.must(err)
		var e event.MessageEvent
		w.must(json.Unmarshal(m.Data, &e))
		if e.Type != event.TypeReceived && e.Type != event.TypeDead {
			continue // about a mailbox
		}
		imap := e.Data.IMAP
		one := chaos.Published{
			Place: chaos.Place{Mailbox: e.Data.Mailbox.ID, Folder: imap.Folder, UIDValidity: imap.UIDValidity, UID: imap.UID},
			Seq:   seq, ID: e.ID, SHA256: w.sum(ctx, e.Data.Raw), Position: m.Header.Get("Mailflume-Position"),
		}
		if of := w.served[one.SHA256]; of != nil && of.box == one.Mailbox && of.places[place{one.Folder, one.UID}] {
			if first, twice := published[of]; twice {
				one.Place = first // under another UIDVALIDITY it is the same message
			}
			published[of], server[one.Place] = one.Place, one.SHA256
		}
		if e.Data.Dead != nil {
			one.Dead = e.Data.Dead.Reason
			dead++
		}
		for _, a := range e.Data.Attachments {
			if a.Ref == nil || w.sum(ctx, a.Ref) != a.Ref.SHA256 {
				w.t.Errorf("%v: the attachment %v is not what the event says", one.Place, a.Ref)
			}
		}
		events = append(events, one)
	}
	for sum, of := range w.served {
		if _, there := published[of]; !there {
			for at := range of.places {
				server[chaos.Place{Mailbox: of.box, Folder: at.folder, UID: at.uid}] = sum
				break
			}
		}
	}
	v := chaos.Check(server, events)
	if err := v.Err(); err != nil {
		w.t.Error(err)
	}
	if dead != w.noMails {
		w.t.Errorf("%d events are dead, want %d: %v", dead, w.noMails, v.Dead)
	}
	if bad := w.sim.Violations(); len(bad) > 0 {
		w.t.Errorf("against the rules of the house:\n%s", strings.Join(bad, "\n"))
	}
	return v
}

// sum returns the sha256 of the bytes that a reference points at.
func (w *world) sum(ctx context.Context, ref *event.Ref) string {
	w.t.Helper()
	if ref == nil {
		return ""
	}
	bucket, err := w.js.ObjectStore(ctx, ref.Bucket)
	w.must(err)
	reading, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	raw, err := bucket.GetBytes(reading, ref.Name)
	if err != nil {
		w.t.Errorf("read %s: %v", ref.Name, err)
		return ""
	}
	return sumOf(raw)
}

// tokens checks how often the grants were renewed: once, and once more where the answer may have been lost with the process.
func (w *world) tokens() {
	w.t.Helper()
	most, once := 1, 0
	if w.died {
		most = 2
	}
	for _, box := range w.boxes {
		n := w.sim.OAuth(box.Provider()).Refreshes(box.Address())
		if n.Requests > most || n.MaxConcurrent > 1 {
			w.t.Errorf("the grant of %s was renewed %d times, %d at once; want at most %d", box.name, n.Requests, n.MaxConcurrent, most)
		}
		if n.Requests == 1 {
			once++
		}
	}
	if w.death.point == "token.persisted" && once == 0 {
		w.t.Error("a grant that was saved was renewed again")
	}
}
