package sim

import (
	"strings"
	"time"
)

// A dialect is what one provider's IMAP server says, as data. {name} in a text is filled in when it is sent.
type dialect struct {
	provider Provider

	greeting    string
	idVersion   string
	capsBefore  string // before login
	capsAfter   string // after login
	capsRev2    string // after login, with the quirk Rev2
	volunteers  bool   // sends the capabilities by itself after login
	mechanisms  []string
	loginOK     string
	loginBad    []string // answers to LOGIN and password mechanisms; the last one is tagged
	loginCloses string   // the line after that, when the connection ends
	challenge   string   // of a failed login; empty: none
	docJSON     string   // the documentation's challenge
	docNo       string   // and its answer
	invalid     string   // a failed login
	tooMany     string   // too many connections; empty: the session is not connected
	cancelled   string   // the client cancelled the exchange
	badSASL     string
	goAhead     string // continuation of a literal
	literalPlus int    // octets of a literal that need not wait for it

	selectLines   []string
	unseenLine    string // in SELECT, if a message is unseen
	keywords      string // FLAGS
	permanent     string // PERMANENTFLAGS of SELECT
	fetchOrder    []string
	dateLayout    string // INTERNALDATE
	quoteFolders  bool
	condstore     bool
	gmailItems    bool
	esearch       bool
	searchKeyword bool
	listReturn    bool
	codesTagged   bool // COPYUID of MOVE stands in the tagged answer
	existsAtEnd   bool // EXPUNGE and MOVE end with EXISTS
	autoExpunge   bool

	ok         map[string]string // the tagged OK by verb; "" for the others
	copied     string            // the tagged OK of COPY with its code; of MOVE too if that stands there
	appended   string
	taken      string // CREATE of a folder that is there
	noFolder   string
	badVerb    string
	badSyntax  string
	badArg     string
	badState   string
	tooLong    string
	maxCommand int // in octets; 0: no limit
	badCharset string
	idling     string

	notConnected    string
	byeNotConnected string
	byeExpired      string
	afterExpired    string // the tagged answer to a command that met the expiry; empty: none
	byeOverquota    string
	byeIdle         string
	byeClosed       string
	byeLogout       string

	maxConnections int
	preAuth        time.Duration // without a login the connection ends; 0: never
	idle           time.Duration // without a command the connection ends; 0: never
	maxSession     time.Duration // 0: none

	folders []folderSpec
	before  func(a, b string) bool // the order of folders in LIST
}

// fill replaces {key} by its value, for pairs of key and value.
func fill(text string, pairs ...string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 64)
	for {
		before, rest, open := strings.Cut(text, "{")
		key, after, closed := strings.Cut(rest, "}")
		if !open || !closed {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(before)
		if value, known := valueOf(key, pairs); known {
			b.WriteString(value)
			text = after
		} else {
			b.WriteString("{")
			text = rest
		}
	}
}

func valueOf(key string, pairs []string) (value string, known bool) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == key {
			return pairs[i+1], true
		}
	}
	return "", false
}

// alphabetical puts INBOX where the provider has it.
func alphabetical(inboxFirst bool) func(a, b string) bool {
	return func(a, b string) bool {
		if inboxFirst && (a == "INBOX" || b == "INBOX") {
			return a == "INBOX" && b != "INBOX"
		}
		return strings.ToLower(a) < strings.ToLower(b)
	}
}
