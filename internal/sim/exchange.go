package sim

import (
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf16"
)

// The ends of a login that Exchange can answer with, for RefuseLogin. What stands between the quotes of ExchangeWrongServer is not
// documented.
const (
	ExchangeAuthFailed  = "NO AUTHENTICATE failed."
	ExchangeWrongServer = `OK [Error="Microsoft.Exchange.Data.Storage.WrongServerException: Cross Server access is not allowed" AuthResultFromPopImapEnd=0 Proxy=] AUTHENTICATE completed.`
)

// exchangeHost is the server name that Exchange's greeting carries, in base64 of UTF-16LE.
const exchangeHost = "AM0PR05CA0001.eurprd05.prod.outlook.com"

// GreetingExchangeNew is the greeting of Exchange since about September 2026, for Server.SetGreeting. The GUID is ours.
const GreetingExchangeNew = "* OK Microsoft Exchange IMAP4 service ready. 6f1d2a34-0b5c-4d6e-8f70-a1b2c3d4e5f6 (tcpproxy/15.21.0406.000 BACKENDAUTHENTICATE) [{host}]"

// exchange is what the IMAP server of Exchange Online says. Lines with the remark "not documented" are our choice.
var exchange = dialect{
	provider: Exchange,

	greeting:   "* OK The Microsoft Exchange IMAP4 service is ready. [{host}]",
	idVersion:  `* ID ("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "15.20")`,
	capsBefore: "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+",
	capsAfter: "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES " +
		"CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+",
	capsRev2: "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT ENABLE IMAP4rev2 CLIENTACCESSRULES " +
		"CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE BACKENDAUTHENTICATE-IR CHILDREN IDLE NAMESPACE LITERAL+",
	mechanisms:  []string{"XOAUTH2"},
	loginOK:     "OK AUTHENTICATE completed.",
	loginBad:    []string{"NO Basic authentication is disabled."},
	loginCloses: "* BYE Microsoft Exchange Server IMAP4 server signing off.",
	invalid:     ExchangeAuthFailed,
	cancelled:   "BAD Command Error. 12",                // not documented
	badSASL:     "BAD Command Argument Error. 11",       // not documented
	goAhead:     "+ Ready for additional command text.", // not documented
	literalPlus: maxLiteral,

	selectLines: []string{
		"* {exists} EXISTS",
		"* 0 RECENT",
		"* FLAGS ({keywords})",
		"* OK [PERMANENTFLAGS ({permanent})] Permanent flags",
		"{unseen}",
		"* OK [UIDVALIDITY {uidvalidity}] UIDVALIDITY value",
		"* OK [UIDNEXT {uidnext}] The next unique identifier value",
	},
	unseenLine: "* OK [UNSEEN {first}] Is the first unseen message",
	keywords:   `\Seen \Answered \Flagged \Deleted \Draft $MDNSent`,
	permanent:  `\Seen \Answered \Flagged \Deleted \Draft $MDNSent`,
	fetchOrder: []string{"RFC822.SIZE", "INTERNALDATE", "FLAGS", "UID", "BODYSTRUCTURE", "BODY"},
	dateLayout: "_2-Jan-2006 15:04:05 -0700",

	ok: map[string]string{
		"":        "OK {verb} completed.",
		"SELECT":  "OK [READ-WRITE] SELECT completed.",
		"EXAMINE": "OK [READ-ONLY] EXAMINE completed.", // by analogy with SELECT
	},
	copied:     "OK {code} COPY completed.",                   // not documented
	appended:   "OK {code} APPEND completed.",                 // not documented
	taken:      "NO [ALREADYEXISTS] {folder} exists already.", // the text is not documented
	noFolder:   "NO {folder} doesn't exist.",                  // not documented
	badVerb:    "BAD Command Error. 12",
	badSyntax:  "BAD Command Error. 12",
	badArg:     "BAD Command Argument Error. 11",
	badState:   "BAD Command received in Invalid state.",
	tooLong:    "BAD Command Error. 10",
	maxCommand: 10240,
	badCharset: "NO [BADCHARSET (US-ASCII)] The specified charset is not supported.", // the code is reported, the text is not
	idling:     "+ IDLE accepted, awaiting DONE command.",

	notConnected:    "BAD User is authenticated but not connected.",
	byeNotConnected: "* BYE Connection closed. 14",
	byeExpired:      "* BYE Session invalidated - AccessTokenExpired",
	afterExpired:    "BAD Command received in Invalid state.",
	byeIdle:         "* BYE Connection is closed. 13",
	byeClosed:       "* BYE Connection is closed. 13",
	byeLogout:       "* BYE Microsoft Exchange Server IMAP4 server signing off.",

	maxConnections: 16,
	preAuth:        time.Minute,
	idle:           30 * time.Minute,

	folders: []folderSpec{
		{name: "Archive", attrs: `\HasNoChildren`},
		{name: "Calendar", attrs: `\HasChildren`},
		{name: "Contacts", attrs: `\HasNoChildren`},
		{name: "Conversation History", attrs: `\HasNoChildren`},
		{name: "Deleted Items", attrs: `\HasNoChildren \Trash`},
		{name: "Drafts", attrs: `\HasNoChildren \Drafts`},
		{name: "INBOX", attrs: `\Marked \HasNoChildren`, validity: 14},
		{name: "Journal", attrs: `\HasNoChildren`},
		{name: "Junk Email", attrs: `\HasNoChildren \Junk`},
		{name: "Notes", attrs: `\HasNoChildren`},
		{name: "Outbox", attrs: `\HasNoChildren`},
		{name: "Sent Items", attrs: `\HasNoChildren \Sent`},
		{name: "Sync Issues", attrs: `\HasNoChildren`},
		{name: "Tasks", attrs: `\HasNoChildren`},
	},
	before: alphabetical(false),
}

