package parser

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParams(t *testing.T) {
	for value, want := range map[string]string{
		`text/plain; charset=utf-8`:                                             "text/plain charset=utf-8",
		`TEXT/Plain; CHARSET="UTF-8"`:                                           "text/plain charset=UTF-8",
		`multipart/mixed;; boundary=b`:                                          "multipart/mixed boundary=b",
		`multipart/mixed; foo; boundary=a=b; =x`:                                "multipart/mixed boundary=a=b",
		`text/plain; charset="utf-8" format=flowed`:                             "text/plain charset=utf-8 format=flowed",
		`text/plain charset=utf-8`:                                              "text/plain charset=utf-8",
		`text/plain; charset=us-ascii (Plain text)`:                             "text/plain charset=us-ascii (Plain text)",
		`attachment; filename=my file.pdf; size=3`:                              "attachment filename=my file.pdf size=3",
		`attachment; filename="a\"b;c.png"`:                                     `attachment filename=a"b;c.png`,
		`attachment; filename="C:\TEMP\x.png"`:                                  `attachment filename=C:\TEMP\x.png`,
		`attachment; filename="open.png; size=3`:                                "attachment filename=open.png size=3",
		`attachment; filename*0*=utf-8''a%20; filename*1=b; filename*2*=%C3%A9`: "attachment filename=a b\u00e9",
		`attachment; filename*1="b.txt"; filename*0="a"`:                        "attachment filename=ab.txt",
		`boundary=b`:     " boundary=b",
		`text/plain; a=`: "text/plain a=",
		``:               "",
	} {
		m := parseMedia([]byte(value), 10)
		got := m.value
		for _, p := range m.params {
			got += fmt.Sprintf(" %s=%s", p.name, p.value)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for value, want := range map[string]string{
		"plain":                              "plain",
		"=?utf-8?q?caf=C3=A9?=":              "café",
		"=?UTF-8?B?Y2Fmw6k?= au lait":        "café au lait", // no padding
		"=?utf-8?q?a?= =?utf-8?q?b?=":        "ab",
		"=?utf-8?q?a?= =?iso-8859-1?q?=E9?=": "aé",
		"=?utf-8?q?=C3?=\t=?utf-8?q?=A9?=":   "é",
		"a =?utf-8?q?b_c?= d":                "a b c d",
		"RE:=?utf-8?q?x?=y":                  "RE:xy",
		"=?utf-8*fr?q?x?=":                   "x",
		"=?nobody?q?x?=":                     "x",
		"=?iso-8859-1?q?=80?=":               "€", // Windows-1252 in fact
		"=?utf-7?q?+AOk-?=":                  "é",
		"=?utf-8?x?a?=":                      "=?utf-8?x?a?=",
		"=?utf-8?q?open":                     "=?utf-8?q?open",
		"raw \xe9":                           "raw é",
		"raw \xc3\xa9":                       "raw é",
		"\x00a\r\n\tb":                       "a   b",
	} {
		got := words{}.decode([]byte(value))
		if got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	if got := (words{hint: "gbk"}).decode([]byte("\xc4\xe3\xba\xc3")); got != "你好" {
		t.Errorf("with the charset of the body: %q", got)
	}
}

func TestAddresses(t *testing.T) {
	for value, want := range map[string]string{
		"ann@example.org":                         "<ann@example.org>",
		"Ann <ann@example.org>":                   "Ann<ann@example.org>",
		`"Lee, Ann" <ann@example.org>, bob@b.org`: "Lee, Ann<ann@example.org> | <bob@b.org>",
		"Lee, Ann <ann@example.org>":              "Lee, Ann<ann@example.org>",
		"a@b.org; c@d.org":                        "<a@b.org> | <c@d.org>",
		"ann@example.org (Ann Lee)":               "Ann Lee<ann@example.org>",
		"Team: a@b.org, c@d.org;, e@f.org":        "<a@b.org> | <c@d.org> | <e@f.org>",
		"undisclosed-recipients:;":                "",
		"MAILER-DAEMON":                           "<MAILER-DAEMON>",
		"MAILER-DAEMON (Mail System)":             "Mail System<MAILER-DAEMON>",
		"Ann <ann@example.org":                    "Ann<ann@example.org>",
		"Ann ann@example.org":                     "Ann<ann@example.org>",
		"Ann <<ann@example.org>>":                 "Ann<ann@example.org>",
		"<@a,@b:ann@example.org>":                 "<ann@example.org>",
		`"ann lee"@example.org`:                   `<"ann lee"@example.org>`,
		"=?utf-8?q?Lee,_Ann?= <ann@example.org>":  "Lee, Ann<ann@example.org>",
		"=?utf-8?q?caf=C3=A9=40example.org?=":     "<café@example.org>",
		"mailto:ann@example.org":                  "<ann@example.org>",
		"ann@[IPv6:::1]":                          "<ann@[IPv6:::1]>",
		"ann @ example.org":                       "<ann@example.org>",
		"":                                        "",
		",,;":                                     "",
		"<>":                                      "",
	} {
		list, _ := parseAddresses([]byte(value), words{}, 100)
		var got []string
		for _, a := range list {
			name := ""
			if a.Name != nil {
				name = *a.Name
			}
			got = append(got, name+"<"+a.Email+">")
		}
		if s := strings.Join(got, " | "); s != want {
			t.Errorf("%s: got %q, want %q", value, s, want)
		}
	}
}

func TestDates(t *testing.T) {
	for value, want := range map[string]string{
		"Mon, 02 Mar 2026 10:00:00 +0100":                 "2026-03-02T10:00:00+01:00",
		"2 Mar 2026 10:00 GMT":                            "2026-03-02T10:00:00Z",
		"Mon, 02 Mar 2026 10:00:00 EST":                   "2026-03-02T10:00:00-05:00",
		"Mon, 02 Mar 2026 10:00:00 -0500 (EST)":           "2026-03-02T10:00:00-05:00",
		"Mon, 02 Mar 26 10:00:00 +01:00":                  "2026-03-02T10:00:00+01:00",
		"Mon Mar  2 10:00:00 2026":                        "2026-03-02T10:00:00Z",
		"Monday, March 2, 2026 10:00 PM":                  "2026-03-02T22:00:00Z",
		"2026-03-02T10:00:00.123Z":                        "2026-03-02T10:00:00Z",
		"2026-03-02 10:00:00 +0530":                       "2026-03-02T10:00:00+05:30",
		"Mon, 2 Mar 2026 10.00.05 +0100":                  "2026-03-02T10:00:05+01:00",
		"02-Mar-2026 10:00:00 GMT+0100":                   "2026-03-02T10:00:00+01:00",
		"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600": "1997-11-21T09:55:06-06:00",
		"Mon, 02 Mar 2026 10:00:00 +9900":                 "2026-03-02T10:00:00Z",
		"Mon, 32 Mar 2026 10:00:00 +0100":                 "",
		"yesterday":                                       "",
		"":                                                "",
	} {
		got := ""
		if at, _, ok := parseDate(value); ok {
			got = at.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
	if _, odd, _ := parseDate("Mon, 02 Mar 2026 10:00:00 +0100"); odd {
		t.Error("a proper date is called odd")
	}
}

func TestMessageIDs(t *testing.T) {
	for value, want := range map[string][]string{
		"<a@b>":                {"a@b"},
		"<a@b> <c@d>\r\n<e@f>": {"a@b", "c@d", "e@f"},
		"<a @ b> (c)":          {"a@b"},
		"<no-at>":              {"no-at"},
		"bare@example.org":     {"bare@example.org"},
		"a@b, c@d":             {"a@b", "c@d"},
		"<open@b":              {"open@b"},
		"<>":                   nil,
		"":                     nil,
		"no ids here":          nil,
	} {
		if got, _ := messageIDs([]byte(value)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func TestSafeNames(t *testing.T) {
	long := strings.Repeat("ä", 100) + ".pdf"
	for name, want := range map[string]string{
		"a.pdf":            "a.pdf",
		"../../etc/passwd": "passwd",
		`C:\TEMP\x.png`:    "x.png",
		"..":               "part-2.png",
		"":                 "part-2.png",
		".bashrc":          "bashrc",
		"a\u202egnp.exe":   "agnp.exe",
		"a\x00b\nc":        "abc",
		"con.txt":          "_con.txt",
		"a:b|c?.txt":       "a_b_c_.txt",
		"name. . ":         "name",
		"résumé 1.png":     "résumé 1.png",
		long:               strings.Repeat("ä", 58) + ".pdf",
	} {
		if got := safeName(name, "2", "image/png"); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestAuthentication(t *testing.T) {
	const good = "mx.google.com;\r\n dkim=fail (bad; sig) header.i=@a; dkim=pass header.i=@b; spf=softfail reason=\"x; dmarc=pass\"; dmarc=none"
	raw := "Authentication-Results: mx.google.com; spf=pass\r\nAuthentication-Results: evil.example; spf=pass; dkim=pass; dmarc=pass\r\nFrom: a@b\r\n\r\n"
	if a := Parse([]byte(raw)).Auth; a != nil {
		t.Errorf("nobody is trusted, and yet %+v", *a)
	}
	trusting := Options{AuthServIDs: []string{"MX.google.com"}}
	a := trusting.Parse([]byte("Authentication-Results: " + good + "\r\n" + raw)).Auth
	if a == nil || a.DKIM != "pass" || a.SPF != "softfail" || a.DMARC != "none" {
		t.Errorf("got %+v", a)
	}
	if a := trusting.Parse([]byte("Authentication-Results: evil.example; spf=pass\r\nFrom: a@b\r\n\r\n")).Auth; a != nil {
		t.Errorf("a stranger's word was taken: %+v", *a)
	}
	const nameless = "Authentication-Results: spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=b.org; dkim=none (not signed)\r\n header.d=none;dmarc=pass action=none\r\n"
	exchange := Options{AuthServIDs: []string{""}}
	if a := exchange.Parse([]byte(nameless + raw)).Auth; a == nil || a.SPF != "pass" || a.DKIM != "none" || a.DMARC != "pass" {
		t.Errorf("Exchange's field: got %+v", a)
	}
	if a := exchange.Parse([]byte("Authentication-Results: other.example; spf=fail\r\n" + nameless + raw)).Auth; a != nil {
		t.Errorf("a nameless field below another was taken: %+v", *a)
	}
}
