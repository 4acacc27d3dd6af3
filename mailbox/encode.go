package mailbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/publish"
)

// headroom is what an event's NATS headers may take of the server's max_payload.
const headroom = 8 << 10

// DefectTruncated is the code of the defect that says that parts of the event were cut to fit into one message of the
// stream. The raw bytes, which have all of it, are then kept unless Config.Raw is RawNever; for texts, isTruncated is set.
const DefectTruncated = "event_truncated"

// encode makes the JSON of an event. What does not fit into the server's max_payload is cut, the largest and least telling
// first: long texts, then long headers, then the structure and long lists.
func (d *draft) encode(maxPayload int64, binary bool) (*publish.Event, error) {
	e := &publish.Event{
		Folder: event.Token(d.folder), Route: d.route, ID: d.event.ID, Position: d.position,
		UID: d.event.Data.IMAP.UID, Fingerprint: d.fingerprint, EmailID: d.emailID, Received: d.event.Time,
	}
	var body any = &d.event
	if binary {
		body, e.ContentType, e.Header = &d.event.Data, d.event.DataContentType, attributes(d.event.Envelope)
	}
	limit := int(maxPayload) - headroom
	data, err := marshal(body)
	for _, cut := range cuts {
		if err != nil || len(data) <= limit {
			break
		}
		cut(&d.event.Data)
		data, err = marshal(body)
	}
	if err == nil && len(data) > limit {
		err = errPayload
	}
	if err != nil {
		return nil, fmt.Errorf("encode the event of UID %d in folder %q: %w", d.event.Data.IMAP.UID, d.folder, err)
	}
	e.Data = data
	return e, nil
}

// marshal is json.Marshal without the escapes that only matter inside HTML: mail is full of < and >.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// attributes returns the headers of an event in binary mode (CloudEvents NATS binding, section 3.1).
func attributes(e event.Envelope) map[string]string {
	h := map[string]string{
		"ce-specversion": e.SpecVersion, "ce-id": e.ID, "ce-source": e.Source, "ce-type": e.Type,
		"ce-dataschema": e.DataSchema, "ce-cause": string(e.Cause),
	}
	if !e.Time.IsZero() {
		h["ce-time"] = e.Time.Format(time.RFC3339Nano)
	}
	if e.Subject != "" {
		h["ce-subject"] = percentEncode(e.Subject)
	}
	return h
}

// percentEncode makes a header value of any text (CloudEvents HTTP binding, section 3.1.3.2, which the NATS binding follows).
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c <= '~' && c != '"' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// errPayload means that the server's max_payload is so small that not even a message's addresses fit.
var errPayload = errors.New("the event does not fit into one message of the stream; raise max_payload of the NATS server to at least 1MB")

// cuts are applied in this order until the event fits.
var cuts = []func(*event.Message){
	cutTexts(64 << 10), cutTexts(16 << 10), cutTexts(2 << 10), cutHeaders(1000, 2000), cutHeaders(200, 500), cutStructure,
	cutAll(100, 0), cutHeaders(0, 0), cutAll(10, 500),
}

// cutTexts shortens every text of the message to at most n bytes.
func cutTexts(n int) func(*event.Message) {
	return func(m *event.Message) {
		markTruncated(m)
		m.Text, m.HTML, m.ReplyText = cut(m.Text, n), cut(m.HTML, n), cut(m.ReplyText, n)
		for id, v := range m.Email.BodyValues {
			if len(v.Value) > n {
				v.Value, v.IsTruncated = cut(v.Value, n), true
				m.Email.BodyValues[id] = v
			}
		}
	}
}

// cutHeaders keeps at most count header fields, of at most n bytes each.
func cutHeaders(count, n int) func(*event.Message) {
	return func(m *event.Message) {
		m.Email.Headers = first(m.Email.Headers, count)
		for i := range m.Email.Headers {
			m.Email.Headers[i].Value = cut(m.Email.Headers[i].Value, n)
		}
	}
}

// cutStructure drops the tree and the texts of a message with very many parts.
func cutStructure(m *event.Message) {
	m.Email.BodyStructure = nil
	m.Email.BodyValues = map[string]event.EmailBodyValue{}
}

// cutAll keeps at most n entries of every list, and of every string at most so many bytes (0: all), wherever they are.
func cutAll(n, bytes int) func(*event.Message) {
	return func(m *event.Message) {
		if len(m.Email.Keywords) > n {
			m.Email.Keywords = nil
		}
		cutValue(reflect.ValueOf(m).Elem(), n, bytes)
		markTruncated(m)
	}
}

func cutValue(v reflect.Value, n, bytes int) {
	switch v.Kind() {
	case reflect.String:
		if bytes > 0 && v.Len() > bytes {
			v.SetString(cut(v.String(), bytes))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			cutValue(v.Elem(), n, bytes)
		}
	case reflect.Slice:
		if v.Len() > n {
			v.SetLen(n)
		}
		for i := range v.Len() {
			cutValue(v.Index(i), n, bytes)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				cutValue(f, n, bytes)
			}
		}
	}
}

func markTruncated(m *event.Message) {
	if !wasCut(m) {
		m.Defects = append(m.Defects, event.Defect{Code: DefectTruncated})
	}
}

func wasCut(m *event.Message) bool {
	return slices.ContainsFunc(m.Defects, func(d event.Defect) bool { return d.Code == DefectTruncated })
}

// cut returns at most n bytes of s, not ending inside a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func first[T any](list []T, n int) []T {
	if len(list) > n {
		return list[:n]
	}
	return list
}
