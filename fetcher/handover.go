package fetcher

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Limits of what a server may say before login.
const (
	maxLoginLine  = 64 << 10
	maxLoginLines = 1000
	maxLogin      = 1 << 20 // bytes in all
)

// handover speaks to the server by hand until the session is logged in; then go-imap takes over. By hand, because
// go-imap answers XOAUTH2's error challenge wrongly, keeps capabilities that were injected before STARTTLS, and loses
// the text of a BYE.
type handover struct {
	cfg      Config
	link     *link
	br       *bufio.Reader
	tag      int
	greeting string
	caps     map[string]bool // nil if not known
	bye      string
	read     int                      // bytes so far
	hide     func(text string) string // see discreet; nil until we have said who we are

	namespaces string // as the server says them
	id         string // what it says of itself
	warning    string // the last that came with a success; "" if none did
}

// reply is the tagged response to a command.
type reply struct {
	status string // OK, NO or BAD
	text   string // the rest, with its response code
}

// login takes a fresh connection to the authenticated state.
func (h *handover) login(ctx context.Context, secret string) error {
	if err := h.greet(); err != nil {
		return err
	}
	if h.cfg.Security == STARTTLS {
		if err := h.startTLS(ctx); err != nil {
			return err
		}
	}
	if h.caps == nil {
		if err := h.askCapability(); err != nil {
			return err
		}
	}
	if err := h.authenticate(secret); err != nil {
		return err
	}
	if h.caps == nil {
		if err := h.askCapability(); err != nil {
			return err
		}
	}
	return h.introduce()
}

// greet reads the greeting.
func (h *handover) greet() error {
	h.link.expect(0)
	line, err := h.readLine()
	h.link.replied()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	rest, ok := strings.CutPrefix(line, "* ")
	if !ok {
		return &ServerError{Text: "no IMAP greeting: " + clip(line)}
	}
	status, text := cutWord(rest)
	switch strings.ToUpper(status) {
	case "OK":
		h.greeting = text
		h.noteSuccess(text)
		return nil
	case "BYE":
		return classifyBye(text)
	case "PREAUTH":
		// Whom we would read as, nobody has said; and before STARTTLS it is the known way around encryption.
		return &ServerError{Text: "the server starts logged in (PREAUTH), which is refused"}
	}
	return &ServerError{Text: "no IMAP greeting: " + clip(line)}
}

// startTLS upgrades the connection and forgets all that was said before.
func (h *handover) startTLS(ctx context.Context) error {
	hint := "use security: tls with the port for it (usually 993)"
	if h.caps == nil {
		if err := h.askCapability(); err != nil {
			return err
		}
	}
	if !h.caps["STARTTLS"] {
		return &TLSError{Text: "the server does not offer STARTTLS", Hint: hint}
	}
	r, err := h.command("STARTTLS")
	if err != nil {
		return err
	}
	if r.status != "OK" {
		return &TLSError{Text: "the server refuses STARTTLS: " + clip(r.text), Hint: hint}
	}
	if h.br.Buffered() > 0 {
		return &TLSError{Text: "the server, or someone in between, sent data ahead of the TLS handshake"}
	}
	h.link.Conn.SetDeadline(time.Time{})
	conn := tls.Client(h.link.Conn, h.cfg.tlsConfig())
	if err := handshake(ctx, conn); err != nil {
		return err
	}
	h.link = newLink(conn, h.cfg.Progress)
	h.br.Reset(h.link)
	h.caps, h.bye, h.namespaces, h.id, h.warning = nil, "", "", "", ""
	return nil
}

func handshake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		var certErr *tls.CertificateVerificationError
		if errors.As(err, &certErr) {
			return &TLSError{
				Text: "the server's certificate is not trusted",
				Hint: "check the host name, or give the CA that signed it", Err: err,
			}
		}
		var noTLS tls.RecordHeaderError
		if errors.As(err, &noTLS) {
			return &TLSError{Text: "the server does not speak TLS on this port", Hint: "993 is the port for it, as a rule; 143 wants security: starttls"}
		}
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

