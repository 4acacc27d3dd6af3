package configs

import "time"

const day = 24 * time.Hour

// fields is the table of all keys. Everything else about keys is made from it.
var fields = []field{
	{
		key: "mailboxes", list: true, group: mailboxFields, required: true, active: true, more: moreMailboxes,
		doc: "The mailboxes to read. Each has a connection of its own; none can hold up another.",
	},
	{
		key: "clients", list: true, group: clientFields, active: true, more: moreClients,
		doc: "The OAuth clients (app registrations) that mailboxes log in with. Many mailboxes may share one.",
	},
	{
		key: "nats", group: natsFields, active: true,
		doc: "The NATS server that keeps the stream. Without url, the one inside mailflume runs and keeps its files in data.",
	},
	{
		key: "events", group: eventFields, active: true,
		doc: "What events contain.",
	},
	{
		key: "after", group: afterFields,
		doc: "What to do to a message in its mailbox once its event is stored: for all mailboxes that have no after of their own. Without it nothing in a mailbox ever changes. It begins with the mail that is published from then on; dead mail is left alone.",
	},
	{
		key: "data", kind: path, def: "data",
		doc: "Directory for what must survive a restart: the embedded server's files, its lock, and the generated sealing key. It is created when it is missing.",
	},
	{
		key: "sealing_key", kind: ref, show: "file:secrets/sealing-key",
		doc: "The keys that seal OAuth grants at rest, one NAME:KEY a line, KEY being 32 bytes in base64; the first seals, all of them open. All replicas need the same. Without it, a key is generated in data; with nats.url, clients need it.",
	},
	{
		key: "memory", kind: size, def: "256MiB",
		doc: "Budget for the bytes of all messages in flight. A message that does not fit waits for its turn, so this must be at least limits.message_size.",
	},
	{
		key: "limits", active: true, doc: "What one message, and the mail servers, may be asked for.",
		group: []field{
			{
				key: "message_size", kind: size, def: "64MiB",
				doc: "A larger message is published as dead, with its headers and size but without its bytes.",
			},
			{
				key: "logins_per_second", kind: integers(1, 1000), def: "20",
				doc: "How many logins one mail server gets in a second from all replicas together, when many mailboxes connect at once: each takes its share.",
			},
			{
				key: "login_gap", kind: durations(0, time.Hour), def: "30s",
				doc: "How far apart the logins of one account are, from all replicas together, once five have come in short order: providers throttle who comes and goes. 0: not bounded.",
			},
			{
				key: "connections_per_account", kind: integers(1, 15), def: "3",
				doc: "How many entries of mailboxes one account may have: each keeps one connection, at whatever replica, and a second one for a moment when its token ends. Gmail allows 15, Exchange fewer, and the owner's phones and programs take theirs.",
			},
		},
	},
	{
		key: "replica", active: true, doc: "This process among those that share one external NATS server and split the mailboxes.",
		group: []field{
			{key: "name", kind: name, show: "worker-1", doc: "Its name in logs and on the page. Default: the name of the host."},
			{
				key: "lease", kind: durations(time.Second, time.Hour), def: "15s",
				doc: "How long a silent replica keeps its mailboxes before the others take them over.",
			},
		},
	},
	{
		key: "http", active: true, doc: "Status page, /healthz, /readyz and /metrics.",
		group: []field{
			{
				key: "listen", kind: listen, def: "127.0.0.1:8080",
				doc: "Where to listen. The page has no login, so keep it to this machine or a private network. none: nowhere.",
			},
			{
				key: "public_url", kind: pageURL, show: "https://mailflume.example.com",
				doc: "The URL of the page in a browser, if a proxy on this machine serves it under another: one that asks for a login, since mailboxes can be connected there (below /link/ and /oauth/ it need not). Providers send browsers back to it, and links of mailflume connect --link lead there. Default: http://localhost and the port.",
			},
		},
	},
	{
		key: "log", active: true, doc: "The log, on standard error.",
		group: []field{
			{key: "level", kind: oneOf("debug", "info", "warn", "error"), def: "info", doc: "debug, info, warn or error."},
			{key: "format", kind: oneOf("text", "json"), def: "text", doc: "text or json."},
		},
	},
}

