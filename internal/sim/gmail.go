package sim

import "time"

// The refusals of a login that Gmail can answer with, as the tagged answer to AUTHENTICATE; RefuseLogin makes a Fault of one. Not
// documented: the second sentence of GmailDisabledDomain, and whether the real GmailTemporary exists outside of a test file.
const (
	GmailBandwidth       = "NO [ALERT] Account exceeded command or bandwidth limits. (Failure)"
	GmailTooMany         = "NO [ALERT] Too many simultaneous connections. (Failure)"
	GmailDisabledUser    = "NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page and enable your account for IMAP access. (Failure)"
	GmailDisabledDomain  = "NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator for questions about this feature. (Failure)"
	GmailLookupFailed    = "NO Lookup failed {id}"
	GmailTemporary       = "NO [UNAVAILABLE] Temporary System Error (Failure)"
	GmailSystemError     = "NO System Error (Failure)"
	GmailInvalid         = "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"
	GmailAppPasswordOnly = "NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)"
	gmailWebLogin        = "NO [ALERT] Please log in via your web browser: https://support.google.com/mail/accounts/answer/78754 (Failure)"
	gmailWebAlert        = "* NO [WEBALERT https://accounts.google.com/signin/continue?sarp=1&scc=1&plt=AKgnsb] Web login required."
)

const gmailCaps = "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 "

// gmail is what Gmail's IMAP server says. Lines with the remark "not documented" are our choice.
var gmail = dialect{
	provider: Gmail,

	greeting:   "* OK Gimap ready for requests from {ip} {id}",
	idVersion:  `* ID ("name" "GImap" "vendor" "Google, Inc." "support-url" "https://support.google.com/mail" "remote-host" "{ip}" "connection-token" "{id}")`,
	capsBefore: gmailCaps + "XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER",
	capsAfter: gmailCaps + "UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS " +
		"LITERAL- SPECIAL-USE APPENDLIMIT=35651584",
	volunteers: true,
	mechanisms: []string{"XOAUTH2", "OAUTHBEARER"},
	loginOK:    "OK {user} authenticated (Success)",
	loginBad:   []string{gmailWebAlert, gmailWebLogin},
	challenge:  `{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`,
	docJSON:    `{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}`,
	docNo:      "NO SASL authentication failed",
	invalid:    GmailInvalid,
	tooMany:    GmailTooMany,
	cancelled:  "BAD Client aborted AUTHENTICATE command. {id}",
	badSASL:    "BAD Invalid SASL argument. {id}",
	goAhead:    "+ go ahead",

	literalPlus: 4096, // LITERAL- (RFC 7888)

	selectLines: []string{
		"* FLAGS ({keywords})",
		"* OK [PERMANENTFLAGS ({permanent})] Flags permitted.",
		"* OK [UIDVALIDITY {uidvalidity}] UIDs valid.",
		"* {exists} EXISTS",
		"* 0 RECENT",
		"* OK [UIDNEXT {uidnext}] Predicted next UID.",
		"* OK [HIGHESTMODSEQ {modseq}]",
	},
	keywords:      `\Answered \Flagged \Draft \Deleted \Seen $NotPhishing $Phishing`,
	permanent:     `\Answered \Flagged \Draft \Deleted \Seen $NotPhishing $Phishing \*`,
	fetchOrder:    []string{"X-GM-THRID", "X-GM-MSGID", "X-GM-LABELS", "UID", "MODSEQ", "RFC822.SIZE", "INTERNALDATE", "FLAGS", "BODYSTRUCTURE", "BODY"},
	dateLayout:    "02-Jan-2006 15:04:05 -0700",
	quoteFolders:  true,
	condstore:     true,
	gmailItems:    true,
	esearch:       true,
	searchKeyword: true,
	listReturn:    true,
	codesTagged:   true,
	existsAtEnd:   true,
	autoExpunge:   true,

	ok: map[string]string{
		"":           "OK Success",
		"CAPABILITY": "OK Thats all she wrote! {id}",
		"ID":         "OK Success {id}",
		"SELECT":     "OK [READ-WRITE] {folder} selected. (Success)",
		"EXAMINE":    "OK [READ-ONLY] {folder} selected. (Success)",
		"SEARCH":     "OK SEARCH completed (Success)",
		"IDLE":       "OK IDLE terminated (Success)",
		"LOGOUT":     "OK 73 good day (Success)",
	},
	copied:    "OK {code} (Success)",
	appended:  "OK {code} (Success)",
	taken:     "NO [ALREADYEXISTS] {folder} exists already.", // the text is not documented
	noFolder:  "NO [NONEXISTENT] Unknown Mailbox: {folder} (now in authenticated state) (Failure)",
	badVerb:   "BAD Could not parse command", // reported for FETCH ALL; for the others not documented
	badSyntax: "BAD Could not parse command",
	badArg:    "BAD Could not parse command",
	badState:  "BAD Could not parse command", // not documented
	idling:    "+ idling",

	byeExpired:   "* BYE Session expired, please login again.",
	byeOverquota: "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.",
	byeIdle:      "* BYE Session expired, please login again.", // not documented
	byeClosed:    "* BYE Session expired, please login again.", // not documented
	byeLogout:    "* BYE LOGOUT Requested",

	maxConnections: 15,
	maxSession:     24 * time.Hour,

	folders: []folderSpec{
		{name: "INBOX", attrs: `\HasNoChildren`, label: `\Inbox`},
		{name: "[Gmail]", attrs: `\HasChildren \Noselect`},
		{name: "[Gmail]/All Mail", attrs: `\All \HasNoChildren`},
		{name: "[Gmail]/Drafts", attrs: `\Drafts \HasNoChildren`, label: `\Draft`},
		{name: "[Gmail]/Important", attrs: `\HasNoChildren \Important`, label: `\Important`},
		{name: "[Gmail]/Sent Mail", attrs: `\HasNoChildren \Sent`, label: `\Sent`},
		{name: "[Gmail]/Spam", attrs: `\HasNoChildren \Junk`},
		{name: "[Gmail]/Starred", attrs: `\Flagged \HasNoChildren`, label: `\Starred`},
		{name: "[Gmail]/Trash", attrs: `\HasNoChildren \Trash`},
	},
	before: alphabetical(true),
}

