package token

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Inspect asks the provider what an access token is good for, where tokens do not say it themselves: Google's. ok is false
// if the client has no endpoint for it.
//
// QUIRK(google): access tokens are opaque, and its tokeninfo endpoint takes them in a form as well as in the URL, where
// proxies would log them. Since OAuth 2.0 at Google, https://developers.google.com/identity/sign-in/web/backend-auth.
func (m *Manager) Inspect(ctx context.Context, a Account, access string) (c Claims, ok bool, err error) {
	if a.Client.InfoURL == "" {
		return Claims{}, false, nil
	}
	rec, err := m.ask(ctx, a.Client.InfoURL, url.Values{"access_token": {access}})
	var got struct {
		Audience string `json:"aud"`
		App      string `json:"azp"`
		Scope    string `json:"scope"`
		Expires  string `json:"exp"`
		Email    string `json:"email"`
	}
	hide := []Secret{NewSecret(access)}
	if err != nil || rec.status != http.StatusOK || json.Unmarshal(rec.body, &got) != nil || got.Audience == "" {
		return Claims{}, true, rec.refusal(ctx, err, hide...).explain(a.asked(a.Client.InfoURL), stamp(time.Now()))
	}
	c = Claims{
		Audience: plain(got.Audience, hide), App: plain(got.App, hide), Scopes: strings.Fields(plain(got.Scope, hide)), Account: plain(got.Email, hide),
	}
	if at, err := strconv.ParseInt(got.Expires, 10, 64); err == nil && at > 0 && at < 1e11 {
		c.Expires = time.Unix(at, 0).UTC()
	}
	return c, true, nil
}
