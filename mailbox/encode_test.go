package mailbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/contract"
	"github.com/mailflume/mailflume/parser"
	"github.com/mailflume/mailflume/publish"
)

// drafted returns the event of a message before it is encoded.
func drafted(raw string, change ...func(*fetcher.Message)) *draft {
	m := fetcher.Message{
		Kind: fetcher.KindMail, Folder: "INBOX", UIDValidity: 7, UID: 42, Flags: []string{`\Seen`},
		InternalDate: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Size: int64(len(raw)), Raw: []byte(raw),
	}
	for _, c := range change {
		c(&m)
	}
	c := Config{Mailbox: event.Mailbox{ID: "sales", Name: "Sales", Address: "sales@example.test", Provider: "gmail"}, Parse: parser.Options{}}
	return c.build(m, event.CauseLive)
}

// decode reads the JSON of an event in structured mode.
func decode(t *testing.T, e *publish.Event) event.MessageEvent {
	t.Helper()
	var got event.MessageEvent
	if err := json.Unmarshal(e.Data, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func truncated(m event.Message) (n int) {
	for _, d := range m.Defects {
		if d.Code == DefectTruncated {
			n++
		}
	}
	return n
}

// repeat calls part for 0 to n-1 and joins what it returns.
func repeat(n int, part string, sep string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = strings.ReplaceAll(part, "#", fmt.Sprint(i))
	}
	return strings.Join(parts, sep)
}

const plainHead = "From: a@example.test\r\nSubject: s\r\nMessage-ID: <id@example.test>\r\n"

// monsters are messages whose events are far over any max_payload, each in another place.
var monsters = map[string]string{
	"text":        plainHead + "\r\n" + strings.Repeat("Grüße aus Köln. ", 40_000),
	"html":        plainHead + "Content-Type: text/html; charset=utf-8\r\n\r\n" + strings.Repeat("<p>größer & <b>größer</b></p>", 20_000),
	"headers":     plainHead + repeat(3_000, "X-Header-#: "+strings.Repeat("v", 200)+"\r\n", "") + "\r\nx",
	"one header":  plainHead + "X-Long: " + long + "\r\n\r\nx",
	"header name": plainHead + long + ": x\r\n\r\nx",
	"recipients":  plainHead + "To: " + repeat(9_000, `"Recipient number #" <recipient-#@example.test>`, ",\r\n ") + "\r\n\r\nx",
	"long names":  plainHead + "Cc: " + repeat(40, `"`+strings.Repeat("n", 12_000)+`" <c#@example.test>`, ",\r\n ") + "\r\n\r\nx",
	"subject":     "From: a@example.test\r\nSubject: " + strings.Repeat("subject ", 60_000) + "\r\n\r\nx",
	"references":  plainHead + "References: " + repeat(15_000, "<reference-#@example.test>", "\r\n ") + "\r\n\r\nx",
	"auth":        plainHead + "Authentication-Results: " + long + "; spf=" + long + " smtp.mailfrom=x\r\n\r\nx",
	"unsubscribe": plainHead + "List-Unsubscribe: " + repeat(5_000, "<https://example.test/"+strings.Repeat("u", 90)+"/#>", ", ") + "\r\n\r\nx",
	"calendar":    plainHead + "Content-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:" + long + "\r\nSUMMARY:" + long + "\r\n" + repeat(3_000, "ATTENDEE;CN=Attendee #:mailto:attendee-#@example.test\r\n", "") + "END:VEVENT\r\nEND:VCALENDAR\r\n",
	"type":        plainHead + "Content-Type: application/" + long + "\r\n\r\nx",
	"file name":   plainHead + "Content-Type: application/pdf; name=\"" + long + "\"\r\nContent-ID: <" + long + ">\r\n\r\nx",
	"charset":     plainHead + "Content-Type: text/plain; charset=" + long + "\r\nContent-Language: " + long + "\r\n\r\nx",
	"parts":       plainHead + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + repeat(1_500, "--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=\"file-#-"+strings.Repeat("f", 150)+".txt\"\r\n\r\ntext #\r\n", "") + "--b--\r\n",
	"text parts":  plainHead + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + repeat(300, "--b\r\nContent-Type: text/plain\r\n\r\n"+strings.Repeat("text # ", 400)+"\r\n", "") + "--b--\r\n",
	"nested":      plainHead + repeat(200, "Content-Type: multipart/mixed; boundary=b#\r\n\r\n--b#\r\n", "") + "Content-Type: text/plain\r\n\r\n" + strings.Repeat("deep ", 100_000),
	"message id":  "From: a@example.test\r\nMessage-ID: <" + long + "@example.test>\r\n\r\nx",
	"list":        plainHead + "List-Id: " + long + " <" + long + ".example.test>\r\n\r\nx",
	"broken utf8": plainHead + "\r\n" + strings.Repeat("\xff\xfe\x80", 150_000),
}

// long is longer than an event of these tests may be.
var long = strings.Repeat("x", 200_000)

// An event is cut until it fits, stays what the schema says, and UTF-8, says that it was cut, and keeps what identifies it.
func TestEncodeCutsWhatDoesNotFit(t *testing.T) {
	for name, raw := range monsters {
		for _, binary := range []bool{false, true} {
			const maxPayload = 128 << 10
			t.Run(fmt.Sprintf("%s/%v", name, binary), func(t *testing.T) {
				c := schemaConfig(maxPayload)
				c.Binary = binary
				d := c.build(fetched(raw), event.CauseLive)
				id := d.event.ID
				e, err := c.finish(t.Context(), d)
				if err != nil {
					t.Fatal(err)
				}
				headers := 0
				for k, v := range e.Header {
					headers += len(k) + len(v) + 4
				}
				if int64(len(e.Data)) > maxPayload-headroom || headers > headroom/2 {
					t.Errorf("%d bytes and %d of headers for a max_payload of %d", len(e.Data), headers, maxPayload)
				}
				if !utf8.Valid(e.Data) {
					t.Error("it is not UTF-8")
				}
				var m event.Message
				if binary {
					err = json.Unmarshal(e.Data, &m)
				} else {
					m, err = decode(t, e).Data, contract.Event(e.Data)
				}
				if err != nil || m.Email.ID != id || m.IMAP.UID != 42 || m.Email.From[0].Email != "a@example.test" || truncated(m) != 1 {
					t.Errorf("%v, id %s, uid %d, from %v, cut %d times", err, m.Email.ID, m.IMAP.UID, m.Email.From, truncated(m))
				}
			})
		}
	}
}

// What is cut least is what fits: a text is shortened before anything else is touched, and says so.
func TestEncodeCutsTextsFirst(t *testing.T) {
	e, err := drafted(monsters["text"]).encode(256<<10, false)
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, e)
	v := got.Data.Email.BodyValues["1"]
	if !v.IsTruncated || len(v.Value) < 60<<10 || !strings.HasPrefix(v.Value, "Grüße aus Köln. Grüße") {
		t.Errorf("truncated %v, %d bytes, %.40q", v.IsTruncated, len(v.Value), v.Value)
	}
	if got.Data.Email.BodyStructure == nil || len(got.Data.Email.Headers) != 3 || got.Data.Email.Size == 0 {
		t.Errorf("more than the text was cut: %.300s", e.Data)
	}
}

