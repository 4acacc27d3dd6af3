package token_test

import (
	"fmt"
	"net/http"
	"net/url"
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
