package event_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mailflume/mailflume/event"
)

func ExampleToken() {
	fmt.Println(event.Token("INBOX"))
	fmt.Println(event.Token("Work/Invoices 2026"))
	fmt.Println(event.Token("[Gmail]/All Mail"))
	fmt.Println(event.Token(""))
	// Output:
	// INBOX
	// Work_2fInvoices_202026
	// _5bGmail_5d_2fAll_20Mail
	// _
}

var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Whatever a folder is called, its token is one token of a subject, and no other folder has it.
func TestTokensAreTokensAndDiffer(t *testing.T) {
	seen := make(map[string]string)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[a-c_ .*>]{0,6}`),
			rapid.Map(rapid.StringMatching(`[ab]{1,3}`), func(s string) string { return strings.Repeat(s, 40) }),
		).Draw(t, "name")
		got := event.Token(name)
		if !token.MatchString(got) {
			t.Fatalf("Token(%q) = %q", name, got)
		}
		if other, ok := seen[got]; ok && other != name {
			t.Fatalf("%q and %q both have the token %q", name, other, got)
		}
		seen[got] = name
	})
}

// A consumer reads what we write: the envelope's attributes stand beside data, and the mail's parts inside it.
func TestMessageEventIsACloudEvent(t *testing.T) {
	subject := "Hello"
	e := event.MessageEvent{
		Envelope: event.Envelope{
			SpecVersion: "1.0", ID: "1", Source: "/mailboxes/a/folders/INBOX", Type: event.TypeReceived,
			Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), DataContentType: "application/json", DataSchema: event.SchemaMessage,
		},
		Data: event.Message{Mail: event.Mail{Email: event.Email{Subject: &subject}, Text: "Hi"}},
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		SpecVersion string `json:"specversion"`
		Time        string `json:"time"`
		Data        struct {
			Text  string `json:"text"`
			Email struct {
				Subject *string `json:"subject"`
				SentAt  *string `json:"sentAt"`
			} `json:"email"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.SpecVersion != "1.0" || got.Time != "2026-01-02T03:04:05Z" || got.Data.Text != "Hi" || *got.Data.Email.Subject != "Hello" {
		t.Errorf("read back %+v from %s", got, text)
	}
	// RFC 8621 knows no absent properties: what a message does not have is null.
	if !strings.Contains(string(text), `"sentAt":null`) {
		t.Errorf("no null for a Date that is not there: %s", text)
	}
	// Without an INTERNALDATE there is no time, rather than the year 1.
	e.Time = time.Time{}
	if text, err = json.Marshal(e); err != nil || strings.Contains(string(text), `"time"`) {
		t.Errorf("%v: %s", err, text)
	}
}