// Throttled is Exchange's answer to a client that asks too much, with its hint.
func Throttled(hint time.Duration) Fault {
	return Fault{Answer: fmt.Sprintf("BAD Request is throttled. Suggested Backoff Time: %d milliseconds", hint.Milliseconds())}
}

// ThrottledNo is the same as a NO, and the end of the connection.
func ThrottledNo(hint time.Duration) Fault {
	return Fault{Answer: fmt.Sprintf("NO Request is throttled. Suggested Backoff Time: %d milliseconds", hint.Milliseconds()), Drop: true}
}

// SomeGone is a FETCH of Exchange that hands out so many messages and says that the others are no more.
func SomeGone(messages int) Fault {
	return Fault{Command: "FETCH", Messages: messages, Done: "NO Some of the requested messages no longer exist."}
}

// NotConnected is Exchange's login that succeeds and is worth nothing.
func NotConnected() Fault { return Fault{Command: "AUTHENTICATE", NotConnected: true} }

// Unavailable is Exchange's answer while a mailbox server cannot be reached.
func Unavailable() Fault { return Fault{Answer: "NO Server Unavailable. 15"} }

// BareUnavailable is the same as a line without a tag, followed by the end of the connection.
func BareUnavailable() Fault { return Fault{Before: []string{"Server Unavailable. 15"}, Drop: true} }

// Unrenderable returns what Exchange sends in place of an item that it cannot turn into a message.
func Unrenderable(uid uint32) []byte {
	return fmt.Appendf(nil, "From: \"Microsoft Exchange Server\" <>\r\n"+
		"Subject: Retrieval using the IMAP4 protocol failed for the following message: %d\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\n\r\n"+
		"The server couldn't retrieve the following message. The message hasn't been deleted.\r\n", uid)
}

// ExchangeStructures are what Exchange was seen to say for BODYSTRUCTURE, for Quirks.Structure: a disposition that is no
// list, one that is NIL in a list, a string in its place, fields that are missing, a part of which nothing is known.
var ExchangeStructures = []string{
	`("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 5 1 NIL "inline" NIL NIL)`,
	`("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 5 1 NIL (NIL NIL) NIL NIL)`,
	`("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 5 1 NIL "x" ("inline" NIL) NIL NIL)`,
	`("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL)`,
	`(NIL NIL NIL NIL NIL "7BIT" 0 NIL NIL NIL NIL)`,
}

// utf16Base64 writes a name as Exchange's greeting has it.
func utf16Base64(name string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(name)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return base64.StdEncoding.EncodeToString(b)
}
