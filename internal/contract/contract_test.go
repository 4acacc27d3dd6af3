package contract_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/internal/contract"
)

// announced is an event about a mailbox.
func announced(t *testing.T) map[string]any {
	t.Helper()
	text, err := json.Marshal(event.MailboxEvent{
		Envelope: event.Envelope{
			SpecVersion: "1.0", ID: strings.Repeat("0a", 16), Source: "/mailboxes/sales", Type: event.MailboxType(event.StateStale),
			Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), DataContentType: "application/json", DataSchema: event.SchemaMailbox,
		},
		Data: event.MailboxChange{Mailbox: event.Mailbox{ID: "sales", Provider: "gmail"}, State: event.StateStale, Detail: "Nothing was read."},
	})
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

func text(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The schema refuses what is not an event of ours.
func TestEventRefuses(t *testing.T) {
	if err := contract.Event(text(t, announced(t))); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(e map[string]any){
		"no id":                func(e map[string]any) { delete(e, "id") },
		"another id":           func(e map[string]any) { e["id"] = "1" },
		"another version":      func(e map[string]any) { e["specversion"] = "0.3" },
		"an unknown type":      func(e map[string]any) { e["type"] = "mailflume.mailbox.burnt.v1" },
		"a message's type":     func(e map[string]any) { e["type"] = event.TypeReceived },
		"a message's schema":   func(e map[string]any) { e["dataschema"] = event.SchemaMessage },
		"a cause":              func(e map[string]any) { e["cause"] = "live" },
		"time of another form": func(e map[string]any) { e["time"] = "yesterday" },
		"an unknown state":     func(e map[string]any) { e["data"].(map[string]any)["state"] = "burnt" },
		"null":                 func(e map[string]any) { e["data"].(map[string]any)["detail"] = nil },
		"an undocumented field": func(e map[string]any) {
			e["data"].(map[string]any)["mailbox"].(map[string]any)["colour"] = "red"
		},
	} {
		e := announced(t)
		change(e)
		if contract.Event(text(t, e)) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if contract.Event([]byte("{")) == nil || contract.Data(event.SchemaMailbox, text(t, announced(t))) == nil {
		t.Error("what is no event, or no data, is accepted")
	}
}

// The published schema, unlike the strict one of the tests, lets fields pass that a later version may have.
func TestSchemaLetsNewFieldsPass(t *testing.T) {
	tree, err := jsonschema.UnmarshalJSON(strings.NewReader(string(event.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(event.SchemaEvent, tree); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(event.SchemaEvent)
	if err != nil {
		t.Fatal(err)
	}
	e := announced(t)
	e["colour"], e["data"].(map[string]any)["colour"] = "red", "red"
	if err := s.Validate(e); err != nil {
		t.Error(err)
	}
	delete(e, "type")
	if s.Validate(e) == nil {
		t.Error("an event without a type is accepted")
	}
}

// The AsyncAPI document refuses subjects, headers and payloads that it does not have.
func TestMessageRefuses(t *testing.T) {
	type message struct {
		subject string
		header  map[string][]string
		payload map[string]any
	}
	for name, change := range map[string]func(m *message){
		"":                    func(*message) {},
		"another root":        func(m *message) { m.subject = "maildead.sales.stale" },
		"another state":       func(m *message) { m.subject = "mailbox.sales.burnt" },
		"a token too many":    func(m *message) { m.subject = "mailbox.sales.INBOX.stale" },
		"text in a subject":   func(m *message) { m.subject = "mailbox.sales@example.stale" },
		"a message's subject": func(m *message) { m.subject = "mail.sales.INBOX.received" },
		"no id":               func(m *message) { delete(m.header, "Mailflume-Id") },
		"no content type":     func(m *message) { delete(m.header, "Content-Type") },
		"two ids":             func(m *message) { m.header["Mailflume-Id"] = []string{"1", "2"} },
		"another header":      func(m *message) { m.header["Subject"] = []string{"Hello"} },
		"another payload":     func(m *message) { m.payload["id"] = "1" },
	} {
		m := message{"mailbox.sales.stale", map[string][]string{
			"Content-Type": {event.ContentType}, "Mailflume-Id": {strings.Repeat("0a", 16)},
		}, announced(t)}
		change(&m)
		if err := contract.Message(m.subject, m.header, text(t, m.payload)); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// The event that README shows has only fields that there are, with values as the schema has them.
func TestReadmeShowsAnEvent(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("README shows no event")
	}
	var e event.MessageEvent
	whole := regexp.MustCompile(`, "\.\.\.": "[^"]*"`).ReplaceAll(block[1], nil)
	whole = regexp.MustCompile(`9f2c\.\.\.`).ReplaceAll(whole, []byte(strings.Repeat("9f2c", 16)))
	if err := json.Unmarshal(whole, &e); err != nil {
		t.Fatal(err)
	}
	full := text(t, e)
	var shown, written map[string]any
	if json.Unmarshal(whole, &shown) != nil || json.Unmarshal(full, &written) != nil {
		t.Fatal("what was read once cannot be read again")
	}
	missing(t, "", shown, written)
}

// missing reports what is in the one and not, or not the same, in the other.
func missing(t *testing.T, at string, shown, written any) {
	t.Helper()
	switch shown := shown.(type) {
	case map[string]any:
		there, _ := written.(map[string]any)
		for name, v := range shown {
			missing(t, at+"."+name, v, there[name])
		}
	case []any:
		there, _ := written.([]any)
		if len(there) != len(shown) {
			t.Errorf("README shows %d values of %s; the types make %d of them", len(shown), strings.TrimPrefix(at, "."), len(there))
			return
		}
		for i, v := range shown {
			missing(t, at, v, there[i])
		}
	default:
		if shown != written {
			t.Errorf("README shows %s as %v; the types make %v of it", strings.TrimPrefix(at, "."), shown, written)
		}
	}
}
