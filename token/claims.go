package token

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Claims is what a token says of itself. It is read without checking a signature: it is to explain a refusal, and to
// compare accounts in a token that came straight from the token endpoint over TLS. Nothing is ever allowed because of it.
type Claims struct {
	Audience string    `json:"aud,omitempty"`
	Issuer   string    `json:"iss,omitempty"`
	Scopes   []string  `json:"scp,omitempty"`   // delegated permissions
	Roles    []string  `json:"roles,omitempty"` // application permissions
	Account  string    `json:"account,omitempty"`
	Tenant   string    `json:"tid,omitempty"`
	App      string    `json:"appid,omitempty"`
	Expires  time.Time `json:"exp,omitzero"`

	nonce string
	whom  []string // every audience
	names []string // all that it calls the account: the sign-in name may differ from the address
	sure  []string // those of them that its owner cannot have chosen freely
}

// ReadClaims returns the claims of a JWT; ok is false if text is not one, as Google's access tokens and those of personal
// Microsoft accounts are not.
func ReadClaims(text string) (c Claims, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Claims{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Claims{}, false
	}
	var j struct {
		Audience json.RawMessage `json:"aud"`
		Issuer   string          `json:"iss"`
		Scope    string          `json:"scp"`
		Roles    []string        `json:"roles"`
		UPN      string          `json:"upn"`
		Name     string          `json:"preferred_username"`
		Unique   string          `json:"unique_name"`
		Email    string          `json:"email"`
		Verified any             `json:"email_verified"`
		Tenant   string          `json:"tid"`
		App      string          `json:"appid"`
		Azp      string          `json:"azp"`
		Expires  float64         `json:"exp"`
		Nonce    string          `json:"nonce"`
	}
	if json.Unmarshal(raw, &j) != nil {
		return Claims{}, false
	}
	c = Claims{
		Issuer: j.Issuer, Scopes: strings.Fields(j.Scope), Roles: j.Roles, Tenant: j.Tenant, App: or(j.App, j.Azp),
		Account: or(or(j.UPN, j.Name), or(j.Unique, j.Email)), nonce: j.Nonce, names: []string{j.UPN, j.Name, j.Unique},
	}
	c.sure = slices.Clone(c.names)
	// At Microsoft an administrator of any tenant may write any address there, and nothing says that it was verified.
	if j.Verified != false && j.Verified != "false" {
		c.names = append(c.names, j.Email)
	}
	if j.Verified == true || j.Verified == "true" {
		c.sure = append(c.sure, j.Email)
	}
	empty := func(s string) bool { return s == "" }
	c.names, c.sure = slices.DeleteFunc(c.names, empty), slices.DeleteFunc(c.sure, empty)
	if json.Unmarshal(j.Audience, &c.Audience) == nil && c.Audience != "" {
		c.whom = []string{c.Audience}
	} else if json.Unmarshal(j.Audience, &c.whom) == nil && len(c.whom) == 1 {
		c.Audience = c.whom[0]
	}
	if j.Expires > 0 && j.Expires < 1e11 {
		c.Expires = time.Unix(int64(j.Expires), 0).UTC()
	}
	return c, true
}

// SameAccount reports whether two addresses are one account: case does not count, nor do dots in those of gmail.com.
func SameAccount(a, b string) bool { return canonical(a) == canonical(b) }

func canonical(address string) string {
	name, domain, _ := strings.Cut(strings.ToLower(strings.TrimSpace(address)), "@")
	if domain == "googlemail.com" {
		domain = "gmail.com"
	}
	if domain == "gmail.com" {
		name = strings.ReplaceAll(name, ".", "")
	}
	return name + "@" + domain
}
