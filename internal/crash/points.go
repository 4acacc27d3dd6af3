// Package crash names the places at which the program may die, so that a test can let it die there.
//
// crash.At("puback.received") is nothing in a normal build: the compiler leaves no trace of it. Built with
// -tags crashpoints, the process kills itself (SIGKILL) at the hit that the environment names: CRASH=puback.received:3 is
// the third. CRASH_HITS names a directory in which each point has a file with one byte for each hit. Processes that share
// the directory share the count, so that the third hit of all of them is meant, and one of them dies.
//
// Points lists them all; internal/crashtest lets the program die at each.
package crash

// Poison stands in a message that kills the program where it works on that message (With), in a build with crash points.
const Poison = "X-Crash-Test: the process that parses this is to die"

// Point is a place at which the program may die.
type Point struct {
	Name string
	When string // what has happened, and what is durable of it
	Then string // what must hold once the program runs again; that nothing is lost, twice or damaged goes without saying
}

// Points lists every crash point, in the order in which a message meets them.
var Points = []Point{
	{"key.file.written", "the key that seals grants is in a file, which has not got its name yet", "another key is made"},
	{"key.check.written", "what tells the key of the built-in server's store is in a file, which has not got its name yet", "it is written anew"},
	{"stream.prepared", "one of the streams was created or changed", "the others follow"},
	{"mailbox.identified", "the record that gives a mailbox its id is stored", "the mailbox has the same id"},
	{"record.put.sent", "a record of the KV bucket is on its way", "its revision decides"},
	{"record.put.acked", "a record of the KV bucket is stored", "its revision decides"},
	{"lease.acquired", "the mailbox is ours in the owner record; nothing was read", "another replica takes it over, or we do"},

	{"token.locked", "the record says that we are renewing the grant; nothing was sent", "the renewal is taken over and succeeds"},
	{"token.refresh.sent", "the token endpoint has answered, and nobody has read it", "as after token.response.read"},
	{
		"token.response.read", "the new tokens are in memory only",
		"a provider that lets the old one be used again: renewed once more; a strict one: one try, then it needs a person",
	},
	{"token.persisted", "the new tokens are stored", "they are used; nobody renews again"},
	{"oauth.callback", "a sign-in was exchanged for a grant, which is not stored", "the mailbox is as unconnected as before; signing in again works"},
	{"grant.stored", "what a person granted or gave up is stored", "it holds"},
	{"grant.revoked", "the provider has revoked the grant, the record does not say so yet", "giving it up again succeeds"},
	{"key.rotate.row", "one grant is sealed with the new key, the next is not", "both keys open them; rotating again finishes"},

	{"imap.authenticated", "logged in", "a plain restart"},
	{"folder.selected", "the folder is open, its UIDVALIDITY not compared", "a plain restart"},
	{"uidvalidity.changed", "UIDVALIDITY differs from the position's; nothing is recorded", "it is seen again"},
	{"epoch.recorded", "the change of UIDVALIDITY was announced; the folder is not listed again yet", "it is listed again, and what was published is known"},
	{"list.done", "the UIDs are in memory", "they are listed again"},
	{"fetch.literal.partial", "a part of a message is in memory", "it is fetched again; no prefix is published"},
	{"fetch.literal.complete", "the message is in memory; the server has not finished its answer", "it is fetched again"},
	{"parse.begin", "the message is about to be parsed", "it is parsed again; after the second time it is published as dead, with its raw bytes"},
	{"parse.end", "the message is parsed", "it is parsed again"},

	{"blob.chunk", "k of n chunks of an object are stored", "stored again; the chunks go with the bucket's age"},
	{"blob.described", "an object is stored, the event that refers to it is not", "it is found and used"},
	{"batch.part.sent", "a part of a batch is on its way, its commit is not", "the server forgets the part"},
	{"publish.sent", "the commit is on its way, or stored", "the chain's tail tells which"},
	{"puback.received", "the batch is stored, the position not saved", "the chain's tail tells where to go on"},
	{"deadletter.published", "a dead message is stored, the position not saved", "as after puback.received"},
	{"checkpoint.put.sent", "the positions are on their way", "whichever is newer counts, the chain's or the saved ones"},
	{"checkpoint.put.acked", "the positions are saved", "the next message"},
	{"postaction.sent", "what is done to a published message in its mailbox is on its way, or done", "it is done, once"},
	{"message.acted", "published messages were acted upon in the mailbox; the record does not say so yet", "they are acted upon again, which changes nothing"},
	{"notice.acked", "what happened to a mailbox was announced", "it may be announced once more"},

	{"config.swap", "a new configuration was taken over, and no mailbox has changed yet", "the new one holds, whole"},
	{"drain.begin", "SIGTERM has come", "a plain restart"},
	{"drain.end", "everything was stopped in order", "a plain restart"},
}

func find(name string) *Point {
	for i := range Points {
		if Points[i].Name == name {
			return &Points[i]
		}
	}
	return nil
}
