package configs

import (
	"strings"
	"time"
)

// preset is what we know of a provider: mailbox settings and client settings, three hosts of them (login server,
// scope, IMAP). Sources: developers.google.com/workspace/gmail/imap/imap-smtp, .../identity/protocols/oauth2/web-server;
// learn.microsoft.com/entra/identity-platform/authentication-national-cloud, and its IMAP and OAuth page for Exchange.
type preset struct {
	provider  string // of mailboxes
	client    string // provider of clients
	cloud     string
	host      string // IMAP
	authority string // login server
	scopeHost string
	authorize string // {authority}, {tenant} and {scope_host} are filled in
	token     string
	device    string
	revoke    string
	tokenInfo string
	scopes    []string
	appScope  string            // of an application that signs in as itself
	signIn    map[string]string // further parameters of the authorization request
	identity  []string          // scopes that make the provider say who consented
	authServ  []string          // the names under which its servers write Authentication-Results; "": they write none
	idle      time.Duration     // after which a refresh token that is not used dies
	perDay    Size              // bytes to download in a day at most
	rotates   bool              // each access token comes with a new refresh token
}

const (
	microsoftBase  = "{authority}/{tenant}/oauth2/v2.0/"
	microsoftScope = "https://{scope_host}/IMAP.AccessAsUser.All"
)

// offline asks for a refresh token: Google gives one only for both, and OpenID Connect wants the consent for it.
var offline = map[string]string{"access_type": "offline", "prompt": "consent"}

var presets = []preset{
	{
		provider: "gmail", client: "google", host: "imap.gmail.com",
		authorize: "https://accounts.google.com/o/oauth2/v2/auth",
		token:     "https://oauth2.googleapis.com/token", // its device endpoint does not serve mail scopes
		revoke:    "https://oauth2.googleapis.com/revoke",
		tokenInfo: "https://oauth2.googleapis.com/tokeninfo",
		scopes:    []string{"https://mail.google.com/"},
		signIn:    offline,
		identity:  []string{"openid", "email"},
		authServ:  []string{"mx.google.com"},
		idle:      180 * day,
		perDay:    1e9, // of 2,500 MB that all programs share (support.google.com/a/answer/1071518)
	},
	microsoft("worldwide", "outlook.office365.com", "https://login.microsoftonline.com", "outlook.office.com"),
	microsoft("gcc", "outlook.office365.com", "https://login.microsoftonline.com", "outlook.office.com"),
	microsoft("gcc-high", "outlook.office365.us", "https://login.microsoftonline.us", "outlook.office365.us"),
	microsoft("dod", "outlook-dod.office365.us", "https://login.microsoftonline.us", "outlook-dod.office365.us"),
	microsoft("china", "partner.outlook.cn", "https://login.partner.microsoftonline.cn", "partner.outlook.cn"),
}

func microsoft(cloud, host, authority, scopeHost string) preset {
	return preset{
		provider: "outlook", client: "microsoft", cloud: cloud,
		host: host, authority: authority, scopeHost: scopeHost, authServ: []string{""},
		authorize: microsoftBase + "authorize", token: microsoftBase + "token", device: microsoftBase + "devicecode",
		scopes: []string{microsoftScope, "offline_access"}, appScope: "https://" + host + "/.default",
		// Not prompt=consent: where an administrator has consented for everybody, users may not.
		signIn: map[string]string{"prompt": "select_account"}, identity: []string{"openid", "email"},
		idle: 90 * day, rotates: true,
	}
}

func cloudNames() []string {
	var names []string
	for _, p := range presets {
		if p.cloud != "" {
			names = append(names, p.cloud)
		}
	}
	return names
}

// presetOf finds the preset of a mailbox's or a client's provider, or nil.
func presetOf(provider, cloud string) *preset {
	for i, p := range presets {
		if (p.provider == provider || p.client == provider) && p.cloud == cloud {
			return &presets[i]
		}
	}
	return nil
}

// complete fills in what the presets know of a client.
func (c *Client) complete() {
	if c.Provider == "microsoft" {
		c.Cloud = or(c.Cloud, "worldwide")
		c.Tenant = or(c.Tenant, "common")
	}
	p := presetOf(c.Provider, c.Cloud)
	if p == nil {
		return
	}
	c.Authority = or(strings.TrimSuffix(c.Authority, "/"), p.authority)
	c.ScopeHost = or(c.ScopeHost, p.scopeHost)
	fill := strings.NewReplacer("{authority}", c.Authority, "{tenant}", c.Tenant, "{scope_host}", c.ScopeHost)
	if c.Endpoints.Token == "" { // another server's tokens are nobody's business
		c.Endpoints.TokenInfo = or(c.Endpoints.TokenInfo, p.tokenInfo)
		c.Endpoints.Revoke = or(c.Endpoints.Revoke, p.revoke)
	}
	c.Endpoints.Authorize = or(c.Endpoints.Authorize, fill.Replace(p.authorize))
	c.Endpoints.Token = or(c.Endpoints.Token, fill.Replace(p.token))
	c.Endpoints.Device = or(c.Endpoints.Device, fill.Replace(p.device))
	if c.Scopes == nil && c.Grant == "app" && p.appScope != "" {
		c.Scopes = []string{p.appScope}
	}
	if c.Scopes == nil {
		for _, s := range p.scopes {
			c.Scopes = append(c.Scopes, fill.Replace(s))
		}
	}
}

// complete fills in what the presets, the client and the rest of the configuration know of a mailbox.
func (m *Mailbox) complete(client *Client, raw string) {
	if m.Provider == "outlook" && m.Cloud == "" {
		m.Cloud = "worldwide"
		if client != nil && client.Cloud != "" {
			m.Cloud = client.Cloud
		}
	}
	if p := presetOf(m.Provider, m.Cloud); p != nil {
		if m.AuthServ == nil {
			m.AuthServ = p.authServ
		}
		m.Host = or(m.Host, p.host)
		if m.PerDay == 0 {
			m.PerDay = p.perDay
		}
	}
	if m.Port == 0 {
		m.Port = 993
		if m.Security == "starttls" || m.Security == "plain" {
			m.Port = 143
		}
	}
	m.User = or(m.User, m.Address)
	m.Raw = or(m.Raw, raw)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
