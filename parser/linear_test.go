package parser

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

const mailHead = "From: a@b.org\r\nSubject: s\r\nMIME-Version: 1.0\r\n"

const bounced = "Return-Path: <>\r\nFrom: MAILER-DAEMON@a.org\r\nSubject: failure notice\r\n\r\n"

func typed(kind, body string) string { return mailHead + "Content-Type: " + kind + "\r\n\r\n" + body }

func encoded(name, body string) string {
	return mailHead + "Content-Transfer-Encoding: " + name + "\r\n\r\n" + body
}

// rtfOf is a message whose only text is RTF.
func rtfOf(text string) string {
	return tnefOf(attribute(1, tnefProps, le32(1)+binaryProp(mapiRTF, 0x102, storedRTF(text))))
}

func tnefOf(attributes string) string { return string(winmail(tnefStream(attributes))) }

// fill repeats a piece up to n bytes.
func fill(piece string, n int) string { return strings.Repeat(piece, n/len(piece)+1) }

func nested(levels int, boundary string) string {
	var s strings.Builder
	s.WriteString(mailHead)
	for i := range levels {
		fmt.Fprintf(&s, "Content-Type: multipart/mixed; boundary=\""+boundary+"\"\r\n\r\n--b%[1]d\r\n", i)
	}
	return s.String()
}

