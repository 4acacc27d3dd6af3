package parser

// meanings say what each code means, in the order of docs/defects.md.
var meanings = []struct{ code, meaning string }{
	{DefectPanic, "The parser failed; only the raw bytes are reliable."},
	{DefectLimitDepth, "Parts nested too deeply: the rest is one opaque part."},
	{DefectLimitParts, "Too many parts: the rest was not taken apart."},
	{DefectLimitHeader, "Too many or too long header fields: the rest was left out."},
	{DefectLimitParams, "Too many parameters in a field: the rest was left out."},
	{DefectLimitAddresses, "Too many addresses in a field: the rest was left out."},
	{DefectLimitText, "A text was cut off."},
	{DefectLimitDefects, "More repairs were made than are listed."},
	{DefectHeaderNone, "No header field that mail has."},
	{DefectHeaderBOM, "A byte order mark before the header."},
	{DefectHeaderBlankStart, "Blank lines before the header."},
	{DefectHeaderMbox, "An mbox \"From \" line in the header."},
	{DefectHeaderName, "A field name with spaces or 8-bit characters."},
	{DefectHeaderGarbage, "A line that is no field was left out."},
	{DefectHeaderJoined, "A line that lost the white space before it was joined to its field."},
	{DefectHeaderNoBlank, "The body starts without a blank line."},
	{DefectHeaderBareCR, "Lines end in CR alone."},
	{DefectHeaderDuplicate, "A field that may stand once stands twice; Email has the last one."},
	{DefectHeaderCharset, "Raw 8-bit characters that are not UTF-8: the charset was guessed."},
	{DefectHeaderWord, "An encoded word with an unknown charset or broken bytes."},
	{DefectAddress, "An address that is none by the standard."},
	{DefectDate, "A date in another form than the standard's."},
	{DefectDateUnreadable, "A date that cannot be read: sentAt is null."},
	{DefectMessageID, "A message id in another form than the standard's."},
	{DefectTypeInvalid, "A Content-Type that is none: the default was taken."},
	{DefectTypeDuplicate, "Two Content-Types: the first was taken."},
	{DefectTypeParam, "Parameters in another form than the standard's."},
	{DefectNameConflict, "Contradicting file names in one part."},
	{DefectBoundaryNone, "No boundary parameter: it was guessed."},
	{DefectBoundaryWrong, "The boundary does not occur: another was guessed."},
	{DefectNoParts, "Declared multipart, but it is text."},
	{DefectAfterClose, "Parts after the closing line were read."},
	{DefectNotClosed, "The closing line is missing: the message may be cut off."},
	{DefectPartial, "A piece of a larger message."},
	{DefectEncodingLabel, "An unusual name of a transfer encoding."},
	{DefectEncodingUnknown, "An unknown transfer encoding: the bytes were taken as they are."},
	{DefectBase64, "Broken base64 was repaired."},
	{DefectQuoted, "Broken quoted-printable was repaired."},
	{DefectUuencode, "Broken uuencode was repaired."},
	{DefectTNEF, "A winmail.dat that could be read in part only."},
	{DefectCharsetUnknown, "An unknown charset: it was guessed."},
	{DefectCharsetWrong, "The bytes are not of the charset that is named: it was guessed."},
	{DefectCharsetBroken, "Characters that cannot be decoded became U+FFFD."},
}

// Explain says in a sentence what a code of event.Defect means.
func Explain(code string) string {
	for _, m := range meanings {
		if m.code == code {
			return m.meaning
		}
	}
	return ""
}
