package fetcher

import "time"

// Kind says what a Message is.
type Kind uint8

// The kinds.
const (
	KindMail       Kind = iota // a message, whole
	KindTooLarge               // over Config.MaxMessage; Raw is its header, Size what the server says of it
	KindUnreadable             // listed by the server and not handed out in several attempts; Raw is empty
	KindMark                   // no message: the Position moved, and is worth keeping
	KindReset                  // no message: UIDVALIDITY changed from Was, or did not and the UIDs did; the folder is read again from its beginning
)

// Message is one thing that Session.Messages found. All kinds have Folder, UIDValidity and Position.
type Message struct {
	Kind        Kind
	Folder      string // its name on the server, decoded
	UIDValidity uint32
	UID         uint32
	Was         uint32 // of a KindReset: the UIDVALIDITY before

	Flags        []string  // as the server spells them
	InternalDate time.Time // zero if the server gave none that makes sense
	Size         int64     // of Raw; see KindTooLarge
	Raw          []byte    // exactly the server's bytes

	EmailID  string   // X-GM-MSGID or EMAILID, if the server has one
	ThreadID string   // X-GM-THRID or THREADID
	Labels   []string // X-GM-LABELS, as the server spells them

	Backfill bool // it was there when the folder was first seen
	Relisted bool // it was there when UIDVALIDITY changed
	Sent     bool // the mailbox's owner sent it: it lies in the folder for that, or is labelled so and not in INBOX
	Live     bool // it came while this Session was open

	// Boundary is the time before which all that arrived in the folder was dealt with; zero if that cannot be said. Of what
	// is Relisted it is that of the folder before its UIDVALIDITY changed.
	Boundary time.Time

	// Position is that of the folder once this message is dealt with, and not before.
	Position Position

	release func()
}

// Release gives the bytes of the message back to the Budget. Raw must not be used after it. It may be called more than
// once, from any goroutine.
func (m Message) Release() {
	if m.release != nil {
		m.release()
	}
}
