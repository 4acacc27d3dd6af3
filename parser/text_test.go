package parser

import (
	"reflect"
	"slices"
	"testing"

	"github.com/mailflume/mailflume/event"
)

func TestHTMLText(t *testing.T) {
	for source, want := range map[string]string{
		"<p>one</p><p>two</p>":                                "one\n\ntwo",
		"a<br>b<br><br>c":                                     "a\nb\n\nc",
		"<div>a</div><div>b</div>":                            "a\nb",
		"<table><tr><td>a<td>b</tr><tr><td>c</table>":         "a b\nc",
		"a <b>bold</b>\n text&nbsp;&amp; &eacute;":            "a bold text & é",
		"<style>p{}</style><script>x<y</script>a":             "a",
		"<title>t</title><!-- c > d -->a<!-- open":            "a",
		`<a href="x>y">link</a>`:                              "link",
		"<blockquote>q<br>r</blockquote>after":                "> q\n> r\n\nafter",
		"<pre>a\n  b</pre>":                                   "a\n  b",
		"1 < 2 and 3 > 2":                                     "1 < 2 and 3 > 2",
		"<ul><li>a<li>b</ul>":                                 "- a\n- b",
		"<ul><li><p>a</p></li><li><div>b</div>c</ul>":         "- a\n\n- b\nc",
		"<ul>\n<li>\n<ol><li>a</li></ol></li><li></li></ul>d": "-\n- a\n\n-\n\nd",
		"soft\u00adhyphen":                                    "softhyphen",
		`<img alt="x" src="data:image/png;base64,AAAA">done`:  "done",
		"<p": "",
		"":   "",
	} {
		if got, _ := htmlText(source); got != want {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}

func TestReplyText(t *testing.T) {
	for text, want := range map[string]string{
		"Yes.\n\nOn Mon, Ann wrote:\n> No?":                                             "Yes.",
		"Yes.\n\nOn Mon, Mar 2, 2026,\nAnn <a@b.org> wrote:\n\n> No?":                   "Yes.",
		"Ja.\n\nAm 02.03.2026 um 10:00 schrieb Ann:\n> Nein?":                           "Ja.",
		"Yes.\n-- \nBob\nACME":                                                          "Yes.",
		"Yes.\n\n-----Original Message-----\nFrom: Ann\n\nNo?":                          "Yes.",
		"Yes.\n\nFrom: Ann\nSent: Monday\nTo: Bob\nSubject: x\n\nNo?":                   "Yes.",
		"Yes.\n________________________________\nVon: Ann\nGesendet: x\nAn: Bob\n\nNo?": "Yes.",
		"> one?\nyes\n> two?\nno":                                                       "yes\nno",
		"Yes.\n\nSent from my iPhone":                                                   "Yes.",
		"> only a quote":                                                                "> only a quote",
		"On the other hand he wrote:\nnothing at all":                                   "On the other hand he wrote:\nnothing at all",
		"From: here to there\nit is far":                                                "From: here to there\nit is far",
		"Ja.\n\nAnn <a@b.org> schrieb am Di., 16. Aug. 2016\num 12:52 Uhr:\n> Nein?":    "Ja.",
		"Да.\n\nср, 30 апр. 2025 г. в 15:19, Ann <a@b.org>:\n\nНет?":                    "Да.",
		"Yes.\n\nOn Wed, 14 Nov 2018 08:14:43 -0200 Ann <a@b.org> wrote\n\nNo?":         "Yes.",
		"Oui.\n\n====\n\nMessage du : 12/12/2016 13:20\nDe : Ann\nA : b@c.fr\n\nNon ?":  "Oui.",
		"Ja.\n\n-------- Oprindelig besked --------\nFra: Ann\nTil: Bob\n":              "Ja.",
		"Yes.\nAL> No?\nAL>\n":                                                          "Yes.",
		"Yes.\n\nSent from my phone, sorry\n\nAnd no.":                                  "Yes.\n\nSent from my phone, sorry\n\nAnd no.",
		"Yes.\n\nSent with Thunderbird\n\nOn Mon 10:00, Ann <a@b.org> wrote:\n> No?":    "Yes.",
		"Call me at 10:00:\n0123\n":                                                     "Call me at 10:00:\n0123",
		"Write to ann@b.org:\nshe knows":                                                "Write to ann@b.org:\nshe knows",
		"A list:\n- one\n--- and more ---\n- two":                                       "A list:\n- one\n--- and more ---\n- two",
		"": "",
	} {
		if got := replyText(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestFlowedText(t *testing.T) {
	const body = "A paragraph that \ngoes on.\nNext.\n> quoted \n> on\n>> deeper \n> back\n > no quote\n-- \nBob \n\nend "
	for params, want := range map[string]string{
		"format=flowed":            "A paragraph that goes on.\nNext.\n> quoted on\n>> deeper \n> back\n> no quote\n-- \nBob \nend ",
		"format=flowed; delsp=yes": "A paragraph thatgoes on.\nNext.\n> quotedon\n>> deeper\n> back\n> no quote\n-- \nBob\nend",
		"format=fixed":             body,
	} {
		m := check(t, []byte("From: a@b.org\nContent-Type: text/plain; "+params+"\n\n"+body))
		if m.Text != want {
			t.Errorf("%s: got %q, want %q", params, m.Text, want)
		}
		if m.Email.BodyValues["1"].Value != body {
			t.Errorf("%s: the body value is %q", params, m.Email.BodyValues["1"].Value)
		}
	}
}

// Outlook and Yahoo quote without a mark; their elements tell.
func TestReplyTextOfHTML(t *testing.T) {
	const head = "From: a@b.org\nContent-Type: text/html; charset=utf-8\n\n"
	for body, want := range map[string]string{
		`<p>Yes.</p><hr><div id="divRplyFwdMsg" dir="ltr"><b>Od:</b> Ann</div><div>No?</div>`:                                         "Yes.",
		`<div>Yes.</div><div id="ydp1yahoo_quoted" class="yahoo_quoted">Ann: <div>No?</div></div>`:                                    "Yes.",
		`<div id="divRplyFwdMsg">passed on</div>`:                                                                                     "passed on",
		`<div>Yes.</div><div class="gmail_quote"><div>On Mon, Ann &lt;a@b.org&gt; wrote:<br></div><blockquote>No?</blockquote></div>`: "Yes.",
		`<div class="moz-cite-prefix">On 02.03.26 10:00, Ann wrote:<br></div><blockquote type="cite">No?</blockquote><p>Yes.</p>`:     "Yes.",
	} {
		if got := check(t, []byte(head+body)).ReplyText; got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

// part makes a leaf, or a multipart of others, for TestBodyLists.
func bodyPart(id, kind string, sub ...event.EmailBodyPart) event.EmailBodyPart {
	p := event.EmailBodyPart{Type: kind, SubParts: sub}
	if sub == nil {
		p.PartID = &id
	}
	return p
}

func as(disposition string, p event.EmailBodyPart) event.EmailBodyPart {
	p.Disposition = &disposition
	return p
}

// The example of RFC 8621, section 4.1.4: its letters, and where each must end up.
func TestBodyListsOfTheRFC(t *testing.T) {
	root := bodyPart("", "multipart/mixed",
		as("inline", bodyPart("A", "text/plain")),
		bodyPart("", "multipart/mixed",
			bodyPart("", "multipart/alternative",
				bodyPart("", "multipart/mixed",
					as("inline", bodyPart("B", "text/plain")),
					as("inline", bodyPart("C", "image/jpeg")),
					as("inline", bodyPart("D", "text/plain")),
				),
				bodyPart("", "multipart/related",
					bodyPart("E", "text/html"),
					bodyPart("F", "image/jpeg"),
				),
			),
			as("attachment", bodyPart("G", "image/jpeg")),
			bodyPart("H", "application/x-excel"),
			bodyPart("J", "message/rfc822"),
		),
		as("inline", bodyPart("K", "text/plain")),
	)
	var l bodyLists
	l.split([]event.EmailBodyPart{root}, "mixed", false, true, true)
	letters := func(parts []event.EmailBodyPart) string {
		s := ""
		for _, p := range parts {
			s += *p.PartID
		}
		return s
	}
	got := []string{letters(l.text), letters(l.html), letters(l.attachments)}
	if want := []string{"ABCDK", "AEK", "CFGHJ"}; !slices.Equal(got, want) {
		t.Errorf("textBody, htmlBody, attachments are %q, want %q", got, want)
	}
}

func TestClass(t *testing.T) {
	for head, want := range map[string]event.Class{
		"From: a@b.org": {},
		"Auto-Submitted: auto-replied (vacation)": {AutoReply: true},
		"Auto-Submitted: no":                      {},
		"Precedence: Bulk":                        {Bulk: true},
		"List-Id: =?x?= <l.example.org>":          {Bulk: true, List: &event.List{ID: "l.example.org"}},
	} {
		if got := Parse([]byte(head + "\n\n")).Class; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", head, got, want)
		}
	}
}

// A text too long for the event is cut in the event, and attached whole.
func TestTextLimit(t *testing.T) {
	o := Options{Limits: Limits{TextPart: 5}}
	m := o.Parse([]byte("From: a@b\nContent-Type: text/plain; charset=utf-8\n\nabcd\xc3\xa9fgh"))
	v := m.Email.BodyValues["1"]
	if v.Value != "abcd" || !v.IsTruncated || len(m.Attachments) != 1 || m.Attachments[0].Size != 9 || !hasDefect(m, DefectLimitText) {
		t.Errorf("value %+v, attachments %+v, defects %v", v, m.Attachments, m.Defects)
	}
}
