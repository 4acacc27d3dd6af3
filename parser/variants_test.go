package parser

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What real mail makes of a Content-Type or a Content-Disposition.
func TestParamsOfRealMail(t *testing.T) {
	for value, want := range map[string]string{
		`text/html, charset=utf-8`:                                                "text/html charset=utf-8",
		`text/html,charset=utf-8`:                                                 "text/html charset=utf-8",
		`text/html: charset=utf-8`:                                                "text/html charset=utf-8",
		`"text/html"; charset=utf-8`:                                              "text/html charset=utf-8",
		`Content-Type: text/html; charset=utf-8`:                                  "text/html charset=utf-8",
		"text/html Content-Transfer-Encoding: 8bit; charset=utf-8":                "text/html charset=utf-8",
		`text/html utf-8`:                                                         "text/html",
		`text/html; charset: utf-8`:                                               "text/html charset=utf-8",
		`text/plain; charset=utf-8, format=flowed`:                                "text/plain charset=utf-8 format=flowed",
		`multipart/mixed; boundary="a", type="text/html"`:                         "multipart/mixed boundary=a type=text/html",
		`multipart/mixed; boundary="a,b:c"`:                                       "multipart/mixed boundary=a,b:c",
		`text/plain; charset="utf-8",`:                                            "text/plain charset=utf-8",
		`attachment, filename="a, b.pdf"`:                                         "attachment filename=a, b.pdf",
		`attachment; filename=a, b.pdf`:                                           "attachment filename=a, b.pdf",
		`attachment; filename*=utf-8''b%20c; filename*0*=utf-8''x; filename*1*=y`: "attachment filename=b c",
		`attachment; filename*=utf-8''"b.pdf"`:                                    "attachment filename=b.pdf",
		`filename="a.pdf"`:                                                        " filename=a.pdf",
	} {
		m := parseMedia([]byte(value), 10)
		got := m.value
		for _, p := range m.params {
			got += fmt.Sprintf(" %s=%s", p.name, p.value)
		}
		if got != want || !m.repair && !strings.HasPrefix(value, "attachment") && want != "multipart/mixed boundary=a,b:c" {
			t.Errorf("%s: got %q (repaired %v), want %q", value, got, m.repair, want)
		}
	}
}

func TestEncodingNames(t *testing.T) {
	for name, want := range map[string]transfer{
		"7bit": encodingNone, "8-BIT": encodingNone, "7 bit": encodingNone, "8bit;": encodingNone, "binary (x)": encodingNone, "": encodingNone,
		"Base64": encodingBase64, "base 64": encodingBase64, `"base64"`: encodingBase64, "base64, x": encodingBase64, "base64;x": encodingBase64,
		"Quoted-Printable": encodingQuoted, "quoted printable": encodingQuoted, "quoted-printible": encodingQuoted, "(x) quoted-printable": encodingQuoted,
		"quoted-printable, 8bit": encodingQuoted, "x-uuencode": encodingUU, "uuencoded": encodingUU,
	} {
		if got, _, known := parseEncoding([]byte(name)); got != want || !known {
			t.Errorf("%q is %q, known %v, want %q", name, got, known, want)
		}
	}
	for _, name := range []string{"x-yencode", "gzip", "x-" + strings.Repeat("()", 1000)} {
		if got, _, known := parseEncoding([]byte(name)); got != encodingNone || known {
			t.Errorf("%.20q is %q, known %v", name, got, known)
		}
	}
}

