// Package crashtest lets the real binary die at every crash point (internal/crash), starts it again, and judges what is on
// the stream by what was in the mailboxes.
//
// A story is played with simulated providers and a NATS server that lives on, or the built-in one that dies with the
// process: a mailbox is connected, a backlog is read, mail arrives, a folder is numbered anew, the keys are changed, a grant
// is given up, the program is stopped. A census counts how often the story comes by each point. Then it is told again and
// again, with a death at the first, the middle and the last hit of every point, by one replica and by two.
package crashtest