// Overquota is Gmail's end of a session that has downloaded too much: in FETCH, after so many messages.
func Overquota(messages int) Fault {
	return Fault{Command: "FETCH", Messages: messages, Before: []string{gmail.byeOverquota}, Drop: true}
}

// SoftThrottled is Gmail's remark that it is slowing the account down.
func SoftThrottled(latency time.Duration) Fault {
	return Fault{Delay: latency, Done: "OK Success [THROTTLED]"}
}

// GmailStructure is what Gmail says, for Quirks.Structure, of parts inside each other that share a boundary.
const GmailStructure = `(("RELATED" NIL ("ATTACHMENT" NIL) NIL)("ALTERNATIVE") "MIXED" ("BOUNDARY" "b") NIL NIL)`

// gmailLocales are the names of the special folders in other languages than English of the USA, by their attribute; that of
// the root has none.
var gmailLocales = map[string]map[string]string{
	"en-GB": {`\Trash`: "[Gmail]/Bin"},
	"de-old": { // accounts of a time when the name Gmail was another's in Germany
		`\Noselect`: "[Google Mail]", `\All`: "[Google Mail]/Alle Nachrichten", `\Drafts`: "[Google Mail]/Entwürfe", `\Important`: "[Google Mail]/Wichtig",
		`\Sent`: "[Google Mail]/Gesendet", `\Junk`: "[Google Mail]/Spam", `\Flagged`: "[Google Mail]/Markiert", `\Trash`: "[Google Mail]/Papierkorb",
	},
	"ru": {
		`\All`: "[Gmail]/Вся почта", `\Drafts`: "[Gmail]/Черновики", `\Important`: "[Gmail]/Важное", `\Sent`: "[Gmail]/Отправленные",
		`\Junk`: "[Gmail]/Спам", `\Flagged`: "[Gmail]/Помеченные", `\Trash`: "[Gmail]/Корзина",
	},
}
