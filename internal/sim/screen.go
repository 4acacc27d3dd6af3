package sim

import (
	"html/template"
	"net/http"
)

// SetScreen says whether the authorization endpoint shows the user a page to consent on, as the real ones do, instead of
// deciding by itself.
func (o *OAuthServer) SetScreen(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.screen = on
}

var screenPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Sign in</title>
<h1>{{.Client}} wants access to the mail of {{.User}}</h1>
<p>This is a simulated provider. It asks for: {{.Scope}}</p>
<p><a id="allow" href="{{.Allow}}">Allow</a> <a id="cancel" href="{{.Cancel}}">Cancel</a></p>
</html>
`))

// decision is what the user said on the page.
type decision string

const (
	allowed  decision = "allow"
	declined decision = "deny"
	asked    decision = "" // the page was sent
)

// decide returns what the user says to an authorization request.
func (o *OAuthServer) decide(rw http.ResponseWriter, r *http.Request, user *Account) decision {
	q := r.URL.Query()
	o.mu.Lock()
	screen := o.screen
	o.mu.Unlock()
	switch {
	case user.quirk().DenyConsent:
		return declined
	case !screen:
		return allowed
	case q.Get("decision") != "":
		return decision(q.Get("decision"))
	}
	link := func(d decision) string {
		q.Set("decision", string(d))
		return r.URL.Path + "?" + q.Encode()
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = screenPage.Execute(rw, map[string]string{ // the browser may have gone
		"Client": q.Get("client_id"), "User": user.address, "Scope": q.Get("scope"), "Allow": link(allowed), "Cancel": link(declined),
	})
	return asked
}