func (h *handover) askCapability() error {
	r, err := h.command("CAPABILITY")
	if err != nil {
		return err
	}
	if r.status != "OK" {
		return classifyTagged("CAPABILITY", r.text)
	}
	if h.caps == nil {
		h.caps = map[string]bool{}
	}
	return nil
}

// introduce sends ID, and NAMESPACE to see whether the session works.
func (h *handover) introduce() error {
	if h.caps["ID"] {
		if _, err := h.command(`ID ("name" ` + quote(h.cfg.Name) + ` "version" ` + quote(h.cfg.Version) + `)`); err != nil {
			return err
		}
	}
	if h.caps["NAMESPACE"] {
		// QUIRK(exchange): not connected.
		r, err := h.command("NAMESPACE")
		if err != nil {
			return err
		}
		if r.status != "OK" {
			return classifyTagged("NAMESPACE", r.text)
		}
	}
	return nil
}

// command sends one command and waits for its tagged response.
func (h *handover) command(line string) (reply, error) {
	tag, err := h.send(line)
	if err != nil {
		return reply{}, err
	}
	return h.wait(tag, nil)
}

func (h *handover) send(line string) (tag string, err error) {
	h.tag++
	tag = "M" + strconv.Itoa(h.tag)
	h.link.expect(0)
	return tag, h.write(tag + " " + line)
}

func (h *handover) write(line string) error {
	h.link.SetWriteDeadline(time.Now().Add(h.cfg.Progress))
	_, err := io.WriteString(h.link, line+"\r\n")
	h.link.SetWriteDeadline(time.Time{})
	if err != nil && h.bye == "" {
		h.lastWords()
	}
	if err != nil {
		return h.cause(err)
	}
	return nil
}

// lastWords looks for a BYE that explains why the connection does not take our bytes any more.
func (h *handover) lastWords() {
	for range 10 {
		line, err := h.readLine()
		if err != nil {
			return
		}
		h.noteUntagged(line)
	}
}

// wait reads until the tagged response; answer says what to send for a continuation request. If it is nil none is due.
// QUIRK(exchange): stray continuation.
func (h *handover) wait(tag string, answer func() string) (reply, error) {
	defer h.link.replied()
	var r reply
	for range maxLoginLines {
		line, err := h.readLine()
		if err != nil {
			return r, h.cause(err)
		}
		switch first, rest := cutWord(line); {
		case first == "+" && answer != nil:
			if err := h.write(answer()); err != nil {
				return r, err
			}
		case first == tag:
			r.status, r.text = cutWord(rest)
			r.status = strings.ToUpper(r.status)
			if r.status == "OK" {
				h.noteSuccess(r.text)
			}
			r.text = h.discreet(r.text)
			return r, nil
		case first == "*":
			h.noteUntagged(line)
		default:
			if err := classifyBare(h.discreet(line)); err != nil {
				return r, err
			}
		}
	}
	return r, &LimitError{What: "untagged lines before login"}
}

// cause gives the reason behind a broken connection: the BYE that came before it, if one did.
func (h *handover) cause(err error) error {
	if h.bye != "" {
		return classifyBye(h.bye)
	}
	return err
}

func (h *handover) noteUntagged(line string) {
	rest, ok := strings.CutPrefix(line, "* ")
	if !ok {
		return
	}
	switch word, text := cutWord(rest); strings.ToUpper(word) {
	case "CAPABILITY":
		h.setCaps(text)
	case "BYE":
		h.bye = h.discreet(text)
	case "NAMESPACE":
		h.namespaces = text
	case "ID":
		h.id = text
	case "OK", "NO":
		h.noteWarning(text)
	}
}

// noteWarning keeps a text that the server wants a person to read, for the session.
func (h *handover) noteWarning(text string) {
	if isWarning(text) {
		h.warning = h.discreet(text)
	}
}

// noteSuccess takes in what an OK says beside that.
func (h *handover) noteSuccess(text string) {
	h.noteWarning(text)
	if code, _, ok := cutCode(text); ok {
		if word, args := cutWord(code); strings.EqualFold(word, "CAPABILITY") {
			h.setCaps(args)
		}
	}
}