// A date that JSON cannot say does not hold up the mailbox.
func TestEncodeOddDates(t *testing.T) {
	for _, date := range []time.Time{{}, time.Date(9999, 12, 31, 23, 30, 0, 0, time.FixedZone("", -3600))} {
		e, err := drafted(plainHead+"\r\nx", func(m *fetcher.Message) { m.InternalDate = date }).encode(1<<20, false)
		if err != nil {
			t.Errorf("%v: %v", date, err)
		} else if got := decode(t, e); got.Data.Email.ReceivedAt != nil {
			t.Errorf("%v became %v", date, got.Data.Email.ReceivedAt)
		}
	}
}

// What fits is not touched.
func TestEncodeLeavesWhatFits(t *testing.T) {
	d := drafted(plainHead + "\r\nHello <b> & co.\r\n")
	e, err := d.encode(1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, e)
	if truncated(got.Data) != 0 || got.Data.Text != "Hello <b> & co.\n" && got.Data.Text != "Hello <b> & co.\r\n" {
		t.Errorf("text %q, defects %v", got.Data.Text, got.Data.Defects)
	}
	if !strings.Contains(string(e.Data), "<b> & co.") {
		t.Errorf("escaped for HTML: %s", e.Data)
	}
	if e.ContentType != "" || e.Header != nil {
		t.Errorf("structured mode has %q and %v", e.ContentType, e.Header)
	}
}

