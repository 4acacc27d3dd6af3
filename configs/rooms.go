package configs

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/publish"
	"github.com/mailflume/mailflume/state"
	"github.com/mailflume/mailflume/token"
)

// Publish returns the configuration of package publish. It reads the secrets that the broker asks for.
func (c *Config) Publish() (publish.Config, error) {
	n := c.NATS
	out := publish.Config{
		URL:      n.URL,
		Auth:     publish.Auth{CredsFile: n.Creds.Path(), NKeyFile: n.NKey.Path(), User: n.User},
		TLS:      publish.TLS{CAFile: n.TLS.CA, CertFile: n.TLS.Cert, KeyFile: n.TLS.Key.Path()},
		Embedded: publish.Embedded{Dir: filepath.Join(c.Data, "nats"), Listen: n.Embedded.Listen},
		Stream: publish.Stream{
			Name: n.Stream.Name, MaxAge: n.Stream.MaxAge, MaxBytes: int64(n.Stream.MaxBytes), Replicas: n.Stream.Replicas,
		},
		Bucket: n.Bucket, Monitor: n.Monitor,
	}
	for _, s := range []struct {
		to   *publish.Secret
		from Ref
	}{
		{&out.Auth.Password, n.Password},
		{&out.Auth.Token, n.Token},
		{&out.Auth.JWT, n.JWT},
		{&out.Auth.Seed, n.Seed},
		{&out.Embedded.Key, n.Embedded.Key},
	} {
		if s.from.IsZero() {
			continue
		}
		text, err := s.from.Read()
		if err != nil {
			return publish.Config{}, err
		}
		*s.to = publish.NewSecret(text)
	}
	return out, nil
}

// StateBucket returns the configuration of package state.
func (c *Config) StateBucket() state.Config {
	return state.Config{Bucket: c.NATS.State, Replicas: c.NATS.Stream.Replicas}
}

// Keyring reads the keys that seal grants. Without sealing_key it uses a file in the data directory, and creates both if
// they are missing.
func (c *Config) Keyring() (*token.Keyring, error) {
	key := c.SealingKey
	if key.IsZero() {
		key = FileRef("sealing_key", filepath.Join(c.Data, "sealing-key"))
		err := os.MkdirAll(c.Data, 0o700)
		if err == nil {
			_, err = token.EnsureKeyFile(key.Path())
		}
		if err != nil {
			return nil, fmt.Errorf("%w; make the directory %s (setting data) writable, or set sealing_key", err, c.Data)
		}
	}
	keys, err := token.NewKeyring(key.Read)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return keys, nil
}

// Account returns what package token needs to know of a mailbox that logs in by OAuth; ok is false if it uses a password.
// Id is the mailbox's own, or the one it had when it was first seen.
func (c *Config) Account(m Mailbox, id string) (account token.Account, ok bool) {
	client := c.ClientOf(m)
	if client == nil {
		return token.Account{}, false
	}
	account = token.Account{
		Mailbox: id, Subject: m.User,
		Client: token.Client{
			Name: client.Name, ID: client.ID, TokenURL: client.Endpoints.Token, Scopes: client.Scopes, App: client.Grant == "app",
			SecretEnds: client.Expires.Time, AuthorizeURL: client.Endpoints.Authorize, DeviceURL: client.Endpoints.Device,
			RevokeURL: client.Endpoints.Revoke, InfoURL: client.Endpoints.TokenInfo, SignIn: offline,
		},
	}
	if p := presetOf(client.Provider, client.Cloud); p != nil {
		account.Client.SignIn, account.Client.Identity = p.signIn, p.identity
		account.Client.Idle, account.Client.Rotates = p.idle, p.rotates
	}
	if !m.Login.RefreshToken.IsZero() {
		account.RefreshToken = m.Login.RefreshToken.Read
	}
	for credential, ref := range map[token.Credential]Ref{
		token.SharedSecret: client.Secret, token.Certificate: client.Cert, token.ServiceKey: client.Service,
	} {
		if !ref.IsZero() {
			account.Client.Credential, account.Client.Secret = credential, ref.Read
		}
	}
	return account, true
}

// Broker returns where the tokens of a mailbox come from that somebody else's program renews; ok is false if it is not one.
func (c *Config) Broker(m Mailbox) (source token.Foreign, ok bool) {
	switch {
	case len(m.Login.TokenCommand) > 0:
		return token.Command(m.Login.TokenCommand...), true
	case m.Login.TokenFile != "":
		file := FileRef("token_file", m.Login.TokenFile)
		return func(context.Context) (string, error) { return file.Read() }, true
	}
	return nil, false
}

// Fetcher returns the configuration of package fetcher for a mailbox; its budget, logins, log and version are the
// caller's to add.
func (c *Config) Fetcher(m Mailbox) (fetcher.Config, error) {
	out := fetcher.Config{
		Addr: net.JoinHostPort(m.Host, strconv.Itoa(m.Port)), Security: fetcher.Security(m.Security), User: m.User,
		Folders: m.Folders, Start: fetcher.Start(m.Start), MaxMessage: int64(c.Limits.MessageSize),
		IdleRefresh: m.IdleRefresh, Poll: m.Poll, Allowance: fetcher.NewAllowance(int64(m.PerDay)),
	}
	out.Auth = fetcher.Auth(m.Login.Mechanism)
	if !m.Login.Password.IsZero() {
		out.Auth = fetcher.Password
	}
	var err error
	out.RootCAs, err = m.Authorities()
	return out, err
}

// Authorities reads the certificates that the mailbox trusts: nil if it trusts those of the system. They are read anew each
// time, so that a replaced file is seen.
func (m Mailbox) Authorities() (*x509.CertPool, error) {
	if m.CA == "" {
		return nil, nil
	}
	pool, err := readAuthorities(m.CA)
	if err != nil {
		return nil, fmt.Errorf("mailbox %s: setting ca: %w", m.Name, err)
	}
	return pool, nil
}
