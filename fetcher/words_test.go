package fetcher

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestServersWordsAreClipped: what goes from a server's words into an error or its hint is short, and nothing that a terminal
// obeys.
func TestServersWordsAreClipped(t *testing.T) {
	long := "\x1b[2J\u009b2J\u202e" + strings.Repeat("X", 20_000)
	for name, prepare := range map[string]func(*fake, *Config){
		"mechanisms": func(f *fake, _ *Config) { f.pre = "IMAP4rev1 AUTH=" + long },
		"STARTTLS": func(f *fake, c *Config) {
			c.Security, f.pre = STARTTLS, "IMAP4rev1 STARTTLS"
			f.on["STARTTLS"] = func(c *fakeConn, tag, _ string) bool {
				c.say("%s NO %s", tag, long)
				return true
			}
		},
	} {
		f := newFake(t)
		c := f.config()
		prepare(f, &c)
		_, err := Open(t.Context(), c, secret{"x"})
		var auth *AuthError
		var insecure *TLSError
		said := ""
		switch {
		case errors.As(err, &auth):
			said = auth.Text + auth.Hint
		case errors.As(err, &insecure):
			said = insecure.Text + insecure.Hint
		}
		if !strings.Contains(said, "XXX") || len(said) > 600 || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %T with %d bytes: %.200q", name, err, len(said), said)
		}
	}
}

// TestDiscretionIsForText: the address and the password are taken out of what people read, and not out of what the server
// tells us: a prefix of folders may hold the one, and the name of a capability may be the other.
func TestDiscretionIsForText(t *testing.T) {
	f := newFake(t, 1)
	f.on["NAMESPACE"] = func(c *fakeConn, tag, _ string) bool {
		c.say(`* NAMESPACE (("user/u@example.com/" "/")) NIL NIL`)
		c.say("%s OK done", tag)
		return true
	}
	f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
		c.say(`* LIST () "/" "user/u@example.com/Work"`)
		c.say("%s OK done", tag)
		return true
	}
	c := f.config()
	c.Auth, c.Folders = Password, []string{"Work"}
	s, err := Open(t.Context(), c, secret{"IDLE"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !slices.Equal(s.Folders(), []string{"user/u@example.com/Work"}) || s.noIdle {
		t.Errorf("%v, %v", s.Folders(), s.noIdle)
	}
}
