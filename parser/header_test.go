package parser

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailflume/mailflume/event"
)

func TestHeaderScan(t *testing.T) {
	for name, c := range map[string]struct {
		raw    string
		fields []string // name=unfolded value
		body   string
		defect string
	}{
		"plain":               {"A: 1\r\nB: 2\r\n\r\nbody", []string{"A=1", "B=2"}, "body", ""},
		"folded":              {"A: 1\r\n 2\r\n\t3\r\n\r\nbody", []string{"A=1 2\t3"}, "body", ""},
		"header alone":        {"A: 1\r\nB: 2", []string{"A=1", "B=2"}, "", ""},
		"empty value":         {"A:\r\nB:\r\n\r\n", []string{"A=", "B="}, "", ""},
		"no header":           {"\r\nhello: no\r\nbody", []string{"hello=no"}, "body", DefectHeaderBlankStart},
		"BOM":                 {"\xef\xbb\xbfA: 1\n\nbody", []string{"A=1"}, "body", DefectHeaderBOM},
		"mbox":                {"From ann Mon Mar 2\nA: 1\n\nbody", []string{"A=1"}, "body", DefectHeaderMbox},
		"quoted mbox":         {">From ann Mon Mar 2\nA: 1\n\nbody", []string{"A=1"}, "body", DefectHeaderMbox},
		"space before colon":  {"A : 1\n\nbody", []string{"A=1"}, "body", DefectHeaderName},
		"odd name":            {"A b: 1\nC: 2\n\nbody", []string{"A b=1", "C=2"}, "body", DefectHeaderName},
		"garbage":             {"A: 1\ngarbage\nB: 2\n\nbody", []string{"A=1", "B=2"}, "body", DefectHeaderGarbage},
		"name without colon":  {"A: 1\nFrom\n : x\nB: 2\nX-C: 3\n\nbody", []string{"A=1", "B=2", "X-C=3"}, "body", DefectHeaderGarbage},
		"no blank line":       {"A: 1\nhello Bob\nhow are you\n\nmore", []string{"A=1"}, "hello Bob\nhow are you\n\nmore", DefectHeaderNoBlank},
		"lost white space":    {"A: x/y;\nname=\"z\"\nB: 1\n\nbody", []string{`A=x/y; name="z"`, "B=1"}, "body", DefectHeaderJoined},
		"CR CR LF":            {"A: 1\r\r\nB: 2\r\r\n\r\r\nbody", []string{"A=1", "B=2"}, "body", ""},
		"white line in fold":  {"A: 1\r\n \r\n 2\r\n\r\nbody", []string{"A=1  2"}, "body", ""},
		"white line as blank": {"A: 1\r\n \r\nhello there\r\n", []string{"A=1"}, "hello there\r\n", ""},
		"boundary":            {"A: 1\nContent-Type: multipart/mixed; boundary=\"b\"\n--b\nB: 2\n", []string{"A=1", `Content-Type=multipart/mixed; boundary="b"`}, "--b\nB: 2\n", DefectHeaderNoBlank},
		"white start":         {" A: 1\nB: 2\n\nbody", []string{"A=1", "B=2"}, "body", DefectHeaderName},
		"text only":           {"hello\nworld\n", nil, "hello\nworld\n", DefectHeaderNoBlank},
	} {
		t.Run(name, func(t *testing.T) {
			var repairs defects
			s := headerScan{raw: []byte(c.raw), limits: DefaultLimits(), notes: notes{defects: &repairs}}
			h, body := s.scan()
			var got []string
			for _, f := range h.fields {
				got = append(got, string(h.name(f))+"="+string(unfold(h.value(f))))
			}
			if !slices.Equal(got, c.fields) || c.raw[body:] != c.body {
				t.Errorf("fields %q, body %q; want %q, %q", got, c.raw[body:], c.fields, c.body)
			}
			found := slices.ContainsFunc(repairs.list, func(d event.Defect) bool { return d.Code == c.defect })
			if found != (c.defect != "") || c.defect == "" && len(repairs.list) > 0 {
				t.Errorf("defects %v, want %q", repairs.list, c.defect)
			}
		})
	}
}

func TestHeaderLimits(t *testing.T) {
	m := Options{Limits: Limits{HeaderFields: 2}}.Parse([]byte("From: a@b\nTo: c@d\nSubject: s\n folded\n\nbody"))
	if len(m.Email.Headers) != 2 || m.Text != "body" || !hasDefect(m, DefectLimitHeader) {
		t.Errorf("%d fields, text %q, defects %v", len(m.Email.Headers), m.Text, m.Defects)
	}
	m = Options{Limits: Limits{HeaderBytes: 10}}.Parse([]byte("From: a@b\nSubject: 0123456789\n\nbody"))
	if *m.Email.Subject != "01234" || m.Text != "body" || !hasDefect(m, DefectLimitHeader) {
		t.Errorf("subject %q, text %q, defects %v", *m.Email.Subject, m.Text, m.Defects)
	}
}

// The header in go-message's type keeps order and folds.
func TestHeaderAsGoMessage(t *testing.T) {
	h := Parse([]byte("Received: one\r\nFrom: Ann <ann@example.org>\r\nReceived: two\r\n\tfolded\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\n")).Header()
	if got := h.Values("Received"); !slices.Equal(got, []string{"one", "two folded"}) {
		t.Errorf("Received is %q", got)
	}
	if subject, err := h.Subject(); err != nil || subject != "café" {
		t.Errorf("the subject is %q, %v", subject, err)
	}
	if from, err := h.AddressList("From"); err != nil || len(from) != 1 || from[0].Address != "ann@example.org" {
		t.Errorf("From is %v, %v", from, err)
	}
}

func TestUnparsable(t *testing.T) {
	for raw, want := range map[string]bool{
		"":                            true,
		"\x00\x01\x02\xff":            true,
		"hello, this is no message\n": true,
		"a: b\n\nhello\n":             true,
		"Subject: hi":                 false,
		"\n\nFrom: a@b\n\n":           false,
		"X-Anything: 1\n\n":           false,
	} {
		reason, dead := check(t, []byte(raw)).Unparsable()
		if dead != want || dead != (reason != "") {
			t.Errorf("%q: unparsable %v (%q), want %v", raw, dead, reason, want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	base := "Received: by a\r\nSubject: hello\r\n world\r\nContent-Type: multipart/mixed; boundary=one\r\n\r\n--one--\r\n"
	same := map[string]string{
		"another boundary":   strings.ReplaceAll(base, "one", "two"),
		"header alone":       "Received: by a\r\nSubject: hello\r\n world\r\n\r\n",
		"bare LF":            strings.ReplaceAll(base, "\r\n", "\n"),
		"other folds":        "Received: by a\r\nSubject: hello world\r\n\r\n",
		"the mail program's": "X-UID: 7\r\nStatus: RO\r\n" + base,
	}
	for name, raw := range same {
		if Fingerprint([]byte(raw)) != Fingerprint([]byte(base)) {
			t.Errorf("%s: another fingerprint", name)
		}
	}
	for _, raw := range []string{strings.Replace(base, "by a", "by b", 1), strings.Replace(base, "hello", "hallo", 1), ""} {
		if Fingerprint([]byte(raw)) == Fingerprint([]byte(base)) {
			t.Errorf("%q has the same fingerprint", raw)
		}
	}
	if Fingerprint([]byte("\x89PNG one")) == Fingerprint([]byte("\x89PNG two")) {
		t.Error("what has no header is not told apart")
	}
}
