package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/token"
)

// sick are mailboxes that cannot be read, each for another cause.
func sick(r *rig) {
	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	r.world.OAuth(sim.Exchange).AddClient(sim.Client{ID: "app", Secret: "the-client-secret"})
	r.clients = "  - {name: graph, provider: microsoft, id: the-client, secret: file:right-secret, authority: MICROSOFT, " +
		"scopes: ['https://graph.microsoft.com/IMAP.AccessAsUser.All', offline_access]}\n" +
		"  - {name: app, provider: microsoft, id: app, secret: file:right-secret, authority: MICROSOFT, grant: app, tenant: mail.test}\n" +
		"  - {name: nowhere, provider: microsoft, id: x, secret: file:right-secret, endpoints: {token: 'http://127.0.0.1:1/token'}}\n"
	refuse := func(a *sim.Account, text string) {
		off := sim.RefuseLogin(text)
		off.When.Times = -1
		a.Inject(off)
	}
	r.box(sim.Exchange, "well", outlook, "microsoft", "")
	r.box(sim.Exchange, "of-graph", outlook, "graph", "")
	r.unconnected(sim.Exchange, "not-permitted", outlook, "app", "")
	r.unconnected(sim.Exchange, "permitted", outlook, "app", "").Set(func(q *sim.Quirks) { q.AppAccess = []string{"app"} })
	r.unconnected(sim.Exchange, "app-late", outlook, "app", "").Set(func(q *sim.Quirks) { q.RefuseLate = true })
	refuse(r.box(sim.Exchange, "imap-off", outlook, "microsoft", ""), sim.ExchangeAuthFailed)
	r.box(sim.Exchange, "personal", outlook, "microsoft", "").Set(func(q *sim.Quirks) { q.Personal = true })
	refuse(r.box(sim.Gmail, "gmail-off", gmail, "google", ""), sim.GmailDisabledUser)
	r.box(sim.Gmail, "gmail-well", gmail, "google", "")
	r.box(sim.Gmail, "gmail-alias", gmail, "google", ", user: alias@mail.test")
	r.unconnected(sim.Exchange, "no-endpoint", outlook, "nowhere", "")
	r.unconnected(sim.Gmail, "never", gmail, "google", "")
	r.box(sim.Gmail, "no-name", "mailflume.invalid:993", "google", "")
	r.box(sim.Gmail, "no-port", "127.0.0.1:1", "google", "")
	r.box(sim.Gmail, "no-folder", gmail, "google", ", folders: [Nowhere]")
}