const moreMailboxes = `
- name: support            # a shared mailbox of Microsoft 365, read with the grant of a member
  address: support@example.com
  provider: outlook
  login:
    client: microsoft
  start: 2026-01-01

- name: invoices           # any other IMAP server
  address: invoices@example.org
  provider: imap
  host: imap.example.org
  login:
    password: file:secrets/invoices-password
`

var clientFields = []field{
	{
		key: "name", kind: name, required: true, active: true, show: "google",
		doc: "What mailboxes call it.",
	},
	{
		key: "provider", kind: oneOf("google", "microsoft", "other"), required: true, active: true, show: "google",
		doc: "google, microsoft, or other (then endpoints and scopes are yours to set).",
	},
	{
		key: "id", kind: text, active: true, show: "123456789012-abc.apps.googleusercontent.com",
		doc: "The client id. Microsoft calls it application id. Only a service_account needs none.",
	},
	{
		key: "secret", kind: ref, active: true, show: "file:secrets/google-client-secret",
		doc: "The client secret. Microsoft: its value, not its id; leave it out for a public client.",
	},
	{
		key: "secret_expires", kind: date, show: "2027-06-30",
		doc: "When the secret expires, as the provider's console says (YYYY-MM-DD), to be warned 30 days before.",
	},
	{
		key: "certificate", kind: ref, show: "file:secrets/microsoft-certificate.pem",
		doc: "For microsoft: a certificate and its private key (PEM), in place of secret.",
	},
	{
		key: "grant", kind: oneOf("user", "app"), def: "user",
		doc: "user: somebody signs in once for each mailbox. app (Microsoft 365): the application reads the mailboxes by itself, with its secret or certificate; it needs the tenant's id.",
	},
	{
		key: "service_account", kind: ref, show: "file:secrets/google-service-account.json",
		doc: "For google: the JSON key of a service account with domain-wide delegation. It reads the mailboxes of the domain by itself; nobody signs in.",
	},
	{
		key: "tenant", kind: tenant, show: "common",
		doc: "For microsoft: the tenant's id or domain, or organizations, consumers or common. Default: common.",
	},
	{
		key: "cloud", kind: cloudKind, show: "worldwide",
		doc: "For microsoft: worldwide, gcc, gcc-high, dod or china. Default: worldwide.",
	},
	{
		key: "authority", kind: endpoint, show: "https://login.microsoftonline.com",
		doc: "For microsoft: the login server, instead of the cloud's.",
	},
	{
		key: "scope_host", kind: host, show: "outlook.office.com",
		doc: "For microsoft: the host in the scope, instead of the cloud's.",
	},
	{
		key: "endpoints", doc: "The provider's URLs, instead of the known ones.",
		group: []field{
			{key: "authorize", kind: endpoint, show: "https://accounts.google.com/o/oauth2/v2/auth", doc: "Where a person consents."},
			{key: "token", kind: endpoint, show: "https://oauth2.googleapis.com/token", doc: "Where grants are exchanged for access tokens."},
			{key: "device", kind: endpoint, show: "https://login.example.com/oauth2/devicecode", doc: "Where device codes are issued."},
			{key: "revoke", kind: endpoint, show: "https://oauth2.googleapis.com/revoke", doc: "Where grants are revoked. Default: Google's own, unless token is set."},
			{key: "tokeninfo", kind: endpoint, show: "https://oauth2.googleapis.com/tokeninfo", doc: "For google: what says what an access token is good for; mailflume check asks it. Default: Google's own, unless token is set."},
		},
	},
	{
		key: "scopes", list: true, kind: text, show: `["https://mail.google.com/"]`,
		doc: "The scopes, instead of the provider's.",
	},
}

const moreClients = `
- name: microsoft
  provider: microsoft
  id: 00000000-0000-0000-0000-000000000000
  tenant: common
`

