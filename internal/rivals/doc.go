// Package rivals puts mailflume and the mail fetchers that people use today under the same kill -9, and prints what each
// of them loses, doubles and damages, and how soon it goes on.
//
// Each gets a Dovecot of its own with the same mailboxes, fetches the same messages over TLS from the same machine, and is
// killed at moments taken at random within the time that it needs itself for a portion of mail. The others write into
// Maildirs and log in with a password; mailflume refreshes a token, logs in with it, and writes to a nats-server of another
// process that syncs every write. The settings of the others are the safest that their manuals offer. The package measures; it
// does not look into why.
package rivals