// The doctor takes the steps in order, stops at the first that fails, and tells apart what the server says in the same words.
func TestDoctor(t *testing.T) {
	r := newRig(t)
	sick(r)
	path := r.write()
	code, out, errs := command(t.Context(), "check", "--json", "-c", path)
	var all []diagnosis
	if err := json.Unmarshal([]byte(out), &all); code != exitFailed || err != nil {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out, errs)
	}
	want := map[string]struct{ failing, sentence, hint string }{
		"well":          {},
		"permitted":     {},
		"personal":      {},
		"of-graph":      {"token claims", "Microsoft Graph", "https://outlook.office.com/IMAP.AccessAsUser.All"},
		"not-permitted": {"AUTHENTICATE", "the application may not open this mailbox", "New-ServicePrincipal -AppId app"},
		"app-late":      {"NAMESPACE", "serves nothing: the application may not open", "Add-MailboxPermission -Identity app-late@mail.test"},
		"imap-off":      {"AUTHENTICATE", "although the token is for this account", "Set-CASMailbox imap-off@mail.test -ImapEnabled"},
		"gmail-off":     {"AUTHENTICATE", "not enabled for IMAP", "switch IMAP on"},
		"gmail-well":    {},
		"gmail-alias":   {"AUTHENTICATE", "although the token is for IMAP and of client the-client", "not alias@mail.test"},
		"no-endpoint":   {"token endpoint", "Cannot reach the token endpoint 127.0.0.1:1", "not a credential problem"},
		"never":         {"token", "never connected", "mailflume connect never"},
		"no-name":       {"DNS", "mailflume.invalid has no address", "host"},
		"no-port":       {"TCP", "Cannot connect to 127.0.0.1:1", "firewall"},
		"no-folder":     {"LIST", `"Nowhere"`, "INBOX"},
	}
	order := []string{"DNS", "TCP", "TLS", "greeting", "token endpoint", "token", "token claims", "login", "AUTHENTICATE", "NAMESPACE", "LIST", "folders"}
	for _, d := range all {
		w := want[d.Mailbox]
		if d.OK != (w.failing == "") || !strings.Contains(d.Sentence, w.sentence) || !strings.Contains(d.Hint, w.hint) || !d.OK && (d.Class == "" || d.Hint == "") {
			t.Errorf("%+v", d)
		}
		if claims := "of client the-client, scopes https://mail.google.com/, until "; d.Mailbox == "gmail-well" && !slices.ContainsFunc(d.Steps, func(s step) bool { return strings.HasPrefix(s.Detail, claims) }) {
			t.Errorf("no %q: %+v", claims, d.Steps)
		}
		at := -1
		for i, s := range d.Steps {
			last := i == len(d.Steps)-1
			if s.OK == (last && !d.OK) || s.Detail == "" || last && !d.OK && s.Name != w.failing {
				t.Errorf("%s: step %d is %+v", d.Mailbox, i, s)
			}
			next := at
			for j, name := range order {
				if name == s.Name {
					next = j
				}
			}
			if next <= at {
				t.Errorf("%s: %s comes after %s", d.Mailbox, s.Name, order[at])
			}
			at = next
		}
	}
	if len(all) != len(want) {
		t.Errorf("%d of %d", len(all), len(want))
	}
	code, plain, errs := command(t.Context(), "check", "-v", "-c", path)
	if code != exitFailed || !strings.Contains(plain, "greeting        ok      Exchange") {
		t.Errorf("%d, %s", code, plain)
	}
	for _, secret := range []string{"the-client-secret", "eyJ", "EwB", "ya29", "1//0g", "0.AXoA"} {
		if strings.Contains(out+plain+errs, secret) {
			t.Errorf("shows %q", secret)
		}
	}
}

// What is wrong with a token is said by the first claim that is.
func TestFaultyClaims(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	outlook := "https://outlook.office.com"
	for name, tt := range map[string]struct {
		claims token.Claims
		app    bool
		says   string
	}{
		"good":             {claims: token.Claims{Audience: outlook, Scopes: []string{"IMAP.AccessAsUser.All"}, Expires: now.Add(time.Hour)}},
		"good app":         {claims: token.Claims{Audience: outlook, Roles: []string{"IMAP.AccessAsApp"}}, app: true},
		"graph":            {claims: token.Claims{Audience: "https://graph.microsoft.com", Scopes: []string{"IMAP.AccessAsUser.All"}}, says: "Microsoft Graph"},
		"graph's id":       {claims: token.Claims{Audience: graph}, says: "Microsoft Graph"},
		"another scope":    {claims: token.Claims{Audience: outlook, Scopes: []string{"SMTP.Send"}}, says: "no access to mail over IMAP"},
		"another role":     {claims: token.Claims{Audience: outlook, Roles: []string{"SMTP.SendAsApp"}}, app: true, says: "no permission to read mail over IMAP"},
		"app, no role":     {claims: token.Claims{Audience: outlook}, app: true, says: "no permission at all"},
		"expired at birth": {claims: token.Claims{Audience: outlook, Scopes: []string{"IMAP.AccessAsUser.All"}, Expires: now.Add(-time.Hour)}, says: "clock"},
	} {
		err := faultyClaims(tt.claims, token.Client{Name: "main", App: tt.app}, now)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