func (h *handover) setCaps(list string) {
	h.caps = map[string]bool{}
	for _, c := range strings.Fields(list) {
		h.caps[strings.ToUpper(c)] = true
	}
}

// readLine reads one line without its end. A literal inside an untagged response becomes part of the line.
func (h *handover) readLine() (string, error) {
	var line []byte
	for {
		part, err := h.br.ReadSlice('\n')
		line = append(line, part...)
		if h.read += len(part); len(line) > maxLoginLine || h.read > maxLogin {
			return "", &LimitError{What: "line before login"}
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", notEOF(err)
		}
		h.link.advanced()
		line = bytes.TrimRight(line, "\r\n")
		n, ok := trailingLiteral(line)
		if !ok || !bytes.HasPrefix(line, []byte("* ID ")) && !bytes.HasPrefix(line, []byte("* NAMESPACE ")) {
			return string(line), nil
		}
		if n > maxLoginLine || h.read+int(n) > maxLogin {
			return "", &LimitError{What: "literal before login"}
		}
		h.read += int(n)
		if _, err := io.CopyN(io.Discard, h.br, n); err != nil {
			return "", notEOF(err)
		}
	}
}

// authenticate logs in. It forgets the capabilities, which change with it, unless the server volunteers the new ones.
func (h *handover) authenticate(secret string) error {
	before := h.caps
	h.caps, h.hide = nil, discreet(h.cfg.User, secret)
	h.cfg.Logins.sent(h.cfg.Addr, h.cfg.User)
	var r reply
	var err error
	switch {
	case h.cfg.Auth == XOAUTH2:
		r, err = h.sasl(before, "XOAUTH2", "user="+h.cfg.User+"\x01auth=Bearer "+secret+"\x01\x01", "")
	case h.cfg.Auth == OAUTHBEARER:
		host, port, _ := net.SplitHostPort(h.cfg.Addr)
		user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(h.cfg.User)
		r, err = h.sasl(before, "OAUTHBEARER",
			"n,a="+user+",\x01host="+host+"\x01port="+port+"\x01auth=Bearer "+secret+"\x01\x01", "AQ==")
	case before["AUTH=PLAIN"]:
		r, err = h.sasl(before, "PLAIN", "\x00"+h.cfg.User+"\x00"+secret, "*")
	case before["LOGINDISABLED"]:
		return &AuthError{Text: "the server takes no passwords here (LOGINDISABLED)", Hint: hintOAuth}
	case strings.ContainsAny(secret, "\x00\r\n"):
		return &AuthError{Text: "the password contains a line break"}
	default:
		r, err = h.command("LOGIN " + quote(h.cfg.User) + " " + quote(secret))
	}
	if err != nil {
		return err
	}
	if r.status != "OK" {
		return classifyLogin(h.cfg.Auth, r.text, h.bye)
	}
	return nil
}

// sasl runs one AUTHENTICATE. refused is the line that answers the challenge of a server that refuses the response.
func (h *handover) sasl(caps map[string]bool, mech, response, refused string) (reply, error) {
	if !caps["AUTH="+mech] {
		return reply{}, &AuthError{Text: "the server does not offer AUTH=" + mech, Hint: hintMechanism(caps)}
	}
	b64 := base64.StdEncoding.EncodeToString([]byte(response))
	line, sent := "AUTHENTICATE "+mech, false
	if caps["SASL-IR"] && len(line)+len(b64) < maxCommand {
		line, sent = line+" "+b64, true
	}
	tag, err := h.send(line)
	if err != nil {
		return reply{}, err
	}
	return h.wait(tag, func() string {
		if !sent {
			sent = true
			return b64
		}
		// QUIRK(gmail): error challenge. What it says is the same for every cause, so it is not read.
		return refused
	})
}

func hintMechanism(caps map[string]bool) string {
	var mechs []string
	for c := range caps {
		if m, ok := strings.CutPrefix(c, "AUTH="); ok {
			mechs = append(mechs, m)
		}
	}
	if len(mechs) == 0 {
		return "the server offers no way to log in on this port"
	}
	return "it offers " + clip(strings.Join(sorted(mechs), ", "))
}