func TestCharsetNames(t *testing.T) {
	for sample, labels := range map[string][]string{
		"é \xe9":              {"iso8859-1", "ISO_8859-1", "iso-88591", "latin-1", "cp_1252", "x-ansi", "ANSI_X3.110-1983", "3Diso-8859-1", "charset=iso-8859-1", "windows-1252;", "cp28591"},
		"€ \xa4":              {"latin9", "latin-9", "iso8859_15"},
		"ą \xb9":              {"win-1250", "cp1250", "ms1250"},
		"ż \xbf":              {"iso8859-2", "latin-2", "l2"},
		"ก \xa1":              {"tis620", "tis-620-2533", "cp874", "windows-874"},
		"こ \x82\xb1":          {"x-sjis", "ms932", "windows-932", "shiftjis", "sjis-win", "MS_Kanji", "windows-31j"},
		"こ \xa4\xb3":          {"x-euc-jp", "eucjp", "eucJP-win", "cp51932"},
		"こ \x1b$B$3\x1b(B":    {"jis", "iso-2022-jp-ms", "cp50221", "_iso-2022-jp$ESC", "unknown-8bit"},
		"你 \xc4\xe3":          {"gb-2312", "gb_2312", "gb2312-80", "GBK", "x-gbk", "euc-cn", "ms936", "cp-936", "gb18030-2000", "chinese"},
		"你 \xa7A":             {"big-5", "x-big5", "big5-hkscs", "cp950"},
		"가 \xb0\xa1":          {"ks_c_5601", "ks_c_5601-1987", "ksc5601", "euckr", "cp949", "x-windows-949", "uhc"},
		"가 \x1b$)C\x0e0!\x0f": {"iso-2022-kr"},
		"é \xc3\xa9":          {"utf_8", "utf8", "cp65001", "x-user-defined", "unicode", "utf-8 reply-type=original"},
		"é \x00\xe9":          {"ucs-2", "unicodefffe", "iso-10646-ucs-2"},
		"é \xe9\x00":          {"utf-16le", "cp1200"},
		"é \x00\x00\x00\xe9":  {"utf-32", "ucs-4"},
		"é \x8e":              {"x-mac-roman", "macintosh", "cp10000"},
	} {
		want, raw, _ := strings.Cut(sample, " ")
		for _, label := range labels {
			if got := decodeText([]byte(raw), label, ""); got.value != want {
				t.Errorf("%q as %s: got %q (%s), want %q", raw, label, got.value, got.defect, want)
			}
		}
	}
	korean := decodeText([]byte("\x1b$)C\x0e0!\x0f ok\r\n\x0e0!\nok"), "ISO-2022-KR", "")
	if korean.value != "가 ok\r\n가\nok" || korean.defect != "" {
		t.Errorf("ISO-2022-KR: %q (%s)", korean.value, korean.defect)
	}
}

// The label is wrong, and the bytes tell of what charset they are.
func TestMislabelledText(t *testing.T) {
	for _, c := range []struct{ bytes, label, want string }{
		{"caf\xc3\xa9 \xe4\xbd\xa0", "shift_jis", "café 你"},
		{"caf\xc3\xa9", "iso-2022-jp", "café"},
		{"\x82\xb1\x82\xf1", "iso-2022-jp", "こん"},
		{"\xa4\xb3\xa4\xf3", "iso-2022-jp", "こん"},
		{"caf\xc3\xa9", "utf-16", "café"},
	} {
		if got := decodeText([]byte(c.bytes), c.label, ""); got.value != c.want || got.defect != DefectCharsetWrong {
			t.Errorf("%q as %s: got %q (%s), want %q", c.bytes, c.label, got.value, got.defect, c.want)
		}
	}
}

// HTML that names its charset only in itself, or in the wrong place.
func TestCharsetOfHTML(t *testing.T) {
	const meta = `<meta http-equiv="Content-Type" content="text/html; charset=gb2312">`
	for name, c := range map[string]struct{ params, body, want string }{
		"no label":           {"", meta + "\xc4\xe3", "你"},
		"no label, UTF-8":    {"", meta + "\xe4\xbd\xa0", "你"},
		"wrong label":        {"; charset=us-ascii", meta + "\xc4\xe3", "你"},
		"unknown label":      {"; charset=x-unknown", meta + "\xc4\xe3", "你"},
		"the label is right": {"; charset=iso-8859-1", meta + "\xe9", "é"},
	} {
		m := check(t, []byte("From: a@b.org\nContent-Type: text/html"+c.params+"\n\n<p>"+c.body))
		if m.Text != c.want {
			t.Errorf("%s: got %q, want %q", name, m.Text, c.want)
		}
	}
	m := check(t, []byte("From: a@b.org\nSubject: =?koi8-r?B?8NLJ18XU?=\n\n\xf0\xd2\xc9\xd7\xc5\xd4\n"))
	if m.Text != "Привет\n" || *m.Email.Subject != "Привет" {
		t.Errorf("text %q, subject %q", m.Text, *m.Email.Subject)
	}
}

