// Package state keeps small durable facts in JetStream KV: grants, positions, leases, owners.
//
// All of them live in one bucket, so that the stream behind it gives every change one place in one order: a session that
// was deleted at revision 7 is gone for whoever reads revision 8. Every write is a compare-and-set on the revision that
// the writer has read. A [Store] reads and writes records, says which mailbox of the configuration is which
// ([Store.Identify]) and keeps the positions of each; a [Replica] shares the mailboxes with the other replicas.
//
// What the package does not do: it does not make two owners impossible. A replica may be stopped between looking at its
// lease and acting on it, and no lease can prevent that. Correctness rests on the chain in package publish, which
// refuses the commits of whoever is behind, and on compare-and-set here; leases and owners only keep replicas from doing
// the same work twice. Neither does it seal what it stores (whoever may read the account can read the bucket), nor does
// it know what a position or a grant says, nor does it try again: a call that failed is the caller's to repeat. Only the
// heartbeat of a Replica goes on by itself.
package state
