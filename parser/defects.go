package parser

import "github.com/mailflume/mailflume/event"

// The codes of event.Defect. They are stable: a code keeps its meaning and is never used for anything else.
const (
	DefectPanic = "parser.panic" // the parser failed; only the raw bytes are reliable

	DefectLimitDepth     = "limit.depth"     // parts nested too deeply: the rest is one opaque part
	DefectLimitParts     = "limit.parts"     // too many parts: the rest was not taken apart
	DefectLimitHeader    = "limit.header"    // too many or too long header fields: the rest was left out
	DefectLimitParams    = "limit.params"    // too many parameters in a field: the rest was left out
	DefectLimitAddresses = "limit.addresses" // too many addresses in a field: the rest was left out
	DefectLimitText      = "limit.text"      // a text was cut off
	DefectLimitDefects   = "limit.defects"   // more repairs were made than are listed

	DefectHeaderNone       = "header.none"            // no header field that mail has
	DefectHeaderBOM        = "header.bom"             // a byte order mark before the header
	DefectHeaderBlankStart = "header.blank_start"     // blank lines before the header
	DefectHeaderMbox       = "header.mbox_from"       // an mbox "From " line in the header
	DefectHeaderName       = "header.name"            // a field name with spaces or 8-bit characters
	DefectHeaderGarbage    = "header.garbage_line"    // a line that is no field was left out
	DefectHeaderJoined     = "header.joined_line"     // a parameter at the start of a line was joined to its field
	DefectHeaderNoBlank    = "header.no_blank_line"   // the body starts without a blank line
	DefectHeaderBareCR     = "header.bare_cr"         // lines end in CR alone
	DefectHeaderDuplicate  = "header.duplicate"       // a field that may stand once stands twice; Email has the last one
	DefectHeaderCharset    = "header.charset"         // raw 8-bit characters that are not UTF-8: the charset was guessed
	DefectHeaderWord       = "header.encoded_word"    // an encoded word with an unknown charset or broken bytes
	DefectAddress          = "header.address"         // an address that is none by the standard
	DefectDate             = "header.date"            // a date in another form than the standard's
	DefectDateUnreadable   = "header.date_unreadable" // a date that cannot be read: sentAt is null
	DefectMessageID        = "header.message_id"      // a message id in another form than the standard's

	DefectTypeInvalid     = "type.invalid"              // a Content-Type that is none: the default was taken
	DefectTypeDuplicate   = "type.duplicate"            // two Content-Types: the first was taken
	DefectTypeParam       = "type.param"                // parameters in another form than the standard's
	DefectNameConflict    = "type.name_conflict"        // contradicting file names in one part
	DefectBoundaryNone    = "multipart.no_boundary"     // no boundary parameter: it was guessed
	DefectBoundaryWrong   = "multipart.wrong_boundary"  // the boundary does not occur: another was guessed
	DefectNoParts         = "multipart.no_parts"        // declared multipart, but it is text
	DefectAfterClose      = "multipart.after_close"     // parts after the closing line were read
	DefectNotClosed       = "multipart.not_closed"      // the closing line is missing: the message may be cut off
	DefectPartial         = "message.partial"           // a piece of a larger message
	DefectEncodingLabel   = "encoding.label"            // an unusual name of a transfer encoding
	DefectEncodingUnknown = "encoding.unknown"          // an unknown transfer encoding: the bytes were taken as they are
	DefectBase64          = "encoding.base64"           // broken base64 was repaired
	DefectQuoted          = "encoding.quoted_printable" // broken quoted-printable was repaired
	DefectUuencode        = "encoding.uuencode"         // broken uuencode was repaired
	DefectCharsetUnknown  = "charset.unknown"           // an unknown charset: it was guessed
	DefectCharsetWrong    = "charset.wrong"             // the bytes are not of the charset that is named: it was guessed
	DefectCharsetBroken   = "charset.broken"            // characters that cannot be decoded became U+FFFD
)

// maxDefects is how many repairs one message can list.
const maxDefects = 200

// defects collects repairs, each code once a part.
type defects struct {
	list []event.Defect
	seen map[[2]string]bool
}

func (d *defects) add(code, partID string) { d.addDetail(code, partID, "") }

func (d *defects) addDetail(code, partID, detail string) {
	key := [2]string{code, partID}
	if d.seen[key] || len(d.list) > maxDefects {
		return
	}
	if d.seen == nil {
		d.seen = make(map[[2]string]bool)
	}
	d.seen[key] = true
	if len(d.list) == maxDefects {
		d.list = append(d.list, event.Defect{Code: DefectLimitDefects})
		return
	}
	d.list = append(d.list, event.Defect{Code: code, PartID: partID, Detail: detail})
}
