package fetcher

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
)

// discreet returns a function that takes out of a server's words what it was told in order to let us in. Some repeat it in
// a refusal, and that goes on to logs, pages and events.
func discreet(user, secret string) func(string) string {
	var pairs []string
	hide := func(form string) {
		if len(form) > 3 {
			pairs = append(pairs, form, "***")
		}
	}
	hide(secret)
	hide(url.QueryEscape(secret))
	for shift := range 3 { // wherever in a response it stands
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			coded := e.EncodeToString(append(make([]byte, shift), secret...))
			if from, to := (shift*8+5)/6, len(coded)-2; to-from > 8 { // the characters at both ends depend on what is beside it
				hide(coded[from:to])
			}
		}
	}
	secrets := strings.NewReplacer(pairs...)
	if !strings.Contains(user, "@") {
		return secrets.Replace
	}
	address := regexp.MustCompile("(?i)" + regexp.QuoteMeta(user))
	return func(line string) string { return address.ReplaceAllLiteralString(secrets.Replace(line), "<user>") }
}

// discreet takes out of a text for people what the server was told in order to let us in. What is for us, such as CAPABILITY,
// is read as it is.
func (h *handover) discreet(text string) string {
	if h.hide == nil {
		return text
	}
	return h.hide(text)
}