// A max_payload that is too small for anything is the operator's to raise, and is said to be so.
func TestEncodeWithoutRoom(t *testing.T) {
	_, err := drafted(plainHead+"\r\nx").encode(headroom+100, false)
	if !errors.Is(err, errPayload) || Classify(err).Class != Operator {
		t.Errorf("%v", err)
	}
}

// In binary mode the attributes are headers, in which any Message-ID must be safe to put.
func TestEncodeBinaryMode(t *testing.T) {
	d := drafted("From: a@example.test\r\nMessage-ID: <q\"uo%te grüße@example.test>\r\n\r\nx")
	want := d.event.Subject
	if !strings.Contains(want, "grüße") {
		t.Fatalf("the Message-ID was read as %q", want)
	}
	e, err := d.encode(1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	subject := e.Header["ce-subject"]
	for _, r := range subject {
		if r <= ' ' || r > '~' || r == '"' {
			t.Errorf("ce-subject has %q: %s", r, subject)
		}
	}
	for _, part := range []string{"%22uo%25te", "gr%C3%BC%C3%9Fe@example.test"} {
		if !strings.Contains(subject, part) {
			t.Errorf("no %s in %s", part, subject)
		}
	}
	rest := maps.Clone(e.Header)
	delete(rest, "ce-subject")
	if !maps.Equal(rest, map[string]string{
		"ce-specversion": "1.0", "ce-id": d.event.ID, "ce-source": "/mailboxes/sales/folders/INBOX", "ce-type": event.TypeReceived,
		"ce-time": "2026-03-01T12:00:00Z", "ce-dataschema": event.SchemaMessage, "ce-cause": "live",
	}) {
		t.Errorf("the other attributes are %v", rest)
	}
	if e.ContentType != "application/json" {
		t.Errorf("the content type is %q", e.ContentType)
	}
	var m event.Message
	if err := json.Unmarshal(e.Data, &m); err != nil || m.Mailbox.ID != "sales" {
		t.Errorf("the data is not the message: %v, %.200s", err, e.Data)
	}
}

// No date of a mail can keep an event from being encoded: it would hold the mailbox up for ever.
func TestEncodeTakesAnyDate(t *testing.T) {
	for _, date := range []string{
		"", "never", "Sun, 1 Mar 2026 00:00:00 +9959", "Sun, 1 Mar 2026 00:00:00 -9999", "1 Jan 0000 00:00:00 +0000", "1 Jan 99999 00:00:00 +0000",
		"31 Dec 9999 23:59:59 -1200", "1 Jan 0001 00:00:00 +1400", "1 Jan 0000 00:00:00 +2359", "31 Dec 9999 23:59:60 -2359", "30 Feb 2026 25:61:61 +0000",
		"1 Jan 2026 00:00:00 +2400", "1 Jan 2026 00:00:00 +235959", "1 Jan 69 00:00:00 GMT", "1 Jan -5 00:00:00 GMT",
	} {
		if _, err := drafted("Date: "+date+"\r\n\r\nx").encode(1<<20, false); err != nil {
			t.Errorf("%q: %v", date, err)
		}
	}
	for _, date := range []time.Time{
		{}, time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -12*3600)), time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 14*3600)),
	} {
		for _, binary := range []bool{false, true} {
			if _, err := drafted("\r\nx", func(m *fetcher.Message) { m.InternalDate = date }).encode(1<<20, binary); err != nil {
				t.Errorf("%v: %v", date, err)
			}
		}
	}
}

// IMAP flags become JMAP keywords (RFC 8621, section 4.1.1).
func TestKeywords(t *testing.T) {
	for flags, want := range map[string]string{
		"":                                "",
		`\Seen \Answered \Flagged \Draft`: "$answered $draft $flagged $seen",
		`\SEEN \seen`:                     "$seen",
		`\Recent \Deleted`:                "",
		"$Forwarded $MDNSent NonJunk":     "$forwarded $mdnsent nonjunk",
	} {
		got := keywords(strings.Fields(flags))
		for k := range strings.FieldsSeq(want) {
			if !got[k] {
				t.Errorf("%s: no %s in %v", flags, k, got)
			}
			delete(got, k)
		}
		if len(got) > 0 {
			t.Errorf("%s: %v is too much", flags, got)
		}
	}
}
