package configs

import "time"

// Config is a valid configuration: defaults and presets are filled in, paths are absolute or relative to the working
// directory, and every secret is a reference that could be followed when the file was loaded.
type Config struct {
	File       string    `mapstructure:"-"` // where it was read from
	Data       string    `mapstructure:"data"`
	SealingKey Ref       `mapstructure:"sealing_key"` // unset: generate one in Data (embedded server only)
	Memory     Size      `mapstructure:"memory"`
	Log        Log       `mapstructure:"log"`
	HTTP       HTTP      `mapstructure:"http"`
	Limits     Limits    `mapstructure:"limits"`
	Replica    Replica   `mapstructure:"replica"`
	NATS       NATS      `mapstructure:"nats"`
	Events     Events    `mapstructure:"events"`
	After      After     `mapstructure:"after"`
	Clients    []Client  `mapstructure:"clients"`
	Mailboxes  []Mailbox `mapstructure:"mailboxes"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warn, error
	Format string `mapstructure:"format"` // text, json
}

// HTTP is the status page, health and metrics.
type HTTP struct {
	Listen string `mapstructure:"listen"`     // host:port, or "none"
	Public string `mapstructure:"public_url"` // empty: http://localhost and the port
}

// Address is where to listen: "" if nowhere.
func (h HTTP) Address() string {
	if h.Listen == "none" {
		return ""
	}
	return h.Listen
}

// Limits bound what one message, and the mail servers, are asked for.
type Limits struct {
	MessageSize     Size          `mapstructure:"message_size"`
	LoginsPerSecond int           `mapstructure:"logins_per_second"`
	LoginGap        time.Duration `mapstructure:"login_gap"`
	Connections     int           `mapstructure:"connections_per_account"`
}

// Replica is this process among those that share the mailboxes.
type Replica struct {
	Name  string        `mapstructure:"name"` // empty: the host's name
	Lease time.Duration `mapstructure:"lease"`
}

// NATS is the server: the embedded one if URL is empty.
type NATS struct {
	Embedded Embedded `mapstructure:"embedded"`
	URL      string   `mapstructure:"url"`   // one URL, or several with commas between them
	Creds    Ref      `mapstructure:"creds"` // a file
	User     string   `mapstructure:"user"`
	Password Ref      `mapstructure:"password"`
	Token    Ref      `mapstructure:"token"`
	NKey     Ref      `mapstructure:"nkey"` // a file: the seed
	JWT      Ref      `mapstructure:"jwt"`
	Seed     Ref      `mapstructure:"seed"` // goes with JWT
	TLS      TLS      `mapstructure:"tls"`
	Monitor  string   `mapstructure:"monitor"` // one URL, or several with commas between them
	Stream   Stream   `mapstructure:"stream"`
	Bucket   string   `mapstructure:"bucket"` // Object Store bucket
	State    string   `mapstructure:"state"`  // KV bucket
}

// External reports whether a server outside the process is used.
func (n NATS) External() bool { return n.URL != "" }

// Embedded is the NATS server inside the process.
type Embedded struct {
	Listen string `mapstructure:"listen"` // host:port, or "none"
	Key    Ref    `mapstructure:"key"`    // encrypts the files of the server; unset: they are plain
}

// TLS is how the connection to an external server is secured.
type TLS struct {
	CA   string `mapstructure:"ca"`   // path
	Cert string `mapstructure:"cert"` // path
	Key  Ref    `mapstructure:"key"`  // a file; goes with Cert
}

// Stream is the stream of events.
type Stream struct {
	Name     string        `mapstructure:"name"`
	MaxAge   time.Duration `mapstructure:"max_age"`
	MaxBytes Size          `mapstructure:"max_bytes"` // 0: no limit
	Replicas int           `mapstructure:"replicas"`  // 0: 3 in a cluster, else 1
}

// Events is the shape of what is published.
type Events struct {
	Raw         string `mapstructure:"raw"`         // always, on_defect, never
	Mode        string `mapstructure:"mode"`        // structured, binary
	Attachments string `mapstructure:"attachments"` // store, omit
}

// Client is an OAuth client that mailboxes share. Endpoints and Scopes are filled in from the presets.
type Client struct {
	Name      string    `mapstructure:"name"`
	Provider  string    `mapstructure:"provider"` // google, microsoft, other
	ID        string    `mapstructure:"id"`
	Grant     string    `mapstructure:"grant"`  // user: a person signs in for each mailbox; app: nobody does
	Secret    Ref       `mapstructure:"secret"` // unset: a public client
	Expires   Date      `mapstructure:"secret_expires"`
	Cert      Ref       `mapstructure:"certificate"`     // in place of Secret
	Service   Ref       `mapstructure:"service_account"` // in place of ID and Secret
	Tenant    string    `mapstructure:"tenant"`
	Cloud     string    `mapstructure:"cloud"`
	Authority string    `mapstructure:"authority"`
	ScopeHost string    `mapstructure:"scope_host"`
	Endpoints Endpoints `mapstructure:"endpoints"`
	Scopes    []string  `mapstructure:"scopes"`
}

// Endpoints are the URLs of an OAuth provider.
type Endpoints struct {
	Authorize string `mapstructure:"authorize"`
	Token     string `mapstructure:"token"`
	Device    string `mapstructure:"device"`
	Revoke    string `mapstructure:"revoke"`
	TokenInfo string `mapstructure:"tokeninfo"`
}

// Mailbox is one mailbox to read. Host, Port, Security and Cloud are filled in from the presets, Raw from Events,
// After from Config.
type Mailbox struct {
	Name        string        `mapstructure:"name"`
	ID          string        `mapstructure:"id"` // empty: the name when it was first seen
	Address     string        `mapstructure:"address"`
	Provider    string        `mapstructure:"provider"` // gmail, outlook, imap
	Cloud       string        `mapstructure:"cloud"`
	Host        string        `mapstructure:"host"`
	Port        int           `mapstructure:"port"`
	Security    string        `mapstructure:"security"` // tls, starttls, plain
	CA          string        `mapstructure:"ca"`       // path; empty: the system's authorities
	User        string        `mapstructure:"user"`     // login name; Address unless set
	Login       Login         `mapstructure:"login"`
	Folders     []string      `mapstructure:"folders"` // names, or special uses such as \Junk
	Include     []string      `mapstructure:"include"` // sent
	Start       Start         `mapstructure:"start"`
	Raw         string        `mapstructure:"raw"` // always, on_defect, never
	After       After         `mapstructure:"after"`
	AuthServ    []string      `mapstructure:"authserv_ids"`
	IdleRefresh time.Duration `mapstructure:"idle_refresh"`
	Poll        time.Duration `mapstructure:"poll"`
	PerDay      Size          `mapstructure:"bytes_per_day"` // 0: no bound
}

// Login is how a mailbox logs in: with Client (and RefreshToken, unless somebody signed in with mailflume connect), with a
// token of somebody else's broker, or with Password.
type Login struct {
	Client       string   `mapstructure:"client"`
	RefreshToken Ref      `mapstructure:"refresh_token"`
	TokenCommand []string `mapstructure:"token_command"`
	TokenFile    string   `mapstructure:"token_file"` // path
	Mechanism    string   `mapstructure:"mechanism"`  // of SASL, for tokens: xoauth2, oauthbearer
	Password     Ref      `mapstructure:"password"`
}

// ClientOf returns the OAuth client that the mailbox logs in with, or nil if it uses a password.
func (c *Config) ClientOf(m Mailbox) *Client {
	for i := range c.Clients {
		if c.Clients[i].Name == m.Login.Client {
			return &c.Clients[i]
		}
	}
	return nil
}