// hostile are messages of about n bytes that make careless parsers slow or hungry: the ideas of the corpus'
// adversarial/gen.py, and one for every loop in this package that looks ahead.
var hostile = map[string]func(n int) string{
	"address angles":       func(n int) string { return "From: " + fill("<", n) + "\r\n\r\nx" },
	"address colons":       func(n int) string { return "From: a@" + fill(":", n) + "\r\n\r\nx" },
	"address commas":       func(n int) string { return "From: " + fill("a,", n) + "\r\n\r\nx" },
	"address escapes":      func(n int) string { return "From: " + fill(`"\`, n) + "\r\n\r\nx" },
	"address many":         func(n int) string { return "From: a@b\r\nTo: " + fill(`"U" <u@b.org>, `, n) + "\r\n\r\nx" },
	"address parentheses":  func(n int) string { return "From: " + fill("(a", n) + "\r\n\r\nx" },
	"address quotes":       func(n int) string { return "From: " + fill(`"`, n) + "\r\n\r\nx" },
	"address quotes in <":  func(n int) string { return "From: <" + fill(`"`, n) + "\r\n\r\nx" },
	"address no commas":    func(n int) string { return "From: " + fill("a@b ", n) + "\r\n\r\nx" },
	"address angles alone": func(n int) string { return "From: " + fill("<a@b> <c@d> ", n) + "\r\n\r\nx" },
	"address mailto":       func(n int) string { return "From: " + fill("a [mailto:", n) + "\r\n\r\nx" },
	"address word, commas": func(n int) string {
		return "From: <" + fill("a", n/2) + "=?" + fill(",", n/2) + "\r\n\r\nx"
	},
	"words split anywhere": func(n int) string {
		return mailHead + "X: 1\r\nSubject: =?a?b?B?= " + fill("=?a?b?BBBB?= ", n) + "\r\n\r\nx"
	},
	"charset pairs":     func(n int) string { return typed("text/plain", fill("\xb5\xc4", n)) },
	"charset runs":      func(n int) string { return "From: a\r\nTo: " + fill("\xcf\xf0\xe8\xe2 <a@b>, ", n) + "\r\n\r\nx" },
	"ticket marks":      func(n int) string { return mailHead + "\r\n" + fill("---------------------\r\n", n) },
	"notes dates":       func(n int) string { return mailHead + "\r\n" + fill("a@b\r\n1 10:00\r\n\r\n", n) },
	"PGP heads":         func(n int) string { return mailHead + "\r\n" + fill(pgpSigned+"\r\n", n) },
	"address words":     func(n int) string { return "From: " + fill("=?a?q?b", n) + "\r\n\r\nx" },
	"auth parentheses":  func(n int) string { return "From: a\r\nAuthentication-Results: x; " + fill("(", n) + "\r\n\r\nx" },
	"base64 A=":         func(n int) string { return encoded("base64", fill("A=\r\n", n)) },
	"base64 prose":      func(n int) string { return encoded("base64", fill("a, b ", n)) },
	"base64 padding":    func(n int) string { return encoded("base64", fill("AA==", n)) },
	"base64 junk":       func(n int) string { return encoded("base64", fill("!", n)) },
	"boundary dashes":   func(n int) string { return typed(`multipart/mixed; boundary="----"`, fill("------\r\n", n)) },
	"boundary not ours": func(n int) string { return nested(200, "b%[1]d") + "\r\n" + fill("--x\r\n", n) },
	"boundary wrong":    func(n int) string { return nested(200, "w%[1]d") + "\r\n" + fill("--x\r\n", n) },
	"bounce addresses":  func(n int) string { return bounced + fill("a@b.org ", n) },
	"bounce codes":      func(n int) string { return bounced + fill("5.1.", n) },
	"bounce digits":     func(n int) string { return bounced + fill("5", n) },
	"bounce replies": func(n int) string {
		return bounced + "Final-Recipient: rfc822; a@b.org\r\n" + fill("Status: 5.0.0\r\nFinal-Recipient: x@y.org\r\n", n)
	},
	"bounce lines":      func(n int) string { return bounced + fill("550 5.0.0 x\r\n", n) },
	"bounce headers":    func(n int) string { return bounced + fill("From: x\r\n", n) },
	"bounce indents":    func(n int) string { return bounced + fill(" From: x\r\nTo: a\r\nDate: x\r\n", n) },
	"calendar folds":    func(n int) string { return typed("text/calendar", "X:a"+fill("\r\n a", n)) },
	"calendar begins":   func(n int) string { return typed("text/calendar", fill("BEGIN:VEVENT\r\n", n)) },
	"calendar params":   func(n int) string { return typed("text/calendar", "BEGIN:VEVENT\nORGANIZER"+fill(";a=\"", n)+":") },
	"delivery fields":   func(n int) string { return typed("message/delivery-status", fill("Status: 5.0.0\r\n", n)) },
	"delivery groups":   func(n int) string { return typed("message/delivery-status", fill("Status: 5.0.0\r\n\r\n", n)) },
	"delivery blanks":   func(n int) string { return typed("message/delivery-status", fill("\r\n \r\n", n)) },
	"digest of nothing": func(n int) string { return typed("multipart/digest; boundary=b", fill("--b\r\n\r\n\r\n", n)) },
	"fields":            func(n int) string { return mailHead + fill("X-1: v\r\n", n) + "\r\nx" },
	"fields boundary": func(n int) string {
		return mailHead + "Content-Type: a/b; x=" + fill("a", n/2) + "\r\n" + fill("--a\r\nX: y\r\n", n/2)
	},
	"fields odd":           func(n int) string { return mailHead + fill("a b: c\r\n", n) + "\r\nx" },
	"fields garbage":       func(n int) string { return mailHead + fill("garbage\r\nX-A: b\r\n", n) + "\r\nx" },
	"fields From_":         func(n int) string { return mailHead + fill("From a\r\n", n) + "\r\nx" },
	"fields CR":            func(n int) string { return fill("a: b\r", n) },
	"folds":                func(n int) string { return mailHead + "X: a" + fill("\r\n a", n) + "\r\n\r\nx" },
	"folds lost":           func(n int) string { return mailHead + fill("X: a\r\nb\r\n c\r\n", n) + "\r\nx" },
	"folds blank":          func(n int) string { return mailHead + "X: a" + fill("\r\n ", n) + "\r\n\r\nx" },
	"html non-joiners":     func(n int) string { return typed("text/html; charset=utf-8", fill("م\u200c", n)) },
	"html <":               func(n int) string { return typed("text/html", fill("<", n)) },
	"html attributes":      func(n int) string { return typed("text/html", "<a "+fill("a ", n)+">x") },
	"html attributes same": func(n int) string { return typed("text/html", "<a "+fill(`a=" `, n)+">x") },
	"html blockquotes":     func(n int) string { return typed("text/html", fill("<blockquote>x", n)) },
	"html comments":        func(n int) string { return typed("text/html", fill("<!--", n)) },
	"html deep":            func(n int) string { return typed("text/html", fill("<div>", n)+"x") },
	"html entities":        func(n int) string { return typed("text/html", fill("&", n)) },
	"html pre":             func(n int) string { return typed("text/html", fill("<pre>\n", n)) },
	"html scripts":         func(n int) string { return typed("text/html", fill("<script>", n)) },
	"html script ends":     func(n int) string { return typed("text/html", "<script>"+fill("</", n)) },
	"html style, text":     func(n int) string { return typed("text/html", fill("<style></style>x", n)) },
	"ids <":                func(n int) string { return mailHead + "References: " + fill("<", n) + "\r\n\r\nx" },
	"ids bare":             func(n int) string { return mailHead + "References: " + fill("a@b ", n) + "\r\n\r\nx" },
	"lines empty":          func(n int) string { return fill("\n", n) },
	"messages nested": func(n int) string {
		return mailHead + fill("Content-Type: message/rfc822\r\n\r\n", n) + "x"
	},
	"messages nested, encoded": func(n int) string {
		return mailHead + fill("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", n) + "x"
	},
	"params": func(n int) string { return typed("text/plain; "+fill("name*1=x; ", n), "x") },
	"params names": func(n int) string {
		return typed("multipart/mixed; boundary=b", fill("--b\r\nContent-Type: a/b"+fill(";name=a", 3000)+"\r\n\r\n", n))
	},
	"params open":      func(n int) string { return typed("text/plain; "+fill(`a="x; `, n), "x") },
	"params quotes":    func(n int) string { return typed(`text/plain; a="`+fill(`" `, n), "x") },
	"params no equals": func(n int) string { return typed("text/plain; "+fill("= ;", n), "x") },
	"params spaces":    func(n int) string { return typed("text/plain; a="+fill(" name", n), "x") },
	"parts":            func(n int) string { return typed("multipart/mixed; boundary=b", fill("--b\r\n\r\nx\r\n", n)) },
	"parts typed twice": func(n int) string {
		return typed("multipart/mixed; boundary=b", fill("--b\r\nContent-Type: a/b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n", n))
	},
	"fields white lines": func(n int) string { return mailHead + fill("a: b\r\n \r\n", n) },
	"parts broken": func(n int) string {
		return typed("multipart/mixed; boundary=b", fill("--b\r\nContent-Type: x\r\n\r\n", n))
	},
	"parts deep":        func(n int) string { return nested(250, "b%[1]d") + "\r\n" + fill("--b249\r\n\r\n", n) },
	"quoted =":          func(n int) string { return encoded("quoted-printable", fill("=", n)) },
	"quoted soft":       func(n int) string { return encoded("quoted-printable", fill("=\r\n", n)) },
	"quoted spaces":     func(n int) string { return encoded("quoted-printable", fill(" ", n)) },
	"reply sent from":   func(n int) string { return mailHead + "\r\n" + fill("sent from x\n", n) + "\nyes" },
	"reply names":       func(n int) string { return mailHead + "\r\n" + fill("Ann <a@b.org> 2026\n", n) },
	"reply separators":  func(n int) string { return mailHead + "\r\n" + fill("--- hello there ---\n", n) },
	"reply dates":       func(n int) string { return mailHead + "\r\n" + fill("Date: 2026\n", n) },
	"reply From":        func(n int) string { return mailHead + "\r\n" + fill("From: a\n", n) },
	"reply On":          func(n int) string { return mailHead + "\r\n" + fill("On a\n", n) },
	"reply on one line": func(n int) string { return mailHead + "\r\n" + fill("On x wrote: ", n) + "\r\n> q\r\n" },
	"reply rules":       func(n int) string { return mailHead + "\r\n" + fill("__________\n", n) },
	"reply wrote":       func(n int) string { return mailHead + "\r\n" + fill("a wrote:\n", n) },
	"text JIS":          func(n int) string { return mailHead + "\r\n" + fill("\x1b$B", n) },
	"text ISO-2022-KR":  func(n int) string { return typed("text/plain; charset=iso-2022-kr", fill("\x0e0!\x1b$)C", n)) },
	"text mislabelled":  func(n int) string { return typed("text/plain; charset=iso-2022-jp", fill("\x82\xb1", n)) },
	"text latin":        func(n int) string { return mailHead + "\r\n" + fill("\xe9", n) },
	"text UTF-7":        func(n int) string { return typed("text/plain; charset=utf-7", fill("+", n)) },
	"tnef attributes":   func(n int) string { return tnefOf(fill(attribute(2, tnefNext, ""), n)) },
	"tnef properties": func(n int) string {
		return tnefOf(attribute(1, tnefProps, le32(1<<31)+fill(binaryProp(mapiRTF, 0x102, "x"), n)))
	},
	"rtf braces":  func(n int) string { return rtfOf(fill("{", n)) },
	"rtf closing": func(n int) string { return rtfOf(fill("}", n)) },
	"rtf fonts":   func(n int) string { return rtfOf("{\\fonttbl" + fill("{\\f1\\fcharset128 }", n)) },
	"rtf groups":  func(n int) string { return rtfOf(fill("{a}", n)) },
	"rtf hex":     func(n int) string { return rtfOf(fill("\\'e9", n)) },
	"rtf numbers": func(n int) string { return rtfOf(fill("\\u233", n)) },
	"rtf words":   func(n int) string { return rtfOf(fill("\\a", n)) },
	"tnef values": func(n int) string {
		return tnefOf(attribute(1, tnefProps, le32(1, mapiHTML<<16|0x1102, 1<<31)+fill("\x00", n)))
	},
	"tnef nested": func(n int) string {
		inner := ""
		for range 20 {
			inner = tnefStream(attribute(2, tnefNext, ""), attribute(2, tnefAttachment, le32(1)+binaryProp(mapiData, 0x0d, fill("i", 15)[:16]+inner+fill("x", n/20))))
		}
		return string(winmail(inner))
	},
	"text flowed":       func(n int) string { return typed("text/plain; format=flowed", fill(">> a \n", n)) },
	"text begins":       func(n int) string { return mailHead + "\r\n" + fill("begin 644 a\nM\n", n) },
	"text begin":        func(n int) string { return mailHead + "\r\nbegin 644 a\n" + fill("\n", n) },
	"uuencode begins":   func(n int) string { return encoded("x-uuencode", fill("begin 644 a\r\n", n)) },
	"words":             func(n int) string { return "From: a\r\nSubject: " + fill("=?utf-8?q?a?= ", n) + "\r\n\r\nx" },
	"words in words":    func(n int) string { return "From: a\r\nSubject: =?utf-8?q?" + fill("?=AA", n) + "\r\n\r\nx" },
	"words apart":       func(n int) string { return "From: a\r\nSubject: " + fill("=?utf-8?q?a?= b ", n) + "\r\n\r\nx" },
	"words nobody ends": func(n int) string { return "From: a\r\nSubject: " + fill("=?utf-8?q?a", n) + "\r\n\r\nx" },
	"words open":        func(n int) string { return "From: a\r\nSubject: " + fill("=?", n) + "\r\n\r\nx" },
}

// Eight times the bytes take about eight times as long. Quadratic work would take 64 times, and far more than the two
// seconds a megabyte that even a slow machine with the race detector stays under. What counts is the time of our thread, so
// that it does not matter what else runs on the machine; the collector may still make a measurement slow, so a case may try
// again.
func TestLinearTime(t *testing.T) {
	const small, large, factor, tries = 32 << 10, 256 << 10, 30, 6
	perMB := 2 * time.Second
	for name, generate := range hostile {
		t.Run(name, func(t *testing.T) {
			short, long := []byte(generate(small)), []byte(generate(large))
			less, more := time.Hour, time.Hour
			for range tries {
				less, more = min(less, took(t, short)), min(more, took(t, long))
				if more <= factor*max(less, 2*time.Millisecond) && more <= perMB*large>>20 {
					return
				}
			}
			t.Errorf("%d bytes take %v, %d bytes %v", small, less, large, more)
		})
	}
}

// took returns the processor time that a message takes.
func took(t *testing.T, raw []byte) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime(t)
	Parse(raw)
	Fingerprint(raw)
	return threadTime(t) - start
}

// Whatever is in a message of a given size, the event stays within bounds.
func TestHostileMessagesHoldTheProperties(t *testing.T) {
	for name, generate := range hostile {
		t.Run(name, func(t *testing.T) { check(t, []byte(generate(5_000))) })
	}
}

// A message deeper than the limit is no deeper for us, and what lies below is kept as an attachment.
func TestDepth(t *testing.T) {
	m := check(t, []byte(nested(2000, "b%[1]d")+"\r\nhello\r\n"))
	if len(m.Attachments) != 1 || !hasDefect(m, DefectLimitDepth) {
		t.Errorf("%d attachments, defects %v", len(m.Attachments), m.Defects)
	}
	m = check(t, []byte(nested(100, "b%[1]d")+"\r\nhello\r\n"))
	if m.Text != "hello\n" || hasDefect(m, DefectLimitDepth) {
		t.Errorf("100 levels: text %q, defects %v", m.Text, m.Defects)
	}
}

func hasDefect(m Mail, code string) bool {
	for _, d := range m.Defects {
		if d.Code == code {
			return true
		}
	}
	return false
}
