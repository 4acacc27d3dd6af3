// Package chaos runs the real binary against a real Dovecot and a real nats-server, kills it on the way, and compares
// what is on the stream with what is on the mail server.
//
// A [World] is the machinery around the binary: mail, tokens, configuration, broker. [World.KillLoop] is the test
// that matters; [Check] is its judge, and is tested by faults made on purpose.
package chaos
