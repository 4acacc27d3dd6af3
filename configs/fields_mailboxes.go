package configs

import (
	"time"
)

// mailboxFields are the keys of an entry of mailboxes.
var mailboxFields = []field{
	{
		key: "name", kind: name, required: true, active: true, show: "sales",
		doc: "What you call it, in logs and on the page.",
	},
	{
		key: "id", kind: name, show: "sales",
		doc: "What subjects and events call it. Default: the name when it was first seen, so that a later change of name or address keeps it.",
	},
	{
		key: "address", kind: address, required: true, active: true, show: "sales@gmail.com",
		doc: "Its mail address.",
	},
	{
		key: "provider", kind: oneOf("gmail", "outlook", "imap"), required: true, active: true, show: "gmail",
		doc: "gmail (Gmail, Google Workspace), outlook (Outlook.com, Microsoft 365), or imap (any other server). The first two bring host, port and security along.",
	},
	{
		key: "login", active: true, required: true, show: "{client: NAME}",
		doc: "How it logs in: with client (somebody signs in once: mailflume connect NAME), with a token of another program, or with password.",
		group: []field{
			{key: "client", kind: name, show: "google", active: true, doc: "The name of one of the clients."},
			{
				key: "refresh_token", kind: ref, show: "file:secrets/sales-refresh-token",
				doc: "A grant to begin with, in place of mailflume connect. Later ones are kept, sealed, in NATS. Another one put here later is tried, and used once the provider has accepted it.",
			},
			{
				key: "token_command", list: true, kind: text, show: "[/usr/local/bin/mail-token, sales]",
				doc: "A program that prints an access token, in place of client: somebody else's broker. It is run at each login, without a shell.",
			},
			{key: "token_file", kind: path, show: "/run/tokens/sales", doc: "A file that another program keeps an access token in, in place of client. It is read at each login."},
			{
				key: "mechanism", kind: oneOf("xoauth2", "oauthbearer"), show: "xoauth2",
				doc: "How the server takes a token: xoauth2 (Gmail, Outlook and most others), or oauthbearer (RFC 7628).",
			},
			{
				key: "password", kind: ref, show: "env:SALES_PASSWORD",
				doc: "For imap servers, or an app password of Gmail, in place of all above. Outlook takes none.",
			},
		},
	},
	{
		key: "folders", list: true, kind: folder, def: "[INBOX]", show: `[INBOX, '\Junk']`, active: true,
		doc: `Folders by name, or by special use whatever they are called: \All, \Archive, \Drafts, \Flagged, \Important, \Junk, \Sent, \Trash; or by pattern: 'Projects/*' means all below Projects, 'Projects/%' only the next level, '*' all that holds mail and has no special use but \Archive; '!Projects/Old' takes one out again. / stands for the server's delimiter. Folders that are made later are found within minutes. Use single quotes. Default: [INBOX].`,
	},
	{
		key: "authserv_ids", list: true, kind: text, show: "[mx.example.org]",
		doc: "The names under which the mailbox's own server writes Authentication-Results; what others wrote is not believed. Gmail and Outlook have theirs.",
	},
	{
		key: "include", list: true, kind: oneOf("sent"), show: "[sent]",
		doc: "What else to publish. sent: what the mailbox's owner sent, from the folder \\Sent and from Gmail's \\All, marked direction: sent. Without it a workflow that answers never reads its own answers. Drafts are never published.",
	},
	{
		key: "start", kind: start, def: "now",
		doc: "Which mail to read of what is there when the mailbox is first seen: now (none), all, or a date (YYYY-MM-DD: what arrived then or later, UTC). It is read in the background, new mail always comes first.",
	},
	{
		key: "raw", kind: rawKind, show: "always",
		doc: "events.raw, for this mailbox alone.",
	},
	{
		key: "after", group: afterFields,
		doc: "What to do to its messages once they are published, in place of the after for all mailboxes.",
	},
	{
		key: "user", kind: text, show: "alice@example.com",
		doc: "The user to log in as. Default: the address. A shared mailbox of Microsoft 365 logs in with its own address and a grant of a user who may read it.",
	},
	{
		key: "cloud", kind: cloudKind, show: "worldwide",
		doc: "For outlook: worldwide, gcc, gcc-high, dod or china. Default: that of its client.",
	},
	{key: "host", kind: host, show: "imap.gmail.com", doc: "The IMAP server. The provider has it; imap needs it."},
	{key: "port", kind: integers(1, 65535), show: "993", doc: "Default: 993, and 143 for starttls and plain."},
	{
		key: "security", kind: oneOf("tls", "starttls", "plain"), def: "tls",
		doc: "tls, starttls, or plain (on this machine only).",
	},
	{
		key: "ca", kind: path, show: "certs/ca.pem",
		doc: "Certificates (PEM) to trust instead of the system's, for a server of your own.",
	},
	{
		key: "idle_refresh", kind: durations(100*time.Millisecond, 29*time.Minute), def: "9m",
		doc: "How often to renew IDLE and look whether the server forgot to report mail.",
	},
	{
		key: "poll", kind: durations(100*time.Millisecond, day), def: "5m",
		doc: "How often to look for mail that IDLE does not report: in all folders but the first, and on servers without IDLE.",
	},
	{
		key: "bytes_per_day", kind: size, show: "1GB",
		doc: "How much may be downloaded within 24 hours, counted over restarts. When it is used up, older mail (start) waits, new mail never does. Default: 1GB for gmail, which allows 2500 MB to all programs of the owner together; no bound elsewhere.",
	},
}
