package fetcher

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file holds what servers mean by what they say. Everything is keyed on their texts, nothing on a provider's name.
// Sources: the texts that the providers document, and those in public issue threads of MailKit, imapflow, imapsync and others.

const (
	hintOAuth   = "use OAuth for this account instead of a password"
	hintRefused = "connect the mailbox again; check that the token has the IMAP scope and belongs to this address"
	hintIMAPOff = "switch IMAP on for this mailbox (its owner in the mail settings, or the administrator)"
	hintBrowser = "the provider wants the owner to log in with a browser once, or to use OAuth"
	hintQuota   = "it lifts by itself within a day; a smaller start date, or fewer clients of this account, keeps it from coming back"
	hintTooMany = "close other mail clients of this account, or wait until dead sessions have run out"
	hintNotConn = "if it never worked: check that IMAP is on, that the token belongs to this address or has full access to " +
		"it, and for app-only access Add-MailboxPermission with the object id of the enterprise application"
)

// maxBackoff bounds the wait that a server can talk us into.
const maxBackoff = time.Hour

var reBackoff = regexp.MustCompile(`(?i)Request is throttled.*Backoff Time[:=\s]+(\d+)`)

// classifyText returns the typed error for a text whose meaning does not depend on where it stands, or nil.
func classifyText(text string) error {
	clipped := clip(text)
	switch {
	// QUIRK(exchange): throttled. BAD or NO, with a wait in milliseconds; the text counts, not the status.
	case has(text, "Request is throttled"):
		e := &ThrottledError{Text: clipped}
		if m := reBackoff.FindStringSubmatch(text); m != nil {
			ms, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil || ms > maxBackoff.Milliseconds() {
				ms = maxBackoff.Milliseconds()
			}
			e.Wait = time.Duration(ms) * time.Millisecond
		}
		return e
	// QUIRK(gmail): bandwidth. A daily limit that lifts after 1 to 24 hours.
	case has(text, "[OVERQUOTA"), has(text, "exceeded command or bandwidth limits"):
		return &ThrottledError{Text: clipped, Wait: time.Hour, Longest: 24 * time.Hour, Hint: hintQuota}
	// QUIRK(gmail): too many connections. 15 an account, shared with the owner's phones.
	case has(text, "too many simultaneous connections"), has(text, "maximum number of connections"):
		return &ThrottledError{Text: clipped, Wait: 2 * time.Minute, Longest: 10 * time.Minute, Hint: hintTooMany}
	case has(text, "[THROTTLED"):
		return &ThrottledError{Text: clipped}
	// QUIRK(exchange): not connected. The login was accepted and the mailbox is not served, for many reasons.
	case has(text, "authenticated but not connected"):
		return &NotConnectedError{Text: clipped, Hint: hintNotConn}
	// QUIRK(gmail,exchange): expired. A session ends with its access token.
	case has(text, "AccessTokenExpired"), has(text, "Session expired"):
		return &ExpiredError{Text: clipped}
	}
	return nil
}

// classifyBye returns the typed error for the text of an untagged BYE.
func classifyBye(text string) error {
	if err := classifyText(text); err != nil {
		return err
	}
	if refusal := classifyRefusal(text); refusal != nil {
		return refusal
	}
	return &ByeError{Text: clip(text)}
}

// classifyTagged returns the typed error for the text of a tagged NO or BAD after login.
func classifyTagged(command, text string) error {
	if err := classifyText(text); err != nil {
		return err
	}
	return &ServerError{Command: command, Text: clip(text)}
}

// classifyBare returns the typed error for a line that is no IMAP response, or nil if it means nothing.
//
// QUIRK(exchange): bare line. "Server Unavailable. 15" comes without a tag when the mailbox server is unreachable.
func classifyBare(line string) error {
	if err := classifyText(line); err != nil {
		return err
	}
	if has(line, "Server Unavailable") {
		return &ServerError{Text: clip(line)}
	}
	return nil
}

