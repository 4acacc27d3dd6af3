package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// graph is Microsoft Graph, whose tokens IMAP does not take.
const graph = "00000003-0000-0000-c000-000000000000"

// faultyClaims says what is wrong with a token of Microsoft's, as far as it says it of itself.
func faultyClaims(c token.Claims, client token.Client, now time.Time) error {
	fault := func(sentence, hint string) error { return &symptom{mailbox.Operator, sentence, hint} }
	switch {
	case strings.Contains(c.Audience, "graph.microsoft.com") || c.Audience == graph:
		return fault("The token is for Microsoft Graph, not for mail over IMAP.",
			"Set the scopes of client "+client.Name+" to https://outlook.office.com/IMAP.AccessAsUser.All offline_access (or remove them), and connect the mailbox again.")
	case len(c.Roles) > 0 && len(c.Scopes) == 0 && !slices.Contains(c.Roles, "IMAP.AccessAsApp"):
		return fault("The application has no permission to read mail over IMAP: its token has the roles "+strings.Join(c.Roles, " ")+".",
			"App registrations, API permissions: add IMAP.AccessAsApp of Office 365 Exchange Online (application permission), and grant admin consent.")
	case client.App && len(c.Roles) == 0:
		return fault("The application has no permission at all: its token has no roles.",
			"App registrations, API permissions: add IMAP.AccessAsApp of Office 365 Exchange Online (application permission), and grant admin consent.")
	case len(c.Scopes) > 0 && !slices.ContainsFunc(c.Scopes, func(s string) bool { return strings.HasSuffix(s, "IMAP.AccessAsUser.All") }):
		return fault("The token gives no access to mail over IMAP: its scopes are "+strings.Join(c.Scopes, " ")+".",
			"App registrations, API permissions: add IMAP.AccessAsUser.All (delegated), and connect the mailbox again.")
	case !c.Expires.IsZero() && now.After(c.Expires):
		return fault("The token that was just granted has expired: the clock of this host is ahead.", "Fix NTP on this host.")
	}
	return nil
}

// askClaims asks the provider about an opaque token.
func (p *patient) askClaims(ctx context.Context) (string, error) {
	c, asked, err := p.tokens.Inspect(ctx, p.account, p.access)
	switch {
	case !asked:
		return "opaque: it does not say what it is for", nil
	case err != nil: // the login says more about it
		return "opaque, and the provider does not say what it is for: " + mailbox.Classify(err).Sentence, nil
	}
	p.claims = &c
	detail := "of client " + c.Audience + ", scopes " + strings.Join(c.Scopes, " ")
	if !c.Expires.IsZero() {
		detail += ", until " + c.Expires.Format(time.TimeOnly+" MST")
	}
	client := p.account.Client
	switch fault := func(sentence, hint string) error { return &symptom{mailbox.Operator, sentence, hint} }; {
	case client.ID != "" && c.Audience != client.ID && c.App != client.ID && !p.account.Mints():
		return detail, fault("The token belongs to another client, "+c.Audience+".", "Compare the id of client "+client.Name+", and connect the mailbox again: mailflume connect "+p.mailbox.Name)
	case !slices.ContainsFunc(c.Scopes, func(s string) bool {
		return strings.HasPrefix(s, "https://mail.google.com") || strings.HasSuffix(s, "/gmail.imap_admin")
	}):
		return detail, fault("The token gives no access to mail over IMAP: its scopes are "+strings.Join(c.Scopes, " ")+".",
			"Set the scopes of client "+client.Name+" to https://mail.google.com/ (or remove them), connect the mailbox again, and leave every box ticked.")
	}
	return detail, nil
}

// permission explains the refusal of a token that is in order, by what it says of itself; nil if it says nothing. Exchange
// has the same words for all of these.
func (p *patient) permission(what string) error {
	if p.claims == nil {
		return nil
	}
	c, m := *p.claims, p.mailbox
	if m.Provider == "gmail" {
		return &symptom{
			mailbox.Person, what + fmt.Sprintf(", although the token is for IMAP and of client %s.", c.Audience),
			fmt.Sprintf("The account that signed in is probably not %s: user or address must be the account's own, not an alias or a group. Connect it again: mailflume connect %s", m.User, m.Name),
		}
	}
	if m.Provider != "outlook" {
		return nil
	}
	switch {
	case len(c.Roles) > 0:
		return &symptom{
			mailbox.Operator, what + ": the application may not open this mailbox.",
			fmt.Sprintf("In Exchange Online PowerShell: New-ServicePrincipal -AppId %s -ObjectId <object id of the ENTERPRISE APPLICATION, not of the app registration>, then Add-MailboxPermission -Identity %s -User <that object id> -AccessRights FullAccess. It can take an hour to work. IMAP must be on: Set-CASMailbox %[2]s -ImapEnabled $true", c.App, m.User),
		}
	case c.Account != "" && !token.SameAccount(c.Account, m.User):
		return &symptom{
			mailbox.Person, what + ": the token belongs to " + c.Account + ", and the mailbox is " + m.User + ".",
			fmt.Sprintf("If it is a shared mailbox: Add-MailboxPermission -Identity %s -User %s -AccessRights FullAccess. If %[1]s is another address of the same mailbox, set user to its primary address. Else connect the right account: mailflume connect %[3]s", m.User, c.Account, m.Name),
		}
	default:
		return &symptom{
			mailbox.Person, what + ", although the token is for this account and for IMAP.",
			fmt.Sprintf("IMAP is probably off: Set-CASMailbox %s -ImapEnabled $true (an administrator; it can take an hour), or the account has no licence with a mailbox, or security defaults block it. If it happens only sometimes, it is throttling: other programs use this mailbox too.", m.User),
		}
	}
}
