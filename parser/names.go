package parser

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxName is the longest safe name in bytes.
const maxName = 120

// safeName makes a file name of what the message says: one path element without separators, control and bidirectional
// characters, composed (NFC), not hidden, not one of the names that Windows reserves, at most maxName bytes with its
// extension kept.
func safeName(name, partID, kind string) string {
	if name == "" {
		return unnamed(partID, kind)
	}
	name = baseName(strings.ToValidUTF8(name, ""))
	name = norm.NFC.String(strings.Map(safeRune, name))
	name = strings.TrimRight(strings.TrimSpace(name), ". ")
	name = strings.TrimLeft(name, ". ")
	if name == "" {
		return unnamed(partID, kind)
	}
	stem, _, _ := strings.Cut(name, ".")
	if reserved[strings.ToLower(strings.TrimSpace(stem))] {
		name = "_" + name
	}
	if len(name) > maxName {
		ext := path.Ext(name)
		if len(ext) > 20 {
			ext = ""
		}
		name = strings.TrimRight(cutText(name[:len(name)-len(ext)], maxName-len(ext)), ". ") + ext
	}
	return name
}

// unnamed is the name of a part that has none.
func unnamed(partID, kind string) string {
	return "part-" + strings.ReplaceAll(shortTail(partID), ".", "-") + extensions[kind]
}

// baseName is what stands behind the last slash or backslash.
func baseName(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		return name[i+1:]
	}
	return name
}

func shortTail(id string) string {
	const longest = 40
	if len(id) > longest {
		return id[len(id)-longest:]
	}
	return id
}

func safeRune(r rune) rune {
	switch {
	case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
		return -1 // among them all bidirectional marks
	case strings.ContainsRune(`<>:"|?*`, r):
		return '_'
	case unicode.IsSpace(r):
		return ' '
	}
	return r
}

// reserved are the device names of Windows.
var reserved = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true, "clock$": true, "conin$": true, "conout$": true,
	"com1": true, "com2": true, "com3": true, "com4": true, "com5": true, "com6": true, "com7": true, "com8": true, "com9": true,
	"com¹": true, "com²": true, "com³": true, "lpt¹": true, "lpt²": true, "lpt³": true, // they count as digits there
	"lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true, "lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true,
}

// extensions are for parts that have no name.
var extensions = map[string]string{
	"application/pdf": ".pdf", "application/zip": ".zip", "application/json": ".json", "application/pgp-signature": ".asc",
	"application/pkcs7-signature": ".p7s", "application/ics": ".ics",
	"image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png", "image/svg+xml": ".svg", "image/webp": ".webp",
	"message/rfc822": ".eml", "text/calendar": ".ics", "text/csv": ".csv", "text/html": ".html", "text/plain": ".txt",
	"text/x-vcard": ".vcf", "text/vcard": ".vcf",
}