var natsFields = []field{
	{
		key: "embedded", active: true, doc: "The server inside mailflume.",
		group: []field{
			{
				key: "listen", kind: listen, def: "127.0.0.1:4222",
				doc: "Where subscribers connect. It asks them for no login, so it listens on this machine unless you say otherwise. none: nobody can.",
			},
			{
				key: "key", kind: ref, show: "file:secrets/nats-key",
				doc: "Encrypts the server's files with this key. Without it, they are plain.",
			},
		},
	},
	{
		key: "url", kind: natsURLs, show: "nats://nats.example.com:4222",
		doc: "A server (2.12 or newer, with JetStream) of your own instead; several with commas between them. Several replicas of mailflume need one. Its logins (one of creds, user, token, nkey, jwt) and tls follow.",
	},
	{key: "creds", kind: fileRef, show: "file:secrets/mailflume.creds", doc: "Log in with a credentials file."},
	{key: "user", kind: text, show: "mailflume", doc: "Log in with user and password."},
	{key: "password", kind: ref, show: "file:secrets/nats-password", doc: "Goes with user."},
	{key: "token", kind: ref, show: "file:secrets/nats-token", doc: "Log in with a token."},
	{key: "nkey", kind: fileRef, show: "file:secrets/nats-nkey", doc: "Log in with an NKey: the file with its seed."},
	{key: "jwt", kind: ref, show: "file:secrets/nats-jwt", doc: "Log in with a user JWT and its seed."},
	{key: "seed", kind: ref, show: "file:secrets/nats-seed", doc: "Goes with jwt."},
	{
		key: "tls", doc: "For servers with certificates of their own.",
		group: []field{
			{key: "ca", kind: path, show: "certs/nats-ca.pem", doc: "Certificates (PEM) to trust instead of the system's."},
			{key: "cert", kind: path, show: "certs/nats-client.pem", doc: "Our certificate (PEM), if the server asks for one."},
			{key: "key", kind: fileRef, show: "file:secrets/nats-client.key", doc: "Its private key (PEM)."},
		},
	},
	{
		key: "monitor", kind: monitors, show: "http://nats.example.com:8222",
		doc: "The monitoring port of the server, or of each server with commas between them, to see whether events are on disk when they are acknowledged.",
	},
	{
		key: "stream", group: streamFields, active: true,
		doc: "The JetStream stream that events go to. It is created when it is missing.",
	},
	{key: "bucket", kind: natsNames("a bucket"), def: "mail", doc: "Object Store bucket for attachments and raw messages."},
	{key: "state", kind: natsNames("a bucket"), def: "mailflume", doc: "Key-value bucket for positions, owners and sealed grants."},
}

var streamFields = []field{
	{key: "name", kind: natsNames("a stream"), def: "MAIL", doc: "Its name. Its subjects are mail.> and mailbox.>."},
	{
		key: "max_age", kind: durations(time.Minute, 3650*day), def: "30d",
		doc: "How long events are kept. Attachments are kept twice as long.",
	},
	{
		key: "max_bytes", kind: size, def: "0", show: "10GiB",
		doc: "How large it may grow; 0: no limit. A full stream takes no more mail until there is room: nothing is dropped.",
	},
	{
		key: "replicas", kind: replicasKind, show: "1",
		doc: "Copies in a cluster: 1, 3 or 5. Default: 3 in a cluster, else 1.",
	},
}

var eventFields = []field{
	{
		key: "raw", kind: rawKind, def: "on_defect",
		doc: "Keep the raw message: always, on_defect (if something had to be repaired, or the event cannot hold all of it), or never. Dead mail always keeps it.",
	},
	{
		key: "mode", kind: oneOf("structured", "binary"), def: "structured",
		doc: "CloudEvents mode: structured (one JSON object) or binary (attributes as NATS headers).",
	},
	{
		key: "attachments", kind: oneOf("store", "omit"), def: "store",
		doc: "store: put attachments into the Object Store and name them in the event. omit: describe them in the event only.",
	},
}

var (
	rawKind   = oneOf("always", "on_defect", "never")
	cloudKind = oneOf(cloudNames()...)
)
