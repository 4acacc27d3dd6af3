package web

import (
	"errors"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/mailbox"
)

// What cannot be kept is on the page and in the metrics, and the mailboxes that someone must look at come first.
func TestPageShowsTrouble(t *testing.T) {
	box := func(id string, s mailbox.Status) mailbox.Status {
		s.Mailbox = event.Mailbox{ID: id, Name: id, Provider: "imap"}
		s.Since = time.Now()
		return s
	}
	h := Handler(Sources{
		Mailboxes: func() []mailbox.Status {
			return []mailbox.Status{
				box("well", mailbox.Status{State: mailbox.StateWatching, Positions: map[string]string{"INBOX": "p1;71;4711;4712;9;0;0;;"}}),
				box("tries", mailbox.Status{State: mailbox.StateWaiting, Sentence: "No route."}),
				box("noticed", mailbox.Status{State: mailbox.StateWatching, Notice: "The stream was purged.", NoticeHint: "Restore it.", NoticeAt: time.Now().Add(-3 * time.Hour)}),
				box("silent", mailbox.Status{State: mailbox.StateWaiting, StaleSince: time.Now().Add(-9 * time.Hour)}),
				box("away", mailbox.Status{State: mailbox.StateElsewhere}),
				box("parked", mailbox.Status{State: mailbox.StateParked, Sentence: "Refused."}),
			}
		},
		Owner: func(id string) string { return map[string]string{"away": "worker-2", "well": "not asked"}[id] },
		Ready: func() error { return nil }, Broker: func() string { return "NATS" },
		Refused: func() error { return errors.New("mailflume.yaml:12: mailboxes[0].poll: <not a time>") },
		Weak: func() []Weakness {
			return []Weakness{{"sync_late", "Acknowledged too early.", "Set it."}, {"sync_late", "The other too.", "Set it."}}
		},
	})
	get := func(path string) string {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest("GET", path, nil))
		return r.Body.String()
	}
	page := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(get("/"), "")
	at := 0
	for _, want := range []string{
		"mailflume.yaml:12: mailboxes[0].poll: &lt;not a time&gt;", "silent", "no pass was complete for 9 h", "parked", "Refused.",
		"noticed", "3 h ago: The stream was purged.", "Restore it.", "tries", "well", "INBOX to UID 4711", "away", "not on this replica but on worker-2", "Acknowledged too early.", "Set it.",
	} {
		i := strings.Index(page[at:], want)
		if i < 0 {
			t.Fatalf("no %q where it should be in %s", want, page)
		}
		at += i
	}
	metrics := get("/metrics")
	for _, want := range []string{
		`mailflume_mailbox_stale{mailbox="silent"} 1`, `mailflume_mailbox_stale{mailbox="well"} 0`, `mailflume_mailbox_notice{mailbox="noticed"} 1`,
		`mailflume_mailbox_notice{mailbox="well"} 0`, `mailflume_broker_weakness{code="sync_late"} 1`, "mailflume_config_refused 1", "mailflume_stuck_messages 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}
