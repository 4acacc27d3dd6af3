package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailflume/mailflume/fetcher"
)

func checkMailboxes(c *Config, r *reader) {
	if len(c.Mailboxes) == 0 && r.sound("mailboxes") {
		r.say("mailboxes", "there is none", "add at least one; mailflume config example shows how")
	}
	names, ids := map[string]int{}, map[string]int{}
	entries, folders := map[string]int{}, map[string][]watched{} // by account
	for i := range c.Mailboxes {
		at := fmt.Sprintf("mailboxes[%d]", i)
		if !r.sound(at) {
			continue
		}
		m := &c.Mailboxes[i]
		client := checkLogin(c, r, at, m)
		m.complete(client, c.Events.Raw)
		checkIdentity(r, at, i, m, names, ids)
		checkHosts(r, at, m, client)
		account := accountOf(m)
		folders[account] = checkFolders(r, at, m, folders[account])
		entries[account]++
		if n := entries[account]; m.Address != "" && n > c.Limits.Connections && c.Limits.Connections > 0 {
			r.say(at+".address", fmt.Sprintf("is that of %d entries, and each keeps a connection to the account", n),
				"list their folders in one entry, or raise limits.connections_per_account")
		}
		if m.PerDay > 0 && m.PerDay < c.Limits.MessageSize && r.sound(at+".bytes_per_day") {
			r.say(at+".bytes_per_day", fmt.Sprintf("is less than one message may have (%v)", c.Limits.MessageSize), "raise it")
		}
		checkAfter(c, r, at, m)
		if m.Start.Since.After(time.Now().Add(14*time.Hour)) && r.sound(at+".start") { // it is tomorrow already in the east
			r.say(at+".start", m.Start.String()+" is in the future", "write now, all, or a date that has come")
		}
	}
}

// checkIdentity keeps names and ids apart: a mailbox without an id goes by its name.
func checkIdentity(r *reader, at string, i int, m *Mailbox, names, ids map[string]int) {
	const fix = "give each mailbox a name and id of its own"
	if j, taken := names[m.Name]; taken && m.Name != "" {
		r.say(at+".name", fmt.Sprintf("%s is also the name of mailboxes[%d]", quote(m.Name), j), fix)
		return
	}
	names[m.Name] = i
	id, key := m.ID, ".id"
	if id == "" {
		id, key = m.Name, ".name"
	}
	if j, taken := ids[id]; taken && id != "" {
		r.say(at+key, fmt.Sprintf("%s is also the id of mailboxes[%d]", quote(id), j), fix)
		return
	}
	ids[id] = i
}

// checkLogin checks the one way to log in that a mailbox must have, and returns the client, if it has a fitting one.
func checkLogin(c *Config, r *reader, at string, m *Mailbox) *Client {
	at += ".login"
	if !r.sound(at) {
		return nil
	}
	client, grant, password := r.set(at+".client"), r.set(at+".refresh_token"), r.set(at+".password")
	broker := r.set(at+".token_command") || r.set(at+".token_file")
	r.follow(at+".refresh_token", m.Login.RefreshToken)
	if m.Provider == "outlook" && m.Login.Mechanism == "oauthbearer" {
		r.say(at+".mechanism", "Outlook knows xoauth2 only", "remove it")
	}
	switch {
	case password && (client || grant || broker), broker && (client || grant), r.set(at+".token_command") && r.set(at+".token_file"):
		r.say(at, "has two ways to log in", "keep one: client, token_command, token_file, or password")
		return nil
	case password && m.Provider == "outlook":
		r.say(at+".password", "Outlook accepts no passwords over IMAP", "log in with OAuth: a client of provider microsoft")
	case password && r.set(at+".mechanism"):
		r.say(at+".mechanism", "is for tokens", "remove it: passwords need none")
	case password:
		r.follow(at+".password", m.Login.Password)
	case broker:
		if r.set(at+".token_command") && len(m.Login.TokenCommand) == 0 && r.sound(at+".token_command") {
			r.say(at+".token_command", "is empty", "write the program and its arguments: [/path/to/program, argument]")
		}
	case !client && !grant:
		r.loginMissing(at, m)
	case !client && r.sound(at+".client"):
		r.say(at, "has a refresh_token but no client", "add client: the name of one of the clients")
	}
	if !client {
		return nil
	}
	fits := checkClientFits(c, r, at+".client", m)
	if fits != nil && grant && (fits.Grant == "app" || !fits.Service.IsZero()) && r.sound(at+".refresh_token") {
		r.say(at+".refresh_token", "is not used: client "+quote(fits.Name)+" reads mailboxes by itself", "remove it, or use a client for which somebody signs in")
	}
	return fits
}

