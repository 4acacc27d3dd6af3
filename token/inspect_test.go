package token_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
)

// Google says what a token is good for; the token goes there in the body, never in the URL.
func TestInspect(t *testing.T) {
	l := newLab(t, sim.Gmail)
	access := l.user.AccessToken(time.Hour)
	if _, asked, err := l.manager.Inspect(t.Context(), l.account, access); asked || err != nil {
		t.Errorf("without an endpoint: %v, %v", asked, err)
	}
	l.account.Client.InfoURL = l.server.URL + "/tokeninfo"
	asked := 0
	l.filter = func(_ http.ResponseWriter, r *http.Request) bool {
		if asked++; r.Method != http.MethodPost || r.URL.RawQuery != "" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		return false
	}
	c, ok, err := l.manager.Inspect(t.Context(), l.account, access)
	if left := time.Until(c.Expires); !ok || err != nil || c.Audience == "" || len(c.Scopes) != 1 || c.Scopes[0] != sim.ScopeGmail || left < 50*time.Minute || left > time.Hour {
		t.Errorf("%+v, %v, %v", c, ok, err)
	}
	_, ok, err = l.manager.Inspect(t.Context(), l.account, "ya29.not-one-of-theirs")
	if !ok || err == nil || strings.Contains(fmt.Sprint(err), "not-one-of-theirs") {
		t.Errorf("%v, %v", ok, err)
	}
	l.filter = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		http.Redirect(rw, r, "/elsewhere?"+url.Values{}.Encode(), http.StatusTemporaryRedirect)
		return true
	}
	if _, _, err := l.manager.Inspect(t.Context(), l.account, access); err == nil || asked != 2 {
		t.Errorf("%d, %v", asked, err)
	}
}

// Google's client ids are longer than most tokens, and a grant may have many scopes: all of that is told as it is.
func TestInspectTellsAllOfIt(t *testing.T) {
	const client = "407408718192-0123456789abcdefghijklmnopqrstuv.apps.googleusercontent.com"
	var scopes []string
	for _, s := range []string{"contacts", "calendar", "drive", "admin.directory.resource.calendar.readonly", "documents", "tasks", "spreadsheets"} {
		scopes = append(scopes, "https://www.googleapis.com/auth/"+s)
	}
	scopes = append(scopes, sim.ScopeGmail)
	l := newLab(t, sim.Gmail)
	l.account.Client.InfoURL = l.server.URL + "/tokeninfo"
	l.filter = func(rw http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprintf(rw, `{"azp":%q,"aud":%[1]q,"scope":%q,"exp":"1893456000","email":"alice@example.com\u001b[2J"}`, client, strings.Join(scopes, " "))
		return true
	}
	c, _, err := l.manager.Inspect(t.Context(), l.account, "ya29.x")
	if err != nil || c.Audience != client || c.App != client || !slices.Equal(c.Scopes, scopes) || strings.Contains(c.Account, "\x1b") {
		t.Errorf("%+v, %v", c, err)
	}
}

// What an endpoint repeats of what it was sent is not shown, however short it is.
func TestEchoesAreNotShown(t *testing.T) {
	l := newLab(t, sim.Gmail)
	l.account.Client.InfoURL = l.server.URL + "/tokeninfo"
	g, err := l.connect(l.begin())
	l.must(err)
	l.must(l.manager.Save(t.Context(), l.account, g))
	var sent []string
	l.filter = func(rw http.ResponseWriter, r *http.Request) bool {
		l.must(r.ParseForm())
		echo := r.PostForm.Get("token") + r.PostForm.Get("access_token")
		sent = append(sent, echo, r.PostForm.Get("client_secret"))
		rw.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(rw, `{"error":"no %s","error_description":"not with %s and %s"}`, echo, echo, r.PostForm.Get("client_secret"))
		return true
	}
	_, _, asked := l.manager.Inspect(t.Context(), l.account, "ya29.short")
	_, revoked := l.manager.Revoke(t.Context(), l.account)
	if len(sent) != 4 || sent[0] != "ya29.short" || sent[2] == "" || sent[3] != "s3cret" {
		t.Fatalf("%d", len(sent))
	}
	for _, err := range []error{asked, revoked} {
		if err == nil {
			t.Fatal("no error")
		}
		for _, secret := range sent {
			if text := fmt.Sprintf("%v %+v", err, err); secret != "" && strings.Contains(text, secret) {
				t.Errorf("%s shows %q", text, secret)
			}
		}
	}
}
