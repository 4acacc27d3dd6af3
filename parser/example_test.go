package parser_test

import (
	"fmt"
	"io"
	"os"

	"github.com/mailflume/mailflume/parser"
)

const message = `From: Ann Lee <ann@example.org>
To: bob@example.net
Subject: =?utf-8?q?Caf=C3=A9?=
Date: Mon, 02 Mar 2026 10:00:00 +0100
Message-ID: <1@example.org>
Content-Type: multipart/mixed; boundary=b

--b

See you there.

On Sun, Bob wrote:
> Where?
--b
Content-Type: text/csv; name="../list.csv"
Content-Disposition: attachment
Content-Transfer-Encoding: base64

YSxiCjEsMgo=
--b--
`

func ExampleParse() {
	m := parser.Parse([]byte(message))
	fmt.Println(*m.Email.Subject, "from", *m.Email.From[0].Name, "at", m.Email.SentAt)
	fmt.Println(m.ReplyText)
	fmt.Println(m.Attachments[0].Name, "is stored as", m.Attachments[0].SafeName)
	fmt.Println(len(m.Defects), "repairs")
	// Output:
	// Café from Ann Lee at 2026-03-02 10:00:00 +0100 +0100
	// See you there.
	// ../list.csv is stored as list.csv
	// 0 repairs
}

func ExampleMail_Leaf() {
	m := parser.Parse([]byte(message))
	leaf, _ := m.Leaf("2")
	fmt.Println(leaf.Type, leaf.Size)
	if _, err := io.Copy(os.Stdout, leaf.Open()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// text/csv 8
	// a,b
	// 1,2
}

func ExampleMail_Unparsable() {
	reason, yes := parser.Parse([]byte("\x89PNG")).Unparsable()
	fmt.Println(yes, reason)
	// Output: true The bytes have no header field that mail has.
}

func ExampleFingerprint() {
	first := parser.Fingerprint([]byte("Subject: hi\r\nContent-Type: multipart/mixed; boundary=one\r\n\r\n--one--"))
	again := parser.Fingerprint([]byte("Subject: hi\r\nContent-Type: multipart/mixed; boundary=two\r\n\r\n--two--"))
	fmt.Println(first == again)
	// Output: true
}
