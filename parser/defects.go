package parser

import (
	"slices"

	"github.com/mailflume/mailflume/event"
)

// The codes of event.Defect. They are stable: a code keeps its meaning and is never used for anything else.
const (
	DefectPanic = "parser.panic"

	DefectLimitDepth     = "limit.depth"
	DefectLimitParts     = "limit.parts"
	DefectLimitHeader    = "limit.header"
	DefectLimitParams    = "limit.params"
	DefectLimitAddresses = "limit.addresses"
	DefectLimitText      = "limit.text"
	DefectLimitDefects   = "limit.defects"

	DefectHeaderNone       = "header.none"
	DefectHeaderBOM        = "header.bom"
	DefectHeaderBlankStart = "header.blank_start"
	DefectHeaderMbox       = "header.mbox_from"
	DefectHeaderName       = "header.name"
	DefectHeaderGarbage    = "header.garbage_line"
	DefectHeaderJoined     = "header.joined_line"
	DefectHeaderNoBlank    = "header.no_blank_line"
	DefectHeaderBareCR     = "header.bare_cr"
	DefectHeaderDuplicate  = "header.duplicate"
	DefectHeaderCharset    = "header.charset"
	DefectHeaderWord       = "header.encoded_word"
	DefectAddress          = "header.address"
	DefectDate             = "header.date"
	DefectDateUnreadable   = "header.date_unreadable"
	DefectMessageID        = "header.message_id"

	DefectTypeInvalid   = "type.invalid"
	DefectTypeDuplicate = "type.duplicate"
	DefectTypeParam     = "type.param"
	DefectNameConflict  = "type.name_conflict"

	DefectBoundaryNone  = "multipart.no_boundary"
	DefectBoundaryWrong = "multipart.wrong_boundary"
	DefectNoParts       = "multipart.no_parts"
	DefectAfterClose    = "multipart.after_close"
	DefectNotClosed     = "multipart.not_closed"

	DefectPartial = "message.partial"

	DefectEncodingLabel   = "encoding.label"
	DefectEncodingUnknown = "encoding.unknown"
	DefectBase64          = "encoding.base64"
	DefectQuoted          = "encoding.quoted_printable"
	DefectUuencode        = "encoding.uuencode"
	DefectTNEF            = "encoding.tnef"

	DefectCharsetUnknown = "charset.unknown"
	DefectCharsetWrong   = "charset.wrong"
	DefectCharsetBroken  = "charset.broken"
)

// maxDefects is how many repairs one message can list.
const maxDefects = 200

// defects collects repairs, each code once a part.
type defects struct {
	list []event.Defect
}

// notes lists repairs of one part. The zero value forgets them.
type notes struct {
	defects *defects
	partID  string
}

func (n notes) add(code string) {
	if n.defects != nil {
		n.defects.add(code, n.partID)
	}
}

func (d *defects) add(code, partID string) { d.addDetail(code, partID, "") }

func (d *defects) addDetail(code, partID, detail string) {
	if len(d.list) > maxDefects {
		return
	}
	for _, known := range slices.Backward(d.list) { // what is found twice mostly is found twice in a row
		if known.Code == code && known.PartID == partID {
			return
		}
	}
	if len(d.list) == maxDefects {
		d.list = append(d.list, event.Defect{Code: DefectLimitDefects})
		return
	}
	d.list = append(d.list, event.Defect{Code: code, PartID: partID, Detail: detail})
}
