package sim

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
)

// structure is the BODYSTRUCTURE of a message (RFC 3501, section 7.4.2), as far as clients look: types, character set,
// encoding and sizes, without the extension fields.
func structure(raw []byte) string {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return part(nil, raw)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		return part(nil, raw)
	}
	return part(textproto.MIMEHeader(m.Header), body)
}

// part describes one part and those in it.
func part(h textproto.MIMEHeader, body []byte) string {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind, params = "text/plain", map[string]string{"charset": "us-ascii"}
	}
	main, sub, _ := strings.Cut(kind, "/")
	if main == "multipart" {
		if inner := parts(body, params["boundary"]); inner != "" {
			return "(" + inner + " " + quote(strings.ToUpper(sub)) + ")"
		}
	}
	list := "NIL"
	if charset := params["charset"]; charset != "" {
		list = fmt.Sprintf(`("CHARSET" %s)`, quote(charset))
	}
	encoding := strings.ToUpper(h.Get("Content-Transfer-Encoding"))
	if encoding == "" {
		encoding = "7BIT"
	}
	lines := ""
	if main == "text" {
		lines = fmt.Sprintf(" %d", bytes.Count(body, []byte("\n")))
	}
	return fmt.Sprintf("(%s %s %s NIL NIL %s %d%s)", quote(strings.ToUpper(main)), quote(strings.ToUpper(sub)), list, quote(encoding), len(body), lines)
}

func parts(body []byte, boundary string) string {
	var all strings.Builder
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := r.NextRawPart()
		if err != nil {
			return all.String()
		}
		inner, err := io.ReadAll(p)
		if err != nil {
			return all.String()
		}
		all.WriteString(part(p.Header, inner))
	}
}