func TestWordsOfRealMail(t *testing.T) {
	for value, want := range map[string]string{
		"=?utf-8?Q?What?=3F_now?=":              "What?? now",
		"=?utf-8?Q?Wer_ist_das?=C3=9F?= x":      "Wer ist das?ß x",
		"=?utf-8?Q?a?= ab =?utf-8?Q?b?=":        "a ab b",
		"=?utf-8?Q?a?=ab=?utf-8?Q?b?=":          "aabb",
		"=?utf-8?Q?a?==?utf-8?Q?b?=":            "ab",
		"=??Q?caf=C3=A9?=":                      "café",
		"=?utf-8?q?two words?=":                 "two words",
		"=?utf-8?b?Y2Fm w6k=?=":                 "café",
		"=?UTF-8?B?4pyT?=\r\n =?utf-8?B?IG9r?=": "✓ ok",
		"=?iso-2022-kr?B?GyQpQw4wIQ8=?=":        "가",
		"=?gb2312?B?xOO6w4eJ?=":                 "你好噳",
		"\"=?utf-8?q?caf=C3=A9?=\"":             "\"café\"",
	} {
		if got := (words{}).decode([]byte(value)); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func TestAddressesOfRealMail(t *testing.T) {
	for value, want := range map[string]string{
		"Ann Lee [mailto:ann@example.org]":             "Ann Lee<ann@example.org>",
		"[ann@example.org]":                            "<ann@example.org>",
		"<mailto:ann@example.org>":                     "<ann@example.org>",
		"Ann <ann@example(a comment).org>":             "Ann<ann@example.org>",
		"Ann <ann@example.org (home)>":                 "Ann<ann@example.org>",
		"<ann@a.org> <bob@b.org>":                      "<ann@a.org> | <bob@b.org>",
		"Ann <ann@a.org> Bob Lee <bob@b.org>, c@d.org": "Ann<ann@a.org> | Bob Lee<bob@b.org> | <c@d.org>",
		"Ann <ann@a.org> <ann@a.org>":                  "Ann<ann@a.org>",
		"ann@a.org bob@b.org":                          "<ann@a.org> | <bob@b.org>",
		"Ann ann@a.org Bob bob@b.org":                  "Ann<ann@a.org> | Bob<bob@b.org>",
		"ann@a.org Ann Lee":                            "Ann Lee<ann@a.org>",
		"\"Ann <ann@a.org>\"":                          "Ann<ann@a.org>",
		"Ann@Work <ann@a.org>":                         "Ann@Work<ann@a.org>",
		"ann@[192.0.2.1]":                              "<ann@[192.0.2.1]>",
		"A Group: Ann <ann@a.org>, bob@b.org;":         "Ann<ann@a.org> | <bob@b.org>",
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
	if list, _ := parseAddresses([]byte(strings.Repeat("<a@b> ", 10)+"x@y z@y"), words{}, 3); len(list) > 3 {
		t.Errorf("%d addresses, want 3", len(list))
	}
}

func TestDatesOfRealMail(t *testing.T) {
	for value, want := range map[string]string{
		"Mon, 02 Mar 2026 10:00:00GMT":          "2026-03-02T10:00:00Z",
		"Mon, 02 Mar 2026 10:00:00EST":          "2026-03-02T10:00:00-05:00",
		"Mon, 02 Mar 2026 10:00:00+0100":        "2026-03-02T10:00:00+01:00",
		"Mon, 02 Mar 2026 10:00:00 p.m. -0500":  "2026-03-02T22:00:00-05:00",
		"3/2/2026 10:00:00 PM":                  "2026-03-02T22:00:00Z",
		"Mo, 02 Mär 2026 10:00:00 +0100":        "2026-03-02T10:00:00+01:00",
		"mar., 03 nov. 2026 10:00:00 +0100":     "2026-11-03T10:00:00+01:00",
		"jeu., 6 août 2026 10:00:00 +0200":      "2026-08-06T10:00:00+02:00",
		"ma, 02 mrt 2026 10:00:00 +0100":        "2026-03-02T10:00:00+01:00",
		"lun, 7 dic 2026 10:00:00 +0100":        "2026-12-07T10:00:00+01:00",
		"Пн, 02 мар 2026 10:00:00 +0300":        "2026-03-02T10:00:00+03:00",
		"Tue Mar  3 10:00:00 MST 2026":          "2026-03-03T10:00:00-07:00",
		"2026-03-02T10:00:00+01:00":             "2026-03-02T10:00:00+01:00",
		"Mon, 02 Mar 2026 10:00:00 +0100 (MEZ)": "2026-03-02T10:00:00+01:00",
		"Mon, 02 Mar 2026 10:00:00 UTC+1":       "2026-03-02T10:00:00+01:00",
	} {
		got := ""
		if at, _, ok := parseDate(value); ok {
			got = at.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

// A body is not always what its header says.
func TestBodiesOfRealMail(t *testing.T) {
	for name, c := range map[string]struct{ raw, text, defect string }{
		"prose called base64": {
			"From: a@b.org\nContent-Transfer-Encoding: base64\n\nHello Bob,\nhow are you?\n", "Hello Bob,\nhow are you?\n", DefectBase64,
		},
		"base64 after all": {"From: a@b.org\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n", "hello", ""},
		"multipart called base64": {
			"From: a@b.org\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n", "hello", DefectNoParts,
		},
		"soft breaks before CR CR LF": {
			"From: a@b.org\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\none=\r\r\n two\r\r\n", "one two\n", "",
		},
	} {
		m := check(t, []byte(c.raw))
		if m.Text != c.text || c.defect != "" && !hasDefect(m, c.defect) || c.defect == "" && len(m.Defects) > 0 {
			t.Errorf("%s: text %q, defects %v; want %q, %s", name, m.Text, m.Defects, c.text, c.defect)
		}
	}
	m := check(t, []byte("From: a@b.org\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nSubject: inner\n\nhello\n"))
	if l, ok := m.Leaf("1.1"); !ok || l.Within != "1" || l.Size != int64(len("hello\n")) {
		t.Errorf("a message called base64: leaves %+v", m.Leaves())
	}
}

// The first Content-Type is not always the one that is meant.
func TestSecondContentType(t *testing.T) {
	const head = "From: a@b.org\nContent-Type: text/html\nContent-Type: multipart/mixed; boundary=b\n\n"
	m := check(t, []byte(head+"--b\n\none\n--b\nContent-Type: application/pdf\n\nx\n--b--\n"))
	if m.Text != "one" || len(m.Attachments) != 1 || !hasDefect(m, DefectTypeDuplicate) {
		t.Errorf("text %q, attachments %+v, defects %v", m.Text, m.Attachments, m.Defects)
	}
	for _, body := range []string{"<p>one</p>\n", "<p>one</p>\n--b\n\ntwo\n--b--\n"} {
		if m = check(t, []byte(head+body)); !strings.HasPrefix(m.Text, "one") || len(m.Attachments) != 0 {
			t.Errorf("%q: text %q, attachments %+v", body, m.Text, m.Attachments)
		}
	}
}

// A header ends where its text begins, whatever fields a later part has.
func TestTextBehindHeader(t *testing.T) {
	m := check(t, []byte("From: a@b.org\n \nNote: this is the text\n"))
	if m.Text != "Note: this is the text\n" {
		t.Errorf("after a line of white space: %q", m.Text)
	}
	m = check(t, []byte("From: a@b.org\n \nX-One: 1\nSubject: s\n\ntext\n"))
	if m.Text != "text\n" || m.Email.Subject == nil {
		t.Errorf("a line of white space in the header: %q", m.Text)
	}
	m = check(t, []byte("From: a@b.org\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nhello\n--b\nContent-Type: application/pdf\n\nx\n--b--\n"))
	if m.Text != "hello" || len(m.Attachments) != 1 || !hasDefect(m, DefectHeaderNoBlank) {
		t.Errorf("no blank line in a part: %q, defects %v", m.Text, m.Defects)
	}
}

// A line that lost its white space goes with the folded one behind it.
func TestFoldWithoutSpace(t *testing.T) {
	m := check(t, []byte("From: a@b.org\nTo: Bob\n__\n   <bob@b.org>\nSubject: s\n\nhello\n"))
	if len(m.Email.To) != 1 || m.Email.To[0].Email != "bob@b.org" || m.Text != "hello\n" || !hasDefect(m, DefectHeaderJoined) {
		t.Errorf("to %v, text %q, defects %v", m.Email.To, m.Text, m.Defects)
	}
}

func TestNamesOfRealMail(t *testing.T) {
	for disposition, want := range map[string]string{
		`attachment; filename*=utf-8''=?utf-8?Q?caf=C3=A9.pdf?=`:            "café.pdf",
		`attachment; filename*0="=?utf-8?Q?caf"; filename*1="=C3=A9.pdf?="`: "café.pdf",
		`attachment, filename="a b.pdf"`:                                    "a b.pdf",
		`attachment; filename*=utf-8'caf%C3%A9.pdf`:                         "café.pdf",
		`ATTACHMENT; FileName=a b.pdf`:                                      "a b.pdf",
	} {
		m := check(t, []byte("From: a@b.org\nContent-Type: application/pdf\nContent-Disposition: "+disposition+"\n\nx"))
		if len(m.Attachments) != 1 || m.Attachments[0].Name != want {
			t.Errorf("%s: %+v, want %q", disposition, m.Attachments, want)
		}
	}
	m := check(t, []byte("From: a@b.org\nContent-Type: text/plain; charset=iso-8859-1\n\nbegin 644 caf\xe9.txt\n#0V%T\n`\nend\n"))
	if len(m.Attachments) != 1 || m.Attachments[0].Name != "café.txt" {
		t.Errorf("uuencoded: %+v", m.Attachments)
	}
}

// What mail programs put around the message that is replied to.
func TestReplyTextOfRealMail(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"GMX":                              {"Ja.\n\nGesendet: Montag, 02. März 2026 um 10:00 Uhr\nVon: \"Ann\" <a@b.org>\nAn: bob@b.org\nBetreff: Re: x\n\nNein?", "Ja."},
		"Thunderbird, forwarded table":     {"Yes.\n\nSubject: x\nDate: Mon, 2 Mar 2026\nFrom: Ann <a@b.org>\nTo: bob@b.org\n\nNo?", "Yes."},
		"Gmail, Hebrew":                    {"כן\n\n\u202bבתאריך יום ב׳, 2 במרץ 2026 ב-10:00 מאת \u202aAnn\u202c\u200f <\u202aa@b.org\u202c\u200f>:\u202c\n\n> לא?", "כן"},
		"Gmail, Arabic":                    {"نعم\n\nفي الاثنين، 2 مارس 2026 في 10:00 ص تمت كتابة ما يلي بواسطة \u202aAnn\u202c\u200f <\u202aa@b.org\u202c\u200f>:\n\n> لا؟", "نعم"},
		"Gmail, French":                    {"Oui.\n\nLe lun. 2 mars 2026 à 10:00, Ann <a@b.org> a écrit\u202f:\n\n> Non ?", "Oui."},
		"Zoho":                             {"Yes.\n\n---- On Mon, 02 Mar 2026 10:00:00 +0530 Ann <a@b.org> wrote ----\n\nNo?", "Yes."},
		"GroupWise":                        {"Yes.\n\n>>> Ann Lee <a@b.org> 3/2/2026 10:00 AM >>>\nNo?\n", "Yes."},
		"Thunderbird, Russian, not marked": {"Да.\n\n02.03.2026 10:00, Ann Lee пишет:\n\nНет?", "Да."},
		"AquaMail":                         {"Yes.\n\nSent with AquaMail for Android\nhttps://www.mobisystems.com/aqua-mail\n", "Yes."},
		"Thunderbird, Polish":              {"Tak.\n\nW dniu 2026-03-02 o 10:00, Ann Lee pisze:\n> Nie?", "Tak."},
		"Outlook, Turkish":                 {"Evet.\n\nKimden: Ann <a@b.org>\nGönderildi: 2 Mart 2026\nKime: Bob\nKonu: x\n\nHayır?", "Evet."},
		"Outlook, Greek":                   {"Ναι.\n\nΑπό: Ann <a@b.org>\nΣτάλθηκε: Δευτέρα\nΠρος: Bob\nΘέμα: x\n\nΌχι;", "Ναι."},
		"Outlook, Hebrew":                  {"כן\n\nמאת: Ann\nנשלח: יום שני\nאל: Bob\nנושא: x\n\nלא?", "כן"},
		"Outlook, Vietnamese":              {"Có.\n\nTừ: Ann\nĐã gửi: Thứ Hai\nĐến: Bob\nChủ đề: x\n\nKhông?", "Có."},
		"iPhone, Greek":                    {"Ναι.\n\nΣτάλθηκε από το iPhone μου\n", "Ναι."},
		"iPhone, Hebrew":                   {"כן\n\nנשלח מה-iPhone שלי\n", "כן"},
		"a form of the author":             {"Trip:\nDate: 3 May\nTo: Munich\nHotel: none\n", "Trip:\nDate: 3 May\nTo: Munich\nHotel: none"},
		"what a form sends":                {"New:\n\nDate: 2 Mar 2026\nFrom: Ann\nTo: us\nHello.", "New:\n\nDate: 2 Mar 2026\nFrom: Ann\nTo: us\nHello."},
		"deeper quotes":                    {"Yes.\n>>> one >>>\nand more", "Yes.\nand more"},
	} {
		if got := replyText(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	html := check(t, []byte("From: a@b.org\nContent-Type: text/html; charset=utf-8\n\n<div>Ja.</div><div name=\"quote\"><div><b>Ann:</b></div>Nein?</div>"))
	if html.ReplyText != "Ja." {
		t.Errorf("GMX in HTML: %q", html.ReplyText)
	}
}

// The zero width non-joiner is spelling in some languages, and filling in previews.
func TestNonJoiner(t *testing.T) {
	for source, want := range map[string]string{
		"<p>می\u200cخواهم":               "می\u200cخواهم",
		"<p>a\u200c&zwnj;&nbsp;&zwnj; b": "a b",
	} {
		if got, _ := htmlText(source); got != want {
			t.Errorf("%q: got %q, want %q", source, got, want)
		}
	}
}

func TestQuirkOutOfOffice(t *testing.T) {
	for head, want := range map[string]bool{
		"Auto-Submitted: auto-generated\nSubject: Automatic reply: x":                       true,
		"Auto-Submitted: auto-generated\nSubject: =?utf-8?q?R=C3=A9ponse_automatique_:_x?=": true,
		"Auto-Submitted: auto-generated\nSubject: Your report":                              false,
		"Subject: Automatic reply: how does it work?":                                       false,
		"X-Autoreply: yes\nSubject: x":                                                      true,
		"X-Autogenerated: Reply\nSubject: x":                                                true,
	} {
		if got := Parse([]byte("From: a@b.org\n" + head + "\n\nx")).Class.AutoReply; got != want {
			t.Errorf("%q: %v, want %v", head, got, want)
		}
	}
}

func TestQuirkPlaceholder(t *testing.T) {
	const subject = "Subject: Retrieval using the IMAP4 protocol failed for the following message: 17\n\nx"
	for raw, want := range map[string]bool{
		"From: \"Microsoft Exchange Server\"\n" + subject:                             true,
		"Received: from x\nFrom: \"Microsoft Exchange Server\" <a@b.org>\n" + subject: false,
		"From: Ann <a@b.org>\n" + subject:                                             false,
	} {
		if got := Parse([]byte(raw)).Class.Placeholder; got != want {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	}
}

func TestBouncesOfRealMail(t *testing.T) {
	const head = "Return-Path: <>\nFrom: MAILER-DAEMON@a.org\nSubject: Undelivered Mail Returned to Sender\n"
	const report = head + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nsorry: 5.1.2\n--b\nContent-Type: message/delivery-status\n\n"
	for name, c := range map[string]struct {
		raw  string
		want []string // recipient, status, start of the reason
	}{
		"recipients without blank lines": {
			report + "Reporting-MTA: dns; a.org\nFinal-Recipient: rfc822; ann@b.org\nOriginal-Recipient: rfc822; ann@b.org\nStatus: 5.2.2\n" +
				"Final-Recipient: rfc822; bob@b.org\nOriginal-Recipient: rfc822; bob@b.org\nStatus: 5.1.1\n--b--\n",
			[]string{"ann@b.org 5.2.2", "bob@b.org 5.1.1"},
		},
		"the server's own answer": {
			report + "Final-Recipient: rfc822; ann@b.org\nStatus: 5.1.1\nDiagnostic-Code: SMTP; 550 5.7.1 blocked\n--b--\n",
			[]string{"ann@b.org 5.7.1 550 5.7.1 blocked"},
		},
		"quoted answer": {
			report + "Final-Recipient: rfc822; ann@b.org\nStatus: 5.0.0\nDiagnostic-Code: smtp; 5.1.0 - Unknown address error 550-'5.2.2 full'\n--b--\n",
			[]string{"ann@b.org 5.2.2 5.1.0 - Unknown address error 550-'5.2.2 full'"},
		},
		"vague answer": {
			report + "Final-Recipient: rfc822; ann@b.org\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.0.0 no\n--b--\n",
			[]string{"ann@b.org 5.1.1 550 5.0.0 no"},
		},
		"report in the text": {
			head + "\nSorry.\n\nReporting-MTA: dns; a.org\n\nFinal-Recipient: rfc822; ann@b.org\nAction: failed\nStatus: 4.0.0\n\n" +
				"Final-Recipient: rfc822; bob@b.org\nStatus: 5.2.1\n\nFrom: me@a.org\nSubject: x\nMessage-ID: <1@a.org>\n\nhello\n",
			[]string{"ann@b.org 4.0.0", "bob@b.org 5.2.1"},
		},
		"lines of OpenSMTPD": {
			head + "\nFor these recipients:\n\nann@b.org: 550 5.2.2 Mailbox Full\nbob@b.org: 550 5.1.1 User Unknown\n",
			[]string{"ann@b.org 5.2.2 ann@b.org: 550 5.2.2 Mailbox Full", "bob@b.org 5.1.1 bob@b.org: 550 5.1.1 User Unknown"},
		},
		"lines of Postfix": {
			head + "\n<ann@b.org>: host b.org said: 550 5.2.2 full\n\n<bob@b.org>: host b.org said: 550\n    5.1.1 unknown\n",
			[]string{"ann@b.org 5.2.2 <ann@b.org>: host b.org said: 550 5.2.2 full", "bob@b.org 5.1.1 5.1.1 unknown"},
		},
	} {
		b := check(t, []byte(c.raw)).Class.Bounce
		var got []string
		if b != nil {
			for _, r := range b.Recipients {
				got = append(got, strings.TrimSpace(r.Recipient+" "+r.Status+" "+r.Reason))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	talk := check(t, []byte("From: ann@b.org\nSubject: how to read a bounce\n\nFinal-Recipient: rfc822; bob@b.org\nStatus: 5.1.1\n"))
	if talk.Class.Bounce != nil {
		t.Errorf("a letter about bounces is one: %+v", *talk.Class.Bounce)
	}
}
