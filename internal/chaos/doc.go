// Package chaos runs the real binary against a real Dovecot and a real nats-server, kills it on the way, and compares
// what is on the stream with what is on the mail server.
//
// A [World] is the machinery around the binary: mail, tokens, configuration, brokers, and proxies between all of them. In
// an [Ordeal] mail arrives while things go wrong; each family of tests is one, or a few, with a fault of its own: processes
// that are killed, paused or asked to stop, leaders that change, lines that are cut, disks and streams that are full.
//
// [Check] judges what came of it by what the mail server holds, [CheckSaved] by the records of positions that were seen on
// the way, and [CheckOwners] tells who published what was not his. They are tested by faults made on purpose.
package chaos
