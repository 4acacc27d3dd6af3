package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const canary = "canary-of-a-secret"

// forms are the ways in which a canary could be in a text.
func forms(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		base64.StdEncoding.EncodeToString([]byte(secret))[:len(secret)], base64.URLEncoding.EncodeToString([]byte(secret))[:len(secret)],
		fmt.Sprint([]byte(secret)),
	}
}

func TestSecretRedacts(t *testing.T) {
	s := NewSecret(canary)
	type holder struct {
		Exported Secret
		hidden   Secret
		pointer  *Secret
		list     []Secret
		byName   map[string]Secret
	}
	h := holder{s, s, &s, []Secret{s}, map[string]Secret{"x": s}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%p", "% x"} {
		for _, v := range []any{s, &s, h, &h, []Secret{s}, map[string]Secret{"k": s}, fmt.Errorf("wrapped: %v", s)} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, s, s.String(), s.GoString())
	for _, v := range []any{s, h, map[string]any{"x": s}, []Secret{s}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	x, err := xml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	out.Write(append(x, text...))
	var buf bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(handler).Info("x", "secret", s, "holder", h, "pointer", &s, "any", []any{s})
	}
	out.Write(buf.Bytes())
	for _, form := range forms(canary) {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q is in %s", form, out.String())
		}
	}
	if !strings.Contains(fmt.Sprintf("%v %s %x %q %#v %d", s, s, s, s, s, s), "*** *** *** *** *** ***") {
		t.Errorf("got %v", s)
	}
	if s.Reveal() != canary || s.IsZero() || !NewSecret("").IsZero() || !s.Equal(NewSecret(canary)) || s.Equal(NewSecret("x")) {
		t.Error("Reveal, IsZero or Equal")
	}
}

// Nothing that is logged, stored in the clear, shown or returned as an error holds a token or a secret, even if the
// endpoint repeats what it was sent.
func TestNoTokenIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, strict)
		var out bytes.Buffer
		h.log = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		m := h.replica("s1")
		a := account("alice", "rt-canary-0")
		long := "rt-canary-of-another-mailbox-" + strings.Repeat("x", 60)
		echo := `AADSTS50173: you sent rt-canary-1 and secret-canary, and had at-canary-1, not ` + long
		answers := []*http.Response{
			nil,
			reply(503, `{"error":"server_error","error_description":"`+echo+`"}`),
			reply(200, `{"access_token":"at-canary-9"`), // cut off
			reply(200, `{"refresh_token":"rt-canary-9"}`),
			reply(200, `<html>rt-canary-1</html>`, "Content-Type", "text/html"),
			reply(429, `rt-canary-1`),
			reply(400, `{"error":"rt-canary-1","error_description":"`+echo[13:]+`"}`),
			nil,
			reply(400, `{"error":"invalid_grant","error_description":"`+strings.NewReplacer("rt-canary-1 ", "rt-canary-2 ", "at-canary-1", "at-canary-2").Replace(echo)+`"}`),
		}
		h.provider.answer = func(n int) *http.Response {
			if n > len(answers) {
				return nil
			}
			return answers[n-1]
		}
		for range 40 {
			_, err := m.Token(t.Context(), a, "")
			fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
			s, err := m.Status(t.Context(), "alice")
			fmt.Fprintf(&out, "%+v %v\n", s, err)
			b, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(b)
			time.Sleep(50 * time.Minute)
		}
		if h.provider.count() != len(answers) {
			t.Errorf("%d exchanges, want %d", h.provider.count(), len(answers))
		}
		for _, w := range h.store.writes {
			out.Write(w.value)
		}
		fmt.Fprintf(&out, "%+v", h.stored("alice"))
		for _, secret := range []string{"rt-canary", "secret-canary", "at-canary"} {
			for _, form := range forms(secret) {
				if i := strings.Index(out.String(), form); i >= 0 {
					t.Errorf("%q is shown: %s", form, out.String()[max(0, i-200):i+50])
				}
			}
		}
		if !strings.Contains(out.String(), "grant renewed") {
			t.Error("nothing was logged")
		}
	})
}
