package configs

import (
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
)

// check reports what is wrong with the settings together, each of which is sound by itself, and fills in what follows
// from others. It says nothing about settings that have a mistake already.
func check(c *Config, r *reader) {
	checkSizes(c, r)
	checkServer(c, r)
	checkServerLogin(c, r)
	checkSealing(c, r)
	for i := range c.Clients {
		checkClient(c, r, i)
	}
	checkMailboxes(c, r)
}

func checkSizes(c *Config, r *reader) {
	if c.Limits.MessageSize == 0 && r.sound("limits.message_size") {
		r.say("limits.message_size", "is 0", "allow at least 1MiB")
	}
	if c.Memory < c.Limits.MessageSize && r.sound("memory", "limits.message_size") {
		at := "memory"
		if !r.set(at) {
			at = "limits.message_size"
		}
		r.say(at, fmt.Sprintf("memory (%v) is smaller than limits.message_size (%v)", c.Memory, c.Limits.MessageSize),
			"the largest message must fit: raise memory or lower limits.message_size")
	}
}

func checkServer(c *Config, r *reader) {
	n := &c.NATS
	outside := r.set("nats.url")
	if outside && r.set("nats.embedded") {
		r.say("nats.embedded", "is for the server inside mailflume, but nats.url names one outside", "keep one of the two")
	}
	if !outside {
		for _, key := range []string{"creds", "user", "password", "token", "nkey", "jwt", "seed", "tls", "monitor"} {
			if r.set("nats."+key) && r.sound("nats.url", "nats."+key) {
				r.say("nats."+key, "goes with nats.url, which is not set", "set nats.url or remove it")
			}
		}
		if c.NATS.Stream.Replicas > 1 && r.sound("nats.url") {
			r.say("nats.stream.replicas", "the embedded server is a single one", "write 1, or set nats.url to a cluster")
		}
	}
	r.follow("nats.embedded.key", n.Embedded.Key)
	if (n.TLS.Cert == "") != n.TLS.Key.IsZero() && r.sound("nats.tls.cert", "nats.tls.key", "nats.tls") {
		r.say("nats.tls", "has only one of cert and key", "set both: the certificate and its private key")
	}
	r.authorities("nats.tls.ca", n.TLS.CA)
	r.readable("nats.tls.cert", n.TLS.Cert)
	r.follow("nats.tls.key", n.TLS.Key)
}

func checkServerLogin(c *Config, r *reader) {
	n := &c.NATS
	var ways []string
	for _, key := range []string{"creds", "user", "token", "nkey", "jwt"} {
		if r.set("nats." + key) {
			ways = append(ways, key)
		}
	}
	if len(ways) > 1 {
		r.say("nats."+ways[1], "there are several ways to log in: "+strings.Join(ways, ", "), "keep one of them")
	}
	for _, two := range [][2]string{{"user", "password"}, {"password", "user"}, {"jwt", "seed"}, {"seed", "jwt"}} {
		if r.set("nats."+two[0]) && !r.set("nats."+two[1]) && r.sound("nats."+two[1]) {
			r.say("nats."+two[0], "goes with nats."+two[1], "add it, or remove this")
		}
	}
	for key, ref := range map[string]Ref{"creds": n.Creds, "password": n.Password, "token": n.Token, "nkey": n.NKey, "jwt": n.JWT, "seed": n.Seed} {
		r.follow("nats."+key, ref)
	}
}

func checkSealing(c *Config, r *reader) {
	grants := slices.ContainsFunc(c.Mailboxes, func(m Mailbox) bool { return m.Login.Client != "" })
	if grants && r.set("nats.url") && !r.set("sealing_key") && r.sound("sealing_key") {
		r.say("nats.url", "needs sealing_key, so that all replicas can open the grants",
			"add sealing_key: file:PATH at the top level; echo \"k1:$(openssl rand -base64 32)\" makes such a file")
	}
	r.follow("sealing_key", c.SealingKey)
}

