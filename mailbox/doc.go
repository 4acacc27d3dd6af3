// Package mailbox carries mail from one mailbox to the stream, and keeps a set of such workers running.
//
// A Worker is a step (Drain) and a loop that calls it (Run); the loop holds the program's only backoff. A Group runs one
// worker for each mailbox that this replica owns. The package does not speak IMAP, does not parse and does not decide who
// owns a mailbox: it connects the rooms that do, and turns their errors into who must act (Classify).
//
// # How a message gets to the stream once
//
// The events of a mailbox, of all its folders, are one chain, and each carries the position of its folder: how far it was read.
// A batch is stored only if the chain still ends where its writer believes. So of two writers one goes on and the other one
// finds out, and whatever has happened, the end of the chain tells how far the mailbox was read. In the order of the work, and
// of reading the code:
//
//   - claim.go: a worker begins with the end of the chain, its tail, and the last position of each folder. Retention may have
//     removed that event, so the positions are also kept beside the stream, as the floor; the newer of the two counts. To save
//     the floor shuts out whoever had the mailbox before. The floor has a note too, by which memo.go sees that the chain lost
//     something.
//   - worker.go: a pass fetches what comes after the positions, and commits at the same time what has come.
//   - commit.go: each message becomes an event (build.go, encode.go) or a mere move of the position, whatever it does to the
//     parser (poison.go, trial.go). A batch of them is sent, and only a clean ack moves the positions. After any other answer
//     the chain is read again: the batch has landed, or is sent once more, or another writer was there. While the stream takes
//     nothing, outlast.go waits with what was fetched.
//   - ledger.go: where UIDs do not tell whether a message was published, the headers of the chain do. moved.go tells a message
//     that was moved from one that was copied, by where the messages of the events lie (traces.go).
//   - run.go: after a pass the worker waits for mail. What is to be done to published messages is done in between (actions.go),
//     from what the chain says. What fails is classified (classify.go) and waited out (backoff.go).
//
// What others see of a worker is on its board (board.go, silence.go, said.go).
package mailbox
