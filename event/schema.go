package event

import (
	"bytes"
	_ "embed"
)

//go:generate go test -run TestCommittedFilesAreCurrent -update .

//go:embed schema/event.json
var eventSchema []byte

//go:embed schema/message.json
var messageSchema []byte

//go:embed schema/mailbox.json
var mailboxSchema []byte

//go:embed schema/asyncapi.yaml
var asyncAPI []byte

// SchemaEvent is the $id of what Schema returns.
const SchemaEvent = "urn:mailflume:schema:event:v1"

// Schema returns the JSON Schema (draft-07) of a whole event in structured mode: a MessageEvent or a MailboxEvent. It is made
// from the types of this package, and lets fields pass that it does not know: later versions may have more.
func Schema() []byte { return bytes.Clone(eventSchema) }

// DataSchema returns the JSON Schema (draft-07) that the attribute dataschema names, SchemaMessage or SchemaMailbox; nil for
// any other. It is that of data alone, which in binary mode is all that a NATS message carries.
func DataSchema(urn string) []byte {
	switch urn {
	case SchemaMessage:
		return bytes.Clone(messageSchema)
	case SchemaMailbox:
		return bytes.Clone(mailboxSchema)
	}
	return nil
}

// AsyncAPI returns the AsyncAPI 3.0 document (YAML) of the stream: subjects, headers and payloads. For the payloads it refers to
// event.json, which is Schema, message.json and mailbox.json, which are those of DataSchema, in its own folder.
func AsyncAPI() []byte { return bytes.Clone(asyncAPI) }