func (r *reader) loginMissing(at string, m *Mailbox) {
	if !r.sound(at+".client", at+".refresh_token", at+".password") {
		return // it was meant to be there
	}
	fix := "add client (OAuth), or password: file:PATH"
	if m.Provider == "outlook" {
		fix = "add client: the name of one of the clients"
	}
	r.say(at, "says no way to log in", fix)
}

func checkClientFits(c *Config, r *reader, at string, m *Mailbox) *Client {
	if !r.sound(at) {
		return nil
	}
	client := c.ClientOf(*m)
	if client == nil {
		var known []string
		for i, other := range c.Clients {
			if other.Name == "" || !r.sound(fmt.Sprintf("clients[%d]", i), fmt.Sprintf("clients[%d].name", i)) {
				return nil // it may be this one
			}
			known = append(known, other.Name)
		}
		if !r.sound("clients") {
			return nil
		}
		fix := "add it to clients"
		if len(known) > 0 {
			fix = "use " + orList(known) + ", or add it to clients"
		}
		if near, ok := closest(m.Login.Client, known); ok {
			fix = "did you mean " + near + "?"
		}
		r.say(at, fmt.Sprintf("there is no client %s", quote(m.Login.Client)), fix)
		return nil
	}
	want := map[string]string{"gmail": "google", "outlook": "microsoft"}[m.Provider]
	if want != "" && client.Provider != "" && client.Provider != want && client.Provider != "other" {
		r.say(at, fmt.Sprintf("client %s is of provider %s, the mailbox of provider %s", quote(client.Name), client.Provider, m.Provider),
			"use a client of provider "+want)
		return nil
	}
	return client
}

func checkHosts(r *reader, at string, m *Mailbox, client *Client) {
	if m.Provider == "imap" && m.Host == "" && r.sound(at+".host") {
		r.say(at+".host", "is missing", "provider imap needs it: add host: imap.example.com")
	}
	if m.Provider != "outlook" && m.Provider != "" && r.set(at+".cloud") && r.sound(at+".cloud") {
		r.say(at+".cloud", "is for provider outlook only", "remove it")
	}
	if m.Provider == "outlook" && m.Cloud != "" && client != nil && client.Cloud != "" && client.Cloud != m.Cloud {
		r.say(at+".cloud", fmt.Sprintf("is %s, but that of its client is %s", m.Cloud, client.Cloud), "remove it here, or use a client of that cloud")
	}
	if m.Security == "plain" && !loopback(m.Host) && m.Provider != "" && r.sound(at+".host") {
		r.say(at+".security", "plain would send secrets in clear text", "use tls or starttls; plain is for hosts on this machine")
	}
	r.authorities(at+".ca", m.CA)
}

// checkPublished refuses a folder of which nothing would be published.
func checkPublished(r *reader, item, name string, include []string) {
	switch {
	case strings.EqualFold(name, `\Sent`) && !slices.Contains(include, "sent"):
		r.say(item, "nothing of "+name+" is published unless it is asked for", "add include: [sent] to the mailbox")
	case strings.EqualFold(name, `\Drafts`):
		r.say(item, "drafts are never published", "remove it")
	}
}

// checkFolders refuses what would publish a message twice: taken are the folders that entries of the same account read.
func checkFolders(r *reader, at string, m *Mailbox, taken []watched) []watched {
	if !r.sound(at + ".folders") {
		return taken
	}
	if len(m.Folders) == 0 {
		r.say(at+".folders", "is empty", "name at least one, or remove it to get INBOX")
		return taken
	}
	if !slices.ContainsFunc(m.Folders, func(name string) bool { return !strings.HasPrefix(name, "!") }) {
		r.say(at+".folders", "says only what is not to be read", `add what is: INBOX, or '*'`)
	}
	own := map[string]bool{}
	for i, name := range m.Folders {
		item := fmt.Sprintf("%s.folders[%d]", at, i)
		if !r.sound(item) {
			continue
		}
		if strings.EqualFold(name, "INBOX") {
			name = "INBOX"
			m.Folders[i] = name
		}
		if own[name] {
			r.say(item, quote(name)+" is listed twice", "remove one")
			continue
		}
		own[name] = true
		checkPublished(r, item, name, m.Include)
		if m.Address == "" || strings.HasPrefix(name, "!") {
			continue
		}
		if other := slices.IndexFunc(taken, func(f watched) bool { return f.at != at && fetcher.Overlap(f.name, name) }); other >= 0 {
			r.say(item, fmt.Sprintf("%s of %s is read by %s already", name, m.Address, taken[other].at), "read each folder once: remove it from one of the two")
			continue
		}
		taken = append(taken, watched{name, at})
	}
	return taken
}

// watched is a folder, or a pattern for folders, that an entry of mailboxes reads.
type watched struct{ name, at string }

// accountOf tells apart whose mailboxes entries are.
func accountOf(m *Mailbox) string {
	return strings.ToLower(m.Address) + " " + m.Provider + " " + strings.ToLower(m.Host) + fmt.Sprint(" ", m.Port)
}