// follow reports a reference to a secret that cannot be read.
func (r *reader) follow(path string, ref Ref) {
	if ref.IsZero() || !r.sound(path) {
		return
	}
	if f := ref.check(); f != nil {
		r.say(path, f.what, f.fix)
	}
}

// readable reports a file that cannot be read.
func (r *reader) readable(path, file string) {
	if file == "" || !r.sound(path) {
		return
	}
	if f := checkFile(file, "it must hold certificates in PEM"); f != nil {
		r.say(path, f.what, f.fix)
	}
}

// authorities reports a file that has no certificates to trust.
func (r *reader) authorities(path, file string) {
	r.readable(path, file)
	if file == "" || !r.sound(path) {
		return
	}
	if _, err := readAuthorities(file); err != nil {
		r.say(path, err.Error(), "name a file with certificates in PEM")
	}
}

func readAuthorities(file string) (*x509.CertPool, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a plain file of certificates", quote(file))
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", quote(file))
	}
	return pool, nil
}

func checkClient(c *Config, r *reader, i int) {
	at := fmt.Sprintf("clients[%d]", i)
	client := &c.Clients[i]
	if !r.sound(at) {
		return
	}
	for j := range i {
		if client.Name != "" && c.Clients[j].Name == client.Name {
			r.say(at+".name", fmt.Sprintf("%s is also the name of clients[%d]", quote(client.Name), j), "give each client a name of its own")
			break
		}
	}
	checkCredentials(r, at, client)
	if r.set(at+".scopes") && len(client.Scopes) == 0 {
		r.say(at+".scopes", "is empty", "remove it to get the provider's scopes")
	}
	if !r.sound(at + ".provider") {
		return
	}
	if client.Provider != "microsoft" {
		for _, key := range []string{"tenant", "cloud", "authority", "scope_host"} {
			if p := at + "." + key; r.set(p) && r.sound(p) {
				r.say(p, "is for provider microsoft only", "remove it, or correct provider")
			}
		}
	}
	if client.Provider == "other" && client.Endpoints.Token == "" && r.sound(at+".endpoints", at+".endpoints.token") {
		r.say(at+".endpoints", "provider other needs a token endpoint", "add endpoints: {token: https://...}")
	}
	client.complete()
}

// checkCredentials checks what a client proves itself with.
func checkCredentials(r *reader, at string, client *Client) {
	for key, ref := range map[string]Ref{"secret": client.Secret, "certificate": client.Cert, "service_account": client.Service} {
		r.follow(at+"."+key, ref)
	}
	secret, cert, service := r.set(at+".secret"), r.set(at+".certificate"), r.set(at+".service_account")
	app := client.Grant == "app"
	switch {
	case service && (secret || cert || app):
		r.say(at+".service_account", "is all that such a client needs", "remove secret, certificate and grant")
	case service && client.Provider != "google" && r.sound(at+".provider"):
		r.say(at+".service_account", "is for provider google only", "remove it, or correct provider")
	case secret && cert:
		r.say(at+".certificate", "goes in place of secret", "keep one of the two")
	case cert && client.Provider == "google":
		r.say(at+".certificate", "is not for provider google", "use secret, or service_account")
	case app && !secret && !cert && r.sound(at+".secret", at+".certificate"):
		r.say(at+".grant", "app needs a secret or a certificate", "add certificate: file:PATH or secret: file:PATH")
	case app && client.Provider == "google":
		r.say(at+".grant", "app is not for provider google", "use service_account: file:PATH, the JSON key of a service account with domain-wide delegation")
	case app && client.Provider == "microsoft" && slices.Contains([]string{"", "common", "consumers", "organizations"}, client.Tenant) &&
		!r.set(at+".endpoints.token") && r.sound(at+".tenant"):
		r.say(at+".grant", "app needs the tenant's own id", "add tenant: its GUID or domain (Entra admin center, Overview)")
	}
	if !service && !r.set(at+".id") && r.sound(at+".id", at+".service_account") {
		r.say(at+".id", "is missing", "add id: the client id that the provider's console shows")
	}
}
