package parser

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// storedRTF is RTF in a compressed stream that is not compressed ([MS-OXRTFCP]).
func storedRTF(text string) string {
	return le32(uint32(len(text)+12), uint32(len(text)), 0x414c454d, 0) + text
}

// wrappedHTML is after the example of [MS-OXRTFEX].
const wrappedHTML = `{\rtf1\ANSI\ansicpg1251\fromhtml1 \deff0
{\fonttbl {\f0\fmodern Courier New;}{\f1\fswiss Arial;}{\f2\fswiss\fcharset0 Arial;}}
{\colortbl\red0\green0\blue0;\red0\green0\blue255;}
{\*\htmltag64}
\uc1\pard\plain\deftab360 \f0\fs24
{\*\htmltag <HTML><head>\par
<style>\par
<!--\par
p.MsoNormal \{font-family:Arial;\}\par
-->\par
</style>\par
\tab <!-- There is a tab before the comment.\par
-->\par
</head>\par
<body>\par
<p\par
class="MsoNormal">}
{\htmlrtf \f1 \htmlrtf0 Note the line break inside a P tag. {\*\htmltag <b>}{\htmlrtf \b \htmlrtf0 This is {\*\htmltag <u>}{\htmlrtf \ul \htmlrtf0 bold{\*\htmltag </u>}\htmlrtf }\htmlrtf0  text{\*\htmltag </b>}\htmlrtf }\htmlrtf0
\htmlrtf\par}\htmlrtf0
{\*\htmltag </p>\par
<p class="MsoNormal">\par}
{\htmlrtf \f1 \htmlrtf0 This is a normal text with a character references:
{\*\htmltag &nbsp;}\htmlrtf \'a0\htmlrtf0  {\*\htmltag &lt;}\htmlrtf <\htmlrtf0  {\*\htmltag <br>\par}\htmlrtf\line\htmlrtf0
characters which have special meaning in RTF: \{\}\\{\*\htmltag <br>\par}\htmlrtf\line\htmlrtf0\htmlrtf\par}\htmlrtf0
{\*\htmltag </p>\par
</body>\par
</HTML>\par }}`

const unwrappedHTML = `<HTML><head>
<style>
<!--
p.MsoNormal {font-family:Arial;}
-->
</style>
	<!-- There is a tab before the comment.
-->
</head>
<body>
<p
class="MsoNormal">Note the line break inside a P tag. <b>This is <u>bold</u> text</b></p>
<p class="MsoNormal">
This is a normal text with a character references:&nbsp; &lt; <br>
characters which have special meaning in RTF: {}\<br>
</p>
</body>
</HTML>
`

func TestRTFText(t *testing.T) {
	for name, c := range map[string]struct {
		rtf, want string
		html      bool
	}{
		"wrapped HTML":  {wrappedHTML, unwrappedHTML, true},
		"paragraphs":    {`{\rtf1\ansi\pard One\par Two\line Three\tab four\par}`, "One\nTwo\nThree\tfour\n", false},
		"code page":     {`{\rtf1\ansi\ansicpg1251 \'cf\'f0\'e8\'e2\'e5\'f2}`, "Привет", false},
		"font":          {`{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 A;}{\f1\fcharset128 B;}}\'e9\f1\'93\'fa\'96\'7b\f0\'e9}`, "é日本é", false},
		"fonts in turn": {`{\rtf1\ansicpg1252{\fonttbl{\f5\fcharset204 B;}}{\f5\'cf}\'cf}`, "ПÏ", false},
		"numbers":       {`{\rtf1 \u26085?\u26412\'3f \uc0\u233x\uc2\u233ab c}`, "日本 éxé c", false},
		"surrogates":    {`{\rtf1 \u-10179?\u-8704?}`, "\U0001f600", false},
		"signs":         {`{\rtf1 \ldblquote a\rdblquote\emdash b\~c\_d\-e\{\}\\}`, "“a”—b\u00a0c\u2011de{}\\", false},
		"not the text":  {`{\rtf1{\fonttbl{\f0 Arial;}}{\*\generator X;}{\info{\title T}}{\pict\bin3 }}}}a}`, "a", false},
		"from text":     {`{\rtf1\ansi\fromtext {\fonttbl\f0;}a <b>\par b}`, "a <b>\nb", false},
		"a dash":        {`{\rtf1 a\par-b}`, "a\n-b", false},
		"cut off":       {`{\rtf1 a\'e`, "ae", false},
		"no RTF":        {"hello", "hello", false},
		"deep":          {`{\rtf1 ` + strings.Repeat("{", 2000) + "a" + strings.Repeat("}", 2000) + `\'e9}`, "aé", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, isHTML := rtfText([]byte(c.rtf), 1<<20)
			if got != c.want || isHTML != c.html {
				t.Errorf("got %q (HTML %v), want %q", got, isHTML, c.want)
			}
		})
	}
	if got, _ := rtfText([]byte(`{\rtf1 abc\u26085?}`), 5); got != "abc" {
		t.Errorf("cut at 5 bytes: %q", got)
	}
}

// A winmail.dat that has nothing but RTF has text and HTML all the same; one that has more keeps it.
func TestTNEFWithRTFOnly(t *testing.T) {
	rtf := binaryProp(mapiRTF, 0x102, storedRTF(wrappedHTML))
	m := check(t, winmail(tnefStream(attribute(1, tnefProps, le32(1)+rtf))))
	if m.HTML != unwrappedHTML || !strings.HasPrefix(m.Text, "Note the line break inside a P tag. This is bold text\n\nThis is a normal") || m.Email.Preview == "" {
		t.Errorf("text %q, HTML %q", m.Text, m.HTML)
	}
	m = check(t, winmail(tnefStream(attribute(1, tnefProps, le32(1)+binaryProp(mapiRTF, 0x102, storedRTF(`{\rtf1 One\par Two}`))))))
	if m.Text != "One\nTwo" || m.HTML != "" || m.ReplyText != "One\nTwo" {
		t.Errorf("text %q, HTML %q", m.Text, m.HTML)
	}
	m = check(t, winmail(tnefStream(attribute(1, tnefProps, le32(2)+rtf+binaryProp(mapiHTML, 0x102, "<p>its own</p>")))))
	if m.HTML != "<p>its own</p>" {
		t.Errorf("HTML %q", m.HTML)
	}
}

func FuzzRTF(f *testing.F) {
	f.Add([]byte(wrappedHTML))
	f.Add([]byte(`{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 A;}{\f1\fcharset128 B;}}\'e9\f1\'93\'fa \u-10179?\u-8704?}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 10_000
		text, isHTML := rtfText(data, most)
		again, _ := rtfText(data, most)
		if !utf8.ValidString(text) || len(text) > most || len(text) > 10+4*len(data) || text != again {
			t.Errorf("%d bytes became %d (HTML %v)", len(data), len(text), isHTML)
		}
	})
}
