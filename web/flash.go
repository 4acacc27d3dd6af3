package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/mailflume/mailflume/mailbox"
)

// flash is what the next page says once.
type flash struct {
	OK       bool   `json:"ok"`
	Sentence string `json:"sentence"`
	Hint     string `json:"hint"`
	Guest    bool   `json:"guest"` // for somebody who came with a link
}

func noSuchMailbox(hint string) *flash {
	return &flash{Sentence: "The configuration has no such mailbox.", Hint: hint}
}

func failed(err error) *flash {
	v := mailbox.Classify(err)
	return &flash{Sentence: v.Sentence, Hint: v.Hint}
}

const flashCookie = "mailflume-answer"

// stateCookie is the name of the cookie of one sign-in: several may be under way.
func stateCookie(state string) string {
	sum := sha256.Sum256([]byte(state))
	return "mailflume-sign-in-" + hex.EncodeToString(sum[:8])
}

// keep sets a cookie for a life of whole seconds. Lax: it has to come along when the provider sends the browser back.
func (c *connecting) keep(w http.ResponseWriter, name, value, path string, life time.Duration) {
	c.cookie(w, name, value, path, int(life/time.Second))
}

// drop removes a cookie.
func (c *connecting) drop(w http.ResponseWriter, name, path string) { c.cookie(w, name, "", path, -1) }

func (c *connecting) cookie(w http.ResponseWriter, name, value, path string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: strings.TrimSuffix(c.public.Path, "/") + path, MaxAge: maxAge,
		HttpOnly: true, Secure: c.public.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

// flash takes what there is to be said once. What we did not seal is not shown.
func (c *connecting) flash(w http.ResponseWriter, r *http.Request) *flash {
	cookie, err := r.Cookie(flashCookie)
	if err != nil {
		return nil
	}
	c.drop(w, flashCookie, r.URL.EscapedPath()) // as it was set
	text, err := c.Keys().Open(flashCookie, cookie.Value)
	var f flash
	if err != nil || json.Unmarshal([]byte(text), &f) != nil {
		return nil
	}
	return &f
}
