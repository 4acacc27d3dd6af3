package parser

import (
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// A text part that is there for form's sake does not hide the HTML.
func TestEmptyTextBesideHTML(t *testing.T) {
	for _, empty := range []string{"", "\n", " \r\n\t\r\n", "\u00a0\n"} {
		m := check(t, []byte("From: a@b.org\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n"+empty+
			"\n--b\nContent-Type: text/html; charset=utf-8\n\n<p>Hello,</p><p>see you.</p><blockquote>When?</blockquote>\n--b--\n"))
		if m.Text != "Hello,\n\nsee you.\n\n> When?" || m.ReplyText != "Hello,\n\nsee you." || !strings.HasPrefix(m.Email.Preview, "Hello, see you.") {
			t.Errorf("%q: text %q, reply %q, preview %q", empty, m.Text, m.ReplyText, m.Email.Preview)
		}
		if len(m.Email.TextBody) != 1 || m.Email.TextBody[0].Type != "text/plain" {
			t.Errorf("%q: textBody %+v", empty, m.Email.TextBody)
		}
	}
}

// A text and the same as HTML are one, even where their sender did not say so.
func TestTextTwice(t *testing.T) {
	const head, html = "From: a@b.org\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nThank you\nfor your order.\n--b\nContent-Type: text/html\n\n", "<p>Thank you for your <b>order</b>.</p>"
	if m := check(t, []byte(head+html+"\n--b--\n")); m.Text != "Thank you\nfor your order." || m.HTML != html {
		t.Errorf("text %q, html %q", m.Text, m.HTML)
	}
	if m := check(t, []byte(head+"<p>Yours</p>\n--b--\n")); m.Text != "Thank you\nfor your order.\nYours" {
		t.Errorf("text %q", m.Text)
	}
}

// The pictures of a multipart/related can stand before their HTML.
func TestPictureBeforeHTML(t *testing.T) {
	const picture, html = "--r\nContent-Type: image/gif\nContent-ID: <a>\n\nx\n", "--r\nContent-Type: text/html\nContent-ID: <root>\n\n<p>Look: <img src=cid:a>\n"
	for _, body := range []string{picture + html, html + picture} {
		m := check(t, []byte("From: a@b.org\nContent-Type: multipart/related; start=\"<root>\"; boundary=r\n\n"+body+"--r--\n"))
		if m.Text != "Look:" || m.HTML == "" || len(m.Attachments) != 1 || m.Attachments[0].CID != "a" || m.Email.HasAttachment {
			t.Errorf("text %q, html %q, attachments %+v", m.Text, m.HTML, m.Attachments)
		}
	}
}

// hasAttachment is about files, not about what mail programs add for each other.
func TestHasAttachment(t *testing.T) {
	const text = "--b\n\nhello\n"
	for name, c := range map[string]struct {
		body string
		want bool
	}{
		"PGP signature":     {"signed; protocol=\"application/pgp-signature\"|" + text + "--b\nContent-Type: application/pgp-signature; name=signature.asc\n\nx\n--b--\n", false},
		"S/MIME signature":  {"signed|" + text + "--b\nContent-Type: application/pkcs7-signature; name=smime.p7s\nContent-Disposition: attachment; filename=smime.p7s\n\nx\n--b--\n", false},
		"signed file":       {"mixed|" + text + "--b\nContent-Type: application/pkcs7-signature; name=contract.p7s\n\nx\n--b--\n", true},
		"invitation":        {"alternative|" + text + "--b\nContent-Type: text/calendar; method=REQUEST\n\nx\n--b--\n", false},
		"AMP":               {"alternative|" + text + "--b\nContent-Type: text/x-amp-html\n\nx\n--b\nContent-Type: text/html\n\nx\n--b--\n", false},
		"attached calendar": {"mixed|" + text + "--b\nContent-Type: text/calendar; name=invite.ics\n\nx\n--b--\n", true},
		"picture in HTML":   {"related|--b\nContent-Type: text/html\n\nx\n--b\nContent-Type: image/png\nContent-ID: <i>\nContent-Disposition: inline\n\nx\n--b--\n", false},
		"photo":             {"mixed|" + text + "--b\nContent-Type: image/jpeg; name=a.jpg\nContent-Disposition: inline\n\nx\n--b--\n", true},
		"bounce":            {"report; report-type=delivery-status|" + text + "--b\nContent-Type: message/delivery-status\n\nStatus: 5.1.1\n--b\nContent-Type: message/rfc822\n\nx\n--b--\n", false},
		"inline file":       {"mixed|" + text + "--b\nContent-Type: application/pdf; name=a.pdf\nContent-Disposition: inline\n\nx\n--b--\n", true},
	} {
		kind, body, _ := strings.Cut(c.body, "|")
		if m := check(t, []byte("From: a@b.org\nContent-Type: multipart/"+kind+"; boundary=b\n\n"+body)); m.Email.HasAttachment != c.want {
			t.Errorf("%s: %v, attachments %+v", name, m.Email.HasAttachment, m.Attachments)
		}
	}
}

// Texts of which nothing says in what charset they are.
func TestUnlabelledCharsets(t *testing.T) {
	const (
		chinese     = "您好，请问您什么时候可以发货？我们需要在下周一之前收到，谢谢。"
		traditional = "您好，請問您什麼時候可以出貨？我們需要在下週一之前收到，謝謝。"
		japan       = "お世話になっております。ご注文の商品は明日発送いたします。よろしくお願いします。"
		korea       = "안녕하세요. 주문하신 상품은 내일 발송될 예정입니다. 감사합니다."
		russian     = "Здравствуйте! Когда вы сможете отправить заказ? Он нужен нам до понедельника."
		notice      = "[공지] 2026년 3월 서비스 점검 안내 (AM 10:00)"
		greek       = "Αγαπητέ κύριε, η παραγγελία σας έχει αποσταλεί σήμερα. Ευχαριστούμε πολύ!"
		greekCaps   = "ΠΡΟΣΦΟΡΑ ΜΟΝΟ ΓΙΑ ΣΗΜΕΡΑ"
		german      = "Grüße aus Köln: die Übergabe für Ihr Büro wäre am Dienstag möglich, müßte aber früh sein. Schöne Füße!"
		french      = "Très chère Zoé, voilà l'été déjà passé ; à bientôt, où que tu sois créée, naïve et gênée."
		portuguese  = "A reunião será amanhã às três; não há informações nem decisões sobre a situação das ações."
		polish      = "Zażółć gęślą jaźń: proszę o przesłanie zamówienia jeszcze w tym tygodniu, dziękuję."
	)
	for name, c := range map[string]struct {
		enc  encoding.Encoding
		text string
	}{
		"gb2312":        {simplifiedchinese.GB18030, chinese},
		"big5":          {traditionalchinese.Big5, traditional},
		"shift_jis":     {japanese.ShiftJIS, japan},
		"euc-jp":        {japanese.EUCJP, japan},
		"euc-kr":        {korean.EUCKR, korea},
		"Korean, ASCII": {korean.EUCKR, notice},
		"Greek":         {charmap.Windows1253, greek},
		"Greek caps":    {charmap.Windows1253, greekCaps},
		"windows-1251":  {charmap.Windows1251, russian},
		"koi8-r":        {charmap.KOI8R, russian},
		"capitals":      {charmap.Windows1251, strings.ToUpper(russian)},
		"KOI capitals":  {charmap.KOI8R, strings.ToUpper(russian)},
		"German":        {charmap.Windows1252, german},
		"French":        {charmap.Windows1252, french},
		"Portuguese":    {charmap.Windows1252, portuguese},
	} {
		raw, err := c.enc.NewEncoder().String(c.text)
		if err != nil {
			t.Fatal(name, err)
		}
		for kind, body := range map[string]string{"plain": raw, "html": "<html><body style=\"color:#333\"><p>" + raw + "</p><a href=\"http://example.org/\">example</a></body></html>"} {
			m := check(t, []byte("From: a@b.org\nContent-Type: text/"+kind+"\n\n"+body))
			if !strings.HasPrefix(m.Text, c.text) || !hasDefect(m, DefectCharsetWrong) {
				t.Errorf("%s in %s: %q, defects %v", name, kind, m.Text, m.Defects)
			}
		}
		if m := check(t, []byte("From: a@b.org\nSubject: "+raw+"\n\n")); *m.Email.Subject != c.text {
			t.Errorf("%s: subject %q", name, *m.Email.Subject)
		}
	}
	raw, err := charmap.Windows1250.NewEncoder().String(polish)
	if err != nil {
		t.Fatal(err)
	}
	for _, none := range []string{raw, strings.Repeat("\xc4", 70), strings.Repeat("\xd7", 10) + "\n" + strings.Repeat("\xb1\xb1 ", 10)} {
		if cs, ok := detect([]byte(none)); ok {
			t.Errorf("%q is taken for %v", none, cs)
		}
	}
}

// Encoded words whose text was split anywhere.
func TestSplitWords(t *testing.T) {
	for value, want := range map[string]string{
		"=?utf-8?B?w7xiZXIgdW5?= =?utf-8?B?zIMOkbmRlcnQ=?=":                  "über uns ändert",
		"=?utf-8?B?w7xiZ?= =?utf-8?B?XIgdW?=\r\n =?utf-8?B?5zIMOkbmRlcnQ=?=": "über uns ändert",
		"=?utf-8?B?w?= =?utf-8?B?7xiZXI=?=":                                  "über",
		"=?utf-8?B?Y2Fmw6k?= =?utf-8?B?IG9r?=":                               "café ok", // without padding, but not split
		"=?utf-8?B?Y2Fmw6k=?= =?utf-8?B?IG9r?=":                              "café ok",
		"=?utf-8?B?w7xiZXIgdW?= =?utf-8?Q?_x?=":                              "über u x",
		"=?utf-8?B?w7xiZX?= x =?utf-8?B?IG9r?=":                              "übe x  ok",
		"=?utf-8?B?w7xiZX?= =?iso-8859-1?B?6Q==?=":                           "übeé",
	} {
		if got := (words{}).decode([]byte(value)); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func TestMoreAddressesOfRealMail(t *testing.T) {
	for value, want := range map[string]string{
		"Ann Lee (ann@example.org)":                         "Ann Lee <ann@example.org>",
		"ann@example.org (Ann Lee (Sales))":                 "Ann Lee (Sales) <ann@example.org>",
		"MAILER-DAEMON (Mail Delivery System)":              "Mail Delivery System <MAILER-DAEMON>",
		`"ann@a.org; bob@b.org"`:                            "<ann@a.org> | <bob@b.org>",
		"<Ann Lee <ann@example.org>>":                       "Ann Lee <ann@example.org>",
		"<Undisclosed-Recipients:;>":                        "",
		"<undisclosed-recipients:;>, ann@a.org":             "<ann@a.org>",
		"ann@a.org < bob@b.org >":                           "ann@a.org <bob@b.org>",
		"=?utf-8?B?QW5uLCBM?= =?utf-8?B?ZWU=?= <ann@a.org>": "Ann, Lee <ann@a.org>",
		"Ann (Sales) Lee <ann@example.org>":                 "Ann Lee <ann@example.org>",
	} {
		list, _ := parseAddresses([]byte(value), words{}, 100)
		var got []string
		for _, a := range list {
			name := ""
			if a.Name != nil {
				name = *a.Name + " "
			}
			got = append(got, name+"<"+a.Email+">")
		}
		if s := strings.Join(got, " | "); s != want {
			t.Errorf("%s: got %q, want %q", value, s, want)
		}
	}
}

// A day that its month does not have is no date.
func TestDaysOfMonths(t *testing.T) {
	for value, want := range map[string]bool{
		"Sat, 28 Feb 2026 10:00:00 +0100": true,
		"Sun, 29 Feb 2026 10:00:00 +0100": false,
		"Thu, 29 Feb 2024 10:00:00 +0100": true,
		"Tue, 29 Feb 1900 10:00:00 +0100": false,
		"Tue, 29 Feb 2000 10:00:00 +0100": true,
		"Tue, 31 Feb 2026 10:00:00 +0100": false,
		"Fri, 31 Apr 2026 10:00:00 GMT":   false,
		"Sun, 31 May 2026 10:00:00 GMT":   true,
		"2026-06-31T10:00:00Z":            false,
	} {
		m := check(t, []byte("From: a@b.org\nDate: "+value+"\n\n"))
		if got := m.Email.SentAt != nil; got != want || got == hasDefect(m, DefectDateUnreadable) {
			t.Errorf("%s: %v, defects %v", value, m.Email.SentAt, m.Defects)
		}
	}
}

// An address that was broken in two ends no header.
func TestBrokenAddress(t *testing.T) {
	m := check(t, []byte("From: a@b.org\nCc: Carl <carl@c.org>, Dora <dora@\nd.org>\n\nHello\n"))
	if len(m.Email.Cc) != 2 || m.Email.Cc[1].Email != "dora@d.org" || m.Text != "Hello\n" || !hasDefect(m, DefectHeaderJoined) {
		t.Errorf("cc %+v, text %q, defects %v", m.Email.Cc, m.Text, m.Defects)
	}
	m = check(t, []byte("From: a@b.org\nSubject: 1 < 2\nso it is>\n\nHello\n"))
	if !strings.HasPrefix(m.Text, "so it is>") {
		t.Errorf("text %q", m.Text)
	}
}

// What fills the preview of a newsletter is seen by nobody.
func TestFillingOfPreviews(t *testing.T) {
	const filling = "\u034f\u200c\u00a0\u2007\u00ad\ufeff\u2060"
	html := check(t, []byte("From: a@b.org\nContent-Type: text/html; charset=utf-8\n\n<div>Our news"+strings.Repeat(filling+" ", 100)+"</div><p>Dear Ann"))
	if html.Text != "Our news\n\nDear Ann" || html.Email.Preview != "Our news Dear Ann" {
		t.Errorf("text %q, preview %q", html.Text, html.Email.Preview)
	}
	plain := check(t, []byte("From: a@b.org\nContent-Type: text/plain; charset=utf-8\n\nOur news"+strings.Repeat(filling+" ", 100)+"\n\nDear Ann"))
	if plain.Email.Preview != "Our news Dear Ann" {
		t.Errorf("preview %q", plain.Email.Preview)
	}
	persian := check(t, []byte("From: a@b.org\nContent-Type: text/plain; charset=utf-8\n\nمی\u200cخواهم \u200c a"))
	if persian.Email.Preview != "می\u200cخواهم a" {
		t.Errorf("preview %q", persian.Email.Preview)
	}
}

func TestMoreRepliesOfRealMail(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"signed by PGP":       {"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nYes.\n\nOn Mon, Ann wrote:\n> No?\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n", "Yes."},
		"a ticket's notice":   {"Yes.\n\n##- Please type your reply above this line -##\n\nYour ticket was changed.", "Yes."},
		"a notice in German":  {"Ja.\n\n--- Bitte antworten Sie oberhalb dieser Zeile ---\n\nIhre Anfrage", "Ja."},
		"the notice itself":   {"##- Please type your reply above this line -##\n\nYour ticket was changed.", "##- Please type your reply above this line -##\n\nYour ticket was changed."},
		"no notice":           {"# What stands above this line\nmatters", "# What stands above this line\nmatters"},
		"Thunderbird, Japan":  {"はい。\n\n2026/03/02 10:00、Ann さんは書きました:\n> いいえ？", "はい。"},
		"Horde, wrapped":      {"Ja.\n\nZitat von\nAnn Lee <a@b.org>:\n\n> Nein?", "Ja."},
		"Gmail, Persian":      {"بله\n\nدر تاریخ دوشنبه ۲ مارس ۲۰۲۶ Ann <a@b.org> نوشت:\n\n> نه؟", "بله"},
		"Outlook, Malay":      {"Ya.\n\nDaripada: Ann\nDihantar: Isnin\nKepada: Bob\nSubjek: x\n\nTidak?", "Ya."},
		"Outlook, Icelandic":  {"Já.\n\nFrá: Ann\nSent: mánudagur\nTil: Bob\nEfni: x\n\nNei?", "Já."},
		"Outlook, Serbian":    {"Да.\n\nОд: Ann\nПослато: понедељак\nЗа: Bob\nТема: x\n\nНе?", "Да."},
		"Naver":               {"네.\n\n보낸사람 : Ann\n받는사람 : Bob\n보낸날짜 : 2026-03-02\n제목 : x\n\n아니요?", "네."},
		"Outlook for iOS":     {"はい。\n\nOutlook for iOS を入手\n", "はい。"},
		"Outlook, Croatian":   {"Da.\n\nŠalje: Ann\nPoslano: ponedjeljak\nPrima: Bob\nPredmet: x\n\nNe?", "Da."},
		"Notes":               {"Fine.\nAnn\n\n\nBob Smith <b@b.org>\n02/27/2026 04:12 PM\n\n        To\nAnn Lee/ACME@ACME\n        cc\n\n        Subject\nOffer\n\nGood day", "Fine.\nAnn"},
		"Notes, German":       {"Passt.\n\nBob Smith/ACME\n27.02.2026 16:12\n\nAn\nAnn Lee/ACME@ACME\nKopie\n\nThema\nAngebot\n\nGuten Tag", "Passt."},
		"a list of dates":     {"Bring a@b.org and/or c:\n2 March 10:00\n\nTo\ndo", "Bring a@b.org and/or c:\n2 March 10:00\n\nTo\ndo"},
		"French, destination": {"Oui.\n\nDe : Ann\nDate : lundi 2 mars\nDestinataire : Bob\nObjet : x\n\nNon ?", "Oui."},
	} {
		if got := replyText(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	const outlook = `<p class=MsoNormal>Áno.</p><div><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'><p class=MsoNormal><b>X:</b> Ann</p></div></div><p>Nie?</p>`
	if got := check(t, []byte("From: a@b.org\nContent-Type: text/html; charset=utf-8\n\n"+outlook)).ReplyText; got != "Áno." {
		t.Errorf("Outlook's line: %q", got)
	}
}

func TestMoreAutoReplies(t *testing.T) {
	for head, want := range map[string]bool{
		"Content-Type: multipart/report; report-type=disposition-notification; boundary=b\nSubject: Read: x": true,
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b\nSubject: x":                false,
		"Auto-Submitted: auto-generated\nSubject: AUTO: Ann Lee is out of the office":                        true,
		"Auto-Submitted: auto-generated\nSubject: Automatski odgovor: x":                                     true,
		"Auto-Submitted: auto-generated\nSubject: Automatic teller report":                                   false,
		"Return-Path: <>\nSubject: Out of Office: x":                                                         true,
		"X-Auto-Response-Suppress: All\nSubject: Automatic reply: x":                                         true,
		"X-Auto-Response-Suppress: All\nSubject: Your report":                                                false,
		"X-Precedence: auto_reply\nSubject: x":                                                               true,
		"Auto-Submitted: no\nSubject: x":                                                                     false,
	} {
		if got := check(t, []byte("From: a@b.org\n"+head+"\n\nx")).Class.AutoReply; got != want {
			t.Errorf("%q: %v, want %v", head, got, want)
		}
	}
}

func TestUnsubscribeWithoutBrackets(t *testing.T) {
	for value, want := range map[string]string{
		"https://example.org/u?a=1,2":                   "https://example.org/u?a=1,2",
		"mailto:u@example.org, https://example.org/u":   "mailto:u@example.org https://example.org/u",
		"<mailto:u@example.org>, https://example.org/u": "mailto:u@example.org",
		"NO": "",
		"<https://example.org/u>, <mailto:u@example.org?x=y>,": "https://example.org/u mailto:u@example.org?x=y",
	} {
		l := check(t, []byte("From: a@b.org\nList-Unsubscribe: "+value+"\n\n")).Class.List
		if l == nil || strings.Join(l.Unsubscribe, " ") != want {
			t.Errorf("%s: got %+v, want %s", value, l, want)
		}
	}
}

func TestSecurityInGateways(t *testing.T) {
	const mixed = "Content-Type: multipart/mixed; boundary=m\n\n--m\n"
	for name, c := range map[string]struct{ raw, signed, encrypted string }{
		"a list's footer": {
			mixed + "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=s\n\n--s\n\nx\n--s\nContent-Type: application/pgp-signature\n\nx\n--s--\n--m\n\nfooter\n--m--\n",
			"pgp", "",
		},
		"no type left":      {"Content-Type: application/octet-stream; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nAAAA\n", "", "smime"},
		"a file":            {"Content-Type: application/octet-stream; name=data.bin\n\nx", "", ""},
		"in quoted text":    {"Content-Transfer-Encoding: quoted-printable\n\n=2D----BEGIN PGP MESSAGE-----\n\nx", "", "pgp"},
		"with files":        {mixed + "\n-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n--m\nContent-Type: application/pdf\n\nx\n--m--\n", "pgp", ""},
		"an encrypted file": {mixed + "\nsee there\n--m\nContent-Type: application/pkcs7-mime; name=smime.p7m\n\nx\n--m--\n", "", ""},
	} {
		if got := check(t, []byte("From: a@b.org\n"+c.raw)).Class; got.Signed != c.signed || got.Encrypted != c.encrypted {
			t.Errorf("%s: signed %q, encrypted %q", name, got.Signed, got.Encrypted)
		}
	}
}

func TestQuirkMixedUp(t *testing.T) {
	m := check(t, []byte("From: a@b.org\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n\n--b\nContent-Type: application/pgp-encrypted\n\n"+
		"Version: 1\n--b\nContent-Type: application/octet-stream; name=encrypted.asc\n\nx\n--b--\n"))
	if m.Class.Encrypted != "pgp" {
		t.Errorf("class %+v", m.Class)
	}
}

// What only the name of a file, or of an attendee, tells.
func TestCalendarByName(t *testing.T) {
	m := check(t, []byte("From: a@b.org\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: application/octet-stream; name=\"Invite.ICS\"\n\n"+
		"BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:1\nATTENDEE;CN=\"'ann@b.org'\":invalid:nomail\nATTENDEE;CN=Room:invalid:nomail\nEND:VEVENT\nEND:VCALENDAR\n--b--\n"))
	c := m.Class.Calendar
	if c == nil || c.Method != "REQUEST" || len(c.Attendees) != 2 || c.Attendees[0].Email != "ann@b.org" || c.Attendees[1].Email != "invalid:nomail" {
		t.Errorf("got %+v", c)
	}
}

func TestQuirkJunkReport(t *testing.T) {
	const mixed = "From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
	const returned = "Content-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: <ann@b.org>\nMessage-ID: <1@a.org>\nTo: someone\n\nx\n--b--\n"
	for feedback, want := range map[string]string{
		"": "abuse ann@b.org 1@a.org",
		"Content-Type: message/feedback-report\n\nFeedback-Type: fraud\nVersion: 1\n--b\n": "fraud ann@b.org 1@a.org",
	} {
		c := check(t, []byte(mixed+feedback+returned)).Class.Complaint
		if c == nil || c.Type+" "+c.Recipient+" "+c.MessageID != want {
			t.Errorf("%q: got %+v, want %s", feedback, c, want)
		}
	}
}

// A warning of Exim's has no status.
func TestDelayWithoutStatus(t *testing.T) {
	b := check(t, []byte("Return-Path: <>\nFrom: Mail Delivery System <Mailer-Daemon@a.org>\nSubject: Warning: message 1wABC-0001 delayed 24 hours\n\n"+
		"This message was created automatically. It has not been delivered to all of its recipients after 24 hours.\n\n"+
		"The address to which the message has not yet been delivered is:\n\n  ann@b.org\n\nNo action is required on your part.\n")).Class.Bounce
	if b == nil || len(b.Recipients) != 1 || b.Recipients[0].Recipient != "ann@b.org" || b.Recipients[0].Action != "delayed" {
		t.Errorf("got %+v", b)
	}
}

// An SVG element that closes itself holds nothing.
func TestElementThatClosesItself(t *testing.T) {
	if got, _ := htmlText(`one <svg viewBox="0 0 1 1"/> two <svg><title>no</title></svg> three`); got != "one two three" {
		t.Errorf("got %q", got)
	}
}