// classifyRefusal recognises the refusals that no fresh token heals.
func classifyRefusal(text string) error {
	for _, r := range []struct{ text, hint string }{
		{"not enabled for IMAP", hintIMAPOff},
		{"IMAP access is disabled", hintIMAPOff},
		{"log in via your web browser", hintBrowser},
		{"Web login required", hintBrowser},
		{"Application-specific password required", hintOAuth},
		{"Basic authentication is disabled", hintOAuth},
		{"BasicAuthBlocked", hintOAuth},
		{"Lookup failed", "the service account may not act for this mailbox, or the mailbox does not exist"},
	} {
		if has(text, r.text) {
			return &AuthError{Text: clip(text), Hint: r.hint}
		}
	}
	return nil
}

// classifyLogin returns the typed error for a refused login. The tagged text decides, never the XOAUTH2 challenge, which
// Gmail sends alike for an old token and for too many connections.
func classifyLogin(auth Auth, text, bye string) error {
	if err := classifyText(text); err != nil {
		return err
	}
	if err := classifyRefusal(text); err != nil {
		return err
	}
	if bye != "" {
		if err := classifyText(bye); err != nil {
			return err
		}
	}
	if passing(text) {
		return &ServerError{Command: "AUTHENTICATE", Text: clip(text)}
	}
	return &AuthError{Text: clip(text), Stale: auth != Password, Hint: hintRefused}
}

// passing reports whether a refusal says nothing about what was asked for.
func passing(text string) bool {
	for _, p := range []string{
		"[UNAVAILABLE]", "[SERVERBUG]", "[INUSE]", "[LIMIT]", "System Error", "Server Unavailable", "Invalid SASL argument",
		"Could not parse", "Command Error", "Invalid state",
	} {
		if has(text, p) {
			return true
		}
	}
	return false
}

// isMissing reports whether an EXAMINE was refused because there is no such folder (RFC 5530 has a code for it, Gmail and
// Dovecot send it).
func isMissing(text string) bool {
	return slices.ContainsFunc([]string{"[NONEXISTENT", "[TRYCREATE", "doesn't exist", "does not exist", "Unknown Mailbox", "no such mailbox"}, func(t string) bool { return has(text, t) })
}

// isWarning reports whether a text that came with a success is one for a person to read (RFC 3501, section 7.1: ALERT).
func isWarning(text string) bool {
	return slices.ContainsFunc([]string{"[ALERT", "[WEBALERT", "[OVERQUOTA", "throttled"}, func(t string) bool { return has(text, t) })
}

// isExchange goes by the product's name, which both forms of the greeting have (MailKit#2016), unless its operator has written
// another one; and by what it says of itself in answer to ID.
func isExchange(greeting, id string) bool {
	return has(greeting, "Microsoft Exchange") || has(id, "Microsoft.Exchange")
}

// standsIn reports whether a message is what the server made up in place of one that it cannot render.
//
// QUIRK(exchange): placeholder. A message from nobody's address with this subject (offlineimap#62, Mailspring#2038,
// MailKit#1451). A message that came by SMTP has an address in From.
func standsIn(raw []byte) bool {
	header, _, _ := bytes.Cut(raw[:min(len(raw), 8<<10)], []byte("\r\n\r\n"))
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(header))
	stub, address := false, false
	for line := range strings.SplitSeq(unfolded, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "subject":
			stub = reStandIn.MatchString(value)
		case "from":
			address = strings.Contains(value, "@") && !has(value, ".MISSING-HOST-NAME.")
		}
	}
	return stub && !address
}

var reStandIn = regexp.MustCompile(`(?i)^\s*Retrieval using the IMAP4 protocol failed for the following message: *\d*\s*$`)

// isPartial reports whether a refused FETCH has served what still exists, so that its error means nothing.
//
// QUIRK(exchange): partial fetch. NO ends a FETCH of which some messages are gone.
func isPartial(text string) bool { return has(text, "no longer exist") }

func has(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}
